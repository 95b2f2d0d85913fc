"""Groups of photos: by source, and by a file of labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from pix2color.errors import DataError
from pix2color.evaluation import groups
from pix2color.evaluation.groups import Grouping

FOUND = ["wide-00.tar/face/1.webp", "wide-00.tar/face/2.webp", "val/sea/1.jpg", "val/2.jpg"]


def members(grouping: Grouping) -> list[int]:
    return sorted(index for chosen in grouping.groups.values() for index in chosen)


@pytest.mark.parametrize(
    ("name", "path", "source"),
    [
        ("wide-00.tar/ade20k/00001.webp", "ade20k/00001.webp", "ade20k"),
        ("photos/wide-00.tar/ade20k/00001.webp", "ade20k/00001.webp", "ade20k"),
        ("t.tar#2/a/b/1.png", "a/b/1.png", "a"),
        ("val/bsds500/deep/1.png", "bsds500/deep/1.png", "bsds500"),
        ("labelled/n01_1.jpg", "n01_1.jpg", "labelled"),
        ("in/shard.TAR/1.jpg", "1.jpg", "shard.TAR"),
        ("one.png", "one.png", "one.png"),
    ],
)
def test_the_source_is_the_first_folder_inside_a_folder_or_shard(
    name: str, path: str, source: str
) -> None:
    assert groups.path_in_root(name) == path
    assert groups.source_of(name) == source


def test_small_sources_are_one_group_and_all_groups_are_the_whole() -> None:
    names = [f"a-{i % 3}.tar/big/{i}.webp" for i in range(20)]
    names += [f"a-0.tar/small/{i}.webp" for i in range(19)] + ["val/tiny/1.jpg"]
    grouping = groups.by_source(names)
    assert {name: len(chosen) for name, chosen in grouping.groups.items()} == {
        "big": 20,
        "other (2 sources)": 20,
    }
    assert members(grouping) == list(range(40))
    alone = groups.by_source(names[:20])
    assert list(alone.groups) == ["big"]


def test_labels_name_photos_by_path_or_whole_name(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(
        "file,tone,age\nface/1.webp,dark,30\n\n"
        "wide-00.tar/face/2.webp, light ,2\nsea/1.jpg,dark,\n",
        encoding="utf-8-sig",
    )
    labels = groups.read_labels(file, FOUND)
    assert labels.by == "tone"
    assert dict(labels.groups) == {FOUND[0]: "dark", FOUND[1]: "light", FOUND[2]: "dark"}
    grouping = groups.by_labels(labels, FOUND[::-1])
    assert grouping.by == "tone"
    assert dict(grouping.groups) == {"dark": [1, 3], "light": [2], groups.NO_GROUP: [0]}
    assert members(grouping) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="none of the 1 photos that are measured"):
        groups.by_labels(labels, ["val/2.jpg"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no photo: write a line `file,group`"),
        ("file,group\n", "names no photo"),
        ("name,group\nval/2.jpg,a\n", "the first line is not `file,group`"),
        ("file\nval/2.jpg\n", "the first line is not `file,group`"),
        (
            "file,group\nval/2.jpg,a\n\nsea/9.jpg,b\n",
            "line 4: sea/9.jpg names none of the 4 photos",
        ),
        ("file,group\nval/2.jpg\n", "line 2: no file or no group"),
        ("file,group\nval/2.jpg,\n", "line 2: no file or no group"),
        ("file,group\n2.jpg,a\nval/2.jpg,b\n", "line 3: val/2.jpg is in another group further up"),
        ("file,group\n\xff,a\n", "cannot be read"),
    ],
)
def test_a_file_of_labels_with_a_mistake_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        groups.read_labels(file, FOUND)
    assert message in str(caught.value) and str(file) in str(caught.value)


def test_a_name_of_several_photos_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("file,group\n1.jpg,a\n")
    with pytest.raises(
        DataError, match=r"1.jpg names 2 of the 2 photos; write names such as a.tar"
    ):
        groups.read_labels(file, ["a.tar/1.jpg", "b.tar/1.jpg"])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv cannot be read: No such file"):
        groups.read_labels(tmp_path / "no.csv", FOUND)
