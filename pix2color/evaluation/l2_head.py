"""A regression row for evaluations: a small L2 head on the frozen features of class weights.

Class weights beside an L2 head on the same features differ by the loss alone: the head predicts the
mean color, which is dull wherever several colors are likely.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pix2color.color.constants import AB_RANGE
from pix2color.data.loader import BatchSource
from pix2color.errors import WeightsError
from pix2color.io import atomic_write
from pix2color.losses.ab import l2
from pix2color.models.generator import Generator
from pix2color.runtime.base import Floats, NetworkInfo, NetworkOutput, Runtime

FORMAT = "pix2color-l2-head-1"
PACKAGED_FILE = Path(__file__).parents[1] / "checkpoints" / "l2_head.safetensors"
"""Of the packaged weights; it need not exist."""
NAME = "L2 head"
_WIDTH = 128
_RATE = 1e-3


class L2Head(nn.Sequential):
    """Features B,C,h,w -> ab B,2,h,w in Lab units, by two 3x3 convolutions and one 1x1.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, 2, 1),
        )
        last = self[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.normal_(last.weight, std=1e-3)  # training starts from the gray photo
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return AB_RANGE * super().forward(features.float()).tanh()


@dataclass(frozen=True)
class TrainedHead:
    """A head and what its file records."""

    head: L2Head
    weights: str
    """Digest of the release file whose features it reads."""
    data: dict[str, Any]
    """Photos, split, samples and seconds of its training."""


def train_head(
    generator: Generator,
    batches: BatchSource,
    *,
    minutes: float,
    batch: int = 32,
    samples: int | None = None,
    progress: Callable[[float, float], object] = lambda spent, loss: None,
) -> tuple[L2Head, int]:
    """Train a head; the generator stays as it is.

    Args:
        generator: whose last features it reads; on the device of the batches.
        batches: crops.
        minutes: of training.
        batch: crops per step.
        samples: ends the training earlier; None: the minutes end it.
        progress: called with the share of the budget that is spent, and the loss.

    Returns:
        The head, and how many crops it has seen.
    """
    generator.eval()
    device = next(generator.parameters()).device
    channels = generator.predict_features(torch.zeros(1, 1, 64, 64, device=device))[0].shape[1]
    head = L2Head(channels).to(device)
    optimizer = torch.optim.Adam(head.parameters(), lr=_RATE)
    started, seen, spent = time.perf_counter(), 0, 0.0
    while spent < 1:
        optimizer.param_groups[0]["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * spent))
        crops = batches.get(seen, batch)
        features = generator.predict_features(crops.input_lightness)[0]
        height, width = features.shape[2:]
        truth = F.adaptive_avg_pool2d(crops.target_lab[:, 1:], (height, width))
        loss = l2(head(features), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += batch
        by_time = (time.perf_counter() - started) / (60 * minutes)
        spent = max(by_time, seen / samples if samples else 0.0)
        progress(min(spent, 1.0), float(loss.detach()))
    return head.eval(), seen


def write(path: Path, trained: TrainedHead) -> None:
    """Write a head as float16, atomically."""
    tensors = {name: t.detach().cpu().half() for name, t in trained.head.state_dict().items()}
    meta = {"format": FORMAT, "weights": trained.weights, "data": json.dumps(trained.data)}
    atomic_write(path, save(tensors, meta))


def read(path: Path) -> TrainedHead:
    """Read a file of `write`.

    Raises:
        WeightsError: it is missing or not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is not an L2 head ({error!s:.80})") from None
    if meta.get("format") != FORMAT or tensors.get("0.weight", torch.empty(0)).ndim != 4:
        raise WeightsError(
            f"{path} is not an L2 head",
            remedy="make one with the command `python -m pix2color baseline`",
        )
    head = L2Head(tensors["0.weight"].shape[1])
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"{path} is of another head ({error!s:.80})") from None
    return TrainedHead(head.eval(), meta["weights"], json.loads(meta["data"]))


class L2HeadRuntime:
    """A runtime whose output is that of an L2 head on another runtime's features.

    Args:
        base: of the weights that the head was trained on.
        trained: the head.

    Raises:
        WeightsError: the head was trained on other weights.
    """

    def __init__(self, base: Runtime, trained: TrainedHead) -> None:
        if trained.weights != base.info.digest:
            raise WeightsError(
                f"the L2 head was trained on other weights ({trained.weights}) than"
                f" {base.info.name} ({base.info.digest})",
                remedy="train one with the command `python -m pix2color baseline`",
            )
        self.kind, self.device = base.kind, base.device
        self._base, self._head = base, trained.head
        decode = base.info.decode.model_copy(
            update={"temperature": 1.0, "vividness": 0.0, "saturation": 1.0, "calibration": 0.0}
        )
        self.info: NetworkInfo = replace(
            base.info,
            name=f"{base.info.name}, {NAME}",
            decode=decode,
            log_prior=None,
            accepts_hints=False,
            calibration=None,
        )

    @torch.inference_mode()
    def run(
        self,
        lightness: Floats,
        *,
        features: bool = False,
        hints: Floats | None = None,
        device: str | None = None,
    ) -> NetworkOutput:
        """See `Runtime.run`."""
        if hints is not None:
            raise ValueError("an L2 head takes no hints")
        last = self._base.run(lightness, features=True, device=device).features
        assert last is not None
        ab = self._head(torch.from_numpy(last)).numpy()
        return NetworkOutput(ab, last if features else None)
