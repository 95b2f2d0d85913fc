"""Every head: features -> raw, raw -> ab of Lab units, and a loss that the truth makes small."""

from __future__ import annotations

import functools
from typing import Any, get_args

import pytest
import torch
from modules import check_gradients, check_state, draw, in_bfloat16
from pydantic import ValidationError

from pix2color.build import build_head
from pix2color.config import HeadConfig, LossConfig
from pix2color.models.heads import ClassificationHead, Head

CHANNELS = 6
HEADS: dict[str, dict[str, Any]] = {
    "classes": {},
    "classes of one neighbor": {"soft_encoding_k": 1, "bias": False},
    "classes rebalanced": {"rebalance_lambda": 0.5, "kernel_size": 3},
    "classes adjusted": {"logit_adjustment_tau": 0.5},
    "classes aml": {"compat": "aml", "rebalance_lambda": 0.5},
    "regression": {"type": "regression"},
    "regression linear": {"type": "regression", "activation": "linear", "kernel_size": 3},
    "marginal64": {"type": "marginal64"},
    "marginal64_mean": {"type": "marginal64", "decoding": "mean"},
}
RAW = {"classes": 313, "regression": 2, "marginal64": 128}


def config(name: str) -> HeadConfig:
    return HeadConfig.model_validate(HEADS[name])


@functools.cache
def built(name: str) -> Head:
    head = build_head(config(name), CHANNELS)
    draw(head.project)
    return head.eval()


def features(batch: int = 2, rows: int = 3, columns: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, CHANNELS, rows, columns, generator=generator)


def true_ab(raw: torch.Tensor) -> torch.Tensor:
    """Colors for raw: B,2,h,w, inside sRGB's reach."""
    generator = torch.Generator().manual_seed(8)
    return torch.rand(len(raw), 2, *raw.shape[-2:], generator=generator) * 80 - 40


def test_every_kind_is_here() -> None:
    fields = HeadConfig.model_fields
    assert {config(name).type for name in HEADS} == set(get_args(fields["type"].annotation))
    assert {config(name).compat for name in HEADS} == set(get_args(fields["compat"].annotation))


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 5)])
def test_raw_has_the_channels_of_its_kind(name: str, size: tuple[int, int, int]) -> None:
    head = built(name)
    batch, rows, columns = size
    raw = head(features(*size))
    assert raw.shape == (batch, RAW[config(name).type], head.upscale * rows, head.upscale * columns)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_colors_are_finite_float32_whatever_raw_is(name: str) -> None:
    head = built(name)
    raw = head(features())
    for given in (raw, raw.bfloat16(), raw * 0, raw * 1e4):
        ab = head.to_ab(given, temperature=0.4, vividness=0.5)
        assert ab.shape == (len(raw), 2, *raw.shape[-2:])
        assert ab.dtype == torch.float32 and bool(ab.isfinite().all())
        if name != "regression linear":  # which alone has no bound
            assert float(ab.abs().max()) <= 128
    with in_bfloat16():
        inside = head.to_ab(raw)
    torch.testing.assert_close(inside, head.to_ab(raw), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", HEADS)
def test_losses_are_named_and_reach_every_weight(name: str) -> None:
    head = built(name)
    head.zero_grad()
    raw = head(features())
    losses = head.loss(raw, true_ab(raw))
    assert set(losses) <= set(LossConfig.model_fields)
    if config(name).type == "regression":  # the recipe's ab losses are taken on its colors
        assert not losses
        check_gradients(head, [head.to_ab(raw)])
        return
    assert all(loss.ndim == 0 and loss.dtype == torch.float32 for loss in losses.values())
    check_gradients(head, losses.values())


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_losses_are_float32_in_mixed_precision(name: str) -> None:
    head = built(name)
    raw = head(features())
    expected = head.loss(raw, true_ab(raw))
    with in_bfloat16():
        actual = head.loss(raw, true_ab(raw))
    for key, loss in actual.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected[key], rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", HEADS)
def test_steps_down_the_loss_lead_to_the_true_colors(name: str) -> None:
    """From raw of 0, for one color everywhere; `aml` weighs by place, and is right here too."""
    head = built(name)
    raw = torch.zeros_like(head(features(1, 2, 2))).requires_grad_()
    truth = torch.tensor((30.0, -20.0)).view(1, 2, 1, 1).expand(1, 2, *raw.shape[-2:])
    before = (head.to_ab(raw.detach()) - truth).abs().mean()
    for _ in range(60):
        own = head.loss(raw, truth)
        loss = sum(own.values()) if own else (head.to_ab(raw) - truth).abs().mean()
        (gradient,) = torch.autograd.grad(torch.as_tensor(loss), raw)
        with torch.no_grad():
            raw -= (0.3 if own else 0.01) * gradient.sign()
    after = (head.to_ab(raw.detach()) - truth).abs().mean()
    assert float(after) < 6 < float(before)


@pytest.mark.parametrize("name", HEADS)
def test_weights_survive_a_file(name: str) -> None:
    head = built(name)
    check_state(head, lambda module: [module(features())])


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"type": "classes65"}, "marginal64"),
        ({"kernel_size": 2}, "1 or 3"),
        ({"type": "regression", "compat": "aml"}, "compat needs type: classes"),
        ({"logit_adjustment_tau": 0.5, "rebalance_lambda": 0.5}, "needs type: classes"),
    ],
)
def test_a_head_that_contradicts_itself_is_refused(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HeadConfig.model_validate(tree)


@pytest.mark.parametrize("name", ["classes", "classes adjusted", "classes rebalanced"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_student_that_knows_what_its_teacher_knows_has_nothing_to_learn(
    name: str, temperature: float
) -> None:
    """With logit adjustment the optimum is the teacher's distribution; rebalancing moves it."""
    head = built(name)
    assert isinstance(head, ClassificationHead)
    taught = 3 * head(features()).detach()

    def gradient_at(raw: torch.Tensor) -> float:
        raw = raw.clone().requires_grad_()
        loss = head.distillation_loss(raw, taught.softmax(1), temperature=temperature)
        return float(torch.autograd.grad(loss, raw)[0].norm())

    nothing_to_learn = gradient_at(taught) < 1e-4 * gradient_at(0.5 * taught)
    assert nothing_to_learn == (name != "classes rebalanced")
