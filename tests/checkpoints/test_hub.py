"""Weights by name, downloaded by the Hub's own library from a fake Hub on loopback."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import TOKEN, Hub, point_at
from PIL import Image

from pix2color import Colorizer
from pix2color.build import load_init_weights
from pix2color.checkpoints import hub
from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.config import load
from pix2color.errors import WeightsError
from pix2color.evaluation.checkpoint_methods import checkpoint_methods
from pix2color.training.setup import resolve_init_from

ROOT = Path(__file__).parents[2]
FIRST, SECOND = b"first weights", b"second weights"


def manifest(data: bytes, **changes: str) -> bytes:
    tree = {"file": "model.safetensors", "sha256": hashlib.sha256(data).hexdigest(), **changes}
    return json.dumps(tree).encode()


def files(data: bytes) -> dict[str, bytes]:
    return {"model.safetensors": data, "pix2color.json": manifest(data), "README.md": b"# card"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as fake_hub:
        point_at(fake_hub, monkeypatch, tmp_path / "home")
        yield fake_hub


def error_of(name: str) -> str:
    """The message of the error for a name that cannot be resolved."""
    with pytest.raises(WeightsError) as caught:
        hub.resolve(name)
    text = str(caught.value)
    assert "\n" not in text and text
    return text


def test_what_is_a_name_and_what_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub.resolve(None) == hub.resolve("default") == DEFAULT_FILE
    (tmp_path / "me").mkdir()
    (tmp_path / "me/net").write_bytes(b"a file")
    assert hub.resolve("me/net") == Path("me/net")  # what is there wins
    assert hub.parse("me/other@v1#0123456789ab") == hub.RepoRef("me/other", "v1", "0123456789ab")
    assert str(hub.parse("me/other@v1#0123456789ab")) == "me/other@v1#0123456789ab"
    for path in ("gan", "runs/gan/x", "runs/gan.safetensors", "../me/net", "/a/b", "me/net x"):
        assert hub.parse(path) is None
    assert "check the path, or give user/repo" in error_of("gan")
    assert "check the path, or give user/repo" in error_of("runs/gan.safetensors")
    assert "is a folder: give the .safetensors file" in error_of("me")


def test_a_repository_is_downloaded_once_and_cached(server: Hub) -> None:
    server.add("me/net", files(FIRST))
    path = hub.resolve("me/net")
    assert path.read_bytes() == FIRST
    server.requests.clear()
    assert hub.resolve("me/net") == path
    assert not [asked for asked in server.requests if asked.startswith("GET /me/net")]
    server.add("me/net", files(SECOND))
    assert hub.resolve("me/net").read_bytes() == SECOND


def test_a_revision_is_pinned(server: Hub) -> None:
    first = server.add("me/net", files(FIRST))
    server.repos["me/net"].refs["v1"] = first
    server.add("me/net", files(SECOND))
    assert hub.resolve("me/net").read_bytes() == SECOND
    for revision in ("v1", first):
        assert hub.resolve(f"me/net@{revision}").read_bytes() == FIRST
    server.requests.clear()
    hub.resolve(f"me/net@{first}")
    assert not server.requests  # a commit never changes
    assert "no revision v2" in error_of("me/net@v2")


def test_the_cache_is_used_without_a_network(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = server.add("me/net", files(FIRST))
    server.repos["me/net"].refs["v1"] = first
    server.add("me/net", files(SECOND))
    server.add("me/unseen", files(FIRST))
    hub.resolve("me/net@v1")
    hub.resolve("me/net")
    server.failing = 503
    assert hub.resolve("me/net").read_bytes() == SECOND
    assert "503" in error_of("me/unseen")
    server.__exit__()
    assert hub.resolve("me/net@v1").read_bytes() == FIRST
    assert hub.resolve(f"me/net@{first}").read_bytes() == FIRST
    text = error_of("me/unseen")
    assert "not in the cache" in text and "connect once" in text and "give the path" in text
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.resolve("me/net").read_bytes() == SECOND
    assert "unset HF_HUB_OFFLINE" in error_of("me/unseen@v1")


def test_a_file_with_another_digest_is_not_used(server: Hub) -> None:
    server.add("me/net", files(FIRST))
    digest = hashlib.sha256(FIRST).hexdigest()
    assert hub.resolve(f"me/net#{digest[:12]}").read_bytes() == FIRST
    assert hub.resolve(f"me/net@main#{digest}").read_bytes() == FIRST
    assert f"digest {digest[:12]}, the name says 0123" in error_of("me/net#0123456789ab")
    server.add("me/net", {"pix2color.json": manifest(SECOND)})
    assert "pix2color.json says" in error_of("me/net")
    server.add("me/net", {"pix2color.json": b"[]"})
    assert "does not state a sha256" in error_of("me/net")
    server.add("me/net", {"pix2color.json": manifest(FIRST, file="other.safetensors")})
    assert "does not state a sha256 of model.safetensors" in error_of("me/net")
    # What a broken or hostile mirror sends in place of what it lists, where nothing else says so.
    server.add("me/plain", {"net.safetensors": FIRST})
    server.served["net.safetensors"] = FIRST[::-1]
    assert "the Hub says" in error_of("me/plain")


def test_a_manifest_is_not_needed(server: Hub) -> None:
    server.add(
        "me/net", {"gan.safetensors": FIRST, "pytorch_model.bin": b"x", "a/b.safetensors": SECOND}
    )
    assert hub.resolve("me/net").read_bytes() == FIRST
    server.failing = 500
    assert hub.resolve("me/net").read_bytes() == FIRST


def test_no_release_file_or_several(server: Hub) -> None:
    server.add("me/pickle", {"pytorch_model.bin": b"\x80\x04", "README.md": b""})
    assert "holds no release file (.safetensors)" in error_of("me/pickle")
    assert not [asked for asked in server.requests if "resolve" in asked]
    server.add("me/two", {"a.safetensors": FIRST, "b.safetensors": SECOND})
    assert "holds 2 release files (a.safetensors, b.safetensors)" in error_of("me/two")


def test_a_pickle_under_another_name_is_refused(server: Hub) -> None:
    server.add("me/trap", {"model.safetensors": b"\x80\x04\x95ab"})
    with pytest.raises(WeightsError, match="is a pickle"):
        Colorizer.from_pretrained("me/trap")


def test_missing_access_says_what_to_do(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add("me/private", files(FIRST), private=True)
    server.add("me/gated", files(FIRST), gated=True)
    for name in ("me/none", "me/private"):
        text = error_of(name)
        assert "check the path or the name" in text and "hf auth login" in text
    assert "access has to be requested" in error_of("me/gated")
    assert "Give a path, or user/repo" in error_of("me/a--b")
    server.failing = 429
    assert "answers 429" in error_of("me/none")
    server.failing = 0
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hub.resolve("me/private").read_bytes() == FIRST
    assert "check the path or the name" in error_of("me/none")


@pytest.mark.skipif(not DEFAULT_FILE.is_file(), reason="no packaged weights in this checkout")
def test_everything_that_takes_a_file_takes_a_name(server: Hub) -> None:
    server.add("me/net", files(DEFAULT_FILE.read_bytes()))
    colorizer = Colorizer.from_pretrained("me/net", device="cpu")
    assert colorizer.runtime.info.name == "me/net"
    assert colorizer.digest == Colorizer.from_pretrained().digest
    assert checkpoint_methods(["me/net"])[0].name == "me/net"
    config = load("pretrain_class.yaml", ["init_from=me/net", "model.pretrained=me/net"])
    assert resolve_init_from(config, announce=print).init_from == "me/net"
    from pix2color.build import build_generator

    generator = build_generator(config.model)
    load_init_weights(generator, config)


@pytest.mark.skipif(not DEFAULT_FILE.is_file(), reason="no packaged weights in this checkout")
@pytest.mark.slow
def test_infer_with_a_name(server: Hub, tmp_path: Path) -> None:
    server.add("me/net", files(DEFAULT_FILE.read_bytes()))
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(tmp_path / "a.png")

    def infer(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "infer.py"), "a.png", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert infer("--checkpoint", "me/net", "--out", "named").returncode == 0
    # The repository has no graph, and a picture records its runtime.
    assert infer("--runtime", "torch", "--out", "default").returncode == 0
    named, default = ((tmp_path / out / "a.png").read_bytes() for out in ("named", "default"))
    assert named == default
    server.__exit__()
    assert infer("--checkpoint", "me/net", "--out", "offline").returncode == 0
    failed = infer("--checkpoint", "me/other")
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("error: me/other is not in the cache")


def test_without_a_repository_the_library_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # an import of it fails
    assert not [name for name in vars(hub) if name == "HfApi"]
    assert hub.resolve("default") == DEFAULT_FILE
    assert hub.parse("me/net")
    with pytest.raises(ImportError):
        hub.resolve("me/net")
