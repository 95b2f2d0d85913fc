"""The page in a browser: a host of its own, Chromium, and what a visitor does."""

from __future__ import annotations

import functools
import gzip
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from pix2color.cli import main
from pix2color.errors import Pix2ColorError
from pix2color.web import bundle, ort_package

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from visitor import FLAGS, PHOTOS, Host, Visitor


@pytest.fixture(autouse=True, scope="session")
def compressed() -> Iterator[Any]:
    """Each large file is compressed once, which takes most of the time of an export."""
    once = functools.cache(gzip.compress)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "gzip", SimpleNamespace(compress=once))
        yield once


@pytest.fixture(scope="session")
def ort() -> None:
    """onnxruntime-web in the user's cache."""
    try:
        ort_package.files()
    except Pix2ColorError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def site(ort: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a folder. Shared: do not write into it."""
    folder = tmp_path_factory.mktemp("page") / "site"
    assert main(["export", "--web", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def single_file(ort: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as one file."""
    folder = tmp_path_factory.mktemp("page")
    assert main(["export", "--web", str(folder), "--single-file"]) == 0
    return folder / "pix2color.html"


@pytest.fixture(scope="module")
def host(site: Path) -> Iterator[Host]:
    one = Host(site)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    where = shutil.which("chromium") or shutil.which("chromium-browser")
    if where is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=where, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, host: Host) -> Iterator[Callable[..., Visitor]]:
    """Opens the page; afterwards no visitor has asked another host, nor met an error."""
    visitors: list[Visitor] = []

    def open_one(url: str | None = None, **options: Any) -> Visitor:
        visitors.append(Visitor(chromium, url or host.url, **options))
        return visitors[-1]

    yield open_one
    for visitor in visitors:
        visitor.context.close()
        strangers = [
            url
            for url in visitor.asked
            if not url.startswith((host.url, "blob:", "data:", "file:"))
        ]
        assert not strangers and not visitor.errors


@pytest.fixture(scope="session")
def gray_photo() -> Callable[[int, int], Image.Image]:
    """Makes a gray photo of a size from one of those in photos/."""
    image = Image.open(PHOTOS / "coffee.jpg").convert("L")

    def make(width: int, height: int) -> Image.Image:
        return image.resize((width, height), Image.Resampling.BICUBIC)

    return make
