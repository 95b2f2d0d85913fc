"""The perceptual loss: nothing at the truth, a gradient that reaches ab, a network that stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pix2color.color.lab import lab_to_rgb, rgb_to_lab
from pix2color.errors import ConfigError
from pix2color.losses.perceptual import PerceptualLoss, normalized_l2, scale_normalized_l1
from pix2color.models.encoders import build_encoder
from pix2color.models.feature_maps import FeatureMaps


@pytest.fixture(scope="module", params=["l1", "lpips"])
def perceptual(request: pytest.FixtureRequest) -> PerceptualLoss:
    torch.manual_seed(0)
    return PerceptualLoss(FeatureMaps(build_encoder("mobilenet_v2")), distance=request.param)


def test_zero_at_the_truth_and_more_the_farther(perceptual: PerceptualLoss, square: Tensor) -> None:
    assert float(perceptual(square, square)) == 0
    lab = rgb_to_lab(square)
    gray = lab * torch.tensor((1.0, 0.0, 0.0)).view(1, 3, 1, 1)
    half = lab * torch.tensor((1.0, 0.5, 0.5)).view(1, 3, 1, 1)
    near, far = (float(perceptual(lab_to_rgb(one), square)) for one in (half, gray))
    assert 0 < near < far


def test_its_gradient_reaches_every_color(perceptual: PerceptualLoss, square: Tensor) -> None:
    """Also where the prediction lies outside sRGB, near black and white."""
    lab = rgb_to_lab(square)
    ab = (2.5 * lab[:, 1:] + 30).requires_grad_()
    rgb = lab_to_rgb(torch.cat((lab[:, :1], ab), dim=1), clip=False)
    assert bool((rgb < 0).any()) and bool((rgb > 1).any())
    perceptual(rgb, square).backward()
    assert ab.grad is not None
    assert bool(ab.grad.isfinite().all())
    assert float((ab.grad.abs().sum(1) > 0).float().mean()) > 0.99


def test_the_network_is_frozen_and_keeps_its_statistics(square: Tensor) -> None:
    perceptual = PerceptualLoss(FeatureMaps(build_encoder("mobilenet_v2")))
    before = {key: value.clone() for key, value in perceptual.state_dict().items()}
    perceptual.train()
    photo = square.clone().requires_grad_()
    perceptual(photo, square.flip(-1)).backward()
    assert photo.grad is not None
    assert all(parameter.grad is None for parameter in perceptual.parameters())
    after = perceptual.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_levels_that_an_encoder_does_not_have_are_left_out(square: Tensor) -> None:
    encoder = build_encoder("convnext_tiny").eval()
    lab = rgb_to_lab(square)
    gray = lab_to_rgb(lab * torch.tensor((1.0, 0.0, 0.0)).view(1, 3, 1, 1))
    whole = [
        scale_normalized_l1(a, b)
        for a, b in zip(*map(encoder.features, (gray, square)), strict=True)
    ]
    assert len(whole) == 4
    actual = PerceptualLoss(FeatureMaps(encoder))(gray, square)
    torch.testing.assert_close(actual, torch.stack(whole).mean())


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("mobilenet_v2", {"0.0": 3.0, "3.10": 0.5}), ("vgg16", {"0.0": 1.0, "1.5": 2.0})],
)
def test_named_blocks_are_compared_with_their_weights(
    name: str, blocks: dict[str, float], square: Tensor
) -> None:
    """Blocks of a network that works in place (VGG's ReLU after its convolution) as well."""
    encoder = build_encoder(name)
    inputs: dict[str, list[Tensor]] = {block: [] for block in blocks}
    for block, outputs in inputs.items():
        encoder.get_submodule(f"levels.{block}").register_forward_hook(
            lambda _module, _inputs, output, outputs=outputs: outputs.append(output.clone())
        )
    loss = PerceptualLoss(FeatureMaps(encoder, blocks), distance="lpips", weights=blocks)
    actual = loss(square.flip(-1), square)
    expected = sum(weight * normalized_l2(*inputs[block]) for block, weight in blocks.items())
    torch.testing.assert_close(actual, expected)
    assert float(actual) > 0


def test_normalized_l2_depends_on_direction_not_length() -> None:
    a, b = torch.tensor((3.0, 0.0)).view(1, 2, 1, 1), torch.tensor((0.0, 5.0)).view(1, 2, 1, 1)
    assert float(normalized_l2(a, 7 * a)) == 0
    assert float(normalized_l2(a, b)) == pytest.approx(2)
    assert float(normalized_l2(a, -b)) == pytest.approx(2)
    assert float(normalized_l2(a, -a)) == pytest.approx(4)


def test_a_feature_that_is_zero_everywhere_keeps_the_gradient_finite() -> None:
    zero = torch.zeros(1, 4, 2, 2, requires_grad=True)
    normalized_l2(zero, torch.ones(1, 4, 2, 2)).backward()
    assert zero.grad is not None
    assert bool(zero.grad.isfinite().all())


@pytest.mark.parametrize("block", ["0.7", "5.0", "first", "3"])
def test_a_block_that_the_network_does_not_have_is_named(block: str) -> None:
    with pytest.raises(ConfigError, match=rf"{block} is not a block of the network"):
        FeatureMaps(build_encoder("mobilenet_v2"), [block])
