"""The test sets of published tables, on made-up folders: names, contents, part and size."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pix2color.checkpoints import release_file
from pix2color.cli import evaluate
from pix2color.cli.evaluation_photos import PAPER_PROTOCOLS
from pix2color.data.dataset import PhotoSet
from pix2color.data.discovery import FileRef
from pix2color.errors import EXIT_OK, EXIT_USAGE, DataError
from pix2color.evaluation import paper_protocols
from pix2color.evaluation.paper_protocols import PROTOCOLS, FileList, PaperProtocol

FEW = {name: replace(protocol, count=4, size=32) for name, protocol in PROTOCOLS.items()}
VAL, COCO = "ILSVRC2012_val_{:08d}.JPEG", "{:012d}.jpg"


def _save(path: Path, photo: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(path, "JPEG", quality=90)


def load(
    protocol: PaperProtocol, roots: list[str], *, listed: FileList | None = None
) -> tuple[PhotoSet, str]:
    return paper_protocols.load(paper_protocols.select(protocol, roots, listed=listed))


@pytest.fixture
def imagenet(tmp_path: Path, small_photos: list[np.ndarray]) -> Path:
    """Six validation photos, the last one in a folder of its class, beside other files."""
    folder = tmp_path / "val"
    for number in range(1, 6):
        _save(folder / VAL.format(number), small_photos[number % 4][:, number:])
    _save(folder / "n01440764" / VAL.format(6), small_photos[0])
    _save(folder / "holiday.jpg", small_photos[1])
    return folder


def _files(*names: str) -> list[FileRef]:
    return [FileRef(f"val/{name}", 1, Path(name)) for name in names]


def test_the_command_offers_each_of_them() -> None:
    assert tuple(PROTOCOLS) == PAPER_PROTOCOLS


def test_val5k_is_the_first_5000_of_the_validation_photos() -> None:
    every = _files(*(VAL.format(number) for number in range(6_000, 0, -1)))
    found, how = paper_protocols.find(PROTOCOLS["val5k"], every, None)
    assert [file.path.name for file in found] == [VAL.format(n) for n in range(1, 5_001)]
    assert "contents not" in how


def test_folders_of_classes_and_other_files_do_not_matter(imagenet: Path) -> None:
    photos, _ = load(replace(FEW["val5k"], count=6), [str(imagenet)])
    assert [Path(name).name for name in photos.names] == [VAL.format(n) for n in range(1, 7)]
    assert photos.counts.found == 7 and photos.counts.used == 6


@pytest.mark.parametrize(
    ("name", "template", "found", "message"),
    [
        ("val5k", VAL, (1, 2, 4), r"1 of its 4 photos are missing, such as .*00000003\.JPEG"),
        ("val5k", COCO, (1, 2, 3, 4), "4 of its 4 photos are missing"),
        ("coco-stuff", COCO, (139, 285, 632), "1 of its 4 photos are missing"),
        ("ctest10k", VAL, (1, 2, 3, 4, 5), "5 photos have names of its form, it has 4; .*_list"),
    ],
)
def test_missing_names_and_too_many_are_refused(
    name: str, template: str, found: tuple[int, ...], message: str
) -> None:
    files = _files(*(template.format(number) for number in found))
    with pytest.raises(DataError, match=message):
        paper_protocols.find(FEW[name], files, None)


def test_the_same_name_in_two_folders_is_refused(imagenet: Path) -> None:
    _save(imagenet / "again" / VAL.format(2), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"1 photos are there twice, such as .* and "):
        load(FEW["val5k"], [str(imagenet)])


def _list(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_list_chooses_the_photos_of_ctest10k(imagenet: Path, tmp_path: Path) -> None:
    names = [VAL.format(number) for number in (6, 1, 3, 4)]
    listed = _list(tmp_path / "list.txt", *(f"/imagenet/val/{name} 65" for name in names))
    protocol = FEW["ctest10k"]
    file_list = paper_protocols.read_list(listed, protocol)
    photos, how = load(protocol, [str(imagenet)], listed=file_list)
    assert [Path(name).name for name in photos.names] == sorted(names)
    digest = hashlib.sha256(listed.read_bytes()).hexdigest()[:12]
    assert "names as in list.txt" in how and digest in how


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_other_contents_than_listed_are_refused(
    imagenet: Path, tmp_path: Path, algorithm: str
) -> None:
    paths = [imagenet / VAL.format(number) for number in range(1, 5)]
    lines = [f"{hashlib.new(algorithm, p.read_bytes()).hexdigest()}  {p.name}" for p in paths]
    protocol = FEW["val5k"]
    listed = paper_protocols.read_list(_list(tmp_path / "sums", *lines), protocol)
    photos, how = load(protocol, [str(imagenet)], listed=listed)
    assert len(photos) == 4 and "names and 4 contents as in sums" in how
    shutil.copy(paths[0], paths[2])
    with pytest.raises(DataError, match=r"1 of 4 photos .*00000003\.JPEG has other contents"):
        load(protocol, [str(imagenet)], listed=listed)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["cat.jpg"], "line 1: cat.jpg is not a name of val5k"),
        ([VAL.format(1), VAL.format(1)], "line 2: .* is there twice"),
        ([VAL.format(n) for n in (1, 2, 3)], "lists 3 photos, val5k has 4"),
    ],
)
def test_a_list_of_another_set_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    listed = _list(tmp_path / "list", *lines)
    with pytest.raises(DataError, match=message):
        paper_protocols.read_list(listed, FEW["val5k"])


def test_a_photo_that_cannot_be_decoded_is_refused(imagenet: Path) -> None:
    (imagenet / VAL.format(2)).write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"00000002\.JPEG cannot be decoded"):
        load(FEW["val5k"], [str(imagenet)])


def test_repeated_and_gray_photos_stay(imagenet: Path) -> None:
    """The published figures are of all photos of the set."""
    shutil.copy(imagenet / VAL.format(1), imagenet / VAL.format(2))
    _save(imagenet / VAL.format(3), np.full((40, 50, 3), 90, np.uint8))
    photos, how = load(FEW["val5k"], [str(imagenet)])
    assert len(photos) == 4 and photos.digests[0] == photos.digests[1]
    assert "1 repeated contents kept" in how


def _stripes(height: int, width: int) -> np.ndarray:
    """Red left third, green middle, blue right."""
    photo = np.zeros((height, width, 3), np.uint8)
    for channel, part in enumerate(np.array_split(np.arange(width), 3)):
        photo[:, part, channel] = 255
    return photo


@pytest.mark.parametrize("shape", [(30, 90), (300, 900)])
def test_val5k_is_cut_and_the_others_are_stretched(shape: tuple[int, int]) -> None:
    """Also enlarged where the photo is smaller than the square."""
    photo = _stripes(*shape)
    for name, protocol in PROTOCOLS.items():
        square = protocol.square(photo)
        assert square.shape == (256, 256, 3)
        center, left = square[:, 100:156].mean((0, 1)), square[:, :40].mean((0, 1))
        assert center.argmax() == 1
        assert left.argmax() == (1 if name == "val5k" else 0)


def test_the_size_is_reached_as_torchvision_does(photos: dict[str, np.ndarray]) -> None:
    from torchvision import transforms

    photo = photos["coffee"]
    cut = transforms.Compose([transforms.CenterCrop(min(photo.shape[:2])), transforms.Resize(256)])
    expected = np.array(cut(Image.fromarray(photo)))
    assert np.array_equal(PROTOCOLS["val5k"].square(photo), expected)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sets of four photos, no packaged weights and no download."""

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(paper_protocols, "PROTOCOLS", FEW)
    monkeypatch.setattr(release_file, "DEFAULT_FILE", tmp_path / "none.safetensors")
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))


def _run(out: Path, *arguments: str | Path) -> int:
    rest = ("--no-lpips", "--quiet", "--resamples", "10", "--out", out)
    return evaluate.main([*map(str, arguments), *map(str, rest)])


@pytest.mark.usefixtures("_small")
def test_the_command_reports_the_set_and_its_figures(imagenet: Path, tmp_path: Path) -> None:
    assert _run(tmp_path / "one", "--data", imagenet, "--protocol", "val5k") == EXIT_OK
    tree: dict[str, Any] = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert tree["photos"] == 4 and tree["protocol"]["name"] == "val5k"
    assert "center squares, resized to 32 x 32 px" in tree["protocol"]["text"]
    gray = next(row["figures"] for row in tree["rows"] if row["name"] == "gray")
    truth = next(row["figures"] for row in tree["rows"] if row["name"] == "truth")
    apart = truth["colorfulness"]["value"] - gray["colorfulness"]["value"]
    assert gray["colorfulness_difference"]["value"] == pytest.approx(apart) and apart > 5
    assert truth["colorfulness_difference"]["value"] == 0
    assert "fid" in tree["unmeasured"]  # there is no network
    # The hashes that it writes are a list that another run checks.
    hashes = tmp_path / "one" / "photos.sha256"
    again = ("--data", imagenet, "--protocol", "val5k", "--protocol-list", hashes)
    assert _run(tmp_path / "two", *again) == EXIT_OK
    assert "4 contents as in photos.sha256" in (tmp_path / "two" / "report.md").read_text()


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "val5k", "--limit", "2"), "--limit leaves photos out"),
        (("--protocol", "val5k", "--crop", "64"), "leave --crop out"),
        (("--protocol-list", "list.txt"), "--protocol-list needs --protocol val5k, ctest10k or"),
        (("--protocol", "coco-stuff"), "in --data"),
        (("--protocol", "ctest10k"), "in --protocol-list"),
        (("--protocol", "val5k", "--protocol-list", "none.txt"), "none.txt: No such file"),
    ],
)
def test_what_does_not_fit_is_one_line(
    imagenet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert _run(tmp_path / "out", "--data", imagenet, *arguments) == EXIT_USAGE
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def _no_networks(*args: object, **options: object) -> None:
    raise AssertionError("a network was looked for")


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        ("nowhere", "", "no such file or folder"),
        ("val/n01440764", "", "4 of its 4 photos are missing"),
        ("val", "cat.jpg", "line 1: cat.jpg is not a name of val5k"),
        ("val", f"{32 * '0'}  {{}}", "00000001.JPEG has other contents than listed"),
    ],
)
def test_photos_are_checked_before_any_network_is_loaded(
    imagenet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    data: str,
    line: str,
    message: str,
) -> None:
    """The weights of LPIPS may take minutes to download."""
    monkeypatch.setattr("pix2color.evaluation.metric_models.find_metric_models", _no_networks)
    monkeypatch.setattr("pix2color.evaluation.checkpoint_methods.checkpoint_methods", _no_networks)
    arguments = ["--protocol", "val5k", "--data", str(tmp_path / data)]
    if line:
        lines = [line.format(VAL.format(number)) for number in range(1, 5)]
        arguments += ["--protocol-list", str(_list(tmp_path / "list", *lines))]
    assert evaluate.main([*arguments, "--out", str(tmp_path / "out")]) == EXIT_USAGE
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_protocol_says_what_it_measures() -> None:
    protocol: PaperProtocol = PROTOCOLS["coco-stuff"]
    assert "5,000" in protocol.describe() and "stretched" in protocol.describe()
