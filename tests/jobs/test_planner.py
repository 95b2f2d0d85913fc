"""Planning: trees and names, collisions, sources that must not be written over."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2color.errors import Pix2ColorError
from pix2color.jobs.planner import plan_jobs


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def targets(inputs: list[Path], out: Path) -> list[str]:
    return [str(job.target.relative_to(out)) for job in plan_jobs(inputs, out).jobs]


def test_tree_and_names_are_kept_and_other_files_passed_over(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    touch(root / "a.jpg", root / "b/c/d.TIF", root / "b/e.png", root / "notes.txt", root / ".x.jpg")
    touch(root / ".hidden/y.jpg", root / "raw.CR2")
    found = plan_jobs([root], out)
    assert targets([root], out) == ["a.jpg", "b/c/d.TIF", "b/e.png"]
    assert found.unsupported == (root / "raw.CR2",)


def test_files_by_name_are_taken_whatever_their_ending(tmp_path: Path) -> None:
    touch(tmp_path / "scan.dat")
    assert targets([tmp_path / "scan.dat"], tmp_path / "out") == ["scan.dat"]


def test_containers_without_color_change_their_ending(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.gif", tmp_path / "in/b.pgm")
    assert targets([tmp_path / "in"], tmp_path / "out") == ["a.png", "b.ppm"]


def test_out_inside_the_folder_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "colorized/a.jpg")
    assert targets([tmp_path], tmp_path / "colorized") == ["a.jpg"]


def test_the_same_photo_given_twice_is_done_once(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg")
    assert targets([tmp_path / "in", tmp_path / "in/a.jpg"], tmp_path / "out") == ["a.jpg"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x/a.jpg", "y/a.jpg"),
        ("x/a.jpg", "y/A.JPG"),
        (unicodedata.normalize("NFC", "x/é.png"), unicodedata.normalize("NFD", "y/é.png")),
        ("x/a.gif", "y/a.png"),
    ],
)
def test_photos_that_would_become_one_file_fail_and_the_others_go_on(
    tmp_path: Path, first: str, second: str
) -> None:
    touch(tmp_path / first, tmp_path / second, tmp_path / "x/free.jpg")
    jobs = plan_jobs([tmp_path / "x", tmp_path / "y"], tmp_path / "out").jobs
    problems = {job.source: job.problem for job in jobs}
    assert problems.pop(tmp_path / "x/free.jpg") == ""
    assert set(problems) == {tmp_path / first, tmp_path / second}
    assert all("both become" in text for text in problems.values())
    assert str(tmp_path / second) in problems[tmp_path / first]
    assert str(tmp_path / first) in problems[tmp_path / second]


def test_the_same_photo_under_two_names_is_no_collision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "in/a.jpg")
    monkeypatch.chdir(tmp_path)
    (job,) = plan_jobs(["in", tmp_path / "in", "in/../in/a.jpg"], "out").jobs
    assert not job.problem


def test_a_source_is_never_a_target(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg")
    with pytest.raises(Pix2ColorError, match="never"):
        plan_jobs([tmp_path / "in"], tmp_path / "in")
    with pytest.raises(Pix2ColorError, match="never"):
        plan_jobs([tmp_path / "in/a.jpg"], tmp_path / "in/../in")


def test_a_source_is_never_a_target_through_links(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(Pix2ColorError, match="never"):
        plan_jobs([tmp_path / "in"], tmp_path / "link")
    (tmp_path / "out").mkdir()
    os.link(tmp_path / "in/a.jpg", tmp_path / "out/a.jpg")
    with pytest.raises(Pix2ColorError, match="never"):
        plan_jobs([tmp_path / "in"], tmp_path / "out")
    (tmp_path / "out2").mkdir()
    (tmp_path / "out2/a.jpg").symlink_to(tmp_path / "in/a.jpg")
    with pytest.raises(Pix2ColorError, match="never"):
        plan_jobs([tmp_path / "in"], tmp_path / "out2")


def test_a_link_to_itself_and_what_is_no_file_are_left_out_with_the_reason(tmp_path: Path) -> None:
    root = tmp_path / "in"
    touch(root / "a.jpg", tmp_path / "album/b.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "zero.png").symlink_to("/dev/zero")
    (root / "gone.tif").symlink_to("gone-away.tif")
    (root / "up").symlink_to(root)
    (root / "album").symlink_to(tmp_path / "album")
    (root / "outside").symlink_to(tmp_path)
    (tmp_path / "album/everything").symlink_to("/")
    (tmp_path / "album/back").symlink_to(root)
    os.mkfifo(root / "pipe.jpg")
    found = plan_jobs([root], tmp_path / "out")
    assert [job.source for job in found.jobs] == [root / "a.jpg", root / "album/b.jpg"]
    reasons = {entry.path.name: entry.reason for entry in found.left_out}
    assert set(reasons) == {"loop.jpg", "zero.png", "gone.tif", "up", "pipe.jpg", "outside",
                            "everything", "back"}  # fmt: skip
    assert reasons["loop.jpg"] == "a link to itself"
    assert reasons["gone.tif"] == "a link to nothing"
    assert (
        "not a regular file" in reasons["pipe.jpg"] and "not a regular file" in reasons["zero.png"]
    )


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg", tmp_path / "in/private/b.jpg")
    (tmp_path / "in/private").chmod(0)
    try:
        if os.access(tmp_path / "in/private", os.R_OK):
            pytest.skip("this user may read everything")
        found = plan_jobs([tmp_path / "in"], tmp_path / "out")
    finally:
        (tmp_path / "in/private").chmod(0o700)
    assert [job.source.name for job in found.jobs] == ["a.jpg"]
    assert [(e.path.name, e.reason) for e in found.left_out] == [
        ("private", "cannot be read: Permission denied")
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pipe.jpg", "not a regular file"),
        ("loop.jpg", "no such file"),
        ("zero", "not a regular file"),
    ],
)
def test_what_is_no_file_cannot_be_named(tmp_path: Path, name: str, words: str) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(Pix2ColorError, match=words):
        plan_jobs([tmp_path / name], tmp_path / "out")


@pytest.mark.parametrize("out", ["", "{tmp}/file", "{tmp}/file/below", "{tmp}/loop", "{tmp}/gone"])
def test_an_output_folder_that_cannot_be_is_refused_at_once(tmp_path: Path, out: str) -> None:
    touch(tmp_path / "in/a.jpg", tmp_path / "file")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(Pix2ColorError, match="folder"):
        plan_jobs([tmp_path / "in"], out.format(tmp=tmp_path))


def test_an_empty_name_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Pix2ColorError, match="empty"):
        plan_jobs([""], tmp_path / "out")


def test_missing_and_empty_inputs(tmp_path: Path) -> None:
    with pytest.raises(Pix2ColorError, match="no such file or folder"):
        plan_jobs([tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(Pix2ColorError, match="no photo in"):
        plan_jobs([tmp_path], tmp_path / "out")
    (tmp_path / "a.jpg").symlink_to("moved.jpg")
    with pytest.raises(Pix2ColorError, match=r"no photo in .*a\.jpg: a link to nothing"):
        plan_jobs([tmp_path], tmp_path / "out")


def test_a_photo_that_two_inputs_place_differently_collides_only_where_it_does(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "in/b/a.jpg", tmp_path / "in/a.gif", tmp_path / "other/a.png")
    jobs = plan_jobs(
        [tmp_path / "in", tmp_path / "in/b", tmp_path / "other"], tmp_path / "out"
    ).jobs
    found = {str(job.target.relative_to(tmp_path / "out")): job.problem for job in jobs}
    assert found["b/a.jpg"] == "" and found["a.jpg"] == "" and found["a.png"] != ""


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8
).filter(lambda name: name not in (".", "..") and not name.startswith("."))


@given(tree=st.lists(st.tuples(st.lists(names, max_size=2), names), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_any_tree_is_either_refused_or_kept_one_to_one(
    tree: list[tuple[list[str], str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    made: set[Path] = set()
    for folders, name in tree:
        path = root.joinpath("in", *folders, f"{name}.jpg")
        try:
            touch(path)
        except OSError:  # a name that is too long, or a file where a folder should be
            continue
        made.add(path)
    if not made:
        return
    jobs = plan_jobs([root / "in"], root / "out").jobs
    keys = [unicodedata.normalize("NFC", str(path)).casefold() for path in made]
    alone = {path for path, key in zip(made, keys, strict=True) if keys.count(key) == 1}
    assert {job.source for job in jobs} == made
    assert {job.source for job in jobs if not job.problem} == alone
    relative = [job.target.relative_to(root / "out") for job in jobs]
    assert {root / "in" / r for r in relative} == made
