"""Writing the page: complete or absent, and one line that says what to do where it cannot be."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_release

from pix2color.checkpoints import release_file
from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.cli import main
from pix2color.errors import WeightsError
from pix2color.web import ort_package
from pix2color.web.network import web_network

PAGE = Path(__file__).parents[2] / "pix2color/web/page"
CHAIN = ("color", "resample", "network", "decode", "upsample", "compose", "chain")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


def test_without_the_runtime_export_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["export", "--web", str(tmp_path / "site")]) == 2
    assert "export --fetch-ort" in said(capsys)
    assert not (tmp_path / "site").exists()


def test_another_package_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = tmp_path / "onnxruntime-web.tgz"
    assert main(["export", "--ort-package", str(package)]) == 2
    assert "cannot be read" in said(capsys)
    package.write_bytes(b"something else")
    assert main(["export", "--ort-package", str(package)]) == 2
    assert "is not onnxruntime-web" in said(capsys)
    folder = tmp_path / "registry/onnxruntime-web/-"
    folder.mkdir(parents=True)
    shutil.copy(package, folder / f"onnxruntime-web-{ort_package.VERSION}.tgz")

    class Registry(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "registry"))  # type: ignore

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", url)
    assert main(["export", "--fetch-ort"]) == 2
    assert "is not onnxruntime-web" in said(capsys)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{url}/elsewhere")
    assert main(["export", "--fetch-ort"]) == 2
    assert "cannot be downloaded" in (text := said(capsys)) and "--ort-package" in text
    server.shutdown()
    server.server_close()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("arguments", [[], ["--single-file"], ["--onnx", "x", "--single-file"]])
def test_options_that_do_not_fit(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *arguments]) == 2
    assert "--web DIR" in said(capsys)


def test_the_folder_is_complete(site: Path) -> None:
    tree = json.loads((site / "network.json").read_text())
    for part in tree["parts"].values():
        content = (site / part["path"]).read_bytes()
        assert len(content) == part["bytes"]
        assert hashlib.sha256(content).hexdigest() == part["sha256"]
    listed = json.loads((site / "files.js").read_text().partition("=")[2].rstrip(";\n"))
    names = {path.name for path in site.iterdir()}
    assert {*listed["small"], *listed["large"], "sw.js", "files.js"} - {"./"} == names
    [weights] = tree["external"]
    stored = gzip.decompress((site / tree["parts"][weights]["path"]).read_bytes())
    assert stored == DEFAULT_FILE.read_bytes()
    assert sum(path.stat().st_size for path in site.iterdir()) < 18e6


def test_an_export_replaces_an_earlier_one_and_nothing_else(
    site: Path, compressed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compressed.cache_clear()
    folder = tmp_path / "page"
    shutil.copytree(site, folder)
    (folder / "old.js").touch()
    assert main(["export", "--web", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {path.name for path in site.iterdir()}
    for path in site.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
    capsys.readouterr()
    other = tmp_path / "letters"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    assert main(["export", "--web", str(other)]) == 2
    assert "name a new folder" in said(capsys)
    assert main(["export", "--web", str(other / "letter.txt")]) == 2
    assert "is a file" in said(capsys)
    assert [path.name for path in other.iterdir()] == ["letter.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"page", "letters"}


def test_a_graph_of_other_weights_is_refused(
    ort: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "own.safetensors"
    shutil.copy(DEFAULT_FILE, weights)
    arguments = ["export", "--checkpoint", str(weights), "--web", str(tmp_path / "site")]
    assert main(arguments) == 2
    assert "no graph own.onnx" in said(capsys)
    shutil.copy(DEFAULT_FILE.with_suffix(".onnx"), weights.with_suffix(".onnx"))
    file = release_file.read(weights)
    release_file.write(
        weights, file.tensors, {**file.meta, "notice": "others"}, calibration=file.calibration
    )
    assert main(arguments) == 2
    assert "belongs to other weights" in said(capsys)
    assert not (tmp_path / "site").exists()


def test_a_renamed_pair_is_exported_under_the_name_that_the_graph_has(
    ort: None, tmp_path: Path
) -> None:
    for suffix in (".safetensors", ".onnx"):
        shutil.copy(DEFAULT_FILE.with_suffix(suffix), tmp_path / f"own{suffix}")
    site = tmp_path / "site"
    assert (
        main(["export", "--checkpoint", str(tmp_path / "own.safetensors"), "--web", str(site)]) == 0
    )
    assert json.loads((site / "network.json").read_text())["external"] == [DEFAULT_FILE.name]


def test_one_file_holds_all(single_file: Path) -> None:
    html = single_file.read_text(encoding="utf-8")
    assert len(html) < 25e6
    assert not re.search(r'(?:src|href)="(?!data:|#)[^"]+"', html)
    found = re.findall(r'<script type="text/plain" id="part-([^"]+)">([^<]*)</script>', html)
    parts = {name: base64.b64decode(text) for name, text in found}
    tree = json.loads(re.search(r'id="network">(.*?)</script>', html)[1])  # type: ignore[index]
    for name, part in tree["parts"].items():
        assert hashlib.sha256(parts[name]).hexdigest() == part["sha256"]


def test_scripts_ask_for_nothing_elsewhere() -> None:
    for path in [*sorted(PAGE.glob("*.js")), PAGE / "index.html", PAGE / "style.css"]:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        urls = set(re.findall(r"https?://[\w./]+", text))
        assert urls <= {"http://ns.adobe.com/xap/1.0/"}, path.name


def test_every_text_is_in_the_table() -> None:
    table = (PAGE / "texts.js").read_text(encoding="utf-8")
    known = set(re.findall(r"^    (\w+):", table, re.MULTILINE))
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    used = set(re.findall(r'data-(?:text|label)="(\w+)"', html))
    for path in PAGE.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r'\btext\(\s*"(\w+)"', text))
        used |= set(re.findall(r'PhotoError\("(\w+)"', text))
        used |= set(re.findall(r'failed: "(\w+)"', text))
    assert used <= known


def test_the_chain_is_short() -> None:
    lines = sum(len((PAGE / f"{name}.js").read_text().splitlines()) for name in CHAIN)
    assert lines < 800


def test_scripts_are_valid(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for path in sorted(PAGE.glob("*.js")):
        copy = tmp_path / path.with_suffix(".js" if path.name == "sw.js" else ".mjs").name
        shutil.copy(path, copy)
        done = subprocess.run([node, "--check", str(copy)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"square_input": True}, "does not stretch photos to a square"),
        ({"hints": True}, "gives no hints to a network"),
    ],
)
def test_a_network_with_other_inputs_is_refused(
    model: dict[str, bool], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from pix2color.runtime import onnx_export

    weights = write_release(tmp_path / "other.safetensors", **model)
    onnx_export.write_graph(weights)
    with pytest.raises(WeightsError, match=message):
        web_network(str(weights))
