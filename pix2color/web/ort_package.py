"""The files of onnxruntime-web, from its package of npm's registry, once, into the user's cache."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from pix2color.errors import Pix2ColorError
from pix2color.io import atomic_write

VERSION = "1.30.0"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
_SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
_PACKAGE_SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
_REGISTRY = "https://registry.npmjs.org"
_ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
_PACKAGE_SIZE = 33_106_585  # bytes


def files() -> dict[str, bytes]:
    """SCRIPT and WASM from the cache.

    Raises:
        Pix2ColorError: they are not there, or not those that belong to this version.
    """
    found = {}
    for name in _SHA256:
        path = _folder() / name
        try:
            found[name] = path.read_bytes()
        except FileNotFoundError:
            raise _missing(f"the page needs onnxruntime-web {VERSION}, once") from None
        except OSError as error:
            raise Pix2ColorError(f"{path} cannot be read: {error.strerror or error}") from None
        if hashlib.sha256(found[name]).hexdigest() != _SHA256[name]:
            raise _missing(f"{path} is damaged")
    return found


def fetch() -> None:
    """Download the package and put its files into the cache.

    The registry is npm's own, or that of the environment variable NPM_CONFIG_REGISTRY.

    Raises:
        Pix2ColorError: no network, or another file than expected.
    """
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or _REGISTRY
    url = f"{registry.rstrip('/')}/onnxruntime-web/-/{_ARCHIVE}"
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            data = response.read(_PACKAGE_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Pix2ColorError(
            f"{url} cannot be downloaded: {reason}",
            remedy=f"get {_ARCHIVE} elsewhere, for instance with"
            f" `npm pack onnxruntime-web@{VERSION}`, and name it as {{ort_package}}",
        ) from None
    unpack(data, url)


def unpack(data: bytes, name: str) -> None:
    """Put the files of the package, a .tgz, into the cache.

    Args:
        data: the package.
        name: where it comes from, for messages.

    Raises:
        Pix2ColorError: it is another file, or the cache cannot be written.
    """
    if hashlib.sha512(data).hexdigest() != _PACKAGE_SHA512:
        raise Pix2ColorError(
            f"{name} is not onnxruntime-web {VERSION} as npm published it: not used",
            remedy=f"download it again: `npm pack onnxruntime-web@{VERSION}`",
        )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for file in _SHA256:
            member = archive.extractfile(f"package/dist/{file}")
            assert member is not None  # the archive is the one that was checked
            try:
                atomic_write(_folder() / file, member.read())
            except OSError as error:
                raise Pix2ColorError(
                    f"{_folder()} cannot be written: {error.strerror or error}"
                ) from None


def _missing(reason: str) -> Pix2ColorError:
    megabytes = round(_PACKAGE_SIZE / 1e6)
    return Pix2ColorError(
        reason,
        remedy="run `python -m pix2color export --fetch-ort`: it downloads the package"
        f" ({megabytes} MB) from npm's registry and checks it",
    )


def _folder() -> Path:
    """XDG_CACHE_HOME/pix2color, or .cache/pix2color of the user's home; a folder per version."""
    root = os.environ.get("XDG_CACHE_HOME")
    cache = Path(root) if root else Path.home() / ".cache"
    return cache / "pix2color" / f"onnxruntime-web-{VERSION}"
