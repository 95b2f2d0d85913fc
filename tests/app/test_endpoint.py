"""POST /colorize: one photo in, the file of infer.py out; anything else is a 4xx with a reason."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from app_server import ROOT, AppServer, run_app
from PIL import Image

from pix2color.cli import infer

PHOTO = ROOT / "photos/coffee.jpg"
LIMITS = ("--max-megapixels", "2", "--max-upload", "1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    pytest.importorskip("gradio", reason="the app extra is not installed")
    with run_app(tmp_path_factory.mktemp("server"), *LIMITS) as one:
        yield one


def post(
    server: AppServer, *files: tuple[str, bytes], query: str = "", field: str = ""
) -> tuple[int, bytes, str]:
    """Status, body and type of the answer to a form of files."""
    parts = [f'name="photo"; filename="{name}"\r\n\r\n'.encode() + data for name, data in files] + [
        f'name="text"\r\n\r\n{field}'.encode()
    ] * bool(field)
    body = b"".join(b"--XX\r\nContent-Disposition: form-data; " + p + b"\r\n" for p in parts)
    request = urllib.request.Request(f"{server.url}colorize{query}", body + b"--XX--\r\n")
    request.add_header("Content-Type", "multipart/form-data; boundary=XX")
    return answer(request)


def answer(request: urllib.request.Request) -> tuple[int, bytes, str]:
    try:
        with urllib.request.urlopen(request, timeout=120) as found:
            return found.status, found.read(), found.headers.get_content_type()
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers.get_content_type()


def refused(result: tuple[int, bytes, str]) -> tuple[int, str]:
    status, body, kind = result
    assert kind == "application/json"
    return status, json.loads(body)["detail"]


def encoded(image: Image.Image, container: str) -> bytes:
    file = io.BytesIO()
    image.save(file, container)
    return file.getvalue()


@pytest.mark.slow
def test_it_is_the_file_of_infer(server: AppServer, tmp_path: Path) -> None:
    assert infer.main([str(PHOTO), "--out", str(tmp_path), "--device", "cpu"]) == 0
    status, body, kind = post(server, (PHOTO.name, PHOTO.read_bytes()))
    assert (status, kind) == (200, "image/jpeg")
    assert body == (tmp_path / PHOTO.name).read_bytes()
    options = ["--vividness", "0", "--temperature", "1", "--calibration", "0"]
    assert infer.main([str(PHOTO), "--out", str(tmp_path), "--device", "cpu", *options]) == 0
    query = "?vividness=0&temperature=1&calibration=0"
    assert (
        post(server, (PHOTO.name, PHOTO.read_bytes()), query=query)[1]
        == (tmp_path / PHOTO.name).read_bytes()
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_command_of_the_documents(server: AppServer, tmp_path: Path) -> None:
    text = (ROOT / "docs/web-app.md").read_text(encoding="utf-8")
    [command] = [line for line in text.splitlines() if line.startswith("curl ")]
    shutil.copy(PHOTO, tmp_path / "scan.jpg")
    command = command.replace("http://127.0.0.1:7860/", server.url)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "colored.jpg"), dtype=int)
    assert np.ptp(pixels, axis=2).max() > 20


@pytest.mark.slow
def test_sixteen_bits_alpha_and_odd_names(server: AppServer) -> None:
    gray = Image.fromarray(np.arange(60 * 80, dtype=np.uint16).reshape(60, 80))
    status, body, kind = post(server, ("../../../größe\u202e.png", encoded(gray, "PNG")))
    assert (status, kind) == (200, "image/png") and body[24:26] == b"\x10\x02"  # 16 bits, RGB


@pytest.mark.slow
def test_what_is_no_request_is_said_and_the_server_goes_on(server: AppServer) -> None:
    photo = (PHOTO.name, PHOTO.read_bytes())
    large = encoded(Image.new("L", (1500, 1500)), "PNG")
    bomb = encoded(Image.new("1", (30_000, 30_000)), "PNG")
    for result, expected in (
        (post(server), (400, "no files: send one photo")),
        (post(server, field="hello"), (400, "no files: send one photo")),
        (post(server, photo, photo), (400, "2 files: send one photo")),
        (post(server, photo, photo, photo), (400, "Too many files")),
        (post(server, ("empty.jpg", b"")), (400, "an empty file")),
        (post(server, ("words.jpg", b"words")), (422, "")),
        (post(server, ("cut.jpg", photo[1][:5000])), (422, "")),
        (post(server, ("large.png", large)), (422, "megapixel")),
        (post(server, ("bomb.png", bomb)), (422, "megapixel")),
        (post(server, ("film.mp4", photo[1])), (422, "not videos")),
        (post(server, ("scan.heic", b"x")), (422, "cannot be read")),
        (post(server, ("long.jpg", bytes(1_200_000))), (413, "larger than")),
        (post(server, photo, query="?glow=1"), (400, "no option 'glow'")),
        (post(server, photo, query="?vividness=much"), (400, "vividness is not a number")),
        (post(server, photo, query="?vividness=nan"), (400, "finite")),
        (post(server, photo, query="?vividness=11"), (400, "from 0 to 10")),
        (post(server, photo, query="?temperature=0"), (400, "temperature")),
        (post(server, photo, query="?calibration=2"), (400, "calibration")),
        (post(server, photo, query="?saturation=1&saturation=2"), (400, "twice")),
    ):
        status, reason = refused(result)
        assert status == expected[0] and expected[1] in reason and "\n" not in reason, expected
    address = f"{server.url}colorize"
    assert refused(answer(urllib.request.Request(address)))[0] == 405
    raw = urllib.request.Request(address, photo[1], {"Content-Type": "image/jpeg"})
    status, reason = refused(answer(raw))
    assert status == 415 and "curl -F" in reason
    foreign = urllib.request.Request(address, photo[1], {"Origin": "https://example.org"})
    assert refused(answer(foreign))[0] == 403
    broken = {"Content-Type": "multipart/form-data; boundary=YY"}
    assert refused(answer(urllib.request.Request(address, b"--XX\r\n", broken)))[0] == 400
    assert post(server, photo)[0] == 200
    for _ in range(100):  # removed after the answer was sent
        if not (left := [*server.temporary.glob("pix2color-page-*/post-*")]):
            break
        time.sleep(0.1)
    assert not left


@pytest.mark.slow
def test_a_client_that_goes_away_and_several_at_once(server: AppServer) -> None:
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port)) as one:
        head = "POST /colorize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n"
        one.sendall(f"{head}Content-Type: multipart/form-data; boundary=XX\r\n\r\n--XX".encode())
    photo = (PHOTO.name, PHOTO.read_bytes())
    with ThreadPoolExecutor(5) as pool:
        results = [*pool.map(lambda _: post(server, photo), range(5))]
    assert {status for status, _, _ in results} == {200} and len({b for _, b, _ in results}) == 1
