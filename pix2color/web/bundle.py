"""Writing the page: a folder for any static host, or one HTML file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pix2color._version import __version__
from pix2color.errors import Pix2ColorError
from pix2color.io import PART_SUFFIX, atomic_write
from pix2color.web import ort_package
from pix2color.web.network import WebNetwork

SINGLE_FILE = "pix2color.html"
_PAGE = Path(__file__).parent / "page"
_NETWORK = "network.json"
_WORKER = "worker.js"
_STYLE_TAG = '<link rel="stylesheet" href="style.css">'
_SCRIPT_TAG = '<script type="module" src="main.js"></script>'
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def write_folder(folder: Path, network: WebNetwork) -> int:
    """Write the page as a folder, whole or not at all.

    Args:
        folder: new, empty, or an earlier export, which is replaced.
        network: the network to color with.

    Returns:
        The bytes of a first visit.

    Raises:
        Pix2ColorError: onnxruntime-web is missing, or the folder holds something else or cannot
            be written.
    """
    files = _folder_files(network)
    if folder.exists() and not folder.is_dir():
        raise Pix2ColorError(f"{folder} is a file: name a folder")
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / _NETWORK).is_file():
            raise Pix2ColorError(
                f"{folder} holds files that are no page of pix2color: name a new folder"
            )
        _replace_folder(folder, files)
    except OSError as error:
        raise Pix2ColorError(f"{folder} cannot be written: {error.strerror or error}") from None
    return sum(len(content) for content in files.values())


def _replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (folder.with_name(f".{secrets.token_hex(8)}{PART_SUFFIX}") for _ in range(2))
    try:
        fresh.mkdir()
        for name, content in files.items():
            atomic_write(fresh / name, content)
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        for part in (fresh, old):
            shutil.rmtree(part, ignore_errors=True)


def write_single_file(path: Path, network: WebNetwork) -> int:
    """Write the page as one HTML file that works without a host; returns its bytes.

    Raises:
        Pix2ColorError: onnxruntime-web is missing, or the file cannot be written.
    """
    content = _single_file(network)
    try:
        atomic_write(path, content)
    except OSError as error:
        raise Pix2ColorError(f"{path} cannot be written: {error.strerror or error}") from None
    return len(content.encode())


def _parts(network: WebNetwork) -> dict[str, bytes]:
    """The large files by name, compressed: hosts differ in what they compress."""
    runtime = ort_package.files()
    parts = {
        "script": runtime[ort_package.SCRIPT],
        "wasm": runtime[ort_package.WASM],
        "graph": network.graph,
        **network.external,
    }
    return {
        name: content if name == "script" else gzip.compress(content, 9, mtime=0)
        for name, content in parts.items()
    }


def _described(network: WebNetwork, parts: Mapping[str, bytes]) -> tuple[str, dict[str, bytes]]:
    """network.json, and the large files by the paths that it names.

    A path holds the digest of its content, so that a browser's copy is never out of date.
    """
    entries: dict[str, Any] = {}
    files = {}
    for name, content in parts.items():
        digest = hashlib.sha256(content).hexdigest()
        path = f"{name.partition('.')[0]}-{digest[:12]}{'.js' if name == 'script' else '.bin'}"
        entries[name] = {"path": path, "bytes": len(content), "sha256": digest}
        files[path] = content
    tree = {
        "version": __version__,
        "model": network.meta,
        "parts": entries,
        "external": list(network.external),
    }
    return json.dumps(tree, separators=(",", ":")), files


def _folder_files(network: WebNetwork) -> dict[str, bytes]:
    text, large = _described(network, _parts(network))
    small = {path.name: path.read_bytes() for path in sorted(_PAGE.iterdir()) if path.is_file()}
    small[_NETWORK] = text.encode()
    digest = hashlib.sha256()
    for name, content in sorted(small.items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    listed = {
        "version": digest.hexdigest()[:12],
        "small": ["./", *(name for name in sorted(small) if name != "sw.js")],
        "large": sorted(large),
    }
    small["files.js"] = f"self.FILES = {json.dumps(listed, indent=2)};\n".encode()
    return small | large


def _single_file(network: WebNetwork) -> str:
    parts = _parts(network)
    text, _ = _described(network, parts)
    html = (_PAGE / "index.html").read_text(encoding="utf-8")
    style = (_PAGE / "style.css").read_text(encoding="utf-8")
    inline = {"network": ("application/json", text), "worker": ("text/plain", _joined(_WORKER))}
    for name, content in parts.items():
        inline[f"part-{name}"] = ("text/plain", base64.b64encode(content).decode())
    blocks = [
        f'<script type="{kind}" id="{name}">{_for_html(content)}</script>'
        for name, (kind, content) in inline.items()
    ]
    blocks.append(f'<script type="module">{_for_html(_joined("main.js"))}</script>')
    policy = (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        " img-src blob: data:; style-src 'unsafe-inline'; worker-src blob:;"
        " script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:\">"
    )
    for old, new in ((_STYLE_TAG, f"<style>{style}</style>"), (_SCRIPT_TAG, "\n".join(blocks))):
        if html.count(old) != 1:
            raise ValueError(f"index.html must hold {old} once")
        html = html.replace(old, new)
    return _POLICY.sub(lambda _: policy, html, count=1)


def _joined(entry: str) -> str:
    """A module and those that it imports as one script; each keeps a scope of its own."""
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        source = (_PAGE / name).read_text(encoding="utf-8")
        for _, imported in _IMPORT.findall(source):
            add(imported)
        exports = ", ".join(_EXPORT.findall(source))
        body = _IMPORT.sub(lambda found: f"const {found[1]} = {_scope(found[2])};\n", source)
        body = _EXPORT.sub("", body)
        texts[name] = f"const {_scope(name)} = (() => {{\n{body}return {{ {exports} }};\n}})();\n"

    add(entry)
    return '"use strict";\n' + "".join(texts.values())


def _scope(name: str) -> str:
    return f"module_{name.removesuffix('.js')}"


def _for_html(script: str) -> str:
    """A script that does not end its element."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)
