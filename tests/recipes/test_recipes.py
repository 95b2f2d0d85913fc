"""The recipes in configs/: each builds, says where it comes from, and overfits a real photo."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pix2color import build
from pix2color.color.ab_bins import soft_encode
from pix2color.color.lab import rgb_to_lab
from pix2color.config import Config, ModelConfig, load
from pix2color.data.loader import Batch
from pix2color.errors import ConfigError
from pix2color.models.fusion import Classifier, build_classifier
from pix2color.models.heads import ClassificationHead, Head
from pix2color.training import steps
from pix2color.training.setup import resolve_init_from

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(p for p in FOLDER.glob("*.yaml") if p.stem != "benchmark")  # a plan
ADVERSARIAL = ("strided_gan", "unet_cgan", "vgg16_class64_gan")
"""What reports only name."""
REPORTED = (
    *("vgg16_regression", "vgg16_class64", "zhang_l2", "zhang_class", "zhang_class_rebal"),
    *("zhang_cnn_w64", "zhang_cnn_w32", "zhang_cnn_w16", "resnet_upsample", "fusion", "strided"),
)
OWN = ("pretrain_l2", "pretrain_class", "unet_class_rebal", "unet_l2_gan", "gan")
OWN += ("packaged", "distill")  # from the packaged weights
# What stands for weights that a test cannot download.
UNTRAINED = ["model.pretrained=none", "model.freeze=none", "init_from=null"]


def untrained(name: str, *overrides: str) -> Config:
    return load(name, [*UNTRAINED, *overrides])


def parts_of(config: Config) -> build.TrainingComponents:
    """As recipe.build; the fusion's classifier is untrained here, which build refuses, and sees
    small pictures."""

    def classifier(name: str, source: str) -> Classifier:
        return replace(build_classifier(name), size=32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "pretrained_classifier", classifier)
        return build.build_training(config)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_says_what_it_is_and_builds(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    if path.stem in REPORTED:
        assert "System" in text
    model = load(path.name).model
    with torch.device("meta"):
        generator = build.build_generator(model, pretrained=False)
    assert generator.stride == model.output_stride


def test_every_file_is_a_known_recipe() -> None:
    assert {path.stem for path in FILES} == {*REPORTED, *ADVERSARIAL, *OWN}


def network_of(config: Config) -> ModelConfig:
    """The model section without what only the training uses, and without the decoding."""
    head = config.model.head.model_copy(update={"logit_adjustment_tau": 0.0, "decoding": "argmax"})
    return config.model.model_copy(update={"head": head, "dropout": 0.0})


@pytest.mark.parametrize(
    ("stage", "first"),
    [
        ("gan", "pretrain_class"),
        ("unet_l2_gan", "pretrain_l2"),
        ("strided_gan", "strided"),
        ("vgg16_class64_gan", "vgg16_class64"),
    ],
)
def test_an_adversarial_stage_starts_from_the_network_of_its_first(stage: str, first: str) -> None:
    second = load(stage)
    assert second.init_from == f"{load(first).output}/release.safetensors"
    assert network_of(second) == network_of(load(first))
    assert second.gan.enabled


@pytest.mark.parametrize("name", [*REPORTED, *ADVERSARIAL])
def test_the_header_of_a_reported_system_says_what_differs_and_what_is_not_known(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    header = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
    assert "Reported" in header and "our choices: " in header.lower()
    others = "those of" in header and ".yaml." in header  # says the rest
    assert "not reported" in header.lower() or "Reported: nothing" in header or others
    for said in ("samples", "mirror", "crops of", "the loss", "almost without color"):
        assert said in header or others, said
    assert re.search("constant rate|cosine", header) or others


def test_a_loss_at_full_size_is_used_where_a_report_takes_it_there() -> None:
    """B repeats the logits, C and the tutorial of D and E their output."""
    at = {name: load(name).loss.enlarge for name in REPORTED}
    full = {"zhang_l2", "zhang_class", "zhang_class_rebal", "fusion", "strided"}
    full |= {"zhang_cnn_w64", "zhang_cnn_w32", "zhang_cnn_w16"}
    assert {name for name, enlarge in at.items() if enlarge == "nearest"} == full
    assert load("resnet_upsample").model.output_stride == 1  # is at full size already
    assert all(load(name).loss.targets == "average" for name in REPORTED)


def test_a_missing_first_stage_is_named_where_nothing_can_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for stage, first in (("strided_gan", "strided"), ("unet_l2_gan", "pretrain_l2")):
        with pytest.raises(ConfigError, match=rf"train {first}\.yaml first"):
            resolve_init_from(load(stage), announce=print)


def test_the_optimizers_are_the_reported_ones() -> None:
    kinds = {
        "zhang_class": torch.optim.Adam,
        "zhang_cnn_w16": torch.optim.Adam,
        "strided": torch.optim.RMSprop,
        "pretrain_class": torch.optim.AdamW,
    }
    for name, kind in kinds.items():
        config = untrained(name, "model.conv_encoder.width=2")
        assert type(parts_of(config).optimizer) is kind
    rmsprop = parts_of(untrained("strided", "model.conv_encoder.width=2")).optimizer
    assert {group["alpha"] for group in rmsprop.param_groups} == {0.9}
    assert {group["lr"] for group in rmsprop.param_groups} == {1e-3}
    gan = parts_of(untrained("strided_gan", "model.conv_encoder.width=2"))
    assert gan.discriminator_optimizer is not None
    assert gan.discriminator_optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def overfit(config: Config, photo: torch.Tensor, *, updates: int) -> tuple[float, float]:
    """The recipe's own loss on one photo, before and after some steps of its own optimizer.

    Of a class loss, the part above that of a network which predicts the soft targets themselves.
    """
    torch.manual_seed(0)
    parts = parts_of(config)
    generator = parts.generator.train()
    lab = rgb_to_lab(photo)
    batch = Batch(lab[:, :1], lab)
    values: list[float] = []
    for _ in range(updates):
        raw = generator(batch.input_lightness)
        losses = steps.reconstruction_losses(
            raw,
            batch,
            head=generator.head,
            ab_losses=parts.ab_losses,
            perceptual=None,
            targets=config.loss.targets,
            enlarge=config.loss.enlarge,
        )
        total = steps.weighted_sum(losses, parts.weights)
        parts.optimizer.zero_grad()
        total.backward()
        parts.optimizer.step()
        values.append(float(total.detach()))
    floor = 0.0
    if config.model.head.type == "classes":
        floor = _lowest_class_loss(generator.head, lab[:, 1:], raw, config.loss.enlarge)
    return values[0] - floor, min(values[-3:]) - floor


def _lowest_class_loss(head: Head, ab: torch.Tensor, raw: torch.Tensor, enlarge: str) -> float:
    """Of logits that predict each cell's soft targets: their mean, as their pixels are weighted."""
    assert isinstance(head, ClassificationHead)
    if enlarge == "none":
        ab = torch.nn.functional.adaptive_avg_pool2d(ab, raw.shape[-2:])
    labels = soft_encode(ab, neighbors=5)
    weight = head.class_weight[labels.index[:, 0]].unsqueeze(1)
    sums, weights = (
        torch.nn.functional.adaptive_avg_pool2d(planes, raw.shape[-2:])
        for planes in (labels.to_dense() * weight, weight)
    )
    perfect = (sums / weights).clamp_min(1e-12).log()
    repeated = torch.nn.functional.interpolate(perfect, size=ab.shape[-2:])
    return float(head.loss(repeated, ab)["cross_entropy"])


FAST = ["optim.encoder_lr=3e-3", "optim.decoder_lr=3e-3", "model.conv_encoder.dropout=0"]
THIN = [*FAST, "model.conv_encoder.width=8"]
VGG = ["model.encoder=resnet18", "model.num_encoder_levels=3", "model.hypercolumn.width=32", *FAST]
UNET = [
    "model.encoder=resnet18",
    "model.num_encoder_levels=3",
    "model.decoder_channels=[32]",
    *FAST,
]
SMALL = {
    # recipe: overrides that make its network small, updates
    "vgg16_regression": (VGG, 25),
    "vgg16_class64": (VGG, 35),
    "zhang_l2": (THIN, 25),
    "zhang_class": (THIN, 35),
    "zhang_class_rebal": (THIN, 35),
    "zhang_cnn_w16": (THIN, 25),
    "resnet_upsample": ([], 25),
    "fusion": (["model.conv_encoder.width=16"], 40),
    "strided": (["model.conv_encoder.width=16"], 60),
    "strided_gan": (["model.conv_encoder.width=16", *FAST], 60),
    "unet_cgan": (["model.conv_encoder.width=16", "model.dropout=0", *FAST], 60),
    "vgg16_class64_gan": (VGG, 35),
    "unet_class_rebal": (UNET, 70),
    "unet_l2_gan": (UNET, 20),
}
# 5 times less squared error is 2.2 times less absolute error.
FALL = {"strided_gan": 2.2, "unet_cgan": 2.2}


@pytest.mark.parametrize("name", SMALL)
def test_a_small_one_overfits_one_photo(name: str, square: torch.Tensor) -> None:
    overrides, updates = SMALL[name]
    photo = torch.nn.functional.avg_pool2d(square, 2)
    before, after = overfit(untrained(name, *overrides), photo, updates=updates)
    assert after < before / FALL.get(name, 5)


# The networks as they are trained: minutes on a CPU.


def whole(name: str) -> list[str]:
    """Rates that get there in a minute: batch norms bear higher ones."""
    rate = 1e-3 if name.startswith("zhang") else 3e-4
    rates = [f"optim.{part}_lr={rate}" for part in ("encoder", "decoder")]
    return [*rates, "model.conv_encoder.dropout=0"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [*REPORTED, *ADVERSARIAL])
def test_the_whole_one_overfits_one_photo(name: str, square: torch.Tensor) -> None:
    config = untrained(name, *whole(name))
    photo = torch.nn.functional.avg_pool2d(square, 2)
    before, after = overfit(config, photo, updates=80)
    assert after < before / FALL.get(name, 5)
