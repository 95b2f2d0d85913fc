"""infer.py from and into object stores: tree, names, the record of the runs, bad networks."""

from __future__ import annotations

import io
import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_model import released, use_fake_model
from flaky_store import FlakyFileSystem, flaky_store, new_url
from outputs import outputs
from PIL import Image
from s3_server import new_s3_url

from pix2color.cli import infer
from pix2color.errors import EXIT_INTERRUPTED
from pix2color.jobs import journal, mirror, pipeline
from pix2color.jobs.store import FolderStore, Store, open_store

NAMES = ("a.jpg", "deep/b.png", "deep/er/c d.tif")


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_model(monkeypatch)


@pytest.fixture
def scans(small_photos: list[np.ndarray]) -> Store:
    store = open_store(new_url())
    for name, photo in zip(NAMES, small_photos, strict=False):
        store.write(name, encoded(photo, Path(name).suffix))
    store.write("notes.txt", b"not a photo")
    return store


def encoded(photo: np.ndarray, suffix: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).convert("L").save(file, Image.registered_extensions()[suffix])
    return file.getvalue()


def run(*arguments: object) -> int:
    return infer.main([str(a) for a in arguments])


def photos_of(store: Store) -> dict[str, bytes]:
    return {e.name: store.read(e.name) for e in store.list() if not e.name.startswith(".")}


def lines_of(store: Store) -> list[dict[str, Any]]:
    names = [e.name for e in store.list(".pix2color/runs") if e.name.endswith(".jsonl")]
    return [json.loads(line) for name in names for line in store.read(name).splitlines()]


def in_folder(scans: Store, folder: Path) -> dict[str, bytes]:
    """What a run over the same photos in a folder writes."""
    for name, data in photos_of(scans).items():
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_bytes(data)
    assert run(folder / "in", "--out", folder / "out", "--quiet") == 0
    return photos_of(FolderStore(folder / "out"))


def test_a_store_is_colored_like_a_folder(
    scans: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = photos_of(scans), open_store(new_url())
    expected = in_folder(scans, tmp_path)
    assert run(scans.url, "--out", out.url) == 0
    assert "3 of 3 photos colored in" in capsys.readouterr().out
    assert photos_of(out) == expected and sorted(expected) == sorted(NAMES)
    assert photos_of(scans) == before


def test_a_folder_into_a_store_and_a_store_into_a_folder(scans: Store, tmp_path: Path) -> None:
    expected, out = in_folder(scans, tmp_path), open_store(new_url())
    assert run(tmp_path / "in", "--out", out.url, "--quiet") == 0
    assert photos_of(out) == expected
    assert run(scans.url, "--out", tmp_path / "local", "--quiet") == 0
    assert {name: (tmp_path / "local" / name).read_bytes() for name in expected} == expected


def test_s3_is_colored_like_a_folder_and_resumed(
    scans: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket, expected = open_store(new_s3_url()), in_folder(scans, tmp_path)
    for name, data in photos_of(scans).items():
        bucket.write(f"scans/{name}", data)
    arguments = (f"{bucket.url}/scans", "--out", f"{bucket.url}/colored", "--resume")
    assert run(*arguments) == 0
    assert photos_of(open_store(f"{bucket.url}/colored")) == expected
    capsys.readouterr()
    assert run(*arguments) == 0
    assert "0 of 3 photos colored, 3 skipped" in capsys.readouterr().out


def test_one_object(scans: Store) -> None:
    out = open_store(new_url())
    assert run(f"{scans.url}/deep/b.png", "--out", out.url, "--quiet") == 0
    assert sorted(photos_of(out)) == ["b.png"]


def test_colored_photos_below_the_scans_are_not_colored_again(scans: Store) -> None:
    for _ in range(2):
        assert run(scans.url, "--out", f"{scans.url}/colored", "--quiet") == 0
    assert sorted(photos_of(open_store(f"{scans.url}/colored"))) == sorted(NAMES)


def test_what_others_wrote_is_left_alone_and_named(
    scans: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    out = open_store(new_url())
    out.write("deep/b.png", b"of somebody else")
    assert run(scans.url, "--out", out.url) == 1
    said = capsys.readouterr()
    assert "2 of 3 photos colored" in said.out
    assert f"{scans.url}/deep/b.png: {out.url}/deep/b.png exists" in said.err
    assert "--out" in said.err and "Traceback" not in said.err
    assert out.read("deep/b.png") == b"of somebody else"


def test_what_was_changed_after_a_run_is_not_ours_any_more(scans: Store) -> None:
    out = open_store(new_url())
    assert run(scans.url, "--out", out.url, "--quiet") == 0
    retouched = out.read("a.jpg") + b"retouched"
    out._replace("a.jpg", retouched)
    assert run(scans.url, "--out", out.url, "--quiet", "--saturation", "0.5") == 1
    assert out.read("a.jpg") == retouched


def test_sources_are_never_targets(scans: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = photos_of(scans)
    assert run(scans.url, "--out", scans.url) == 2
    assert f"{scans.url}/a.jpg is the source" in capsys.readouterr().err
    assert photos_of(scans) == before and not lines_of(scans)


def test_names_that_no_file_can_have_are_skipped_by_name(
    scans: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("../up.jpg", "deep//twice.jpg", "x" * 300 + ".jpg", ".hidden/d.jpg"):
        scans.write(name, scans.read("a.jpg"))
    out = open_store(new_url())
    assert run(scans.url, "--out", out.url) == 0
    said = capsys.readouterr().out
    assert said.count("not a name that files can have") == 3 and "hidden" not in said
    assert f"{scans.url}/../up.jpg" in said and f"{scans.url}/deep//twice.jpg" in said
    assert sorted(photos_of(out)) == sorted(NAMES)


@pytest.mark.parametrize("installed", [True, False])
def test_videos_are_skipped_by_name(
    installed: bool, scans: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("pix2color.video.pyav.installed", lambda: installed)
    scans.write("deep/film.mp4", b"moving")
    out = open_store(new_url())
    assert run(scans.url, "--out", out.url) == 0
    assert f"skipped {scans.url}/deep/film.mp4: " in capsys.readouterr().out
    assert sorted(photos_of(out)) == sorted(NAMES)
    (tmp_path / "film.mp4").write_bytes(b"moving")
    assert run(tmp_path / "film.mp4", "--out", out.url) == 2
    assert "from folders into folders" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://", "name a bucket"),
        ("memory://no/such/prefix", "no photo in memory://no/such/prefix"),
        ("nosuch://bucket/scans", "Protocol not known"),
        ("file:///tmp", "without file://"),
    ],
)
def test_a_wrong_url_is_one_line_and_nothing_is_started(
    url: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(url, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_may_not_be_written_is_seen_before_the_first_photo(
    scans: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError("Forbidden")

    monkeypatch.setattr(pipeline, "read", lambda *a, **o: pytest.fail("a photo was read"))
    out = open_store(new_url())
    monkeypatch.setattr(type(out._files), "pipe_file", denied)  # type: ignore[attr-defined]
    assert run(scans.url, "--out", out.url) == 2
    said = capsys.readouterr().err
    assert "access denied (PermissionError: Forbidden); check the credentials" in said
    assert said.count("\n") == 1


def test_the_record_has_every_photo_once_with_its_outcome(scans: Store) -> None:
    scans.write("broken.jpg", b"words")
    out = open_store(new_url())
    assert run(scans.url, "--out", out.url, "--quiet") == 1
    lines = {line["target"]: line for line in lines_of(out)}
    assert len(lines) == len(lines_of(out)) == 4
    assert {name: line["status"] for name, line in lines.items()} == {
        **dict.fromkeys(NAMES, "done"), "broken.jpg": "failed",
    }  # fmt: skip
    assert "not a photo" in lines["broken.jpg"]["reason"] and not lines["broken.jpg"]["outputs"]
    entries = {e.name: e for e in scans.list()}
    for name in NAMES:
        line = lines[name]
        assert line["source"] == f"{scans.url}/{name}"
        assert (line["size"], line["version"]) == (entries[name].size, entries[name].version)
        assert line["outputs"] == {name: journal.digest(out.read(name))}
        assert line["weights"] == released().digest and line["seconds"] > 0


def test_the_plan_is_in_files_of_so_many_names(
    scans: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SHARD", 2)
    out = open_store(new_url())

    def planned() -> list[list[str]]:
        files = [out.read(e.name).splitlines() for e in out.list(".pix2color/manifest")]
        return [[json.loads(line)["target"] for line in lines] for lines in files]

    assert run(scans.url, "--out", out.url, "--quiet") == 0
    assert planned() == [["a.jpg", "deep/b.png"], ["deep/er/c d.tif"]]
    assert run(f"{scans.url}/deep", "--out", out.url, "--quiet", "--resume") == 0
    assert planned() == [["b.png", "er/c d.tif"], []]


def test_resume_does_nothing_again(
    scans: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out, report = open_store(new_url()), tmp_path / "report.json"
    assert run(scans.url, "--out", out.url, "--quiet") == 0
    before = [e for e in out.list() if not e.name.startswith(".")]
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "read", lambda *a, **o: pytest.fail("a photo was read"))
        assert run(scans.url, "--out", out.url, "--resume", "--report", report) == 0
    said = capsys.readouterr()
    assert "0 of 3 photos colored, 3 skipped" in said.out and not said.err
    assert [e for e in out.list() if not e.name.startswith(".")] == before
    assert len(lines_of(out)) == 3
    photos = {p["source"]: p for p in json.loads(report.read_text())["photos"]}
    for line in lines_of(out):
        photo = photos[line["source"]]
        assert (photo["status"], photo["reason"]) == ("skipped", "already done")
        assert photo["target"] == f"{out.url}/{line['target']}"
        assert photo["seconds"] == line["seconds"]
        assert photo["digests"] == [*line["outputs"].values()]


def test_resume_does_what_failed_what_is_gone_and_what_changed_and_says_so(
    scans: Store, small_photos: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    scans.write("broken.jpg", b"words")
    scans.write("gone.jpg", scans.read("a.jpg"))
    out = open_store(new_url())
    assert run(scans.url, "--out", out.url, "--quiet") == 1
    scans._replace("broken.jpg", scans.read("a.jpg"))
    scans._replace("deep/b.png", encoded(small_photos[3], ".png"))
    scans.write("new.jpg", scans.read("a.jpg"))
    scans._files.rm_file(scans._path("gone.jpg"))  # type: ignore[attr-defined]
    out._files.rm_file(out._path("a.jpg"))  # type: ignore[attr-defined]
    kept = out.read("deep/er/c d.tif")
    capsys.readouterr()
    assert run(scans.url, "--out", out.url, "--resume") == 0
    said = capsys.readouterr()
    assert "4 of 5 photos colored, 1 skipped" in said.out
    assert "photos done again: 1, their source changed" in said.err
    assert "photos new since the last run: 1" in said.err
    assert "photos of the last run that this one has not: 1" in said.err
    assert out.read("deep/er/c d.tif") == kept
    fresh = open_store(new_url())
    assert run(scans.url, "--out", fresh.url, "--quiet") == 0
    assert photos_of(fresh) == {n: d for n, d in photos_of(out).items() if n != "gone.jpg"}


def test_resume_with_other_options_or_weights_says_which_and_replaces_what_is_ours(
    scans: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, fresh = open_store(new_url()), open_store(new_url())
    assert run(scans.url, "--out", out.url, "--quiet") == 0
    assert run(scans.url, "--out", out.url, "--resume", "--vividness", "0.5") == 0
    said = capsys.readouterr()
    assert "photos done again: 3, they have other options (vividness 0.0, now 0.5)" in said.err
    assert run(scans.url, "--out", fresh.url, "--quiet", "--vividness", "0.5") == 0
    assert photos_of(fresh) == photos_of(out)
    other = released()
    object.__setattr__(other, "digest", "ba9876543210")
    use_fake_model(monkeypatch, other)
    capsys.readouterr()
    assert run(scans.url, "--out", out.url, "--resume", "--vividness", "0.5") == 0
    said = capsys.readouterr()
    assert "they have other weights (0123456789ab, now ba9876543210)" in said.err
    assert "3 of 3" in said.out and b"ba9876543210" in out.read("a.jpg")


def test_what_has_color_stays_skipped(scans: Store, small_photos: list[np.ndarray]) -> None:
    file = io.BytesIO()
    Image.fromarray(small_photos[0]).save(file, "PNG")
    scans.write("color.png", file.getvalue())
    out = open_store(new_url())
    for options in ((), ("--resume",)):
        assert run(scans.url, "--out", out.url, "--quiet", "--skip-color", *options) == 0
        assert not out.exists("color.png")
    assert [line["status"] for line in lines_of(out)].count("skipped") == 1


def test_a_damaged_record_is_named_and_nothing_is_started(
    scans: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    out = open_store(new_url())
    assert run(scans.url, "--out", out.url, "--quiet") == 0
    [name] = [e.name for e in out.list(".pix2color/runs") if e.name.endswith("0.jsonl")]
    out._replace(name, out.read(name)[:-20])
    before = photos_of(out)
    assert run(scans.url, "--out", out.url, "--resume") == 2
    said = capsys.readouterr().err
    assert f"{out.url}/{name}: not a record" in said and said.count("\n") == 1
    assert photos_of(out) == before


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_run_that_was_killed_goes_on_with_the_same_bytes(
    lost: int, scans: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after some photos, the last of which have no line yet."""
    out, undisturbed = open_store(new_url()), open_store(new_url())
    assert run(scans.url, "--out", undisturbed.url, "--quiet") == 0

    class Killed(BaseException):
        """Nothing after it runs, as after SIGKILL."""

    seen: list[object] = []
    add = journal.Journal.add

    def killed_at_the_third(self: journal.Journal, outcome: pipeline.Outcome) -> None:
        seen.append(outcome)
        if len(seen) <= 3 - lost:
            add(self, outcome)
        self.flush()
        if len(seen) == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "add", killed_at_the_third)
        with pytest.raises(Killed):
            run(scans.url, "--out", out.url, "--quiet")
    assert len(lines_of(out)) == 3 - lost
    assert run(scans.url, "--out", out.url, "--resume", "--quiet") == 0
    assert photos_of(out) == photos_of(undisturbed)
    assert sorted(line["target"] for line in lines_of(out)) == sorted(NAMES)


@pytest.mark.parametrize("seed", range(2))
def test_a_bad_network_gives_the_bytes_and_lines_of_a_good_one(
    seed: int, scans: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call in ten fails, comes late or transfers a half."""
    for number in range(30):
        scans.write(f"more/{number}.jpg", scans.read("a.jpg"))
    quiet, disturbed = open_store(new_url()), open_store(new_url())
    assert run(scans.url, "--out", quiet.url, "--quiet") == 0
    networks: list[FlakyFileSystem] = []

    def opened(url: str) -> Store:
        store, network = flaky_store(url, seed=seed + len(networks))
        networks.append(network)
        return store

    monkeypatch.setattr(mirror, "open_store", opened)
    assert run(scans.url, "--out", disturbed.url, "--quiet") == 0
    assert sum(sum(n.went_wrong.values()) for n in networks) > 5
    assert photos_of(disturbed) == photos_of(quiet)

    def told(store: Store) -> list[tuple[object, ...]]:
        keys = ("source", "target", "status", "reason", "outputs", "weights", "options")
        return sorted(tuple(str(line[key]) for key in keys) for line in lines_of(store))

    assert told(disturbed) == told(quiet)
    assert len(disturbed.list()) == len(quiet.list())


def test_processes_share_a_store(scans: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchrun starts them; each records its own photos, and any of them can resume all."""
    out, alone = open_store(new_url()), open_store(new_url())
    assert run(scans.url, "--out", alone.url, "--quiet") == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        assert run(scans.url, "--out", out.url, "--quiet") == 0
    assert photos_of(out) == photos_of(alone)
    assert sorted(line["target"] for line in lines_of(out)) == sorted(NAMES)
    monkeypatch.undo()
    use_fake_model(monkeypatch)
    monkeypatch.setattr(pipeline, "read", lambda *a, **o: pytest.fail("a photo was read"))
    assert run(scans.url, "--out", out.url, "--resume", "--quiet") == 0


def test_a_source_that_changes_under_the_run_is_done_again_by_the_next(
    scans: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    in_folder(scans, tmp_path)
    out, add = open_store(new_url()), journal.Journal.add

    def changed_meanwhile(self: journal.Journal, outcome: pipeline.Outcome) -> None:
        if outcome.job.source.name == "a.jpg":
            outcome.job.source.write_bytes((tmp_path / "in/deep/b.png").read_bytes())
        add(self, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "add", changed_meanwhile)
        assert run(tmp_path / "in", "--out", out.url, "--quiet") == 0
    capsys.readouterr()
    assert run(tmp_path / "in", "--out", out.url, "--resume") == 0
    assert "photos done again: 1, their source changed" in capsys.readouterr().err


def test_a_folder_that_a_store_is_colored_into_has_the_record_too(
    scans: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(scans.url, "--out", out, "--quiet") == 0
    (out / "a.jpg").unlink()
    kept = (out / "deep/b.png").stat()
    assert run(scans.url, "--out", out, "--resume") == 0
    assert "1 of 3 photos colored, 2 skipped" in capsys.readouterr().out
    assert (out / "deep/b.png").stat() == kept
    assert len(lines_of(FolderStore(out))) == 4
    assert run(out, "--out", tmp_path / "again", "--quiet") == 0, "the record is no input"
    assert sorted(outputs(tmp_path / "again")) == sorted(NAMES)


def test_ctrl_c_leaves_a_record_from_which_the_run_goes_on(
    scans: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        scans.write(f"more/{number}.jpg", scans.read("a.jpg"))
    out = open_store(new_url())
    read = pipeline.read

    def interrupted(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return read(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "read", interrupted)
        patch.setattr("pix2color.bands.cores", lambda: 1)
        assert run(scans.url, "--out", out.url) == EXIT_INTERRUPTED
    done = len(photos_of(out))
    assert 0 < done < 9 and len(lines_of(out)) == done
    capsys.readouterr()
    assert run(scans.url, "--out", out.url, "--resume") == 0
    assert f"{9 - done} of 9 photos colored, {done} skipped" in capsys.readouterr().out
    assert len(lines_of(out)) == len(photos_of(out)) == 9


def test_no_copy_stays_on_the_machine(
    scans: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scans.write("broken.jpg", b"words")
    copies: list[int] = []
    read = pipeline.read

    def looked(*arguments: Any, **options: Any) -> Any:
        copies.append(sum(p.is_file() for p in tmp_path.rglob("*")))
        time.sleep(0.01)
        return read(*arguments, **options)

    monkeypatch.setattr(pipeline, "read", looked)
    monkeypatch.setattr("pix2color.bands.cores", lambda: 1)
    assert run(scans.url, "--out", open_store(new_url()).url, "--quiet") == 1
    assert copies == [1, 1, 1, 1], "only of the photo at work"
    assert not list(tmp_path.iterdir())
