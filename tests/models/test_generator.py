"""The generator: any size in, the declared stride out, and photos do not see each other."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from pix2color.build import build_generator
from pix2color.checkpoints import checkpoint
from pix2color.color import ab_bins
from pix2color.color.ab_bins import Prior
from pix2color.color.lab import rgb_to_lightness
from pix2color.config import DecodeConfig, ModelConfig
from pix2color.errors import ConfigError
from pix2color.models.generator import Generator, pad_to_multiple
from pix2color.models.heads import ClassificationHead, RegressionHead
from pix2color.models.unet import UNetDecoder

PLAIN = DecodeConfig()


def make(encoder: str = "mobilenet_v2", **options: object) -> Generator:
    """A tiny untrained generator in evaluation mode, whose colors vary over the picture."""
    torch.manual_seed(0)
    values = {
        "encoder": encoder,
        "pretrained": "none",
        "decoder_channels": [16],
        "convs_per_level": [1],
        **options,
    }
    generator = build_generator(ModelConfig.model_validate(values))
    torch.nn.init.normal_(generator.head.project.weight, std=0.5)
    return generator.eval()


@pytest.fixture(scope="module")
def class_generator() -> Generator:
    return make()


@pytest.fixture(scope="module")
def regression_generator() -> Generator:
    return make(head={"type": "regression"})


@pytest.fixture
def lightness(square: Tensor) -> Tensor:
    return rgb_to_lightness(square)


def noise(*size: int) -> Tensor:
    return 100 * torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))


# Sizes and strides


@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("encoder", ["mobilenet_v2", "efficientnet_b0"])
def test_the_output_has_the_declared_stride(encoder: str, stride: int) -> None:
    generator = make(encoder, output_stride=stride)
    assert generator.stride == stride
    step = generator.size_divisor
    assert step % stride == 0
    for height, width in ((step, step), (2 * step, 3 * step)):
        raw = generator(noise(height, width))
        assert raw.shape == (1, 313, height // stride, width // stride)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
@pytest.mark.parametrize("reduction", [(1, 2, 4, 8, 16), (2, 4, 8, 16, 32), (4, 8, 16, 32)])
def test_a_decoder_needs_channels_and_reduction_only(
    reduction: tuple[int, ...], stride: int
) -> None:
    """Encoders with levels finer than the output, and with none so fine."""
    channels = tuple(range(3, 3 + len(reduction)))
    decoder = UNetDecoder(channels, reduction, decoder_channels=(8, 6), stride=stride)
    sizes = zip(channels, reduction, strict=True)
    features = [torch.rand(1, c, 64 // r, 96 // r) for c, r in sizes]
    actual = decoder(features)
    assert actual.shape == (1, decoder.out_channels, 64 // stride, 96 // stride)


SIZES = [(1, 1), (1, 40), (33, 2), (3, 5), (31, 33), (32, 32), (65, 47), (64, 96)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_photos_of_any_size_are_colored(size: tuple[int, int], class_generator: Generator) -> None:
    ab = class_generator.predict(noise(*size), PLAIN)
    assert ab.shape == (1, 2, *size)
    assert ab.dtype == torch.float32
    assert bool(ab.isfinite().all())
    stride = class_generator.stride
    raw = class_generator.predict_raw(noise(*size))
    assert raw.shape[-2:] == (-(-size[0] // stride), -(-size[1] // stride))


def test_a_size_that_fits_is_not_padded(class_generator: Generator) -> None:
    whole = noise(64, 96)
    assert torch.equal(class_generator.predict_raw(whole), class_generator(whole))


def test_padding_leaves_the_photo_and_reflects_what_it_can() -> None:
    x = noise(20, 33)
    padded = pad_to_multiple(x, 16)
    assert padded.shape[-2:] == (32, 48)
    assert torch.equal(padded[..., :20, :33], x)
    assert torch.equal(padded[..., 20, :33], x[..., 18, :])
    tiny = pad_to_multiple(noise(1, 1), 16)
    assert torch.equal(tiny, noise(1, 1).expand(1, 1, 16, 16))


@pytest.mark.parametrize("kind", ["class_generator", "regression_generator"])
def test_photos_of_a_batch_do_not_see_each_other(
    kind: str, request: pytest.FixtureRequest, lightness: Tensor
) -> None:
    generator = request.getfixturevalue(kind)
    first, second = lightness[..., :50, :60], lightness.flip(-1)[..., :50, :60]
    together = generator.predict(torch.cat((first, second)), PLAIN)
    apart = torch.cat([generator.predict(one, PLAIN) for one in (first, second)])
    assert float(together.std()) > 0.3
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-3)


def test_colors_are_where_the_photo_changes(regression_generator: Generator) -> None:
    """A change in one corner of L changes ab most there, so that nothing is shifted or turned."""
    plain = torch.full((1, 1, 128, 128), 50.0)
    spot = plain.clone()
    spot[..., 8:24, 96:112] = 90.0
    change = (
        (regression_generator.predict(spot, PLAIN) - regression_generator.predict(plain, PLAIN))
        .norm(dim=1)[0]
        .view(4, 32, 4, 32)
        .mean((1, 3))
    )
    assert int(change.argmax()) == 3  # first row, last column of a 4 x 4 grid


def test_under_bfloat16_colors_come_as_float32_and_near_the_exact_ones(lightness: Tensor) -> None:
    """Not within 1 unit with the packaged weights: it is not declared exact."""
    generator = checkpoint.load().generator
    assert "bfloat16" not in generator.precisions
    exact = generator.predict(lightness, PLAIN)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = generator.predict(lightness, PLAIN)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).norm(dim=1).mean() < 3


# Decoding


def test_decoding_is_the_head_s_with_the_asked_for_setting(
    class_generator: Generator, lightness: Tensor
) -> None:
    raw = class_generator.predict_raw(lightness)
    log_prior = Prior.load().probability.log().float()
    for temperature, vividness in itertools.product((1.0, 0.38), (0.0, 0.5)):
        setting = DecodeConfig(temperature=temperature, vividness=vividness)
        logits = raw - vividness * log_prior.view(1, -1, 1, 1)
        small = ab_bins.annealed_mean(logits, temperature=temperature)
        expected = torch.nn.functional.interpolate(small, size=(64, 64), mode="bilinear")
        actual = class_generator.decode_raw(raw, (64, 64), setting)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-3)


def test_saturation_is_a_factor(class_generator: Generator, lightness: Tensor) -> None:
    plain, vivid, gray = (
        class_generator.predict(lightness, DecodeConfig(saturation=s)) for s in (1.0, 1.5, 0.0)
    )
    torch.testing.assert_close(vivid, 1.5 * plain)
    assert float(gray.abs().max()) == 0


# Heads


def test_a_fresh_class_network_predicts_the_prior() -> None:
    torch.manual_seed(0)
    generator = build_generator(ModelConfig(pretrained="none", decoder_channels=(16,))).eval()
    with torch.no_grad():
        share = generator(noise(64, 64)).softmax(1).mean((0, 2, 3))
    prior = Prior.load().probability.float()
    assert float((share - prior).abs().sum()) < 0.2


def test_another_prior_replaces_weights_and_vividness() -> None:
    head = ClassificationHead(4, Prior.load().probability, rebalance_lambda=0.5)
    flat = torch.full((313,), 1 / 313, dtype=torch.float64)
    assert float(head.class_weight.std()) > 0.1
    head.set_prior(flat)
    torch.testing.assert_close(head.class_weight, torch.ones(313))
    torch.testing.assert_close(head.log_prior, flat.log().float())


@pytest.mark.parametrize("activation", ["tanh", "linear"])
def test_a_regression_starts_gray_and_tanh_bounds_it(activation: str) -> None:
    torch.manual_seed(0)
    head = RegressionHead(8, activation=activation, scale=110)
    features = torch.rand(1, 8, 4, 4)
    assert float(head.to_ab(head(features)).detach().abs().max()) < 2
    far = head.to_ab(torch.full((1, 2, 4, 4), 50.0))
    assert float(far.max()) == pytest.approx(110 if activation == "tanh" else 5500)


# Statistics


def test_frozen_statistics_stay_while_everything_learns(lightness: Tensor) -> None:
    generator = make()
    generator.frozen_statistics = True
    generator.train()
    before = {k: v.clone() for k, v in generator.state_dict().items() if "running" in k}
    generator(lightness).sum().backward()
    after = generator.state_dict()
    assert before and all(torch.equal(after[key], value) for key, value in before.items())
    assert all(p.grad is not None for p in generator.parameters())
    generator.frozen_statistics = False
    generator.train()
    generator(lightness)
    after = generator.state_dict()
    assert not all(torch.equal(after[key], value) for key, value in before.items())


def test_attention_starts_with_gain_0_and_can_learn(lightness: Tensor) -> None:
    generator = make(attention=True)
    gains = [p for name, p in generator.named_parameters() if name.endswith("gamma")]
    assert len(gains) == 1
    before = generator(lightness)
    with torch.no_grad():
        gains[0].fill_(1.0)
    after = generator(lightness)
    assert float((after - before).detach().abs().max()) > 1e-3
    after.square().mean().backward()
    assert gains[0].grad is not None and float(gains[0].grad.abs()) > 0


def test_a_stride_coarser_than_the_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="coarser"):
        UNetDecoder((8, 8), (2, 4), decoder_channels=(8,), stride=8)
