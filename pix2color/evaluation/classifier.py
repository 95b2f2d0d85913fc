"""Accuracy of a classifier, trained on color photos, on recolored ones.

Zhang et al. 2016 call it semantic interpretability: plausible colors recover the accuracy that gray
photos lose. Classes come from the names of the photos.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pix2color.checkpoints.state_dict import read_tensors
from pix2color.errors import DataError, WeightsError
from pix2color.evaluation.protocol import resize
from pix2color.models import encoders

SHORTER_SIDE = 256
INPUT_SIDE = 224
PREPARATION = f"shorter side to {SHORTER_SIDE} px, center {INPUT_SIDE} px, ImageNet mean and std"
_WORDNET_ID = re.compile(r"(n\d{8})(?!\d)")
UNKNOWN = -1


class Classifier:
    """A torchvision classifier of the 1,000 ImageNet classes.

    Args:
        name_or_file: a torchvision network's name (its default weights are downloaded), or a file
            with the weights of one of `models.encoders.NAMES`, which its keys identify.
        device: where it runs.

    Raises:
        WeightsError: no such network or file, or nothing could be downloaded.
    """

    def __init__(self, name_or_file: str | Path, *, device: torch.device | str = "cpu") -> None:
        path = Path(name_or_file)
        is_file = path.is_file() or path.suffix in {".safetensors", ".pth", ".pt"}
        self.name, net = _from_file(path) if is_file else _from_torchvision(str(name_or_file))
        self._net = net.eval().requires_grad_(False).to(device)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1)
            for values in (encoders.IMAGENET_MEAN, encoders.IMAGENET_STD)
        )

    @torch.no_grad()
    def topk(self, rgb: Tensor, count: int = 5) -> Tensor:
        """The likeliest classes of images B,3,H,W in 0..1: B,count int64, best first."""
        height, width = rgb.shape[-2:]
        scale = SHORTER_SIDE / min(height, width)
        rgb = resize(rgb.float(), round(height * scale), round(width * scale))
        top, left = ((side - INPUT_SIDE) // 2 for side in rgb.shape[-2:])
        rgb = rgb[..., top : top + INPUT_SIDE, left : left + INPUT_SIDE]
        logits: Tensor = self._net((rgb.clamp(0, 1) - self._mean) / self._std)
        return logits.topk(count, dim=1).indices

    def topk_correct(self, rgb: Tensor, labels: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Whether the class is the first, and among the first five: two B float64 of 0 and 1.

        NaN where a label is UNKNOWN.
        """
        label = torch.tensor(list(labels))
        correct = (self.topk(rgb).cpu() == label.unsqueeze(1)).double()
        correct[label == UNKNOWN] = torch.nan
        return correct[:, 0], correct.amax(1)


def labels_of(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Each photo's class: from a WordNet id at the beginning of its file's name, or else from the
    nearest folder that begins with one or has the name of a class (`tabby`, `great_white_shark`).
    Case matters only where it distinguishes classes: `Cardigan` is a dog, `cardigan` a jacket.

    Raises:
        DataError: no photo has a class, or a folder's name fits several.
    """
    labels = np.array([_label(name) for name in names], dtype=np.int64)
    if not (labels != UNKNOWN).any():
        raise DataError(
            f"none of the {len(names)} photos has a class for the classifier",
            remedy="put them in folders named like ImageNet classes (n01443537 or goldfish), or"
            " begin their names with a WordNet id",
        )
    return labels


@functools.cache
def wordnet_classes() -> dict[str, int]:
    """WordNet id -> index of the class: the rank among the 1,000 sorted ids."""
    table = resources.files("pix2color.evaluation") / "imagenet_ids.txt"
    return {name: rank for rank, name in enumerate(table.read_text("ascii").split())}


@functools.cache
def named_classes() -> dict[str, int]:
    """English name, as torchvision spells it -> index of the class."""
    from torchvision.models import MobileNet_V2_Weights

    names = MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    return {name: index for index, name in enumerate(names)}


def _label(name: str) -> int:
    path = PurePosixPath(name)
    for number, part in enumerate((path.name, *reversed(path.parts[:-1]))):
        match = _WORDNET_ID.match(part)
        if match and match[1] in wordnet_classes():
            return wordnet_classes()[match[1]]
        if number and (indices := _classes_called(part)):
            if len(indices) > 1:
                ids = list(wordnet_classes())
                raise DataError(
                    f"the folder name {part!r} fits several ImageNet classes; name the folder"
                    f" {' or '.join(sorted(ids[index] for index in indices))}"
                )
            return indices[0]
    return UNKNOWN


@functools.cache
def _classes_called(folder: str) -> tuple[int, ...]:
    """The class of exactly this name, else all whose names differ in case only."""
    name = _spaced(folder)
    if name in named_classes():
        return (named_classes()[name],)
    lower = name.lower()
    return tuple(
        index for other, index in named_classes().items() if _spaced(other).lower() == lower
    )


def _spaced(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip()


def _from_file(path: Path) -> tuple[str, nn.Module]:
    tensors = read_tensors(path)
    for name in encoders.NAMES:
        with torch.device("meta"):
            shapes = {k: v.shape for k, v in encoders.build_backbone(name).state_dict().items()}
        if shapes == {k: v.shape for k, v in tensors.items()}:
            net = encoders.build_backbone(name)
            net.load_state_dict({key: value.float() for key, value in tensors.items()})
            return f"{name} ({path.name})", net
    raise WeightsError(
        f"{path} does not hold the weights of a known torchvision classifier:"
        f" {', '.join(encoders.NAMES)}"
    )


def _from_torchvision(name: str) -> tuple[str, nn.Module]:
    import torchvision.models as tv

    if name not in tv.list_models(module=tv):
        raise WeightsError(
            f"classifier {name!r} is neither a file nor one of torchvision's classifiers, such as"
            f" {', '.join(encoders.NAMES)}"
        )
    try:
        return name, tv.get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"weights of {name} cannot be downloaded ({error!s:.80})",
            remedy="name a file of them in {classifier}",
        ) from None
