"""A session's photos: the files that infer.py would write, and what hostile uploads come to."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_model import calibrated, fake_colorizer, released, use_fake_model
from PIL import Image

from pix2color.app import uploads, validation, views
from pix2color.app.cached_runtime import cached
from pix2color.app.limits import ServerLimits
from pix2color.app.session import Session, Settings
from pix2color.app.sessions import SessionStore, remove_old_uploads
from pix2color.cli import infer
from pix2color.errors import Pix2ColorError
from pix2color.inference.colorizer import Colorizer
from pix2color.photo import Limits, read
from pix2color.runtime.torch import TorchRuntime


@pytest.fixture
def sessions(tmp_path: Path) -> SessionStore:
    return SessionStore(fake_colorizer(), ServerLimits(megapixels=1, files=6), tmp_path / "s")


@pytest.fixture
def session(sessions: SessionStore) -> Session:
    return sessions.get_or_create("client")


@pytest.fixture
def photo(tmp_path: Path, small_photos: list[np.ndarray]) -> Path:
    path = tmp_path / "grandma.jpg"
    Image.fromarray(small_photos[0]).convert("L").save(path, quality=88, dpi=(300, 300))
    return path


def inferred(
    monkeypatch: pytest.MonkeyPatch, photo: Path, out: Path, *options: str, name: str | None = None
) -> bytes:
    """What infer.py writes."""
    use_fake_model(monkeypatch)
    assert infer.main([str(photo), "--out", str(out), "--quiet", *options]) == 0
    return (out / (name or photo.name)).read_bytes()


def colorize_all(session: Session, *files: Path, **settings: float) -> list:
    return list(session.colorize(session.add(files, Settings(**settings))))


def test_results_are_the_files_of_infer(
    session: Session, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [entry] = colorize_all(session, photo)
    assert entry.result.read_bytes() == inferred(monkeypatch, photo, tmp_path / "a")
    session.change(entry, temperature=0.4, vividness=0.2, saturation=1.3)
    options = ("--temperature", "0.4", "--vividness", "0.2", "--saturation", "1.3")
    expected = inferred(monkeypatch, photo, tmp_path / "b", *options)
    assert entry.result.read_bytes() == expected and entry.result.name == photo.name


def test_a_calibration_can_be_switched_off(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore(Colorizer(TorchRuntime(calibrated())), ServerLimits(), tmp_path / "s")
    session = store.get_or_create("client")
    [entry] = colorize_all(session, photo)
    plain = inferred(monkeypatch, photo, tmp_path / "a")
    assert entry.result.read_bytes() != plain
    session.change(entry, calibration=0.0)
    assert entry.result.read_bytes() == plain


def test_a_calibration_that_the_weights_lack_is_refused(session: Session, photo: Path) -> None:
    [entry] = colorize_all(session, photo)
    before = entry.result.read_bytes()
    with pytest.raises(Pix2ColorError, match="have no calibration"):
        session.change(entry, calibration=0.5)
    assert entry.result.read_bytes() == before and entry.settings.calibration is None


def test_sixteen_bits_stay_and_a_browser_gets_a_view(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_photos: list
) -> None:
    path = tmp_path / "scan.tif"
    gray = np.asarray(Image.fromarray(small_photos[1]).convert("L")).astype(np.uint16) * 257
    Image.fromarray(gray).save(path)
    [entry] = colorize_all(session, path)
    assert entry.result.read_bytes() == inferred(monkeypatch, path, tmp_path / "a")
    assert read(entry.result).bits == 16
    for view in session.show(entry):
        with Image.open(view) as image:
            assert image.format == "JPEG" and image.size == gray.shape[::-1]


def test_the_network_runs_once_a_photo(photo: Path) -> None:
    model = released()
    plain = Colorizer(TorchRuntime(model))
    with_cache = cached(plain)
    one = read(photo)
    for temperature in (0.3, 0.9, 2.0):
        decode = plain.resolve_decode(temperature=temperature)
        expected = plain.colorize_variants(one, decode)[0][0]
        assert np.array_equal(
            with_cache.colorize_variants(one, decode)[0][0].pixels, expected.pixels
        )
    assert len(model.generator.sizes) == 3 + 1  # type: ignore[union-attr]


def test_hints_variants_and_confidence_are_the_files_of_infer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    session = SessionStore(
        Colorizer.from_pretrained(device="cpu"), ServerLimits(), tmp_path / "s"
    ).get_or_create("v")
    [entry] = colorize_all(session, photo)
    plain = entry.result.read_bytes()
    session.hint(entry, 20, 30, "#c03030")
    session.hint(entry, 50, 10, "#3030c0")
    file = session.hints_file()
    out = tmp_path / "out"
    options = ["--quiet", "--out", str(out), "--hints", str(file)]
    assert infer.main([str(photo), *options]) == 0
    assert entry.result.read_bytes() == (out / photo.name).read_bytes() != plain
    session.undo(session.undo(entry))
    assert entry.result.read_bytes() == plain
    with pytest.raises(Pix2ColorError, match="no hint"):
        session.undo(entry)
    with pytest.raises(Pix2ColorError, match="outside the photo"):
        session.hint(entry, 5000, 0, "#ffffff")
    assert not entry.settings.hints and entry.result.read_bytes() == plain
    assert len(session.make_variants(entry)) == 4
    session.choose(entry, 2)
    options = ["--quiet", "--out", str(tmp_path / "v"), "--variants", "4"]
    assert infer.main([str(photo), *options]) == 0
    assert entry.result.read_bytes() == (tmp_path / "v/grandma-3.jpg").read_bytes()
    with Image.open(session.confidence(entry)) as overlay, Image.open(photo) as original:
        assert overlay.size == original.size


def test_many_photos_with_an_error_by_name(
    session: Session, photo: Path, tmp_path: Path, small_photos: list[np.ndarray]
) -> None:
    archive = tmp_path / "album.zip"
    (tmp_path / "text.jpg").write_text("not a photo at all")
    huge = io.BytesIO()
    Image.new("L", (2000, 600)).save(huge, "PNG")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.write(photo, "1930/aunt.jpg")
        zipped.write(photo, "1931/aunt.jpg")
        zipped.writestr("huge.png", huge.getvalue())
        zipped.writestr("notes.txt", "no photo")
        zipped.writestr("raw.nef", "x")
    (tmp_path / "film.mp4").write_bytes(b"a film")
    done = colorize_all(session, archive, tmp_path / "text.jpg", tmp_path / "film.mp4", photo)
    assert [(e.name, e.done) for e in done] == [
        ("1930/aunt.jpg", True),
        ("1931/aunt.jpg", True),
        ("huge.png", False),
        ("text.jpg", False),
        ("grandma.jpg", True),
    ]
    assert done[2].failure.endswith("above the limit of 1"), "no option of the command line"
    assert "not a photo" in done[3].failure
    assert [name for name, _ in session.refused] == ["raw.nef", "film.mp4"]
    assert "photos only" in session.refused[-1][1]
    with zipfile.ZipFile(session.all_files()) as zipped:
        assert zipped.namelist() == ["1930/aunt.jpg", "1931/aunt.jpg", "grandma.jpg"]
        assert zipped.read("1930/aunt.jpg") == done[0].result.read_bytes()
    session.add([photo, photo])
    assert "too many photos" in session.refused[-1][1]  # six at a time


def test_zip_files_stay_inside_and_small(tmp_path: Path, photo: Path) -> None:
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.write(photo, "../../../etc/evil.jpg")
        zipped.write(photo, "/root/absolute.jpg")
        zipped.write(photo, "C:\\win\\drive.jpg")
        zipped.write(photo, "..\\..\\up.jpg")
        zipped.writestr("bomb.png", bytes(30_000_000))
    result = uploads.ingest([archive], tmp_path / "in", files=9, size=1_000_000)
    assert [name for name, _ in result.photos] == [
        "etc/evil.jpg",
        "root/absolute.jpg",
        "C_/win/drive.jpg",
        "up.jpg",
    ]
    for name, path in result.photos:
        assert path.resolve().is_relative_to(tmp_path / "in") and path.name == Path(name).name
    assert [name for name, _ in result.refused] == ["bomb.png"]
    stored = sum(path.stat().st_size for path in (tmp_path / "in").rglob("*") if path.is_file())
    assert stored < 1_000_000


def test_zip_files_that_lie_are_refused(tmp_path: Path, photo: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb.png", bytes(3_000_000))
    data = whole.getvalue()
    lying = data.replace(struct.pack("<L", 3_000_000), struct.pack("<L", 1000))
    long = data[:-10] + struct.pack("<L", 500_000_000) + data[-6:]
    lzma = io.BytesIO()
    with zipfile.ZipFile(lzma, "w", zipfile.ZIP_LZMA) as zipped:
        zipped.write(photo, "a.jpg")
    nothing = io.BytesIO()
    with zipfile.ZipFile(nothing, "w") as zipped:
        zipped.writestr("a.txt", "no photo")
    for number, content in enumerate(
        (lying, long, lzma.getvalue(), nothing.getvalue(), data[:50], b"PK\x03\x04")
    ):
        archive = tmp_path / f"{number}.zip"
        archive.write_bytes(content)
        result = uploads.ingest([archive], tmp_path / f"in{number}", files=9, size=1_000_000)
        held = sum(p.stat().st_size for p in tmp_path.glob(f"in{number}/*/*"))
        assert not result.photos and len(result.refused) == 1 and held == 0, number


def test_names_become_plain() -> None:
    assert uploads.plain_name("../a\x00b/…/\u202egpj.exe") == "a_b/…/_gpj.exe"
    assert uploads.plain_name("..") == uploads.plain_name("///") == "photo"
    long = uploads.plain_name("ü" * 300 + ".jpg")
    assert long.endswith(".jpg") and len(long.encode()) <= 255


def test_values_of_clients_are_checked() -> None:
    assert validation.hex_color("rgba(255, 0, 16.4, 1)") == "#ff0010"
    assert validation.hex_color("#ABCDEF80") == "#abcdef"
    assert validation.hex_color("rgb(255,.4,300)") == "#ff00ff"
    malformed = (
        "rgb(1.2.3,0,0)",
        "rgb(.,0,0)",
        f"rgb({'9' * 400},0,0)",
        "rgb(\u0661,0,0)",
        "#abcdefgh",
    )
    for bad in ("red", "#12", None, {"path": "/etc/passwd"}, "#zzzzzz", *malformed):
        with pytest.raises(Pix2ColorError):
            validation.hex_color(bad)
    for bad in ("1", True, float("nan"), -1, 1e9, [1], 10**400):
        with pytest.raises(Pix2ColorError):
            validation.settings(bad)  # type: ignore[arg-type]
        with pytest.raises(Pix2ColorError, match="vividness"):
            validation.settings(vividness=bad)  # type: ignore[arg-type]
    assert validation.settings(None, 0.2, 1.5) == Settings(vividness=0.2, saturation=1.5)


def test_made_up_session_ids_lock_nobody_out(
    tmp_path: Path, photo: Path, small_photos: list[np.ndarray]
) -> None:
    sessions = SessionStore(fake_colorizer(), ServerLimits(sessions=3), tmp_path / "s")
    for number in range(10):
        with pytest.raises(Pix2ColorError, match="no photo"):
            sessions.get(f"made up {number}")
    assert len(sessions) == 0
    (tmp_path / "text.jpg").write_text("not a photo")
    for number in range(10):  # sessions in which nothing was colored make room for others
        colorize_all(sessions.get_or_create(f"refused {number}"), tmp_path / "text.jpg")
    people = [sessions.get_or_create(name) for name in "abc"]
    for person in people:
        colorize_all(person, photo)
    with pytest.raises(Pix2ColorError, match="too many"):
        sessions.get_or_create("d")
    people[1].last_used -= 1000  # nobody has used it for a while
    assert sessions.get_or_create("d") and not people[1].folder.exists()
    assert sessions.get("a") is people[0] and people[0].entries[0].result.exists()


def test_network_outputs_of_idle_sessions_do_not_pile_up(tmp_path: Path, photo: Path) -> None:
    model = released()
    sessions = SessionStore(
        Colorizer(TorchRuntime(model)), ServerLimits(cached_outputs=2), tmp_path / "s"
    )
    people = [sessions.get_or_create(name) for name in "abc"]
    entries = [colorize_all(person, photo)[0] for person in people]
    runs = len(model.generator.sizes)  # type: ignore[union-attr]
    people[2].change(entries[2], saturation=0.5)
    people[1].change(entries[1], saturation=0.5)
    assert len(model.generator.sizes) == runs  # type: ignore[union-attr]
    people[0].change(entries[0], saturation=0.5)
    assert len(model.generator.sizes) == runs + 1  # type: ignore[union-attr]


def test_only_uploads_are_opened(sessions: SessionStore, photo: Path, tmp_path: Path) -> None:
    own = tmp_path / ("a" * 64)
    own.mkdir()
    upload = own / "x.jpg"
    upload.write_bytes(photo.read_bytes())
    assert sessions.uploaded(str(upload)) == upload
    (own / "link.jpg").symlink_to(photo)
    (tmp_path / "bb").mkdir()
    (tmp_path / "bb/x.jpg").write_bytes(b"")
    others = (photo, own / "link.jpg", own / "none.jpg", own, own / "..", tmp_path / "bb/x.jpg")
    for bad in (*others, own / ".." / own.name / "x.jpg", "/etc/passwd", None, {"path": "x"}):
        with pytest.raises(Pix2ColorError, match="not here"):
            sessions.uploaded(str(bad) if isinstance(bad, Path) else bad)


def test_a_session_ends_with_its_files(sessions: SessionStore, photo: Path, tmp_path: Path) -> None:
    one, two = sessions.get_or_create("one"), sessions.get_or_create("two")
    [entry] = colorize_all(one, photo)
    colorize_all(two, photo)
    os.utime(photo, (time.time() - 60,) * 2)
    assert one.folder.stat().st_mode & 0o777 == 0o700
    sessions.close("one")
    sessions.close("nobody")
    assert not one.folder.exists() and two.entries[0].result.exists()
    with pytest.raises(Pix2ColorError, match="has ended"):
        one.change(entry, saturation=0.5)
    sessions.expire()
    assert two.folder.exists() and not photo.exists()
    two.last_used -= 1e6
    sessions.expire()
    assert not two.folder.exists() and len(sessions) == 0


def test_a_session_that_is_busy_ends_after_its_work(
    sessions: SessionStore, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = sessions.get_or_create("one")
    new = session.add([photo, photo, photo])
    begun, go_on = threading.Event(), threading.Event()
    real = Session._run

    def slow(self: Session, *args: object) -> None:
        begun.set()
        go_on.wait(20)
        real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "_run", slow)
    ended: list[BaseException] = []

    def work() -> None:
        try:
            list(session.colorize(new))
        except Pix2ColorError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(20)
    sessions.close("one")
    assert session.folder.exists()
    go_on.set()
    thread.join(20)
    assert len(ended) == 1 and not session.folder.exists()


class LockThatIsReleasedLate:
    """A lock whose release is preceded by a callback: another thread's turn at the worst time."""

    def __init__(self, before_release: Callable[[], None]) -> None:
        self._lock, self._before_release = threading.Lock(), before_release

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking=blocking)

    def release(self) -> None:
        self._before_release()
        self._lock.release()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


def test_a_session_closed_as_its_work_ends_leaves_no_files(session: Session, photo: Path) -> None:
    session._lock = LockThatIsReleasedLate(session.close)  # type: ignore[assignment]
    session.add([photo])
    assert not session.folder.exists()


def test_uploads_that_nobody_takes_are_swept(tmp_path: Path) -> None:
    old, new, own = (tmp_path / name for name in ("aa/a.jpg", "bb/b.jpg", "sessions/x/c.jpg"))
    for path in (old, new, own):
        path.parent.mkdir(parents=True)
        path.write_text("x")
    for path in (old, own):
        os.utime(path, (time.time() - 900,) * 2)
    for _ in range(2):
        remove_old_uploads(tmp_path, older_than=300, keep=tmp_path / "sessions")
    assert new.exists() and own.exists() and not old.parent.exists()


def test_a_view_of_alpha_is_a_png(tmp_path: Path, small_photos: list[np.ndarray]) -> None:
    path = tmp_path / "a.tif"
    image = Image.fromarray(small_photos[0]).convert("RGBA")
    image.putalpha(100)
    image.save(path)
    view = views.result_view(path, Limits())
    assert view.suffix == ".png" and views.result_view(path, Limits()) == view
    with Image.open(view) as shown:
        assert shown.mode == "RGBA"
