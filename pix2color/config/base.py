"""What all sections are made of: their base class and the types of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _paths(value: Any) -> Any:
    """One path or several are the same thing to a user: always a tuple here."""
    return (value,) if isinstance(value, str | Path) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_paths)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
SourceWeight = Annotated[float, Field(gt=0, le=1000)]


class ConfigModel(BaseModel):
    """A part of the tree: frozen, strict about types, closed to unknown keys."""

    # Built at first use: coloring needs few of the sections.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)
