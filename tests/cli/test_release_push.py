"""release --push: what goes to the Hub, to a stand-in on loopback, by the Hub's own library."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import READER, TOKEN, Hub, point_at

from pix2color.build import build_generator
from pix2color.checkpoints import checkpoint, hub
from pix2color.cli import release
from pix2color.config import Config, from_dict
from pix2color.errors import EXIT_OK, EXIT_USAGE, WeightsError
from pix2color.runtime.load import load_runtime

onnx_format = pytest.importorskip("onnx", reason="the onnx extra is not installed")
from pix2color.runtime import onnx_export  # noqa: E402

TREE = {
    "data": {"roots": ["/home/somebody/family-photos"], "crop": 96},
    "model": {
        "encoder": "mobilenet_v2", "pretrained": "/home/somebody/encoder.pth",
        "decoder_channels": [8], "convs_per_level": [1],
    },
    "gan": {"enabled": True},
    "decode": {"temperature": 0.6, "vividness": 0.4, "input_size": 64},
    "init_from": "/home/somebody/start.safetensors",
    "output": "runs/gan",
}  # fmt: skip
FACTS = {"roots": ["family-photos"], "photos": 1234, "gray_left_out": 5, "broken": 0}


@pytest.fixture(scope="module")
def config() -> Config:
    return from_dict(TREE)


@pytest.fixture(scope="module")
def best(config: Config, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A release file of a small network of that run."""
    torch.manual_seed(0)
    generator = build_generator(config.model.model_copy(update={"pretrained": "none"}))
    path = tmp_path_factory.mktemp("best") / "release.safetensors"
    checkpoint.save(path, generator, config=config, data=FACTS, figures={})
    return path.read_bytes()


@pytest.fixture
def run(config: Config, best: bytes, tmp_path: Path) -> Path:
    folder = tmp_path / "gan"
    folder.mkdir()
    (folder / "config.yaml").write_text(config.dump())
    (folder / "release.safetensors").write_bytes(best)
    lines = [
        {"kind": "validation", "samples": 4096, "auc_gain": 1.0},
        {
            "kind": "validation",
            "samples": 8192,
            "auc_gain": 2.125,
            "psnr_gain": 1.5,
            "composite": 3.0,
        },
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as fake_hub:
        point_at(fake_hub, monkeypatch, tmp_path / "home", token=TOKEN)
        yield fake_hub


def release_run(run: Path, *arguments: str) -> int:
    return release.main(["--run", str(run), "--best", *arguments])


def test_the_folder_that_would_be_pushed(run: Path, server: Hub, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    folder = tmp_path / "look"
    options = ["--push", "me/net", "--dry-run", str(folder), "--license", "cc-by-4.0"]
    assert release_run(run, *options) == EXIT_OK
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "model.onnx", "model.safetensors", "pix2color.json"
    ]  # fmt: skip
    # Other programs find the weights under their new name.
    onnx_format.checker.check_model(folder / "model.onnx")
    manifest = json.loads((folder / "pix2color.json").read_text())
    assert manifest["graph"] == "model.onnx" and len(manifest["graph_sha256"]) == 64
    assert (folder / "model.safetensors").read_bytes() == (run / "gan.safetensors").read_bytes()
    card = ModelCard.load(folder / "README.md")
    data = card.data.to_dict()
    assert (data["license"], data["library_name"]) == ("cc-by-4.0", "pix2color")
    assert data["pipeline_tag"] == "image-to-image" and "colorization" in data["tags"]
    text = card.text
    for said in (
        "--checkpoint me/net#", "colors are guesses",
        "temperature 0.6, vividness 0.4", "photos trained on: 1,234", "| as shipped | 2.12 | 1.5 |",
        "fine-tuned against a PatchGAN", "from: family-photos", "pretrained: encoder.pth",
    ):  # fmt: skip
        assert said in text, said
    assert "somebody" not in text
    assert b"somebody" not in (folder / "model.safetensors").read_bytes()
    block = text.split("```yaml\n")[1].split("```")[0]
    assert from_dict(yaml.safe_load(block)).data.crop == 96  # the recipe can be read again
    assert not server.requests


def test_pushed_it_can_be_used_by_name(
    run: Path, server: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release_run(run, "--push", "me/net") == EXIT_OK
    out = capsys.readouterr().out
    commit = server.repos["me/net"].refs["main"]
    assert f"{server.url}/me/net" in out and f"--checkpoint me/net@{commit}" in out
    loaded = checkpoint.load(f"me/net@{commit}")
    assert loaded.digest == checkpoint.load(run / "gan.safetensors").digest
    assert not server.repos["me/net"].private
    held = server.repos["me/net"].commits[commit]
    assert held["README.md"] == (run / "hub/README.md").read_bytes()
    runtime = load_runtime(f"me/net@{commit}", "cpu")
    assert (runtime.kind, runtime.info.digest) == ("onnx", loaded.digest)
    # Again, with other weights: the same file of the same repository.
    assert release_run(run, "--push", "me/net", "--temperature", "0.9") == EXIT_OK
    assert checkpoint.load("me/net").decode.temperature == 0.9
    assert checkpoint.load(f"me/net@{commit}").decode.temperature == 0.6
    assert load_runtime("me/net", "cpu").info.decode.temperature == 0.9
    # Without its graph: that of before goes, here and there.
    assert release_run(run, "--push", "me/net", "--no-graph") == EXIT_OK
    assert not run.with_suffix(".onnx").exists()
    assert "model.onnx" not in server.repos["me/net"].commits[server.repos["me/net"].refs["main"]]
    assert load_runtime("me/net", "cpu").kind == "torch"


def test_a_graph_is_verified_as_its_weights_are(
    run: Path, server: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release_run(run, "--push", "me/net") == EXIT_OK
    changed = bytearray((run / "hub/model.onnx").read_bytes())
    changed[1000] ^= 1
    server.add("me/net", {"model.onnx": bytes(changed)})
    with pytest.raises(WeightsError, match=r"model\.onnx has the digest .* pix2color\.json says"):
        load_runtime("me/net", "cpu")


def test_weights_and_graph_are_replaced_together_or_not_at_all(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert release_run(run) == EXIT_OK
    files = [run / f"gan{suffix}" for suffix in (".safetensors", ".onnx")]
    before = [path.read_bytes() for path in files]
    monkeypatch.setattr(onnx_export, "_difference", lambda exported, original: 0.2)
    assert release_run(run, "--temperature", "0.9") == EXIT_USAGE
    assert [path.read_bytes() for path in files] == before
    assert load_runtime(files[0], "cpu").kind == "onnx"


def test_without_onnx_it_says_how_to_do_without(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert release_run(run) == EXIT_USAGE
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "needs onnx" in said and "--no-graph" in said
    assert not run.with_suffix(".onnx").exists() and not (run / "gan.safetensors").exists()
    assert release_run(run, "--no-graph") == EXIT_OK
    assert (run / "gan.safetensors").is_file()


def test_a_private_repository(run: Path, server: Hub) -> None:
    assert release_run(run, "--push", "me/mine", "--private", "--no-graph") == EXIT_OK
    assert server.repos["me/mine"].private


def test_what_cannot_be_pushed_says_why(
    run: Path, server: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        assert release_run(run, "--no-graph", *arguments) == EXIT_USAGE
        text = capsys.readouterr().err
        assert text.startswith("error: ") and text.count("\n") == 1
        return text

    assert "write USER/REPO" in said("--push", "net")
    assert "write USER/REPO" in said("--push", "me/net@main")
    assert "go with --push" in said("--dry-run")
    server.add("me/other", {"theirs.safetensors": b"weights"})
    assert "holds theirs.safetensors already" in said("--push", "me/other")
    assert list(server.repos["me/other"].commits.values()) == [{"theirs.safetensors": b"weights"}]
    monkeypatch.setenv("HF_TOKEN", READER)
    assert "does not let this token write there" in said("--push", "me/net")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not know this token" in said("--push", "me/net")
    monkeypatch.setenv("HF_TOKEN", "")
    assert "not logged in" in said("--push", "me/net") and hub.LOGIN
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.__exit__()
    assert "cannot be uploaded" in said("--push", "me/net")
