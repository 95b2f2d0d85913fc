"""The photos of a training: found, read into RAM or by number, and told from other ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from pix2color.config import Config, DataConfig
from pix2color.data.dataset import ALL_SPLITS, Digests, PhotoSet, Split, content_hash, load_photos
from pix2color.data.decode import Pixels
from pix2color.data.discovery import list_files, list_photos
from pix2color.data.indexed import IndexedPhotos, IndexedSource, has_indexes, select_photos
from pix2color.data.loader import InMemorySource, PhotoSource, StreamingSource
from pix2color.data.shard_cache import ShardCache, default_folder
from pix2color.data.shared_photos import Address, SharedLoad, can_share, receive
from pix2color.data.streaming import stream_photos

TrainingPhotos = PhotoSet | IndexedPhotos | None
"""In RAM, by number in indexed shards, or streamed."""


def find_training(
    data: DataConfig,
    accelerator: Accelerator,
    *,
    announce: Callable[[str], object],
    progress: Callable[[int, int], object] | None,
    digests: Digests | None = None,
) -> TrainingPhotos:
    """The training photos, in RAM or by number in indexed shards; None where they are streamed.

    With `data.cache: ram`, `digests` gets those of all files that this process reads.
    """
    if data.cache == "ram":
        return _load_shared(
            data, accelerator, announce=announce, progress=progress, digests=digests
        )
    if has_indexes(data.roots):
        return select_photos(data, splits=["train"], announce=announce)
    announce(
        "photos are streamed, in an order that depends on the number of processes; with .tar shards"
        " alone, python -m pix2color index makes it independent, and resuming fast"
    )
    return None


def _load_shared(
    data: DataConfig,
    accelerator: Accelerator,
    *,
    announce: Callable[[str], object],
    progress: Callable[[int, int], object] | None,
    digests: Digests | None,
) -> PhotoSet:
    """The training photos in RAM, of which the processes of one machine share one copy."""
    # Of all machines: every process takes part in the exchange below, or none.
    share = accelerator.num_processes > 1 and can_share()

    def load() -> PhotoSet:
        return load_photos(
            data,
            splits=["train"],
            announce=announce,
            progress=progress,
            copies=1 if share else _local_processes(accelerator),
            digests=digests,
        )

    if not share:
        return load()
    shared = SharedLoad() if accelerator.is_local_main_process else None
    addresses = gather_object([shared.address if shared else None])
    if shared:
        return shared.run(load)
    # Ranks of one machine follow each other, and its first process loads.
    first = [a for a in addresses[: accelerator.process_index] if a is not None][-1]
    return receive(Address(*first))


def photo_source(
    training: TrainingPhotos,
    data: DataConfig,
    *,
    seed: int,
    rank: int = 0,
    world: int = 1,
    cache: ShardCache | None = None,
) -> PhotoSource:
    if training is None:
        return StreamingSource(data, seed=seed, rank=rank, world=world)
    if isinstance(training, IndexedPhotos):
        return IndexedSource(training, data, seed=seed, world=world, cache=cache)
    return InMemorySource(training.photos, data, seed=seed, names=training.names)


def shard_cache(data: DataConfig, accelerator: Accelerator) -> ShardCache | None:
    """Copies of remote shards, shared by the processes of this machine; None where unwanted."""
    if data.cache == "ram" or not data.shard_cache_gb:
        return None
    folder = Path(data.shard_cache).expanduser() if data.shard_cache else default_folder()
    return ShardCache(
        folder,
        int(data.shard_cache_gb * 10**9),
        announce=accelerator.print,
        rank=accelerator.local_process_index,
        world=_local_processes(accelerator),
    )


def _local_processes(accelerator: Accelerator) -> int:
    """How many processes of the training run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))


def load_validation(
    config: Config, *, announce: Callable[[str], object], digests: Digests | None = None
) -> Sequence[Pixels]:
    """The photos of the validation figures, the same ones in every run.

    Of indexed shards only these photos are read. In a stream (`data.cache: none`, no index) reading
    ends when `train.num_val_photos` are found, in shards (or files) taken in an order that is
    always the same. In RAM, files that `digests` of `find_training` puts elsewhere are not read.

    Raises:
        DataError: as `load_photos`, `select_photos` and `stream_photos`.
    """
    data = config.data.model_copy(update={"source_weights": {}})
    if data.cache == "ram":
        return _load_labeled(data, announce=announce, digests=digests).photos
    splits: Sequence[Split] = ["val"]
    if data.split.val == 0:
        announce("data.split leaves no photo for validation: photos of all splits serve there")
        splits = ALL_SPLITS
    if has_indexes(data.roots):
        photos = select_photos(data, splits=splits)
        return photos.read_first(config.train.num_val_photos, data)
    # A buffer of one photo: nothing is decoded only to be shuffled.
    plain = data.model_copy(update={"shuffle_buffer": 1})
    with closing(stream_photos(plain, splits=splits, rank=0, world=1, seed=0, epoch=0)) as stream:
        return [photo.pixels for photo in islice(stream, config.train.num_val_photos)]


def dataset_summary(config: Config, photos: TrainingPhotos) -> dict[str, Any]:
    """What a release file records about its training photos: names, counts and a hash, no paths.

    Args:
        photos: None for a stream, whose photos are not counted beforehand.
    """
    summary: dict[str, Any] = {
        "roots": [Path(root).name for root in config.data.roots] or ["bundled with scikit-image"],
        "photos": None if photos is None else len(photos),
    }
    if photos is None or not photos.unsplit:
        summary["split"] = config.data.split.model_dump()
    if config.data.source_weights:
        summary["source_weights"] = config.data.source_weights
    if photos is None:
        return summary
    counts = photos.counts
    return summary | {
        "gray_left_out": counts.gray,
        "duplicates_left_out": counts.duplicates,
        "corrupt": len(counts.corrupt),
        "digest": photos.digest,
    }


def describe_photos(config: Config, photos: TrainingPhotos) -> dict[str, Any]:
    """What tells whether a resumed training has the same photos."""
    if photos is not None:
        return {"photos": len(photos), "digest": photos.digest}
    files, shards = list_files(config.data.roots)
    names = [f"{file.name} {file.size}" for file in files]
    names += [f"{label} {path.stat().st_size}" for label, path in shards]
    return {"files": len(names), "digest": content_hash("\n".join(names).encode())}


def photos_diff(path: Path, now: Mapping[str, Any]) -> list[str]:
    """A line where the photos are not those of the run, which wrote them down in a file."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an earlier version
        return []
    if before == now:
        return []
    counts = [f"{d[k]:,} {k}" for d in (before, now) for k in ("photos", "files") if k in d]
    return [
        f"resumed with other photos: {' before, now '.join(counts)}; the run goes on with them, but"
        " not as it would have without the change"
    ]


def _load_labeled(
    data: DataConfig, *, announce: Callable[[str], object], digests: Digests | None
) -> PhotoSet:
    """The validation photos in RAM; what has no true colors cannot be measured."""
    splits: Sequence[Split] = ["val"]
    if data.unlabeled and all(f.name.startswith(data.unlabeled) for f in list_photos(data.roots)):
        announce("no photo has true colors: those bundled with scikit-image serve for validation")
        data, splits = data.model_copy(update={"roots": (), "unlabeled": ()}), ALL_SPLITS

    def is_labeled(name: str) -> bool:
        return not name.startswith(data.unlabeled)

    only = is_labeled if data.unlabeled else None
    return load_photos(data, splits=splits, only=only, digests=digests)
