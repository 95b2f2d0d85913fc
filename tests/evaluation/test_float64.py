"""Training and validation need no float64 of the device: Apple's GPUs have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pix2color.color.ab_bins import PriorEstimator
from pix2color.color.lab import rgb_to_lab
from pix2color.evaluation import cast, failure_metrics, metrics


class OnDevice(torch.Tensor):
    """Tensors that stand for those of a device without float64; `cpu` gives plain ones."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(func, types, args, kwargs or {})
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, OnDevice) and value.dtype == torch.float64:
                raise TypeError("this device has no float64")
        return result


def prior(ab: Tensor, true_ab: Tensor) -> None:
    counter = PriorEstimator()
    counter.update(ab)


def scores(ab: Tensor, true_ab: Tensor) -> None:
    metrics.per_bin_auc_sums(metrics.ab_error(ab, true_ab), metrics.nearest_bin(true_ab))


def figures(ab: Tensor, true_ab: Tensor) -> None:
    metrics.auc(metrics.ab_error(ab, true_ab))
    metrics.psnr_lab(ab, true_ab)
    metrics.colorfulness_lab(ab)
    rgb, true_rgb = (torch.cat((x, x[:, :1]), dim=1) / 255 + 0.5 for x in (ab, true_ab))
    metrics.psnr(rgb, true_rgb)
    metrics.ssim(rgb, true_rgb)
    metrics.ssim(rgb[..., :8, :8], true_rgb[..., :8, :8])
    metrics.colorfulness(rgb)


def cast_counts(ab: Tensor, true_ab: Tensor) -> None:
    lightness = 50 + ab[:, :1]
    counts = cast.cell_counts(lightness, ab)
    assert counts.sum() == ab[:, 0].numel()
    cast.cast(counts, cast.cell_counts(lightness, true_ab))


def failure_measures(ab: Tensor, true_ab: Tensor) -> None:
    plain = true_ab.cpu()
    lightness = np.full(plain.shape[-2:], 50.0)
    guides = [
        failure_metrics.truth_features(lightness, np.asarray(one.movedim(0, -1))) for one in plain
    ]
    failure_metrics.measure(guides, ab, true_ab, metrics.nearest_bin(true_ab))


@pytest.mark.parametrize("measure", [prior, scores, figures, cast_counts, failure_measures])
def test_no_float64_is_asked_of_the_device(
    measure: Callable[[Tensor, Tensor], None], square: Tensor
) -> None:
    true_ab = rgb_to_lab(square)[:, 1:].as_subclass(OnDevice)
    measure((0.5 * true_ab).as_subclass(OnDevice), true_ab)
