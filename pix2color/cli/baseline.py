"""python -m pix2color baseline: an L2 head on frozen features, a row for evaluate."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path

from pix2color.cli import common, evaluation_photos
from pix2color.errors import EXIT_OK, Pix2ColorError
from pix2color.io import check_writable

_EPILOG = """examples:
  python -m pix2color baseline --data my-photos/ --out l2_head.safetensors
  python -m pix2color evaluate --data val/ --l2-head l2_head.safetensors
"""


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color baseline",
        description="Train a small regression (L2) head on the frozen features of weights with"
        " classes, and write it as a file of its own, with which evaluate has a row of L2.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    # fmt: off
    add("--checkpoint", default="default", metavar="FILE|USER/REPO",
        help="whose features; default: the packaged weights")
    add("--out", type=Path, required=True, metavar="FILE", help="the head, FILE.safetensors")
    add("--minutes", type=float, default=30.0, metavar="N", help="of training (30)")
    add("--samples", type=int, metavar="N", help="end after so many crops")
    add("--crop", type=int, default=128, metavar="PX", help="side of a crop, in pixels (128)")
    add("--batch", type=int, default=32, metavar="N", help="crops per step (32)")
    add("--seed", type=int, default=0, help="of the crops and the first weights (0)")
    add("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    add("--quiet", action="store_true", help="no progress")
    # fmt: on
    evaluation_photos.add_photo_arguments(parser.add_argument_group("photos"))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return common.run_command(_baseline, parser().parse_args(argv))


def _baseline(arguments: argparse.Namespace) -> int:
    _check(arguments)
    import torch

    from pix2color.checkpoints import checkpoint
    from pix2color.config import AugmentConfig, DataConfig
    from pix2color.data.loader import DeviceLoader, InMemorySource
    from pix2color.evaluation import l2_head
    from pix2color.runtime.device import find_device

    common.stop_on_sigterm()
    device = find_device(arguments.device)
    loaded = checkpoint.load(arguments.checkpoint)
    notes: list[str] = []
    split = evaluation_photos.find_split(arguments, [arguments.checkpoint], notes)
    # Twice the crop, so that a crop of half of a photo is not enlarged.
    photos = evaluation_photos.decode(arguments, split, side=2 * arguments.crop, keep_gray=False)
    data = DataConfig(crop=arguments.crop, crop_scale=(0.5, 1.0), augment=AugmentConfig(p=0.0))
    torch.manual_seed(arguments.seed)
    source = InMemorySource(photos.photos, data, seed=arguments.seed, names=photos.names)
    started = time.perf_counter()
    with (
        closing(DeviceLoader(source, data, device=device)) as batches,
        common.ProgressBar(1.0, quiet=arguments.quiet) as bar,
    ):
        head, samples = l2_head.train_head(
            loaded.generator.to(device),
            batches,
            minutes=arguments.minutes,
            batch=arguments.batch,
            samples=arguments.samples,
            progress=lambda spent, loss: bar.advance_to(spent, loss=f"{loss:.4f}"),
        )
    facts = {
        "photos": len(photos),
        "digest": photos.digest,
        "samples": samples,
        "seconds": round(time.perf_counter() - started, 1),
    }
    if split is not None:
        facts |= {"split": split.model_dump(), "part": arguments.split}
    l2_head.write(arguments.out, l2_head.TrainedHead(head, loaded.digest, facts))
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out} ({size:.2f} MB): {samples:,} crops of {len(photos):,} photos")
    for note in notes:
        print(note)
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> None:
    """Refuse impossible arguments before any long work."""
    evaluation_photos.check_choice(arguments)
    common.check_ranges(
        arguments,
        minutes=(0.001, 1_000_000),
        samples=(1, common.MOST),
        crop=(32, 2048),
        batch=(1, 4096),
    )
    out: Path = arguments.out
    if out.suffix.lower() != ".safetensors":
        raise Pix2ColorError(f"--out {out}: the file's name must end in .safetensors")
    try:
        check_writable(out)
    except OSError as error:
        raise Pix2ColorError(f"--out {out}: {error.strerror or error}") from None
