"""ICC profiles (version 2) made from tags."""

from __future__ import annotations

import struct

ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
WHITE_D50 = (0.9642, 1.0, 0.8249)


def fixed(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


def gamma_tag(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def profile(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile (version 2) of these tags."""
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text, b"wtpt": fixed(WHITE_D50), b"cprt": b"text\0\0\0\0CC0\0", **tags}
    place, table, body = 132 + 12 * len(tags), b"", b""
    for name, tag in tags.items():
        tag += bytes(-len(tag) % 4)
        table += struct.pack(">4sII", name, place + len(body), len(tag))
        body += tag
    header = bytearray(128)
    struct.pack_into(">I", header, 0, place + len(body))
    header[8:12] = b"\x02\x10\0\0"
    header[12:24] = b"mntr" + kind + b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", *(round(v * 65536) for v in WHITE_D50))
    return bytes(header) + struct.pack(">I", len(tags)) + table + body


def adobe_rgb() -> bytes:
    curves = {name: gamma_tag(2.19921875) for name in (b"rTRC", b"gTRC", b"bTRC")}
    columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(fixed, ADOBE), strict=True))
    return profile(b"RGB ", columns | curves)


def gray_gamma(gamma: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma_tag(gamma)})
