"""The measured part of photos, batches of it, and the fast validation during a training.

`validate` is fast because it is approximate: it works on batches on the device, upsamples ab
bilinearly and does not round to 8 bits, where infer.py and `evaluator.evaluate_methods` upsample
along edges and round. docs/benchmarking.md states the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.color.lab import lab_to_rgb_in_gamut, rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.data.dataset import Pixels
from pix2color.evaluation import cast, metrics
from pix2color.evaluation.frechet import Backbone, frechet_distance
from pix2color.inference.preprocess import network_size

ProtocolName = Literal["center", "resize", "full"]


class Predictor(Protocol):
    """What evaluation needs of a generator (`pix2color.models.Generator` or a stand-in)."""

    training: bool

    def predict(self, lightness: Tensor, decode: DecodeConfig) -> Tensor:
        """L B,1,H,W in 0..100 -> ab B,2,H,W."""
        ...

    def train(self, mode: bool = True) -> object:
        """Switch to training or evaluation."""
        ...


def crop_photo(photo: Pixels, protocol: ProtocolName, *, crop: int | None) -> Pixels:
    """The part of a photo that is measured.

    Args:
        photo: H,W,3 uint8.
        protocol: center: the center square, reduced to `crop` a side, never enlarged; resize: the
            whole photo, stretched to crop x crop; full: the photo as it is.
        crop: side in pixels; None keeps the photo's own.
    """
    if protocol == "center":
        side = min(photo.shape[:2])
        top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
        photo = photo[top : top + side, left : left + side]
        crop = min(crop or side, side)
    if protocol == "full" or crop is None or photo.shape[:2] == (crop, crop):
        return np.ascontiguousarray(photo)
    return _resize_photo(photo, crop)


def group_by_shape(
    photos: Sequence[Pixels], *, size: int, pixels: int | None = None
) -> Iterator[list[int]]:
    """Indices of photos of one shape, so that they stack: at most `size` photos and `pixels`
    pixels together, but at least one photo."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, photo in enumerate(photos):
        groups.setdefault(photo.shape, []).append(index)
    for shape, members in groups.items():
        step = size if pixels is None else max(1, min(size, pixels // (shape[0] * shape[1])))
        for start in range(0, len(members), step):
            yield members[start : start + step]


def stack(photos: Sequence[Pixels], device: torch.device | str = "cpu") -> Tensor:
    """Photos of one shape as rgb B,3,H,W float32 in 0..1."""
    channels_last = torch.from_numpy(np.stack(photos)).to(device)
    return channels_last.permute(0, 3, 1, 2).contiguous().float() / 255.0


def resize(planes: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, with antialiasing where it reduces: B,C,H,W -> B,C,height,width."""
    if planes.shape[-2:] == (height, width):
        return planes
    return F.interpolate(planes, (height, width), mode="bilinear", antialias=True)


def network_input(lightness: Tensor, size: int) -> Tensor:
    """L as the network sees it: B,1,H,W -> B,1,h,w with the shorter side at `size`."""
    height, width = lightness.shape[-2:]
    shape = network_size(height, width, size)
    if shape == (height, width):
        return lightness
    small = F.interpolate(lightness, shape, mode="bicubic", antialias=True)
    return small.clamp(0.0, 100.0)


def predict_ab_fast(generator: Predictor, lightness: Tensor, decode: DecodeConfig) -> Tensor:
    """The generator's colors at the photo's size, upsampled bilinearly.

    Args:
        generator: in evaluation mode.
        lightness: B,1,H,W in 0..100.
        decode: temperature, vividness, saturation and the network's size.

    Returns:
        B,2,H,W float32 in Lab units, not yet moved into sRGB.
    """
    ab = generator.predict(network_input(lightness, decode.input_size), decode)
    return resize(ab.float(), *lightness.shape[-2:])


@torch.inference_mode()
def validate(
    generator: Predictor,
    photos: Sequence[Pixels],
    decode: DecodeConfig,
    *,
    device: torch.device | str = "cpu",
    batch: int = 32,
    crop: int | None = None,
    autocast: torch.dtype | None = None,
    backbone: Backbone | None = None,
) -> dict[str, float]:
    """The metrics of a training's validation, on the center squares of a few fixed photos.

    The fast way: the values differ a little from those of `evaluator.evaluate_methods`, which
    measures what infer.py writes (docs/benchmarking.md).

    Args:
        generator: is switched to evaluation and back.
        photos: H,W,3 uint8.
        batch: photos per pass of the network.
        crop: largest side of a square in pixels; None: the photos' own.
        autocast: precision of the network (torch.bfloat16, torch.float16).
        backbone: of FD; None leaves FD out.

    Returns:
        auc, auc_rebalanced (percent), psnr (dB), their gains over the gray photo (auc_gain,
        auc_rebalanced_gain, psnr_gain), colorfulness, colorfulness_truth and their
        colorfulness_ratio, cast (percent), fd with a backbone, bins (how many the rebalanced AuC
        averages) and composite, AuC + 0.25 rebalanced AuC - 0.1 |colorfulness - truth's|.
    """
    if not photos:
        raise ValueError("no photos to validate on")
    squares = [crop_photo(photo, "center", crop=crop) for photo in photos]
    sums: dict[str, Tensor] = {}
    features: tuple[list[Tensor], list[Tensor]] = ([], [])
    was_training = generator.training
    generator.train(False)
    try:
        for indices in group_by_shape(squares, size=batch):
            rgb = stack([squares[index] for index in indices], device)
            per_photo, predicted = _validate_batch(generator, rgb, decode, autocast)
            for name, values in per_photo.items():
                sums[name] = sums.get(name, 0) + values.cpu().double().sum(0)
            if backbone is not None:
                for collected, images in zip(features, (predicted, rgb), strict=True):
                    collected.append(backbone.features(images).cpu())
    finally:
        generator.train(was_training)
    result = _validation_metrics(sums, len(squares))
    if backbone is not None:
        result["fd"] = frechet_distance(*(torch.cat(collected).numpy() for collected in features))
    return result


def _validate_batch(
    generator: Predictor, rgb: Tensor, decode: DecodeConfig, autocast: torch.dtype | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Each metric of each photo, of the prediction and of gray (names ending in _gray); and the
    predicted images, B,3,H,W in 0..1."""
    lightness, true_ab = rgb_to_lab(rgb).split((1, 2), dim=1)
    device_type = rgb.device.type
    with torch.autocast(device_type, autocast or torch.bfloat16, enabled=autocast is not None):
        ab = predict_ab_fast(generator, lightness, decode)
    bins = metrics.nearest_bin(true_ab)
    predicted, gray = (
        lab_to_rgb_in_gamut(torch.cat((lightness, colors), dim=1))
        for colors in (ab, torch.zeros_like(ab))
    )
    values = {
        "colorfulness": metrics.colorfulness(predicted),
        "colorfulness_truth": metrics.colorfulness(rgb),
        "cells": cast.cell_counts(lightness, rgb_to_lab(predicted)[:, 1:]),
        "cells_truth": cast.cell_counts(lightness, true_ab),
    }
    for suffix, image in (("", predicted), ("_gray", gray)):
        error = metrics.ab_error(rgb_to_lab(image)[:, 1:], true_ab)
        scores, counts = metrics.per_bin_auc_sums(error, bins)
        values |= {
            f"auc{suffix}": metrics.auc(error),
            f"psnr{suffix}": metrics.psnr(image, rgb),
            f"scores{suffix}": scores,
            "counts": counts,
        }
    return values, predicted


def _validation_metrics(sums: dict[str, Tensor], photos: int) -> dict[str, float]:
    counts = sums.pop("counts")
    values = {"cast": float(cast.cast(sums.pop("cells"), sums.pop("cells_truth")))}
    for suffix in ("", "_gray"):
        auc, bins = metrics.auc_rebalanced(sums.pop(f"scores{suffix}"), counts)
        values |= {f"auc_rebalanced{suffix}": float(auc), "bins": float(bins)}
    values |= {name: float(total) / photos for name, total in sums.items()}
    for name in ("auc", "auc_rebalanced", "psnr"):
        values[f"{name}_gain"] = values[name] - values.pop(f"{name}_gray")
    off = abs(values["colorfulness"] - values["colorfulness_truth"])
    values["colorfulness_ratio"] = values["colorfulness"] / max(values["colorfulness_truth"], 1e-9)
    values["composite"] = values["auc"] + 0.25 * values["auc_rebalanced"] - 0.1 * off
    return values


def _resize_photo(photo: Pixels, side: int) -> Pixels:
    planes = torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1).unsqueeze(0)
    small = F.interpolate(planes, (side, side), mode="bicubic", antialias=True)
    return np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())
