"""The networks of the reports: their sizes are the published ones, their shapes the contract's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from pix2color.build import build_generator
from pix2color.color import ab_bins
from pix2color.color.ab_bins import Prior
from pix2color.config import ModelConfig, load
from pix2color.errors import ConfigError, WeightsError
from pix2color.models.conv_encoder import STRIDED_DEEP
from pix2color.models.encoders import build_encoder
from pix2color.models.fusion import FusionEncoder, build_classifier
from pix2color.models.heads import AmlClassificationHead, ClassificationHead, MarginalClassHead

VGG_TO_CONV4_3 = 7_635_264
RESIZED = {"stages": [[128], [64, 64], [32]], "mode": "nearest"}


def model_of(recipe: str, *overrides: str) -> ModelConfig:
    return load(recipe, overrides).model


def sizes(model: ModelConfig) -> tuple[int, int]:
    """Trainable and frozen parameters; on torch's meta device, so that nothing is computed."""
    with torch.device("meta"):
        generator = build_generator(model, pretrained=False)
    generator.encoder.freeze(model.freeze)
    counts = {True: 0, False: 0}
    for parameter in generator.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    return counts[True], counts[False]


@pytest.mark.parametrize(
    ("recipe", "trainable", "frozen"),
    [
        ("vgg16_regression", 1_158_466, VGG_TO_CONV4_3),
        ("vgg16_class64", 1_174_400, VGG_TO_CONV4_3),
        ("zhang_class", 24_788_032, 0),
        ("zhang_class_rebal", 24_788_032, 0),
        ("zhang_l2", 24_748_224, 0),
        ("zhang_cnn_w64", 24_747_970, 0),
        ("zhang_cnn_w32", 6_190_050, 0),
        ("zhang_cnn_w16", 1_549_042, 0),
        ("resnet_upsample", 849_458, 0),
        ("fusion", 6_541_202, 3_504_872),
        ("strided", 3_892_194, 0),
        ("strided_gan", 3_892_194, 0),
    ],
)
def test_parameters_are_as_many_as_reported(recipe: str, trainable: int, frozen: int) -> None:
    assert sizes(model_of(recipe)) == (trainable, frozen)


def test_frozen_vgg_and_batch_statistics_are_what_keras_counts_as_not_trainable() -> None:
    with torch.device("meta"):
        generator = build_generator(model_of("vgg16_regression"), pretrained=False)
    statistics = sum(
        b.numel() for n, b in generator.decoder.named_buffers() if n.endswith(("mean", "var"))
    )
    assert VGG_TO_CONV4_3 + statistics == 7_637_056


def test_resized_instead_of_transposed() -> None:
    tree = model_of("resnet_upsample").model_dump() | {"output_stride": 2}
    tree["upsample"] |= RESIZED
    assert sizes(ModelConfig.model_validate(tree)) == (954_722, 0)


def test_conv_encoders_take_lightness() -> None:
    model = ModelConfig.model_validate(
        {"encoder": "zhang_cnn", "conv_encoder": {"width": 4}, "decoder_channels": [8]}
    )
    generator = build_generator(model, pretrained=False).eval()
    inputs: list[torch.Tensor] = []
    generator.encoder.levels[0].register_forward_pre_hook(
        lambda module, given: inputs.append(given[0])
    )
    lightness = torch.linspace(0, 100, 64 * 64).view(1, 1, 64, 64)
    generator(lightness)
    assert inputs[0].shape == lightness.shape
    torch.testing.assert_close(inputs[0] * 100, lightness, atol=1e-3, rtol=0)


def test_a_summed_stem_is_the_three_channel_network_but_for_its_normalization() -> None:
    torch.manual_seed(0)
    whole, summed = build_encoder("resnet18"), build_encoder("resnet18")
    summed.load_state_dict(whole.state_dict())
    summed.to_single_channel()
    gray = torch.rand(1, 1, 64, 64).expand(-1, 3, -1, -1)
    whole.eval(), summed.eval()
    before, after = whole.features(gray)[0], summed.features(gray)[0]
    assert summed.levels[0][0].weight.shape[1] == 1
    assert torch.corrcoef(torch.stack((before.flatten(), after.flatten())))[0, 1] > 0.99


def test_a_truncated_encoder_gives_the_finest_levels_unchanged() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("mobilenet_v2").eval()
    gray = torch.rand(1, 3, 64, 64)
    whole = encoder.features(gray)
    encoder.truncate(3)
    for before, after in zip(whole, encoder.features(gray), strict=False):
        assert torch.equal(before, after)
    assert encoder.reduction == (2, 4, 8)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.num_encoder_levels=9"], "the encoder has 5"),
        (["model.encoder=zhang_cnn", "model.sum_rgb_stem=true"], "begins"),
        (
            ["model.decoder=upsample", "model.upsample={stages: [[8],[],[],[]], mode: transposed}"],
            "needs channels in every later stage",
        ),
        (["model.encoder=zhang_cnn", "model.pretrained=imagenet"], "must be none"),
        (["model.encoder=fusion", "model.pretrained=none"], "weights of a whole classifier"),
        (["model.encoder=fusion", "model.pretrained=x.pth"], "no weights file x.pth"),
        (["model.head={type: marginal64}", "loss.l2=1"], "argmax"),
        (["model.head={type: regression, compat: aml}", "loss.l2=1"], "needs type: classes"),
    ],
)  # fmt: skip
def test_contradictions_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises((ConfigError, WeightsError)) as caught:
        build_generator(load(None, ["model.pretrained=none", *overrides]).model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Heads


def test_64_bins_are_decoded_to_their_centers() -> None:
    head = MarginalClassHead(4)
    ab = torch.rand(1, 2, 6, 6) * 200 - 100
    step = ((ab + 128) / 4).long()
    raw = torch.nn.functional.one_hot(step, 64).movedim(-1, 2).flatten(1, 2).float() * 50
    decoded = head.to_ab(raw)
    assert (decoded - ab).abs().max() <= 2 + 1e-4
    soft = MarginalClassHead(4, decoding="mean")
    torch.testing.assert_close(soft.to_ab(raw), decoded)  # where one bin has all probability
    halves = torch.zeros(1, 2, 64, 1, 1)
    halves[:, :, 10] = halves[:, :, 13] = 30.0
    assert torch.allclose(soft.to_ab(halves.flatten(1, 2)), torch.tensor(12.0 * 4 - 128))
    assert head.loss(raw, ab)["cross_entropy"] < 1e-6
    assert head.loss(torch.zeros_like(raw), ab)["cross_entropy"] == pytest.approx(math.log(64))


# The published fault (facts of its code: a gray picture is weighted 5.62 in the place of .148)


def published_prior() -> Prior:
    """One with the published shares of the ten most frequent bins and the published scale.

    Its weight of bin q is c / (p / 2 + 1 / 626) with c = .1481 (.1181 / 2 + 1 / 626); the rest of
    the mass lies on so many bins that sum(p w) = 1 gives this c.
    """
    known = {(0, 0): 0.1181, (0, 10): 0.1157, (0, -10): 0.0903, (0, 20): 0.0855, (0, -20): 0.0522,
             (0, 30): 0.0487, (0, -30): 0.0238, (10, 20): 0.0232, (10, 10): 0.0227,
             (0, 40): 0.0223}  # fmt: skip
    index = {tuple(map(int, c)): i for i, c in enumerate(ab_bins.bin_centers().tolist())}
    p = torch.full((ab_bins.COUNT,), 1e-8, dtype=torch.float64)
    for color, share in known.items():
        p[index[color]] = share
    scale = 0.1481 * (0.1181 / 2 + 1 / 626)
    rest = 1 - sum(known.values())
    needed = 1 / scale - sum(s / (s / 2 + 1 / 626) for s in known.values())
    # n bins of rest / n each: rest / (rest / 2n + 1 / 626) = needed
    count = round(rest / 2 / (rest / needed - 1 / 626))
    free = [i for i in range(150, ab_bins.COUNT) if p[i] < 1e-6][:count]
    p[free] = rest / count
    return Prior(p / p.sum(), 1, "published")


@pytest.fixture(scope="module")
def aml() -> AmlClassificationHead:
    return AmlClassificationHead(4, published_prior().probability, rebalance_lambda=0.5, bias=False)


def test_the_class_weights_are_the_published_ones(aml: AmlClassificationHead) -> None:
    assert float(aml.class_weight[120]) == pytest.approx(0.1481, rel=0.02)
    assert float(aml.class_weight[0]) == pytest.approx(5.6221, rel=0.02)


def test_aml_weights_a_gray_picture_as_the_rarest_color(aml: AmlClassificationHead) -> None:
    gray = torch.zeros(1, 2, 176, 176)
    code = ab_bins.soft_encode(gray).to_dense()
    applied = aml.row_weights(code)
    # Weighted by the mass that each row of the target holds, as its loss counts them.
    mass = code.reshape(-1, ab_bins.COUNT).sum(1)
    assert float((applied * mass).sum() / mass.sum()) == pytest.approx(5.62, rel=0.02)
    right = ClassificationHead(4, published_prior().probability, rebalance_lambda=0.5)
    assert float(right.class_weight[ab_bins.nearest_bin(gray)].mean()) == pytest.approx(
        0.148, rel=0.02
    )


def test_aml_weights_do_not_depend_on_the_colors(
    aml: AmlClassificationHead, square: torch.Tensor
) -> None:
    from pix2color.color.lab import rgb_to_lab

    ab = torch.nn.functional.interpolate(rgb_to_lab(square)[:, 1:], size=176, mode="bilinear")
    code = ab_bins.soft_encode(ab)
    applied = aml.row_weights(code.to_dense())
    expected = aml.class_weight[code.index[:, 0]]
    assert float(applied.mean()) > 2 * float(expected.mean())


def test_aml_without_rebalancing_is_the_sum_of_the_right_loss() -> None:
    torch.manual_seed(0)
    prior = Prior.load().probability
    summed, right = AmlClassificationHead(4, prior), ClassificationHead(4, prior)
    raw, ab = torch.randn(2, 313, 12, 12), torch.rand(2, 2, 12, 12) * 100 - 50
    total = summed.loss(raw, ab)["cross_entropy"]
    mean = right.loss(raw, ab)["cross_entropy"]
    torch.testing.assert_close(total, mean * 2 * 12 * 12, rtol=1e-4, atol=0)


def test_aml_predicts_at_full_size() -> None:
    model = model_of("zhang_class_rebal", "model.head.compat=aml", "model.conv_encoder.width=2")
    generator = build_generator(model, pretrained=False).eval()
    assert generator.stride == 1
    raw = generator(torch.rand(1, 1, 32, 32) * 100)
    assert raw.shape[-2:] == (32, 32)
    assert torch.equal(raw[..., ::4, ::4], raw[..., 3::4, 3::4])


# The classifier of the fusion network


def fusion(*, reproduce_scale_bug: bool = False) -> FusionEncoder:
    torch.manual_seed(0)
    classifier = build_classifier("mobilenet_v2")
    return FusionEncoder(
        STRIDED_DEEP, width=2, classifier=classifier, reproduce_scale_bug=reproduce_scale_bug
    )


def test_the_classifier_stays_as_it_is_in_training() -> None:
    encoder = fusion().train()
    assert not any(module.training for module in encoder.classifier.modules())
    encoder.features(torch.rand(2, 3, 16, 16))[-1].sum().backward()
    assert all(p.grad is None for p in encoder.classifier.parameters())
    assert encoder.fuse[0].weight.grad is not None


def test_the_published_scaling_gives_the_classifier_an_almost_black_image() -> None:
    photos = torch.rand(2, 1, 32, 32).expand(-1, 3, -1, -1)
    inputs: dict[bool, torch.Tensor] = {}
    for published in (False, True):
        encoder = fusion(reproduce_scale_bug=published)
        encoder.classifier.register_forward_pre_hook(
            lambda module, given, key=published: inputs.update({key: given[0]})
        )
        assert encoder.probabilities(photos).sum(1) == pytest.approx(1, abs=1e-4)
    assert (inputs[False].std((0, 2, 3)) > 200 * inputs[True].std((0, 2, 3))).all()
    assert inputs[False].shape == (2, 3, 224, 224)


def test_a_classifier_comes_from_a_file(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(3)
    classifier = build_classifier("mobilenet_v2").net
    save_file(classifier.state_dict(), tmp_path / "classifier.safetensors")
    model = model_of("fusion", f"model.pretrained={tmp_path}/classifier.safetensors")
    encoder = build_generator(model).encoder
    assert isinstance(encoder, FusionEncoder)
    actual = encoder.classifier.state_dict()
    assert all(torch.equal(value, actual[key]) for key, value in classifier.state_dict().items())
