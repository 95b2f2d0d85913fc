"""python -m pix2color evaluate: arguments, photos and networks from them, the table."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2color.cli import common, evaluation_photos
from pix2color.errors import EXIT_OK, ConfigError, WeightsError
from pix2color.io import atomic_write

if TYPE_CHECKING:
    import torch

    from pix2color.evaluation.fid import Fid
    from pix2color.evaluation.methods import Method
    from pix2color.evaluation.metric_models import MetricModels

_EPILOG = """examples:
  python -m pix2color evaluate --data my-photos/ --checkpoint runs/gan/release.safetensors
  python -m pix2color evaluate --data val/ \\
    --variant faithful:temperature=1,vividness=0,calibration=0
  python -m pix2color evaluate --data val/ --quick --sweep temperature=0.4,0.6,1 vividness=0,0.5
  python -m pix2color evaluate --data *.tar --split val --split-shares 0.97,0.03,0 --by-source
  python -m pix2color evaluate --data faces/ --quick --skin --groups labels.csv
  python -m pix2color evaluate --data ILSVRC2012_img_val.tar --protocol val5k
"""
_NUM_IMAGES = 8
HASHES_NAME = "photos.sha256"
"""In the report's folder: the photos of a published test set, for another's --protocol-list."""


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color evaluate",
        description="Measure networks on photos, beside truth, gray and random colors.",
        epilog=_EPILOG,
    )
    photos = parser.add_argument_group("photos")
    evaluation_photos.add_photo_arguments(photos)
    evaluation_photos.add_protocol_arguments(photos)
    evaluation_photos.add_group_arguments(parser.add_argument_group("groups of photos"))
    _add_method_arguments(parser.add_argument_group("methods (rows of the table)"))
    _add_metric_arguments(parser.add_argument_group("metrics"))
    add = parser.add_argument
    add("--out", type=Path, default=Path("report"), help="folder of the report (report)")
    add("--device", default=None, help="cpu, cuda, ... (a GPU where there is one)")
    add("--batch", type=int, default=32, metavar="N", help="photos at a time (32)")
    add("--quiet", action="store_true", help="no progress; only the table")
    return parser


# fmt: off
def _add_method_arguments(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--checkpoint", action="append", metavar="FILE|USER/REPO", default=[],
        help="a release file, or its name on the Hugging Face Hub; may be repeated")
    add("--no-default", action="store_true", help="leave out the packaged weights")
    add("--l2-head", type=Path, metavar="FILE",
        help="a row of regression: a head on the features of the first weights, made by `python -m"
        " pix2color baseline`")
    for key, kind, text in (
        ("temperature", float, "of the annealed mean"),
        ("vividness", float, "tau: logits less tau times the log prior"),
        ("saturation", float, "factor on ab"),
        ("calibration", float, "share of the chroma calibration that a file holds, 0..1"),
        ("size", int, "shorter side of the network's input, in pixels"),
    ):
        add(f"--{key}", type=kind, metavar="X", help=f"{text}; in place of the file's own")
    add("--variant", action="append", default=[], metavar="NAME:KEY=X,...",
        help="each network also with these settings; may be repeated")
    add("--sweep", nargs="+", default=[], metavar="KEY=X,Y,...",
        help="each network with every combination; passes of the network are shared")
    add("--seed", type=int, default=0, help="of the random colors and the bootstrap (0)")


def _add_metric_arguments(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--lpips-net", choices=("alex", "vgg", "squeeze"), default="alex", help="(alex)")
    add("--lpips-backbone", type=Path, metavar="FILE",
        help="torchvision's weights of that net, where they cannot be downloaded")
    add("--no-lpips", action="store_true", help="do not measure LPIPS")
    add("--fd-backbone", type=Path, metavar="FILE",
        help="also measure FD, a Frechet distance, in the features of these weights: torchvision's"
        " mobilenet_v2 or squeezenet1_1")
    add("--fid", metavar="inception|FILE",
        help="also measure FID, by torch-fidelity (extra [fid]): with Inception's weights as it"
        " downloads them, or from its file; of a published test set it is always tried")
    add("--classifier", metavar="NAME|FILE",
        help="torchvision's name or a weights file; classes come from folders or from a WordNet id"
        " at the start of a file's name")
    add("--quick", action="store_true",
        help="for choosing settings by --sweep: no LPIPS, SSIM, random colors, times or image grid")
    add("--failures", action="store_true", help="also measure the five failures (slower)")
    add("--resamples", type=int, default=1000, metavar="N", help="of the bootstrap (1000)")
# fmt: on


def main(argv: list[str] | None = None) -> int:
    """Evaluate; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(_evaluate, arguments)


def _evaluate(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from pix2color.evaluation import evaluator, group_tables, methods, report, skin
    from pix2color.evaluation.classifier import labels_of
    from pix2color.evaluation.metric_models import find_metric_models
    from pix2color.evaluation.protocol import crop_photo
    from pix2color.runtime.device import find_device

    common.stop_on_sigterm()
    published = evaluation_photos.select_published(arguments)
    device = find_device(arguments.device)
    notes: list[str] = []
    weights = _weights(arguments, notes)
    networks = _networks(arguments, weights, device)
    networks += _l2_row(arguments, weights, device, notes)
    metric_models = find_metric_models(
        lpips=not (arguments.no_lpips or arguments.quick),
        net=arguments.lpips_net,
        backbone=arguments.lpips_backbone,
        fd_backbone=arguments.fd_backbone,
        classifier=arguments.classifier,
        device=device,
    )
    quick = arguments.quick
    measured = evaluation_photos.load(arguments, weights, notes, published=published)
    fid = _fid(arguments, device, metric_models)
    names, photos = measured.photos.names, measured.photos.photos
    labels = labels_of(names) if metric_models.classifier else None
    if published is None:  # the photos of a published set are cut already
        photos = [crop_photo(photo, arguments.protocol, crop=arguments.crop) for photo in photos]
    with common.ProgressBar(len(photos), unit="photos", quiet=arguments.quiet) as progress:
        evaluation = evaluator.evaluate_methods(
            photos,
            networks if quick else [methods.random(photos, seed=arguments.seed), *networks],
            device=device,
            batch=arguments.batch,
            lpips=metric_models.lpips,
            backbone=metric_models.backbone,
            classifier=metric_models.classifier,
            labels=None if labels is None else labels.tolist(),
            failures=arguments.failures,
            measure_skin=arguments.skin,
            num_images=0 if quick else _NUM_IMAGES,
            timed=not quick,
            ssim=not quick,
            prior=_packaged_prior(),
            resamples=arguments.resamples,
            seed=arguments.seed,
            progress=lambda done, total: progress.advance_to(done),
            hook=fid.update_from if fid else None,
        )
    measured_with = dict(metric_models.descriptions)
    if labels is not None:
        measured_with["classifier"] += f"; {(labels >= 0).sum()} photos have a class"
    groupings = measured.groupings
    if arguments.skin:
        groupings += skin.groupings(evaluation.results[0].metrics.values)
    context = report.Context(
        protocol=_protocol(arguments),
        data=measured.facts,
        names=names,
        measured_with=measured_with,
        skipped_metrics=metric_models.unavailable,
        notes=notes,
        groupings=groupings,
        fid=fid.distances("truth") if fid else {},
    )
    tree = report.write(arguments.out, evaluation, context)
    if measured.hashes:
        atomic_write(arguments.out / HASHES_NAME, measured.hashes)
    tables = (report.table(tree), *report.classifier_note(tree), *group_tables.sections(tree))
    print("\n\n".join(tables))
    for line in notes:
        print(line)
    print(f"{len(photos)} photos; report in {arguments.out / report.MARKDOWN_NAME}")
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> None:
    """Refuse impossible arguments before any long work."""
    evaluation_photos.check(arguments)
    common.check_ranges(arguments, batch=(1, common.MOST), resamples=(0, 1_000_000))
    slow = [f"--{name}" for name in ("failures", "classifier") if getattr(arguments, name)]
    if arguments.quick and slow:
        raise ConfigError(f"--quick leaves out what {slow[0]} measures: give one of them")
    existing = next(p for p in (arguments.out, *arguments.out.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"--out {arguments.out}: {existing} is not a writable folder")


def _weights(arguments: argparse.Namespace, notes: list[str]) -> list[str]:
    """The packaged weights, where they are wanted and there, and each --checkpoint."""
    from pix2color.checkpoints.release_file import DEFAULT_FILE
    from pix2color.evaluation.checkpoint_methods import DEFAULT

    sources = list(arguments.checkpoint)
    if not arguments.no_default and DEFAULT not in sources:
        if DEFAULT_FILE.is_file():
            sources.insert(0, DEFAULT)
        else:
            notes.append("default: no weights are packaged with this installation.")
    return sources


def _networks(
    arguments: argparse.Namespace, weights: Sequence[str], device: torch.device
) -> list[Method]:
    """Each file of weights, with its variants and sweeps."""
    from pix2color.evaluation import checkpoint_methods

    settings = {
        field: getattr(arguments, name) for name, field in checkpoint_methods.FIELDS.items()
    }
    return checkpoint_methods.checkpoint_methods(
        weights,
        device=device,
        settings={key: value for key, value in settings.items() if value is not None},
        variants=checkpoint_methods.parse_variants(arguments.variant),
        sweep=checkpoint_methods.parse_sweep(arguments.sweep),
    )


def _l2_row(
    arguments: argparse.Namespace, weights: Sequence[str], device: torch.device, notes: list[str]
) -> list[Method]:
    """The row of --l2-head, or of the head that is packaged with the packaged weights."""
    from pix2color.evaluation import checkpoint_methods, l2_head

    packaged = weights[:1] == [checkpoint_methods.DEFAULT] and l2_head.PACKAGED_FILE.is_file()
    if arguments.l2_head is None and not packaged:
        return []
    trained = l2_head.read(arguments.l2_head or l2_head.PACKAGED_FILE)
    if not weights:
        raise ConfigError("--l2-head needs the weights that it was trained on: give --checkpoint")
    try:
        method = checkpoint_methods.l2_head_method(
            weights[0], trained, device=device, size=arguments.size
        )
    except WeightsError as error:
        if arguments.l2_head:
            raise
        notes.append(f"no row of L2: {error}")
        return []
    return [method]


def _fid(
    arguments: argparse.Namespace, device: torch.device, metric_models: MetricModels
) -> Fid | None:
    """FID as asked for; with a published test set as far as possible, and named where it is not."""
    from pix2color.evaluation.fid import inception

    published = evaluation_photos.is_paper_protocol(arguments) and not arguments.quick
    if not (arguments.fid or published):
        return None
    try:
        fid = inception(arguments.fid or "inception", device=device)
    except (ConfigError, WeightsError) as error:
        told = WeightsError(error.message, remedy=error.remedy.replace("{evaluate.fid}", "{fid}"))
        if arguments.fid:
            raise told from None
        metric_models.unavailable["fid"] = ("not measured", told.describe(lambda name: f"--{name}"))
        return None
    metric_models.descriptions["FID"] = fid.description
    return fid


def _packaged_prior() -> Any:
    """The prior of the AuC at lambda 0.5; None where none is packaged."""
    from pix2color.color import ab_bins

    return ab_bins.Prior.load().probability.numpy() if ab_bins.PRIOR_FILE.is_file() else None


def _protocol(arguments: argparse.Namespace) -> dict[str, Any]:
    """The protocol's parameters for the report, and a text that describes it."""
    if evaluation_photos.is_paper_protocol(arguments):
        from pix2color.evaluation.paper_protocols import PROTOCOLS

        published = PROTOCOLS[arguments.protocol]
        return {
            "name": published.name,
            "crop": published.size,
            "framing": published.framing,
            "text": published.describe(),
        }
    crop = None if arguments.protocol == "full" else arguments.crop
    protocols = {
        "center": f"center squares, reduced to {crop} px where they are larger",
        "resize": f"whole photos stretched to {crop} x {crop} px",
        "full": "whole photos at their own size",
    }
    text = f"{protocols[arguments.protocol]}, colored as infer.py does"
    return {"name": arguments.protocol, "crop": crop, "text": text}
