"""python -m pix2color index SHARDS...: an index beside each .tar shard, for training from them."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from pix2color import errors
from pix2color.cli import common

if TYPE_CHECKING:
    from pix2color.data.shards import Shard

_EPILOG = """examples:
  python -m pix2color index shards/
  python -m pix2color index train-*.tar --threads 8
  python -m pix2color index s3://bucket/shards/
"""


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color index",
        description="Write beside each .tar shard where its photos lie, their content hashes and"
        " their chroma (SHARD.tar.index.json). With data.cache=none a training then reads its"
        " photos by number, in an order that does not depend on the number of processes. Shards"
        " that have a current index are skipped; run it again after a shard has changed.",
        epilog=_EPILOG,
    )
    # fmt: off
    add = parser.add_argument
    add("shards", nargs="+", metavar="SHARD|FOLDER|URL",
        help=".tar shards, folders that contain some, or patterns; of this machine or, as URLs, of"
        " an object store (one shard at a time is copied to the folder of temporary files)")
    add("--threads", type=int, default=os.cpu_count() or 1, metavar="N",
        help="threads that decode photos; default: one per CPU core")
    add("--quiet", action="store_true", help="no progress and no line per shard; only errors")
    # fmt: on
    return parser


def main(argv: list[str] | None = None) -> int:
    """Index the shards; returns 0, or 1 when some failed."""
    return common.run_command(_index, parser().parse_args(argv))


def _index(options: argparse.Namespace) -> int:
    common.check_ranges(options, threads=(1, 1024))
    from pix2color.data.shards import list_shards

    common.stop_on_sigterm()
    _, shards = list_shards(options.shards)
    if not shards:
        raise errors.DataError(f"no .tar shards in {', '.join(options.shards)}")
    failed = 0
    with common.ProgressBar(None, unit="photos", quiet=options.quiet) as bar:
        for shard in shards:
            try:
                bar.write(f"{shard.place}: {_index_shard(shard, options.threads, bar)}")
            except errors.DataError as error:
                failed += 1
                common.say(f"error: {error}", sys.stderr)
    if failed:
        common.say(f"{failed} of {len(shards)} shards were not indexed", sys.stderr)
    return errors.EXIT_FAILED if failed else errors.EXIT_OK


def _index_shard(shard: Shard, threads: int, bar: common.ProgressBar) -> str:
    """Index one shard unless its index is current; returns what was found, for people."""
    from pix2color.config import DataConfig
    from pix2color.data import shard_index

    try:
        return f"{len(shard_index.read_index(shard)):,} photos, the index is current"
    except errors.DataError:
        pass  # missing, stale or damaged: made again
    bar.restart(None, shard.name)
    index = shard_index.build_index(
        shard, threads=threads, progress=lambda done, total: bar.advance_to(done)
    )
    shard_index.write_index(shard, index)
    gray = index.count_gray(DataConfig().min_chroma)
    return f"{len(index):,} photos, of which {gray:,} gray, {len(index.corrupt):,} corrupt"
