"""An index beside each .tar shard: where its photos lie, their content hashes and their chroma.

With it a training knows its photos before it reads any of them. The split of a photo follows from
its hash and `data.split`, and whether it is gray from its chroma and `data.min_chroma`, so both
settings may change without another index.
"""

from __future__ import annotations

import math
from multiprocessing.pool import ThreadPool
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pix2color.config import DataConfig, SplitConfig
from pix2color.data.dataset import ALL_SPLITS, ExamineOptions, Progress, decode_and_filter
from pix2color.data.discovery import FileRef, list_members
from pix2color.data.shards import INDEX_SUFFIX, Shard, Stamp
from pix2color.errors import DataError
from pix2color.photo.gray import chroma_percentile

_REMEDY = "run python -m pix2color index on the shard"
_EXAMINE = ExamineOptions(frozenset(ALL_SPLITS), SplitConfig(), DataConfig().cache_size, 0.0)

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0)]


class ShardIndex(BaseModel):
    """The photos of one shard, as columns in the order of the shard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["pix2color-shard-index"] = "pix2color-shard-index"
    version: Literal[1] = 1
    shard: Stamp
    names: tuple[str, ...]
    """Unique in the shard."""
    offsets: tuple[_Count, ...]
    """Of the first byte of each file in the shard."""
    sizes: tuple[_Count, ...]
    """In bytes."""
    digests: tuple[_Digest, ...]
    """SHA-256 of each file's bytes."""
    chroma: tuple[float | None, ...]
    """95th percentile of each photo's chroma in ab units, rounded down to thousandths; None where
    the file cannot be decoded."""
    corrupt: dict[int, str]
    """Position -> why the file cannot be decoded."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = (self.names, self.offsets, self.sizes, self.digests, self.chroma)
        if len({len(column) for column in columns}) != 1:
            raise ValueError("columns of different lengths")
        if {i for i, chroma in enumerate(self.chroma) if chroma is None} != set(self.corrupt):
            raise ValueError("corrupt files without a reason")
        ends = (offset + size for offset, size in zip(self.offsets, self.sizes, strict=True))
        if max(ends, default=0) > self.shard.size:
            raise ValueError("a photo beyond the end of the shard")
        return self

    def __len__(self) -> int:
        return len(self.names)

    def count_gray(self, min_chroma: float) -> int:
        """Photos of less chroma than `min_chroma`, in ab units."""
        return sum(chroma is not None and chroma < min_chroma for chroma in self.chroma)


def build_index(shard: Shard, *, threads: int, progress: Progress | None = None) -> ShardIndex:
    """Read, hash and decode every photo of a shard.

    Args:
        shard: a plain .tar.
        threads: that decode.
        progress: called with (photos done, photos in all).

    Raises:
        DataError: the shard is broken, holds no photo, cannot be read or changes meanwhile.
    """
    stamp = shard.stamp()
    rows: list[tuple[str, float | None, str]] = []
    with shard.as_file() as path, ThreadPool(max(1, threads)) as pool:
        members = list(list_members("", path, shown=shard.place))
        for row in pool.imap(_examine, members):
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(members))
    if shard.stamp() != stamp:
        raise DataError(f"{shard.place} changed while it was read", remedy=_REMEDY)
    return ShardIndex(
        shard=stamp,
        names=tuple(member.name.removeprefix("/") for member in members),
        offsets=tuple(member.offset for member in members),
        sizes=tuple(member.size for member in members),
        digests=tuple(digest for digest, _, _ in rows),
        chroma=tuple(chroma for _, chroma, _ in rows),
        corrupt={i: reason for i, (_, _, reason) in enumerate(rows) if reason},
    )


def write_index(shard: Shard, index: ShardIndex) -> None:
    """Write the index beside its shard, whole or not at all. Raises DataError."""
    shard.write_index(index.model_dump_json(exclude_none=True) + "\n")


def read_index(shard: Shard) -> ShardIndex:
    """The index of a shard.

    Raises:
        DataError: it is missing, damaged, of another version, or older than the shard.
    """
    content = shard.read_index()
    if content is None:
        raise DataError(f"{shard.place} has no index", remedy=_REMEDY)
    try:
        index = ShardIndex.model_validate_json(content)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise DataError(
            f"{shard.place}{INDEX_SUFFIX} is damaged or of another version of pix2color"
            f" ({reason:.100})",
            remedy=_REMEDY,
        ) from None
    if what := shard.stamp().difference(index.shard):
        raise DataError(
            f"the index of {shard.place} is stale: the shard has another {what}", remedy=_REMEDY
        )
    return index


def _examine(member: FileRef) -> tuple[str, float | None, str]:
    """Digest, chroma and, where it cannot be decoded, the reason."""
    result = decode_and_filter(member, _EXAMINE)
    if not result.digest:
        raise DataError(f"{member.name}: {result.corrupt}")
    if result.pixels is None:
        return result.digest, None, result.corrupt
    return result.digest, math.floor(chroma_percentile(result.pixels) * 1000) / 1000, ""
