"""The page in a browser: the colors of infer.py, and what a visitor meets."""

from __future__ import annotations

import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from visitor import PHOTOS, SECONDS, Host, Visitor, difference

from pix2color import Colorizer
from pix2color.cli import main
from pix2color.color.lab_numpy import rgb_to_lab

pytestmark = [pytest.mark.slow, pytest.mark.browser]
SIX = sorted(PHOTOS.glob("*.jpg"))


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer.from_pretrained(device="cpu")


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def assert_same_colors(ours: np.ndarray, expected: np.ndarray) -> None:
    """Within rounding; where a color falls between two steps of the table, one step apart.

    A step is half a Lab unit, which is up to four codes in deep shadows.
    """
    mean, apart = difference(ours, expected)
    assert mean < 0.05
    assert (apart > 2).mean() < 1e-5 and apart.max() <= 4


def assert_same_lightness(rgb: np.ndarray, gray: np.ndarray) -> None:
    """L of the pixels is that of the grays within the rounding of 8 bits."""
    lightness = rgb_to_lab(rgb / 255)[..., 0]
    expected = rgb_to_lab(np.repeat(gray[..., None], 3, axis=2) / 255)[..., 0]
    assert np.abs(lightness - expected).max() <= 0.5


def test_six_photos_have_the_colors_of_infer(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    page = visit()
    page.upload(*SIX)
    assert page.states() == ["done"] * 6
    name, data = page.download("png", "#download-all")
    assert name == "pix2color.zip"
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert archive.namelist() == [f"{photo.stem}-colored.png" for photo in SIX]
    sources = tmp_path / "sources"
    sources.mkdir()
    for photo in SIX:  # infer.py keeps the container: PNG, so that nothing else changes them
        Image.open(photo).save(sources / f"{photo.stem}.png")
    out = tmp_path / "out"
    assert main(["infer", str(sources), "--out", str(out), "--quiet", "--device", "cpu"]) == 0
    for photo in SIX:
        ours = pixels(archive.read(f"{photo.stem}-colored.png"))
        assert_same_colors(ours, np.asarray(Image.open(out / f"{photo.stem}.png")))
        assert_same_lightness(ours, np.asarray(Image.open(photo)))
        assert np.ptp(ours, axis=2).max() > 20


def test_settings_and_presets_change_the_colors_as_in_infer(
    visit: Callable[..., Visitor], colorizer: Colorizer
) -> None:
    page, photo = visit(), PHOTOS / "chelsea.jpg"
    page.upload(photo)
    page.tab.get_by_label("Faithful").check(force=True)
    page.wait()
    options = {"temperature": 1.0, "vividness": 0.0, "saturation": 1.0, "calibration": 0.0}
    gray = np.asarray(Image.open(photo))
    assert_same_colors(pixels(page.download()[1]), colorizer(gray, **options))
    page.slide("vividness", 0.8)
    page.slide("temperature", 0.5)
    page.slide("saturation", 1.5)
    assert not page.tab.locator("#faithful").is_checked()
    options = {"temperature": 0.5, "vividness": 0.8, "saturation": 1.5, "calibration": 0.0}
    assert_same_colors(pixels(page.download()[1]), colorizer(gray, **options))
    page.tab.get_by_label("Natural").check(force=True)
    page.wait()
    assert_same_colors(pixels(page.download()[1]), colorizer(gray))


def test_hints_by_mouse_and_keyboard_spread_as_in_infer(
    visit: Callable[..., Visitor], colorizer: Colorizer
) -> None:
    page, photo = visit(), PHOTOS / "coffee.jpg"
    page.upload(photo)
    gray = np.asarray(Image.open(photo))
    height, width = gray.shape
    page.tab.locator("#hint-color").fill("#2040ff")
    page.tab.check("#place")
    pad = page.tab.locator("#pad")
    box = pad.bounding_box()
    x, y = round(box["width"] * 0.2), round(box["height"] * 0.3)
    pad.click(position={"x": x, "y": y})
    page.wait()
    first = {"x": int(x / box["width"] * width), "y": int(y / box["height"] * height)}
    pad.focus()
    page.tab.keyboard.press("Shift+ArrowRight")
    page.tab.keyboard.press("ArrowDown")
    page.tab.keyboard.press("Enter")
    page.wait()
    second = {"x": int(0.6 * width), "y": int(0.51 * height)}
    hints = [hint | {"color": "#2040ff"} for hint in (first, second)]
    assert page.tab.locator("#hint-count").inner_text() == "Hints: 2"
    ours = pixels(page.download()[1])
    assert_same_colors(ours, colorizer(gray, hints=hints))
    assert difference(ours, colorizer(gray))[0] > 1
    page.tab.click("#remove")
    page.wait()
    assert_same_colors(pixels(page.download()[1]), colorizer(gray))


def test_a_jpeg_keeps_its_metadata_and_is_upright(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "Ada"  # orientation, artist
    exif.get_ifd(0x8769)[0x9003] = "1931:05:06 07:08:09"  # time of the photo
    source = tmp_path / "turned.jpg"
    Image.open(PHOTOS / "chelsea.jpg").save(source, exif=exif, dpi=(300, 300), comment=b"attic")
    page = visit()
    page.upload(source)
    name, data = page.download("jpeg")
    out = Image.open(io.BytesIO(data))
    assert name == "turned-colored.jpg" and out.size == (300, 451)
    kept = out.getexif()
    assert kept[0x0112] == 1 and kept[0x013B] == "Ada"
    assert kept.get_ifd(0x8769)[0x9003] == "1931:05:06 07:08:09"
    assert kept[0x0131].startswith("colors predicted by pix2color")
    assert out.info["comment"] == b"attic"
    png = Image.open(io.BytesIO(page.download("png")[1]))
    assert png.getexif()[0x013B] == "Ada" and png.size == (300, 451)


def test_a_photo_of_12_megapixels(
    visit: Callable[..., Visitor],
    colorizer: Colorizer,
    gray_photo: Callable[[int, int], Image.Image],
    tmp_path: Path,
) -> None:
    gray = gray_photo(4000, 3000)
    gray.save(tmp_path / "large.png")
    page = visit()
    page.upload(tmp_path / "large.png")
    assert "4000" in page.status() and "3000" in page.status()
    ours = pixels(page.download()[1])
    assert_same_colors(ours, colorizer(np.asarray(gray)))


def test_twenty_photos_in_a_row_take_no_more_memory_than_five(
    visit: Callable[..., Visitor],
    gray_photo: Callable[[int, int], Image.Image],
    tmp_path: Path,
) -> None:
    photos = []
    for number in range(20):
        photos.append(tmp_path / f"{number:02}.jpg")
        gray_photo(2400 + number, 1800).save(photos[-1], quality=85)
    page = visit()
    page.upload(*photos[:5])
    before = renderer_memory()
    page.upload(*photos[5:])
    assert page.states() == ["done"] * 20
    # A photo of this size is 4 MB in gray, 17 MB in color; the small pictures kept are 1 MB each.
    assert renderer_memory() - before < 150e6
    page.tab.click("#clear")
    assert page.states() == [] and page.tab.locator("#welcome").is_visible()


def renderer_memory() -> int:
    """Bytes of the browser's processes that show pages."""
    found = 0
    for process in psutil.Process().children(recursive=True):
        if "--type=renderer" in process.cmdline():
            found += process.memory_info().rss
    return found


def test_it_works_offline_after_the_first_load(
    chromium: Any, site: Path, colorizer: Colorizer
) -> None:
    host = Host(site)
    page = Visitor(chromium, host.url)
    page.tab.get_by_text("works without a network").wait_for()
    host.stop()
    page.tab.reload()
    page.tab.wait_for_selector("body[data-state=ready]")
    page.upload(PHOTOS / "rocket.jpg")
    gray = np.asarray(Image.open(PHOTOS / "rocket.jpg"))
    assert_same_colors(pixels(page.download()[1]), colorizer(gray))
    page.context.close()


def test_a_new_export_is_taken_at_the_next_visit_but_one(
    chromium: Any, site: Path, tmp_path: Path
) -> None:
    for path in site.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    host = Host(tmp_path)
    page = Visitor(chromium, host.url)
    page.tab.get_by_text("works without a network").wait_for()
    for name, old, new in (
        ("texts.js", "Color old photos", "Color ancient photos"),
        ("files.js", '"version": "', '"version": "new '),
    ):
        text = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    page.tab.reload()  # the browser finds the new files
    page.tab.wait_for_selector("body[data-state=ready]")
    names = "caches.keys().then(names => names.map(name => name.slice(0, 13)))"
    end = time.monotonic() + SECONDS
    while sorted(page.tab.evaluate(names)) != ["pix2color-lar", "pix2color-new"]:
        assert time.monotonic() < end, page.tab.evaluate(names)
        page.tab.wait_for_timeout(50)
    page.tab.reload()
    page.tab.get_by_role("heading", name="Color ancient photos").wait_for()
    page.tab.wait_for_selector("body[data-state=ready]")
    page.context.close()
    host.stop()


def test_it_works_on_a_host_without_https(chromium: Any, host: Host, colorizer: Colorizer) -> None:
    """Browsers then have neither a cache for offline use nor digests."""
    page = Visitor(chromium, host.url.replace("127.0.0.1", "photos.example"))
    assert not page.tab.evaluate("isSecureContext")
    page.upload(PHOTOS / "chelsea.jpg")
    gray = np.asarray(Image.open(PHOTOS / "chelsea.jpg"))
    assert_same_colors(pixels(page.download()[1]), colorizer(gray))
    page.context.close()


def test_one_file_colors_without_a_host(
    visit: Callable[..., Visitor], single_file: Path, colorizer: Colorizer
) -> None:
    page = visit(single_file.as_uri())
    page.upload(PHOTOS / "camera.jpg")
    gray = np.asarray(Image.open(PHOTOS / "camera.jpg"))
    assert_same_colors(pixels(page.download()[1]), colorizer(gray))
    assert page.asked == [single_file.as_uri()] or all(
        url.startswith(("blob:", "data:")) for url in page.asked[1:]
    )


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, with the pixels of its first rows."""
    content = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", content), (b"IDAT", zlib.compress(bytes(10**6)))):
        chunks += struct.pack(">I", len(data)) + kind + data
        chunks += struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_files_that_cannot_be_colored_are_explained_and_the_others_go_on(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    whole = (PHOTOS / "coffee.jpg").read_bytes()
    bad = {
        "text.jpg": b"not a photo, whatever it is called",
        "corrupt.jpg": whole[:200] + bytes(2000),
        "huge.png": png_header(20_000, 10_000),
        "empty.png": b"",
        "unfinished.png": png_header(300, 200)[:60],
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    page = visit()
    page.upload(*(tmp_path / name for name in bad), PHOTOS / "coffee.jpg")
    assert page.states() == ["failedShort"] * 5 + ["done"]
    assert "Colored: 1. Not colored: 5" in page.status()
    assert "not a photo that this browser can show" in page.label("text.jpg")
    assert "damaged" in page.label("corrupt.jpg") and "damaged" in page.label("unfinished.png")
    assert "200 megapixels, above the limit of 100" in page.label("huge.png")
    assert "empty" in page.label("empty.png")
    assert page.download()[0] == "coffee-colored.png"


def test_transparency_is_kept(
    visit: Callable[..., Visitor], colorizer: Colorizer, tmp_path: Path
) -> None:
    gray = np.asarray(Image.open(PHOTOS / "chelsea.jpg"))
    alpha = np.full_like(gray, 255)
    alpha[:100], alpha[100:150] = 0, 128
    Image.fromarray(np.dstack((gray, alpha))).save(tmp_path / "cut.png")
    page = visit()
    page.upload(tmp_path / "cut.png")
    ours = np.asarray(Image.open(io.BytesIO(page.download("png")[1])))
    assert ours.shape[2] == 4 and (ours[..., 3] == alpha).all()
    assert_same_lightness(ours[150:, :, :3], gray[150:])
    white = pixels(page.download("jpeg")[1])[:90]
    assert white.min() > 245


def test_work_can_be_cancelled_and_taken_up_again(
    visit: Callable[..., Visitor],
    gray_photo: Callable[[int, int], Image.Image],
    tmp_path: Path,
) -> None:
    photos = [tmp_path / f"{number}.jpg" for number in range(6)]
    for photo in photos:
        gray_photo(3000, 2000).save(photo)
    page = visit()
    page.tab.set_input_files("#files", [str(photo) for photo in photos])
    page.tab.locator("#cancel").click()
    page.wait()
    assert page.status() == "Cancelled." and "failedShort" in page.states()
    page.upload(PHOTOS / "camera.jpg")
    assert page.states()[-1] == "done"
    page.show("5.jpg")
    assert page.states()[5] == "done"


def test_the_keyboard_and_screen_readers_reach_everything(visit: Callable[..., Visitor]) -> None:
    page = visit()
    page.upload(PHOTOS / "camera.jpg", PHOTOS / "coffee.jpg")
    nameless = page.tab.eval_on_selector_all(
        "button, input, select, progress, [role=radiogroup]",
        """all => all.filter(one => {
          const label = one.getAttribute('aria-label') || one.textContent.trim()
            || [...(one.labels ?? [])].map(each => each.textContent.trim()).join('');
          return !label && getComputedStyle(one).display !== 'none';
        }).map(one => one.outerHTML)""",
    )
    assert nameless == []
    assert page.tab.locator("#status[role=status]").count() == 1
    assert page.tab.locator("#after").get_attribute("alt") == "camera.jpg in color"
    page.tab.locator("#divider").focus()
    page.tab.keyboard.press("Home")
    assert page.tab.locator("#frame").evaluate("f => f.style.getPropertyValue('--divider')") == "0%"
    reached = set()
    for _ in range(40):
        page.tab.keyboard.press("Tab")
        reached.add(page.tab.evaluate("document.activeElement.id || document.activeElement.title"))
    wanted = {"add", "clear", "vividness", "temperature", "saturation", "to-all", "place",
              "hint-color", "format", "download", "download-all", "coffee.jpg"}  # fmt: skip
    assert wanted <= reached
    page.tab.locator("#vividness").focus()
    before = page.tab.locator("#vividness-value").inner_text()
    page.tab.keyboard.press("ArrowLeft")
    page.wait()
    assert float(page.tab.locator("#vividness-value").inner_text()) < float(before)
    page.tab.locator('#thumbs button[title="coffee.jpg"]').focus()
    page.tab.keyboard.press("Enter")
    page.tab.locator("#after[alt='coffee.jpg in color']").wait_for()


def test_it_fits_a_phone(visit: Callable[..., Visitor]) -> None:
    page = visit(width=400)
    for _ in range(2):
        width = page.tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 400
        small = page.tab.eval_on_selector_all(
            "button, select",
            "all => all.filter(one => one.offsetParent && one.offsetHeight < 36).map(e => e.id)",
        )
        assert small == []
        page.upload(PHOTOS / "camera.jpg")


def test_a_damaged_file_of_the_page_is_named(chromium: Any, site: Path, tmp_path: Path) -> None:
    for path in site.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tree = json.loads((tmp_path / "network.json").read_text())
    weights = tree["parts"][tree["external"][0]]["path"]
    (tmp_path / weights).write_bytes((tmp_path / weights).read_bytes()[:-5])
    host = Host(tmp_path)
    page = Visitor(chromium, host.url, wait=False)
    page.tab.wait_for_selector("body[data-state=broken]")
    assert weights in page.status() and "could not be loaded" in page.status()
    page.context.close()
    host.stop()
