"""Planning: trees and names, collisions, sources that must not be written over."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2color.errors import Pix2ColorError
from pix2color.inference.plan import plan


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def targets(inputs: list[Path], out: Path) -> list[str]:
    return [str(job.target.relative_to(out)) for job in plan(inputs, out).jobs]


def test_tree_and_names_are_kept_and_other_files_passed_over(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    touch(root / "a.jpg", root / "b/c/d.TIF", root / "b/e.png", root / "notes.txt", root / ".x.jpg")
    touch(root / ".hidden/y.jpg", root / "raw.CR2")
    found = plan([root], out)
    assert targets([root], out) == ["a.jpg", "b/c/d.TIF", "b/e.png"]
    assert found.unsupported == (root / "raw.CR2",)


def test_files_by_name_are_taken_whatever_their_ending(tmp_path: Path) -> None:
    touch(tmp_path / "scan.dat")
    assert targets([tmp_path / "scan.dat"], tmp_path / "out") == ["scan.dat"]


def test_containers_without_colour_change_their_ending(tmp_path: Path) -> None:
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
def test_two_photos_for_one_target_are_refused(tmp_path: Path, first: str, second: str) -> None:
    touch(tmp_path / first, tmp_path / second)
    with pytest.raises(Pix2ColorError, match="both become"):
        plan([tmp_path / "x", tmp_path / "y"], tmp_path / "out")


def test_a_source_is_never_a_target(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg")
    with pytest.raises(Pix2ColorError, match="never"):
        plan([tmp_path / "in"], tmp_path / "in")
    with pytest.raises(Pix2ColorError, match="never"):
        plan([tmp_path / "in/a.jpg"], tmp_path / "in/../in")


def test_a_source_is_never_a_target_through_links(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(Pix2ColorError, match="never"):
        plan([tmp_path / "in"], tmp_path / "link")
    (tmp_path / "out").mkdir()
    os.link(tmp_path / "in/a.jpg", tmp_path / "out/a.jpg")
    with pytest.raises(Pix2ColorError, match="never"):
        plan([tmp_path / "in"], tmp_path / "out")
    (tmp_path / "out2").mkdir()
    (tmp_path / "out2/a.jpg").symlink_to(tmp_path / "in/a.jpg")
    with pytest.raises(Pix2ColorError, match="never"):
        plan([tmp_path / "in"], tmp_path / "out2")


def test_missing_and_empty_inputs(tmp_path: Path) -> None:
    with pytest.raises(Pix2ColorError, match="no such file or folder"):
        plan([tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(Pix2ColorError, match="no photo in"):
        plan([tmp_path], tmp_path / "out")


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8
).filter(lambda name: name not in (".", "..") and not name.startswith("."))


@given(tree=st.lists(st.tuples(st.lists(names, max_size=2), names), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_any_tree_is_either_refused_or_kept_one_to_one(
    tree: list[tuple[list[str], str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    made = set()
    for folders, name in tree:
        path = root.joinpath("in", *folders, f"{name}.jpg")
        try:
            touch(path)
        except OSError:  # a name that is too long, or a file where a folder should be
            continue
        made.add(path)
    try:
        jobs = plan([root / "in"], root / "out").jobs
    except Pix2ColorError:
        keys = {unicodedata.normalize("NFC", str(p)).casefold() for p in made}
        assert len(keys) < len(made) or not made
        return
    assert {job.source for job in jobs} == made
    relative = [job.target.relative_to(root / "out") for job in jobs]
    assert {root / "in" / r for r in relative} == made
