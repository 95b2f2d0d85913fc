"""Published weights of DDColor, imported: what its own network computes, as a release file.

The files themselves are not here: random weights under the published names take their place, and
the network is written out plainly in published_ddcolor.py.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import Hub, point_at
from published_ddcolor import ddcolor_ab, ddcolor_tensors, shapes
from safetensors.torch import save_file
from torch import Tensor

from pix2color import Colorizer
from pix2color.checkpoints.foreign.importing import KINDS, find_file, import_file
from pix2color.cli import import_weights, main
from pix2color.errors import WeightsError
from pix2color.inference import postprocess, preprocess
from pix2color.photo import Photo
from pix2color.runtime.load import load_runtime


def import_of(kind: str, folder: Path) -> tuple[Path, str]:
    """The release file of a random file as its authors publish it, and what the command said."""
    path, out = folder / f"{kind}.pth", folder / f"{kind}.safetensors"
    torch.save({"params": ddcolor_tensors(kind)}, path)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["import", kind, str(path), "--out", str(out)]) == 0
    path.unlink()
    return out, said.getvalue()


def check_colors(kind: str, release: Path) -> None:
    """The release file gives the colors of the published file."""
    runtime = load_runtime(release, "cpu", kind="torch")
    random = np.random.default_rng(0)
    lightness = random.uniform(0, 100, (2, 1, 64, 96)).astype(np.float32)
    actual = runtime.run(lightness[1:]).values
    expected = ddcolor_ab(kind, torch.from_numpy(lightness))[1:].numpy()
    assert 5 < np.abs(expected).max() < 150
    assert np.abs(actual - expected).max() < 1e-4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("tiny")
    yield import_of("ddcolor-tiny", folder)
    shutil.rmtree(folder)  # 220 MB


def test_ddcolor_tiny_gives_the_colors_of_its_file(tiny: tuple[Path, str]) -> None:
    check_colors("ddcolor-tiny", tiny[0])


@pytest.mark.slow
def test_ddcolor_gives_the_colors_of_its_file(tmp_path: Path) -> None:
    release = import_of("ddcolor", tmp_path)[0]
    check_colors("ddcolor", release)
    release.unlink()  # 911 MB


@pytest.mark.slow
def test_the_graph_of_a_whole_file_colors_as_torch(
    tiny: tuple[Path, str], small_photos: list[np.ndarray], tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    release = tmp_path / "tiny.safetensors"
    release.symlink_to(tiny[0])
    assert main(["export", "--graph", "--checkpoint", str(release)]) == 0
    one, other = (Colorizer.from_pretrained(release, runtime=kind) for kind in ("torch", "onnx"))
    colored, again = (each(small_photos[1], input_size=64).astype(int) for each in (one, other))
    assert np.abs(colored - again).max() <= 4 and np.ptp(colored, axis=-1).max() > 10


def test_the_command_says_what_the_network_takes(tiny: tuple[Path, str]) -> None:
    said = tiny[1]
    assert "takes L at a square of 512 pixels, a multiple of 32; gives ab per 1 pixels" in said
    assert "Apache-2.0" in said


def test_photos_are_colored_as_by_the_published_network(
    tiny: tuple[Path, str], small_photos: list[np.ndarray]
) -> None:
    """The whole way from photo to photo; only the network's own part is the plain one's."""
    gray = preprocess.gray_values(Photo(small_photos[1]))
    lightness, guide = preprocess.network_input(gray, 64, 32, square=True)
    ab = ddcolor_ab("ddcolor-tiny", torch.from_numpy(lightness)[None, None])[0].float().numpy()
    expected = postprocess.to_pixels(gray, ab, lightness, guide)
    actual = Colorizer.from_pretrained(tiny[0])(gray, input_size=64)
    assert np.abs(actual.astype(int) - expected).max() <= 1


def test_the_size_is_rounded_to_multiples_of_32(
    tiny: tuple[Path, str], small_photos: list[np.ndarray]
) -> None:
    gray = preprocess.gray_values(Photo(small_photos[1]))
    assert Colorizer.from_pretrained(tiny[0]).predict(gray, 70).grid == (64, 64)


@pytest.mark.parametrize(("kind", "count"), [("ddcolor", 227.9), ("ddcolor-tiny", 55.0)])
def test_parameters_are_as_many_as_published(kind: str, count: float) -> None:
    beside = ("_u", "_v", "running_mean", "running_var", "tracked", "mean", "std")
    learned = [shape for name, shape in shapes(kind).items() if not name.endswith(beside)]
    assert sum(map(math.prod, learned)) / 1e6 == pytest.approx(count, abs=0.05)


@pytest.mark.parametrize("kind", ["ddcolor", "ddcolor-tiny"])
def test_each_tensor_of_a_file_is_known_by_name_and_shape(kind: str) -> None:
    file = {name: torch.zeros(()).expand(shape) for name, shape in shapes(kind).items()}
    constants = {name: ddcolor_tensors("ddcolor-tiny")[name] for name in ("mean", "std")}
    assert KINDS[kind].problems(file | constants) == []
    # The class head of its encoder's training is in some files; its authors' code passes it over.
    head = {"encoder.arch.head_cls.weight": torch.zeros(4, 768)}
    assert KINDS[kind].problems(file | constants | head) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"decoder.color_decoder.query_feat.weight": torch.zeros(256, 256)},
            "(decoder.color_decoder.query_feat.weight: [256, 256], not [100, 256], ...)",
        ),
        ({"refine_net.0.0.weight_u": None}, "1 missing (refine_net.0.0.weight_u, ...)"),
        ({"decoder.last_shuf.conv.0.weight_g": torch.zeros(1)}, "1 foreign (decoder.last_shuf"),
        ({"mean": torch.zeros(1, 3, 1, 1)}, "mean has other values"),
        ({}, "weight_orig has a spectral norm of 0"),
    ],
)
def test_other_weights_are_refused_by_name(
    change: dict[str, Tensor | None], words: str, tmp_path: Path
) -> None:
    file = {name: torch.zeros(()).expand(shape) for name, shape in shapes("ddcolor-tiny").items()}
    constants = {name: ddcolor_tensors("ddcolor-tiny")[name] for name in ("mean", "std")}
    tensors = {k: v for k, v in (file | constants | change).items() if v is not None}
    path, out = tmp_path / "net.pth", tmp_path / "net.safetensors"
    torch.save(tensors, path)
    with pytest.raises(WeightsError) as caught:
        import_file("ddcolor-tiny", path, out)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not out.exists()


def hollow() -> dict[str, Tensor]:
    """A file's names and shapes, but without the tensor `std`."""
    made = {name: torch.zeros(()).expand(shape) for name, shape in shapes("ddcolor-tiny").items()}
    return {name: value for name, value in made.items() if name != "std"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as fake_hub:
        point_at(fake_hub, monkeypatch, tmp_path / "home")
        yield fake_hub


def test_both_formats_of_the_hub_are_read(server: Hub, tmp_path: Path) -> None:
    """Files that lack one tensor show which one was read, and are small."""
    torch.save(hollow(), tmp_path / "old.bin")
    new = {"query": torch.zeros(2)}
    save_file(new, tmp_path / "new.safetensors")
    pickled, safe = (tmp_path / "old.bin").read_bytes(), (tmp_path / "new.safetensors").read_bytes()
    commit = server.add("kang/old", {"pytorch_model.bin": pickled, "config.json": b"{}"})
    server.add("kang/new", {"model.safetensors": safe, "pytorch_model.bin": pickled})
    server.add("kang/none", {"README.md": b""})
    path, name = find_file("ddcolor-tiny", "kang/old")
    assert path.read_bytes() == pickled and name == f"kang/old@{commit}/pytorch_model.bin"
    out = tmp_path / "out.safetensors"
    with pytest.raises(WeightsError, match=r"1 missing \(std, ...\)"):
        import_file("ddcolor-tiny", path, out)
    path, _ = find_file("ddcolor-tiny", "kang/new")
    with pytest.raises(WeightsError, match=r"1 foreign \(query, ...\)"):
        import_file("ddcolor-tiny", path, out)
    with pytest.raises(WeightsError, match=r"no model\.safetensors and no pytorch"):
        find_file("ddcolor-tiny", "kang/none")
    with pytest.raises(WeightsError, match="the name says 0123"):
        find_file("ddcolor-tiny", "kang/old#0123456789ab")
    server.failing = 503
    assert find_file("ddcolor-tiny", "kang/old")[0].read_bytes() == pickled
    assert find_file("ddcolor-tiny", f"kang/old@{commit}")[0].read_bytes() == pickled


def run_import(*arguments: str) -> tuple[int, str]:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(["import", *arguments])
    assert said.getvalue().count("\n") == 1 and "Traceback" not in said.getvalue()
    return code, said.getvalue()


def test_the_help_names_every_kind() -> None:
    text = import_weights.parser().format_help()
    assert all(kind in text for kind in KINDS)


def test_mistakes_are_answered_in_one_line(tmp_path: Path) -> None:
    out = str(tmp_path / "out.safetensors")
    assert run_import("ddcolour", "x.pth", "--out", out) == (
        2, "error: no kind of network 'ddcolour': did you mean ddcolor?\n"
    )  # fmt: skip
    code, said = run_import("eccv16", "kang/none", "--out", out)
    assert code == 2 and "colorization_release_v2-9b330a0b.pth" in said
    code, said = run_import("eccv16", "x.pth", "--out", str(tmp_path / "out.pth"))
    assert code == 2 and "must end in .safetensors" in said
    (tmp_path / "same.safetensors").write_bytes(b"the only copy")
    same = str(tmp_path / "same.safetensors")
    code, said = run_import("eccv16", same, "--out", same)
    assert code == 2 and "is the input: name another file" in said
    assert (tmp_path / "same.safetensors").read_bytes() == b"the only copy"
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    code, said = run_import("siggraph17", str(tmp_path / "cut.pth"), "--out", out)
    assert code == 2 and "not a plain state dict" in said
    assert not Path(out).exists()


class Trap:
    """A pickle of it creates a file when it is read as usual."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"params": hollow(), "more": Trap(sprung)}, tmp_path / "trap.pth")
    code, said = run_import(
        "ddcolor-tiny", str(tmp_path / "trap.pth"), "--out", str(tmp_path / "out.safetensors")
    )
    assert code == 2 and "not a plain state dict" in said
    assert not sprung.exists()
    torch.load(tmp_path / "trap.pth", weights_only=False)
    assert sprung.exists()  # it would have
