"""The look of old photos: each change does what its name says, from each photo's own seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pix2color.color.lab import rgb_to_lightness
from pix2color.config import AugmentConfig
from pix2color.data.augment import degrade

NOTHING = {"contrast": 0, "brightness": 0, "gamma": 0, "noise": 0, "blur": 0}
SEEDS = tuple(range(1000, 1032))


def only(**changes: float) -> AugmentConfig:
    """Every photo, with no change but these."""
    return AugmentConfig.model_validate(NOTHING | {"p": 1} | changes)


@pytest.fixture
def lightness(square: Tensor) -> Tensor:
    """The same photo 32 times: 32,1,64,64."""
    return rgb_to_lightness(square).expand(len(SEEDS), -1, -1, -1).contiguous()


def roughness(lightness: Tensor) -> Tensor:
    """Mean difference of neighbors, a photo: B."""
    return lightness.diff(dim=-1).abs().mean((1, 2, 3))


def test_nothing_asked_for_changes_nothing(lightness: Tensor) -> None:
    torch.testing.assert_close(degrade(lightness, only(), SEEDS), lightness, rtol=0, atol=2e-2)
    assert torch.equal(degrade(lightness, AugmentConfig(p=0), SEEDS), lightness)


def test_the_share_of_changed_photos(lightness: Tensor) -> None:
    many = torch.cat([lightness[:, :, :8, :8]] * 32)
    aged = degrade(many, AugmentConfig(p=0.25), range(len(many)))
    changed = (aged != many).flatten(1).any(1).float().mean()
    assert 0.19 < float(changed) < 0.31


def test_each_photo_s_look_follows_from_its_seed_alone(lightness: Tensor) -> None:
    augment = AugmentConfig(p=1)
    together = degrade(lightness, augment, SEEDS)
    for i in (0, 7, 31):
        alone = degrade(lightness[i : i + 1], augment, SEEDS[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-4)
    assert torch.equal(degrade(lightness, augment, SEEDS), together)
    assert len(torch.unique(together.mean((1, 2, 3)))) == len(SEEDS)


def test_results_stay_within_black_and_white(lightness: Tensor) -> None:
    wild = AugmentConfig(p=1, contrast=2, brightness=60, gamma=2, noise=80, blur=3)
    aged = degrade(lightness, wild, SEEDS)
    assert bool(aged.isfinite().all())
    assert float(aged.min()) >= 0 and float(aged.max()) <= 100


def test_the_photo_itself_is_not_written_into(lightness: Tensor) -> None:
    before = lightness.clone()
    degrade(lightness, AugmentConfig(p=1), SEEDS)
    assert torch.equal(lightness, before)


def test_brightness_shifts_and_contrast_stretches_around_mid_gray() -> None:
    ramp = torch.linspace(30, 70, 64).expand(len(SEEDS), 1, 64, 64).contiguous()
    shift = (degrade(ramp, only(brightness=3), SEEDS) - ramp).mean((1, 2, 3))
    assert 1.5 < float(shift.std()) < 4.5
    stretched = degrade(ramp, only(contrast=0.15), SEEDS) - 50
    factor = (stretched / (ramp - 50))[:, 0, 0]
    assert float((factor.amax(1) / factor.amin(1)).max()) < 1.001
    assert 0.08 < float(factor.mean(1).log().std()) < 0.22


def test_gamma_keeps_black_and_white() -> None:
    ends = torch.tensor((0.0, 50.0, 100.0)).expand(len(SEEDS), 1, 8, 3).contiguous()
    aged = degrade(ends, only(gamma=0.3), SEEDS)
    assert float(aged[..., 0].max()) < 1
    torch.testing.assert_close(aged[..., 2], ends[..., 2], rtol=0, atol=1e-3)
    assert float(aged[:, 0, 0, 1].std()) > 3


def test_blur_smooths_and_noise_roughens(lightness: Tensor) -> None:
    plain = roughness(lightness)
    assert bool((roughness(degrade(lightness, only(blur=2), SEEDS)) <= plain + 1e-3).all())
    assert bool((roughness(degrade(lightness, only(noise=8), SEEDS)) >= plain - 1e-3).all())


def test_grain_has_the_asked_for_strength_at_most() -> None:
    gray = torch.full((len(SEEDS), 1, 64, 64), 50.0)
    spread = degrade(gray, only(noise=4), SEEDS).std((1, 2, 3)).numpy()
    assert spread.max() < 4.3
    assert np.median(spread) < 2  # most photos get little
    assert spread.max() > 2
