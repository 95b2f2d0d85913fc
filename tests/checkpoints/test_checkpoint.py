"""Weights: a release file gives back the network that was saved, bit for bit, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pix2color.build import build_generator, build_training
from pix2color.checkpoints import checkpoint, release_file
from pix2color.color.lab import rgb_to_lightness
from pix2color.config import Config, DecodeConfig, from_dict
from pix2color.errors import WeightsError
from pix2color.models.generator import Generator

SETTINGS = {
    "classes": {"encoder": "mobilenet_v2", "attention": True},
    "regression": {"encoder": "resnet18", "head": {"type": "regression", "ab_scale": 128}},
    "fine": {
        "encoder": "mobilenet_v3_large",
        "output_stride": 2,
        "head": {"rebalance_lambda": 0.5, "soft_encoding_k": 10},
    },
}
DECODE = {"temperature": 0.5, "vividness": 0.25, "saturation": 1.1, "input_size": 64}


def config_of(name: str) -> Config:
    model = {
        "pretrained": "none",
        "decoder_channels": [12, 8],
        "convs_per_level": [1],
        **SETTINGS[name],
    }
    return from_dict({"model": model, "decode": DECODE, "loss": {"l2": 1.0}})


def living(config: Config) -> Generator:
    """A generator with weights, statistics and a prior that no fresh one has."""
    torch.manual_seed(0)
    generator = build_generator(config.model)
    torch.nn.init.normal_(generator.head.project.weight, std=0.3)
    generator.train()(100 * torch.rand(2, 1, 64, 64))
    if hasattr(generator.head, "set_prior"):
        drawn = torch.rand(313, dtype=torch.float64) + 1e-3
        generator.head.set_prior(drawn / drawn.sum())
    return generator.eval()


def halve(generator: Generator) -> None:
    """Round the weights as the file does."""
    for name, value in generator.state_dict().items():
        if value.is_floating_point() and not release_file.keep_float32(name):
            value.copy_(value.half().float())


@pytest.mark.parametrize("name", SETTINGS)
def test_saved_and_loaded_it_colors_bit_for_bit_the_same(
    name: str, tmp_path: Path, square: Tensor
) -> None:
    config = config_of(name)
    generator = living(config)
    halve(generator)
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, generator, config=config)
    released = checkpoint.load(path)
    assert released.decode == config.decode
    assert released.meta["model"] == config.model.model_dump(mode="json")
    assert not released.generator.training
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    lightness = rgb_to_lightness(square)[..., :50, :61]
    expected = generator.predict(lightness, config.decode)
    assert float(expected.std()) > 0.1
    assert torch.equal(released.generator.predict(lightness, released.decode), expected)
    # And once more: nothing is lost on the way.
    checkpoint.save(tmp_path / "again.safetensors", released.generator, config=config)
    again = checkpoint.load(tmp_path / "again.safetensors")
    assert torch.equal(again.generator.predict(lightness, again.decode), expected)


def test_rounding_to_half_is_all_that_saving_changes(tmp_path: Path, square: Tensor) -> None:
    config = config_of("classes")
    generator = living(config)
    checkpoint.save(tmp_path / "net.safetensors", generator, config=config)
    loaded = checkpoint.load(tmp_path / "net.safetensors").generator
    lightness = rgb_to_lightness(square)
    actual, exact = (net.predict(lightness, DecodeConfig()) for net in (loaded, generator))
    torch.testing.assert_close(actual, exact, rtol=0, atol=0.5)


def test_data_figures_and_notice_are_saved(tmp_path: Path) -> None:
    config = config_of("classes")
    data, figures = {"photos": 12, "roots": ["mine"]}, {"auc": 91.5, "protocol": "center"}
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, living(config), config=config, data=data, figures=figures)
    released = checkpoint.load(path)
    assert released.name == "net.safetensors"
    assert (released.meta["data"], released.meta["figures"]) == (data, figures)
    assert "guesses" in released.meta["notice"]
    assert released.meta["config_digest"] == config.digest()


def test_another_architecture_is_named(tmp_path: Path) -> None:
    """A file whose weights do not fit the network it describes."""
    generator = living(config_of("classes"))
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, generator, config=config_of("regression"))
    with pytest.raises(WeightsError, match=r"another network: .*missing .*foreign"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({}, "it has no section 'model'"),
        ({"model": {"encoder": "resnet18", "tricks": 3}}, "unknown key tricks"),
        ({"model": {"encoder": "resnet99"}}, "no encoder 'resnet99'"),
        ({"model": {}, "decode": {"glow": 1}}, "unknown key glow"),
    ],
)
def test_a_file_of_another_version_says_which(
    tmp_path: Path, meta: dict[str, object], reason: str
) -> None:
    path = tmp_path / "net.safetensors"
    release_file.write(path, {"a": torch.zeros(1)}, {"version": "9.9", "decode": {}, **meta})
    with pytest.raises(WeightsError, match=r"another version of pix2color \(9\.9") as caught:
        checkpoint.load(path)
    said = str(caught.value)
    assert reason in said and "python -m pix2color import" in said and "\n" not in said


def test_training_starts_from_a_release(tmp_path: Path) -> None:
    config = config_of("classes")
    generator = living(config)
    halve(generator)
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, generator, config=config)
    start = config.model_copy(update={"init_from": str(path)})
    started = build_training(start).generator
    for key, value in generator.state_dict().items():
        assert torch.equal(started.state_dict()[key], value), key
    assert any(p.requires_grad for p in started.parameters())
    other = config_of("regression").model_copy(update={"init_from": str(path)})
    with pytest.raises(WeightsError, match="classes head, the recipe a regression head"):
        build_training(other)


def test_residual_blocks_are_added_to_a_trained_network(tmp_path: Path, square: Tensor) -> None:
    """They begin as the identity, learn from the first step, and are no others' business."""
    config = config_of("classes")
    generator = living(config)
    halve(generator)
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, generator, config=config)
    model = config.model.model_copy(update={"residual_blocks": (1, 2)})
    grown = build_training(
        config.model_copy(update={"init_from": str(path), "model": model})
    ).generator
    lightness = rgb_to_lightness(square)
    before = generator.predict(lightness, config.decode)
    assert torch.equal(grown.eval().predict(lightness, config.decode), before)
    blocks = grown.decoder.residuals
    assert [len(level) for level in blocks] == [1, 2, 0, 0, 0][: len(blocks)]
    optimizer = torch.optim.SGD(blocks.parameters(), lr=1.0)
    for _ in range(2):  # the last norm moves first, what lies before it then
        optimizer.zero_grad()
        grown.train()(lightness).logsumexp(1).mean().backward()
        optimizer.step()
    assert all(bool((p.grad != 0).any()) for p in blocks.parameters())
    saved = config.model_copy(update={"model": model})
    checkpoint.save(tmp_path / "grown.safetensors", grown.eval(), config=saved)
    halve(grown)
    again = checkpoint.load(tmp_path / "grown.safetensors").generator
    actual = again.predict(lightness, config.decode)
    torch.testing.assert_close(actual, grown.predict(lightness, config.decode), rtol=0, atol=1e-3)
    assert float((actual - before).abs().max()) > 0.01


def test_an_encoder_is_taken_out_of_a_release(tmp_path: Path) -> None:
    config = config_of("classes")
    generator = living(config)
    halve(generator)
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, generator, config=config)
    model = config.model.model_copy(update={"pretrained": str(path)})
    encoder = build_generator(model).encoder
    for key, value in generator.encoder.state_dict().items():
        assert torch.equal(encoder.state_dict()[key], value), key
    with pytest.raises(WeightsError, match="holds a mobilenet_v2 encoder, the recipe names resnet"):
        build_generator(model.model_copy(update={"encoder": "resnet18"}))


def test_missing_or_wrong_encoder_weights_are_named(tmp_path: Path) -> None:
    model = config_of("classes").model
    for source, message in (
        (str(tmp_path / "none.safetensors"), "no weights file"),
        (str(tmp_path / "none.pth"), "no weights file"),
    ):
        with pytest.raises(WeightsError, match=message):
            build_generator(model.model_copy(update={"pretrained": source}))
    torch.save({"features.0.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    wrong = model.model_copy(update={"pretrained": str(tmp_path / "other.pth")})
    with pytest.raises(WeightsError, match="does not hold the weights of mobilenet_v2"):
        build_generator(wrong)


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "/nonexistent/hub")
    monkeypatch.setattr("os.makedirs", lambda *args, **kwargs: None)
    model = config_of("classes").model.model_copy(update={"pretrained": "imagenet"})
    with pytest.raises(WeightsError, match=r"cannot be downloaded.*model\.pretrained"):
        build_generator(model)


@pytest.mark.skipif(
    not release_file.DEFAULT_FILE.is_file(), reason="no packaged weights in this checkout"
)
def test_the_packaged_weights_color(square: Tensor) -> None:
    released = checkpoint.load()
    assert released.name == "default"
    assert released.digest == checkpoint.load("default").digest
    assert release_file.DEFAULT_FILE.stat().st_size < 16e6
    ab = released.generator.predict(rgb_to_lightness(square), released.decode)
    assert bool(ab.isfinite().all())
    assert 1 < float(ab.norm(dim=1).mean()) < 60
