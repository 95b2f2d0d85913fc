"""Metadata of the page's downloads against those of infer.py, in node."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node import run_in_node
from PIL import Image

from pix2color.photo import exif

_BYTES = "const bytes = (text) => Uint8Array.from(Buffer.from(text, 'base64'));\n"


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def exif_blocks() -> dict[str, bytes]:
    """EXIF as cameras and programs write it, and none."""
    plain = Image.Exif()
    plain[0x0112], plain[0x010F] = 8, "Kodak"
    marked = Image.Exif()
    marked[0x0131] = "colors predicted by pix2color 0.0.1, weights x | ScanSoft 3"
    block = plain.tobytes().removeprefix(b"Exif\0\0")
    big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    return {
        "plain": block,
        "odd": block + b"x",
        "marked": marked.tobytes().removeprefix(b"Exif\0\0"),
        "big-endian": big,
        "with a second directory": big[:-4] + b"\0\0\0\x08",
        "truncated": block[:20],
        "garbage": b"II*\0\xff\xff\xff\xff" + bytes(40),
        "none": b"",
    }


def test_exif_is_edited_as_by_infer(tmp_path: Path) -> None:
    blocks = exif_blocks()
    name = "colors predicted by pix2color 0.1.0"
    body = _BYTES + (
        "return given.map((block) => Buffer.from(page.updateExif("
        f"block ? bytes(block) : null, {name!r})).toString('base64'));"
    )
    found = run_in_node(tmp_path, "metadata.js", body, [text(block) for block in blocks.values()])
    for (kind, block), ours in zip(blocks.items(), found, strict=True):
        others = [part for part in (exif.software(block) or "").split(" | ") if part]
        software = " | ".join([name, *(o for o in others if not o.startswith("colors"))])
        expected = exif.update(block or None, upright=True, software=software)
        assert base64.b64decode(ours) == expected, kind


def encoded(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((30, 50), np.uint8)).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


SOURCES = {
    "JPEG": encoded("JPEG", exif=Image.Exif()),
    "progressive JPEG": encoded("JPEG", progressive=True, comment=b"attic"),
    "PNG": encoded("PNG"),
    "WebP": encoded("WEBP"),
    "lossless WebP": encoded("WEBP", lossless=True),
    "WebP with EXIF": encoded("WEBP", exif=b"Exif\0\0" + exif_blocks()["plain"]),
}


def test_sizes_are_read_from_headers_whole_or_cut(tmp_path: Path) -> None:
    body = _BYTES + (
        "return given.map((text) => { const data = bytes(text), found = page.imageSize(data);\n"
        "for (let end = 0; end < data.length; end++) {\n"
        "  page.imageSize(data.slice(0, end)); page.readMetadata(data.slice(0, end)); }\n"
        "return [found.width, found.height, page.readMetadata(data).exif !== null]; });"
    )
    found = run_in_node(tmp_path, "metadata.js", body, [text(data) for data in SOURCES.values()])
    for name, (width, height, _) in zip(SOURCES, found, strict=True):
        assert (width, height) == (50, 30), name
    assert found[-1][2]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_xmp_and_comments_of_a_turned_jpeg(kind: str, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" dc:title="ship"/></x:xmpmeta>'
    )
    source = encoded("JPEG", exif=turned, xmp=xmp, comment=b"attic", dpi=(300, 300))
    body = _BYTES + (
        "const [source, target] = given.map(bytes);\n"
        "const whole = page.withMetadata(target, page.readMetadata(source), '0.1.0');\n"
        "return Buffer.from(whole).toString('base64');"
    )
    given = [text(source), text(encoded(kind))]
    out = Image.open(
        io.BytesIO(base64.b64decode(run_in_node(tmp_path, "metadata.js", body, given)))
    )
    out.load()
    assert out.getexif()[0x0112] == 1
    assert out.getexif()[0x0131] == "colors predicted by pix2color 0.1.0"
    if kind == "JPEG":
        assert out.info["comment"] == b"attic"
        assert b'tiff:Orientation="1" dc:title="ship"' in out.info["xmp"]
