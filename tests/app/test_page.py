"""The page in a real browser, and what programs can and cannot ask of it."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_server import ROOT, AppServer, run_app
from PIL import Image

from pix2color.cli import infer

pytestmark = pytest.mark.slow
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_SECONDS = 90  # for one step on a busy machine
_HERE = re.compile(r"https?://127\.0\.0\.1:\d+")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    pytest.importorskip("gradio", reason="the page needs gradio")
    options = ("--max-files", "8", "--device", "cpu", "--allowed-host", "photos.example")
    with run_app(tmp_path_factory.mktemp("server"), *options) as one:
        yield one


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    where = shutil.which("chromium") or shutil.which("chromium-browser")
    if where is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=where, headless=True, args=_FLAGS)
        yield browser
        browser.close()


class BrowserSession:
    """A browser tab with the page open."""

    def __init__(self, browser: Any, server: AppServer, width: int = 1280) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(1000 * _SECONDS)
        self.asked: list[str] = []
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(server.url)
        self.tab.wait_for_selector("#photos")

    def upload(self, *files: Path) -> None:
        self.tab.set_input_files("#photos input[type=file]", [str(file) for file in files])

    def wait(self, good: Callable[[], Any]) -> Any:
        end = time.monotonic() + _SECONDS
        while not (value := good()):
            assert time.monotonic() < end, self.status()
            self.tab.wait_for_timeout(20)
        return value

    def status(self) -> str:
        return self.tab.locator("#status").inner_text().strip()

    def result(self) -> str:
        """The address of the colored photo that is shown."""
        read = "images => images.map(image => image.src)"
        found = self.tab.eval_on_selector_all("#compare img", read)
        return next((one for one in found if "/out/" in one), "")

    def changed(self, act: Callable[[], Any]) -> None:
        """Do something and wait for other colors."""
        before = self.result()
        act()
        self.wait(lambda: self.result() not in ("", before))
        self.tab.wait_for_timeout(300)  # the other parts follow in the same message

    def download(self, button: str = "#download") -> tuple[str, bytes]:
        with self.tab.expect_download() as event:
            self.tab.locator(button).click()
        return event.value.suggested_filename, Path(event.value.path()).read_bytes()

    def open(self, tab: str) -> None:
        self.tab.get_by_role("tab", name=tab).click()


@pytest.fixture
def open_page(chromium: Any, server: AppServer) -> Iterator[Callable[..., BrowserSession]]:
    browsers: list[BrowserSession] = []

    def open_one(width: int = 1280) -> BrowserSession:
        browsers.append(BrowserSession(chromium, server, width))
        return browsers[-1]

    yield open_one
    for browser in browsers:
        browser.context.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, np.ndarray]) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee"):
        Image.fromarray(photos[name]).convert("L").save(folder / f"{name}.jpg", quality=90)
    gray = np.asarray(Image.fromarray(photos["chelsea"]).convert("L")).astype(np.uint16) * 257
    Image.fromarray(gray).save(folder / "scan.tif")
    (folder / "text.jpg").write_text("not a photo, whatever it is called")
    Image.new("L", (8000, 6250), 99).save(folder / "huge.png")
    return folder


def inferred(photo: Path, out: Path, *options: str, name: str | None = None) -> bytes:
    """What infer.py writes."""
    assert infer.main([str(photo), "--out", str(out), "--quiet", "--device", "cpu", *options]) == 0
    return (out / (name or photo.name)).read_bytes()


@pytest.mark.browser
def test_a_photo_is_colored_and_tuned(
    open_page: Callable[..., BrowserSession], files: Path, tmp_path: Path
) -> None:
    client, photo = open_page(), files / "astronaut.jpg"
    assert "guesses" in client.tab.locator("body").inner_text()
    client.changed(lambda: client.upload(photo))
    name, data = client.download()
    assert name == "astronaut.jpg" and data == inferred(photo, tmp_path / "a")
    slider = client.tab.get_by_label("range slider for Temperature")
    client.changed(lambda: slider.fill("1"))
    assert client.download()[1] == inferred(photo, tmp_path / "b", "--temperature", "1")
    saturation = client.tab.get_by_label("range slider for Saturation")
    client.changed(lambda: saturation.press("ArrowRight"))
    options = ("--temperature", "1", "--saturation", "1.01")
    assert client.download()[1] == inferred(photo, tmp_path / "c", *options)
    vividness = client.tab.get_by_label("range slider for Vividness")
    client.changed(lambda: vividness.fill("0.8"))
    options = (*options, "--vividness", "0.8")
    assert client.download()[1] == inferred(photo, tmp_path / "d", *options)
    divider = client.tab.get_by_label("divider of before and after: arrow keys move it")
    before = divider.get_attribute("style")
    divider.press("ArrowLeft")
    client.wait(lambda: divider.get_attribute("style") != before)
    assert all(_HERE.match(url) or url.startswith(("data:", "blob:")) for url in client.asked)


@pytest.mark.browser
def test_presets_move_the_sliders_and_sliders_leave_the_preset(
    open_page: Callable[..., BrowserSession], files: Path, tmp_path: Path
) -> None:
    client, photo = open_page(), files / "astronaut.jpg"
    client.changed(lambda: client.upload(photo))
    natural, faithful = (client.tab.get_by_label(name) for name in ("Natural", "Faithful"))
    assert natural.is_checked() and not faithful.is_checked()
    default = client.download()[1]
    natural.focus()
    client.tab.keyboard.press("Tab")
    client.changed(lambda: client.tab.keyboard.press("Space"))
    assert faithful.is_checked()
    options = ("--temperature", "1", "--vividness", "0", "--saturation", "1", "--calibration", "0")
    assert client.download()[1] == inferred(photo, tmp_path / "a", *options) != default
    for name, value in (("Temperature", "1"), ("Vividness", "0"), ("Saturation", "1")):
        slider = client.tab.get_by_label(f"range slider for {name}")
        assert slider.input_value() == value
    client.changed(lambda: slider.press("ArrowRight"))
    client.wait(lambda: not faithful.is_checked())
    assert not natural.is_checked()
    client.changed(lambda: natural.check())
    assert client.download()[1] == default


@pytest.mark.browser
def test_hints_variants_and_confidence(
    open_page: Callable[..., BrowserSession], files: Path, tmp_path: Path
) -> None:
    client, photo = open_page(400), files / "coffee.jpg"
    client.changed(lambda: client.upload(photo))
    client.open("Hints")
    image = client.tab.locator("#canvas img")
    box = image.bounding_box()
    place = {"x": box["width"] / 4, "y": box["height"] / 2}
    client.changed(lambda: image.click(position=place))
    client.tab.locator("#save-hints").click()
    name, hints = client.download("#hints-file")
    [hint] = json.loads(hints)["coffee.jpg"]
    assert name == "hints.json" and hint["color"] == "#c03030"
    assert abs(hint["x"] - 600 / 4) < 4 and abs(hint["y"] - 400 / 2) < 4
    (tmp_path / "hints.json").write_bytes(hints)
    options = ("--hints", str(tmp_path / "hints.json"))
    assert client.download()[1] == inferred(photo, tmp_path / "a", *options)
    client.changed(client.tab.locator("#undo").click)
    assert client.download()[1] == inferred(photo, tmp_path / "b")
    client.open("Variants")
    client.tab.wait_for_selector("#variants button img")
    client.tab.locator("#variants button img").nth(1).click()
    client.wait(lambda: "Variant 2" in client.status())
    expected = inferred(photo, tmp_path / "c", "--variants", "4", name="coffee-2.jpg")
    assert client.download() == ("coffee-2.jpg", expected)
    client.open("Confidence")
    client.tab.wait_for_selector("#confidence img")
    wide = client.tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= 400


@pytest.mark.browser
def test_many_photos_and_those_that_are_refused(
    open_page: Callable[..., BrowserSession], files: Path, tmp_path: Path
) -> None:
    client = open_page()
    client.upload(files / "text.jpg")
    client.wait(lambda: "text.jpg: not a photo" in client.status())
    client.upload(files / "huge.png", files / "scan.tif", files / "coffee.jpg")
    client.wait(lambda: client.status().startswith("2 photos colored. 2 not:"))
    assert "huge.png: 8000 x 6250 pixels (50 megapixels) are above the limit" in client.status()
    assert "--" not in client.status()
    client.wait(client.result)
    client.tab.locator("#zip").click()
    name, data = client.download("#zip-file")
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        assert name == "colored.zip" and zipped.namelist() == ["scan.tif", "coffee.jpg"]
        for one in zipped.namelist():
            assert zipped.read(one) == inferred(files / one, tmp_path)


@pytest.mark.browser
def test_two_clients_at_once_and_both_leave(
    open_page: Callable[..., BrowserSession], server: AppServer, files: Path, tmp_path: Path
) -> None:
    before = set(server.sessions())
    one, two = open_page(), open_page()
    one.upload(files / "astronaut.jpg")
    two.upload(files / "coffee.jpg")
    for client, name in ((one, "astronaut.jpg"), (two, "coffee.jpg")):
        client.wait(client.result)
        client.wait(lambda v=client, n=name: n in v.tab.locator("#download").inner_text())
        assert client.download() == (name, inferred(files / name, tmp_path / name))
    assert len(set(server.sessions()) - before) == 2
    one.context.close()
    two.context.close()
    end = time.monotonic() + 60
    while set(server.sessions()) - before:
        assert time.monotonic() < end, "the clients have gone, and their photos are still there"
        time.sleep(0.2)


def test_a_program_calls_the_same_functions(server: AppServer, files: Path, tmp_path: Path) -> None:
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(server.url, verbose=False, download_files=str(tmp_path / "got"))
    photo = files / "coffee.jpg"
    made = client.predict(gradio_client.handle_file(str(photo)), api_name="/colorize")
    assert _bytes(made) == inferred(photo, tmp_path / "a")
    made = client.predict(0.8, 1.2, 0.3, api_name="/change")
    options = ("--temperature", "0.8", "--saturation", "1.2", "--vividness", "0.3")
    assert _bytes(made) == inferred(photo, tmp_path / "b", *options)
    made = client.predict(300, 200, "#c03030", api_name="/hint")
    (tmp_path / "h.json").write_bytes(_bytes(client.predict(api_name="/hints")))
    options = (*options, "--hints", str(tmp_path / "h.json"))
    assert _bytes(made) == inferred(photo, tmp_path / "c", *options)
    client.predict(api_name="/undo")
    assert len(client.predict(2, api_name="/variants")) == 2
    assert _bytes(client.predict(api_name="/confidence")).startswith(b"\xff\xd8")
    with pytest.raises(Exception, match="not a photo"):
        client.predict(gradio_client.handle_file(str(files / "text.jpg")), api_name="/colorize")
    with pytest.raises(Exception, match=r"above the limit of 40$"):
        client.predict(gradio_client.handle_file(str(files / "huge.png")), api_name="/colorize")
    made = client.predict(gradio_client.handle_file(str(photo)), api_name="/colorize")
    assert _bytes(made) == inferred(photo, tmp_path / "d")
    client.close()


def test_the_documented_example_is_true(
    server: AppServer, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio_client")
    text = (ROOT / "docs/web-app.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert "http://127.0.0.1:7860/" in example
    shutil.copy(files / "coffee.jpg", tmp_path / "scan.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example.replace("http://127.0.0.1:7860/", server.url), names)
    assert _bytes(names["result"]) == inferred(tmp_path / "scan.jpg", tmp_path / "a")
    assert _bytes(names["back"]) == _bytes(names["calmer"]) != _bytes(names["red"])
    assert len(names["versions"]) == 4
    names["client"].close()


def _bytes(made: Any) -> bytes:
    return Path(made["path"] if isinstance(made, dict) else made).read_bytes()


def test_no_path_of_a_client_is_opened(server: AppServer) -> None:
    secret = server.temporary / "log"
    strange = (
        "/etc/passwd",
        str(secret),
        f"{server.uploads()}/../../log",
        f"{server.uploads()}/{'a' * 64}/../../../log",
        "https://example.com/a.jpg",
        "file:///etc/passwd",
        {"path": "x"},
        7,
    )
    for path in strange:
        photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for data in ([photo], [[photo], 1.0, 1.0], [1, {"deep": [photo]}]):
            assert _ask(server, "/gradio_api/call/colorize", {"data": data}) == 400
    missing = {
        "path": f"{server.uploads()}/{'a' * 64}/a.jpg",
        "meta": {"_type": "gradio.FileData"},
    }
    assert (
        _ask(server, "/gradio_api/call/colorize", {"data": [missing, None, None, None, None]})
        == 200
    )  # fails later, politely
    for address in (
        "/gradio_api/file=/etc/passwd",
        f"/gradio_api/file={secret}",
        "/gradio_api/file=https://example.com/",
        "/gradio_api/file=https%3A%2F%2Fexample.com/",
        "/gradio_api/proxy=https://example.hf.space/",
        "/monitoring",
        "/gradio_api/vibe-code",
        "/gradio_api/deep_link",
    ):
        assert _ask(server, address) in (403, 404), address
    assert _ask(server, "/gradio_api/call/colorize", {"data": ["x" * 2_000_000]}) == 413
    assert _ask(server, "/gradio_api/vibe-edit", {"data": []}) == 404
    assert _ask(server, "/gradio_api/call/colorize", b"{" * 100_000) == 400
    assert _ask(server, "/") == 200


def test_requests_for_other_host_names_are_refused(server: AppServer) -> None:
    port = server.url.rstrip("/").rpartition(":")[2]
    for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", "[::1]", "photos.example"):
        assert _request(server, "GET", "/", {"Host": host})[0] == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "",
        "[",
        "1.2.3.4",
    ):
        status, text = _request(server, "GET", "/", {"Host": host})
        assert status == 403 and "host" in text and "--" not in text, host


def test_requests_from_pages_of_other_sites_are_refused(server: AppServer) -> None:
    own = server.url.rstrip("/")
    boundary = "----b"
    body = (
        f"--{boundary}\r\nContent-Disposition: form-data; name=files; filename=a.jpg\r\n\r\nx\r\n"
        f"--{boundary}--\r\n"
    ).encode()
    upload = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    before = [*server.uploads().glob("*/*")]
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another server of this machine
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": own, "Sec-Fetch-Site": "cross-site"},
    ):
        status, text = _request(server, "POST", "/gradio_api/upload", upload | foreign, body)
        assert status == 403 and "other site" in text, foreign
        assert _request(server, "GET", "/config", foreign)[0] == 403, foreign
    assert [*server.uploads().glob("*/*")] == before
    for same in ({}, {"Origin": own}, {"Origin": own, "Sec-Fetch-Site": "same-origin"}):
        assert _request(server, "POST", "/gradio_api/upload", upload | same, body)[0] == 200, same
    proxied = {"Host": "photos.example", "Origin": "https://photos.example"}
    assert _request(server, "POST", "/gradio_api/upload", upload | proxied, body)[0] == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert _request(server, "GET", "/", link)[0] == 200


def test_malformed_requests_are_answered_with_a_reason(server: AppServer) -> None:
    join = {"session_hash": "s", "data": []}
    malformed: list[tuple[str, Any]] = [
        *(("queue/join", {**join, "fn_index": n}) for n in (9999, -1, "x", 1.5, [1], None, True)),
        ("queue/join", {"fn_index": 9999, "data": []}),
        ("queue/join", [1]),
        ("queue/join", b""),
        ("call/none", {"data": []}),
        ("call/colorize", {"data": 3}),
        ("call/colorize", {"data": [], "session_hash": {"a": 1}}),
        ("call/v2/colorize", {}),
        ("run/colorize", {"data": []}),
        ("api/colorize", {"data": []}),
        ("run/none", {"data": []}),
        ("cancel", {"session_hash": "s", "fn_index": 9999, "event_id": "e"}),
        ("reset", {"event_id": [1]}),
        ("cancel", {}),
    ]
    for path, body in malformed:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        status, text = _request(server, "POST", f"/gradio_api/{path}", headers, data)
        assert 400 <= status < 500, (path, body, status)
        assert json.loads(text)["detail"], text


def test_a_wrong_number_of_arguments_is_an_error_with_a_reason(server: AppServer) -> None:
    for name, count in (("colorize", 5), ("hint", 3), ("change", 4), ("variants", 1)):
        for arguments in ([], [1] * 9):
            data = json.dumps({"data": arguments}).encode()
            status, text = _request(server, "POST", f"/gradio_api/call/{name}", {}, data)
            assert status == 400 and f"{count} arguments" in text
    assert "Traceback" not in (server.temporary / "log").read_text()


def _request(
    server: AppServer, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, str]:
    """Status and body of a request with exactly these headers."""
    connection = http.client.HTTPConnection(server.url.split("/")[2], timeout=60)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_the_page_names_no_other_host(server: AppServer) -> None:
    with urllib.request.urlopen(server.url) as answer:
        html = answer.read().decode()
        policy = answer.headers["content-security-policy"]
    own = server.url.rstrip("/")
    found = set(re.findall(r"(?:src|href|content)=\s*\"(https?://[^\"]+)\"", html))
    assert not [one for one in found if not one.startswith(own)]
    assert "fonts.googleapis" not in html and "default-src 'self'" in policy


def _ask(server: AppServer, path: str, body: Any = None) -> int:
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(server.url.rstrip("/") + path, data)
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
