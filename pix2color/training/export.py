"""From a run folder to a release file: the averaged weights of its newest or best state."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pix2color import config as config_module
from pix2color.build import build_generator
from pix2color.checkpoints import checkpoint, release_file
from pix2color.color.chroma_calibration import ChromaCalibration
from pix2color.errors import TrainingError
from pix2color.models import unet
from pix2color.models.generator import Generator
from pix2color.runtime import onnx_export
from pix2color.training.checkpointing import averaged_weights, list_checkpoints
from pix2color.training.metrics_log import read_log


def export_run(
    run: Path,
    out: Path | None = None,
    *,
    best: bool = False,
    average: Sequence[Path] = (),
    decode: Mapping[str, float] | None = None,
    figures: Mapping[str, Any] | None = None,
    graph: bool = True,
) -> Path:
    """Write a run's averaged weights as a release file, and its graph beside it.

    Args:
        run: the run folder.
        out: the file; None: `RUN/NAME.safetensors`.
        best: take the run's best weights by its validation figure, not its newest ones.
        average: release files of the same network, such as other runs from one start: what is
            written is the mean of all weights, the run's among them (Wortsman et al. 2022). One
            without the run's residual blocks counts as having them, changing nothing.
        decode: changes of the decode section that the file ships as its default.
        figures: measured figures for its metadata; None: the run's last validation.
        graph: write `NAME.onnx` as well, with which it runs without torch.

    The calibration of the run's best file is kept where it is for the weights that are written.

    Returns:
        The release file.

    Raises:
        TrainingError: the folder holds no run, nothing of it was saved yet, or `decode` asks for a
            calibration that there is not.
        ConfigError: a value of `decode` is not one.
        WeightsError: a file of `average` cannot be read, or is of another network; the graph
            cannot be made.
        Pix2ColorError: the graph needs the package onnx.
    """
    if not (run / "config.yaml").is_file():
        raise TrainingError(f"{run} is not a run folder: it has no config.yaml")
    config = config_module.load(run / "config.yaml")
    if decode:
        tree = config.model_dump(mode="json")
        tree["decode"] |= dict(decode)
        config = config_module.from_dict(tree, source="decode")
    out = out or run / f"{run.resolve().name}.safetensors"
    path = run / "release.safetensors"
    best_file = release_file.read(path) if path.is_file() else None
    data: dict[str, Any] = dict(best_file.meta["data"]) if best_file else {}
    if best:
        if best_file is None:
            raise TrainingError(f"{run} has no release.safetensors yet: let it validate once")
        tensors = best_file.tensors
    else:
        tensors, samples = _newest(run)
        data["samples"] = samples
    generator = build_generator(config.model, pretrained=False)
    if graph:
        onnx_export.check_pair_can_be_written()
    release_file.load_state_strict(generator, tensors, source=str(run))
    if average:
        others = [release_file.read(path) for path in average]
        grown = [unet.add_identity_blocks(other.tensors, tensors) for other in others]
        for path, other in zip(average, grown, strict=True):
            release_file.load_state_strict(generator, other, source=str(path))
        data["averaged_with"] = [other.digest for other in others]
        if any(other.meta.get("data", {}).get("split") != data.get("split") for other in others):
            data.pop("split", None)  # no split holds out photos from all of them
        mean = _mean([tensors, *grown])
        release_file.load_state_strict(generator, mean, source=str(run))
    calibration = _calibration_for(generator, best_file)
    if decode and decode.get("calibration") and calibration is None:
        raise TrainingError(
            f"{run} has no calibration for these weights",
            remedy="leave {calibration} out, and fit one for the released file with the command"
            " `python -m pix2color calibrate`",
        )
    save = functools.partial(
        checkpoint.save,
        generator=generator,
        config=config,
        data=data,
        figures=figures if figures is not None else _last_validation(run),
        calibration=calibration,
    )
    onnx_export.write_pair(out, save, graph=graph)
    return out


def _calibration_for(
    generator: Generator, file: release_file.ReleaseFile | None
) -> ChromaCalibration | None:
    """A file's calibration where it is for the generator's weights."""
    calibration = file.calibration if file else None
    digest = release_file.weights_digest(generator.state_dict())
    return calibration if calibration and calibration.weights == digest else None


def _mean(every: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of the tensors of each name; whole numbers, which count steps, are the first's."""
    first = every[0]
    return {
        key: torch.stack([one[key].float() for one in every]).mean(dim=0)
        if value.is_floating_point()
        else value
        for key, value in first.items()
    }


def _newest(run: Path) -> tuple[dict[str, torch.Tensor], int]:
    """The averaged weights of the newest state, and the samples they have seen."""
    states = list_checkpoints(run / "state")
    if not states:
        raise TrainingError(f"{run} holds no saved state yet")
    return averaged_weights(states[-1]), int(states[-1].name.split("-")[-1])


def _last_validation(run: Path) -> dict[str, Any]:
    log = run / "metrics.jsonl"
    lines = read_log(log) if log.is_file() else []
    last = [line for line in lines if line["kind"] == "validation"][-1:]
    return {"protocol": "validation photos of the run, center", **last[0]} if last else {}


def read_figures(path: Path) -> dict[str, Any]:
    """Figures for a release file from a JSON file, such as evaluate's."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is not a JSON file of figures: {error}") from None
    if not isinstance(tree, dict):
        raise TrainingError(f"{path} holds no object of figures")
    return tree
