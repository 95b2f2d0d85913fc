"""Markdown tables: the only writer of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is aligned to the left and the others to the right.

    Line breaks, `|` and `<` in cells are escaped, so that a cell stays a cell and plain text.
    """
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [map(_escape, head), rule, *(map(_escape, row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
