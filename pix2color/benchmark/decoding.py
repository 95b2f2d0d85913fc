"""The best decoding of a network with classes, chosen by one rule for all of them.

A comparison at one temperature compares temperatures: a network that is undecided shows gray where
a decided one shows color.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from pix2color.benchmark import code
from pix2color.config import DecodeConfig
from pix2color.data.dataset import Pixels, content_hash
from pix2color.evaluation import evaluator
from pix2color.evaluation.methods import CachedPredictor
from pix2color.inference.colorizer import Colorizer
from pix2color.io import atomic_write

TEMPERATURES = (0.3, 0.38, 0.5, 0.7, 1.0)
VIVIDNESS = (0.0, 0.25, 0.5, 0.75)
AUC_ALLOWANCE = 1.0
"""Points of AuC that may be given up for the cast."""
RULE = (
    f"temperature of {', '.join(f'{t:g}' for t in TEMPERATURES)} and vividness of"
    f" {', '.join(f'{v:g}' for v in VIVIDNESS)}: the lowest cast on validation photos among those"
    f" whose AuC is at most {AUC_ALLOWANCE:g} point below that of temperature 1, vividness 0"
)
FILE = "decoding.json"
"""In a run folder: the choice, and what it depends on."""


def best_decoding(
    colorizer: Colorizer, squares: Sequence[Pixels], *, device: torch.device
) -> DecodeConfig:
    """The network's decoding with temperature and vividness by RULE.

    Args:
        colorizer: of a network with classes.
        squares: validation photos as they are measured, H,W,3 uint8.
        device: where the metrics are computed.
    """
    network = CachedPredictor(colorizer)
    settings = {
        f"{temperature:g} {vividness:g}": colorizer.decode.model_copy(
            update={"temperature": temperature, "vividness": vividness}
        )
        for temperature, vividness in itertools.product(TEMPERATURES, VIVIDNESS)
    }
    compared = [network.method(name, decode, primary=False) for name, decode in settings.items()]
    evaluation = evaluator.evaluate_methods(
        squares, compared, device=device, timed=False, ssim=False, resamples=0
    )
    measured = {
        result.method.name: (values["auc"].value, values["cast"].value)
        for result, (values, _) in zip(evaluation.results, evaluation.figures(), strict=True)
        if result.method.name in settings
    }
    least = measured["1 0"][0] - AUC_ALLOWANCE
    allowed = [name for name, (auc, _) in measured.items() if auc >= least]
    chosen = min(allowed, key=lambda name: measured[name][1])
    return settings[chosen]


def kept_best_decoding(
    colorizer: Colorizer, squares: Sequence[Pixels], folder: Path, *, device: torch.device
) -> DecodeConfig:
    """`best_decoding`, kept in a run folder while weights, photos, code and rule are the same."""
    photos = content_hash(b"".join(square.tobytes() for square in squares))
    key = content_hash("\n".join((colorizer.digest, photos, code.measuring_code(), RULE)).encode())
    file = folder / FILE
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return DecodeConfig.model_validate(kept["decode"])
    decode = best_decoding(colorizer, squares, device=device)
    atomic_write(file, json.dumps({"key": key, "decode": decode.model_dump()}, indent=1))
    return decode
