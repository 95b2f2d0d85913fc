"""Published weights of Zhang et al., imported: what their own networks compute, as release files.

The files themselves are not here: random weights under the published names take their place, and
the networks are written out plainly in published_zhang.py.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_lab import lab_of
from PIL import Image
from published_zhang import (
    BINS,
    eccv16_ab,
    eccv16_tensors,
    siggraph17_ab,
    siggraph17_tensors,
)
from torch import Tensor

from pix2color import Colorizer
from pix2color.checkpoints import release_file
from pix2color.checkpoints.foreign.importing import KINDS, import_file
from pix2color.cli import main
from pix2color.errors import Pix2ColorError, WeightsError
from pix2color.guidance.hints import Hint
from pix2color.inference import postprocess, preprocess
from pix2color.inference.prediction import Prediction
from pix2color.photo import Photo
from pix2color.runtime.load import load_runtime

Tensors = dict[str, Tensor]


def soft_code(a: float, b: float) -> Tensor:
    """313: how the training encodes a color, over the 10 nearest bins."""
    distance = (torch.tensor(BINS).float() - torch.tensor((a, b))).norm(dim=1)
    nearest = distance.topk(10, largest=False).indices
    code = torch.full((313,), 1e-6)
    code[nearest] += torch.exp(-(distance[nearest] ** 2) / 50)
    return code / code.sum()


@functools.cache
def published() -> dict[str, Tensors]:
    """Files as their authors publish them, as sure of a color as their training lets them be.

    The logits of the second one are multiplied by 1 / 0.38.
    """
    tensors = eccv16_tensors()
    weight, bias = 0.2 * tensors["model8.6.weight"], soft_code(20, 20).log()
    return {
        name: tensors | {"model8.6.weight": factor * weight, "model8.6.bias": factor * bias}
        for name, factor in (("plain", 1.0), ("sharpened", 2.606))
    }


@pytest.fixture(scope="module")
def imported(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, tuple[Path, str]]]:
    """Their release files, and what the command said; deleted afterwards, as they are large."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "plain.onnx").write_bytes(b"the graph of other weights")
    out = {}
    for name, tensors in published().items():
        path, release = folder / f"{name}.pth", folder / f"{name}.safetensors"
        torch.save(tensors, path)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert main(["import", "eccv16", str(path), "--out", str(release)]) == 0
        out[name] = release, said.getvalue()
        path.unlink()
    yield out
    shutil.rmtree(folder)


@functools.cache
def hollow() -> Tensors:
    """A file's names and shapes, without its values: it is small."""
    return {key: torch.zeros(()).expand(value.shape) for key, value in eccv16_tensors().items()}


@pytest.fixture
def gray(small_photos: list[np.ndarray]) -> np.ndarray:
    return preprocess.gray_values(Photo(small_photos[1]))


@pytest.mark.parametrize("name", ["plain", "sharpened"])
def test_eccv16_gives_the_colors_of_its_file(
    name: str, imported: dict[str, tuple[Path, str]]
) -> None:
    lightness = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(1)) * 100
    expected = eccv16_ab(published()[name], lightness).numpy()
    runtime = load_runtime(imported[name][0], "cpu", kind="torch")
    values = runtime.run(lightness.numpy()).values
    prediction = Prediction(values[0], lightness[0, 0].numpy(), lightness[0, 0].numpy(),
                            runtime.info.log_prior)  # fmt: skip
    ab = prediction.ab(runtime.info.decode)
    assert np.abs(ab - expected[0]).max() < 1e-4
    assert np.abs(expected).max() > 1  # it has colors at all


def test_the_factor_of_the_annealed_mean_is_found_in_the_file(
    imported: dict[str, tuple[Path, str]],
) -> None:
    """Both files predict the same classes, and each shows the colors of its own file."""
    plain, sharpened = (Colorizer.from_pretrained(path) for path, _ in imported.values())
    assert plain.decode.temperature == 1
    assert sharpened.decode.temperature == pytest.approx(1 / 2.606)
    assert plain.decode.vividness == sharpened.decode.vividness == 0
    lightness = np.random.default_rng(0).uniform(0, 100, (1, 1, 64, 64)).astype(np.float32)
    logits = [each.runtime.run(lightness).values for each in (plain, sharpened)]
    np.testing.assert_allclose(*logits, atol=1e-3)
    notes = {
        name: release_file.read(path).meta["origin"]["note"] for name, (path, _) in imported.items()
    }
    assert "do not hold the factor 2.606" in notes["plain"]
    assert "logits hold the factor 2.606" in notes["sharpened"]
    assert all(notes[name] in said for name, (_, said) in imported.items())


def test_photos_are_colored_as_by_the_published_network(
    imported: dict[str, tuple[Path, str]], small_photos: list[np.ndarray],
    gray: np.ndarray,
) -> None:  # fmt: skip
    """The whole way from photo to photo; only the network's own part is the plain one's."""
    colorizer = Colorizer.from_pretrained(imported["sharpened"][0])
    assert colorizer.decode.input_size == 256
    lightness, guide = preprocess.network_input(gray, 64, 8, square=True)
    assert lightness.shape == (64, 64) and gray.shape[0] != gray.shape[1]
    ab = eccv16_ab(published()["sharpened"], torch.from_numpy(lightness)[None, None])
    cells = lightness.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    expected = postprocess.to_pixels(gray, ab[0].numpy(), cells, guide)
    actual = colorizer(gray, input_size=64)
    assert actual.shape == (*gray.shape, 3)
    assert np.abs(actual.astype(int) - expected).max() <= 1


def test_classes_give_variants_confidence_palettes_and_vividness(
    imported: dict[str, tuple[Path, str]], gray: np.ndarray, small_photos: list[np.ndarray]
) -> None:
    colorizer = Colorizer.from_pretrained(imported["plain"][0])
    assert len(colorizer(gray, variants=2, input_size=64)) == 2
    confidence = colorizer.confidence(gray, input_size=64)
    assert confidence.shape == gray.shape and 0 <= confidence.min() <= confidence.max() <= 1
    plain = colorizer(gray, input_size=64)
    reference = Image.fromarray(small_photos[0])
    assert not np.array_equal(plain, colorizer(gray, input_size=64, reference=reference))
    assert not np.array_equal(plain, colorizer(gray, input_size=64, vividness=1))


def test_the_command_says_what_it_found_and_what_the_network_takes(
    imported: dict[str, tuple[Path, str]],
) -> None:
    out, said = imported["plain"]
    assert "not that of the published file" in said
    assert "a square of 256 pixels, a multiple of 8; gives 313 classes per 4 pixels" in said
    assert "BSD-2-Clause" in said
    assert not out.with_suffix(".onnx").exists()
    file = release_file.read(out)
    origin = file.meta["origin"]
    assert (origin["kind"], origin["file"]) == ("eccv16", "plain.pth")
    assert len(origin["sha256"]) == 64 and origin["sha256"] in said
    assert "BSD-2-Clause" in file.meta["notice"]
    assert str(out.parent.parent) not in json.dumps(file.meta)
    assert {str(value.dtype) for value in file.tensors.values()} == {"torch.float32", "torch.int64"}


def test_parameters_are_as_many_as_published() -> None:
    beside = ("running_mean", "running_var", "num_batches_tracked")
    for tensors, count in ((eccv16_tensors(), 32_236_011), (siggraph17_tensors(), 34_187_027)):
        learned = [value for name, value in tensors.items() if not name.endswith(beside)]
        assert sum(value.numel() for value in learned) == count


def test_a_file_without_batch_counts_is_of_the_kind() -> None:
    """Versions of torch before 0.4.1 wrote none."""
    old = {k: v for k, v in hollow().items() if not k.endswith("num_batches_tracked")}
    assert KINDS["eccv16"].problems(old) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model3.2.bias": None}, "1 missing (model3.2.bias, ...)"),
        ({"model9.0.bias": torch.zeros(3)}, "1 foreign (model9.0.bias, ...)"),
        (
            {"model7.0.weight": torch.zeros(256, 512, 3, 3)},
            "1 of another shape (model7.0.weight: [256, 512, 3, 3], not [512, 512, 3, 3], ...)",
        ),
        ({"model_out.weight": torch.ones(2, 313, 1, 1)}, "model_out.weight is not the 313 bins"),
    ],
)
def test_other_weights_are_refused_by_name(
    change: dict[str, Tensor | None], words: str, tmp_path: Path
) -> None:
    tensors = {k: v for k, v in (hollow() | change).items() if v is not None}
    path, out = tmp_path / "net.pth", tmp_path / "net.safetensors"
    torch.save(tensors, path)
    with pytest.raises(WeightsError) as caught:
        import_file("eccv16", path, out)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    if "bins" not in words:
        assert "its authors' file is colorization_release_v2-9b330a0b.pth" in str(caught.value)
    assert not out.exists()


@pytest.fixture(scope="module")
def siggraph17(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("siggraph17")
    path, out = folder / "net.pth", folder / "siggraph17.safetensors"
    torch.save(siggraph17_tensors(), path)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["import", "siggraph17", str(path), "--out", str(out)]) == 0
    assert "takes L and hints at a square of 256 pixels" in said.getvalue()
    assert "gives ab per 1 pixels" in said.getvalue()
    yield out
    shutil.rmtree(folder)


def test_siggraph17_gives_the_colors_of_its_file(siggraph17: Path) -> None:
    random = np.random.default_rng(0)
    lightness = random.uniform(0, 100, (2, 1, 64, 48)).astype(np.float32)
    hints = np.zeros((2, 3, 64, 48), np.float32)
    hints[1, :, 20:24, 8:12] = np.array((40, -60, 1))[:, None, None]
    expected = siggraph17_ab(
        siggraph17_tensors(), torch.from_numpy(lightness), torch.from_numpy(hints)
    ).numpy()
    runtime = load_runtime(siggraph17, "cpu", kind="torch")
    assert np.abs(runtime.run(lightness[:1]).values - expected[:1]).max() < 1e-4
    scaled = hints[1:] / np.array((110, 110, 1), np.float32)[:, None, None]
    actual = runtime.run(lightness[1:], hints=scaled).values
    assert np.abs(actual - expected[1:]).max() < 1e-4
    without = runtime.run(lightness[1:]).values
    assert np.abs(actual - without).max() > 1  # hints do something


def test_hints_are_seen_by_siggraph17_itself(siggraph17: Path, gray: np.ndarray) -> None:
    colorizer = Colorizer.from_pretrained(siggraph17)
    height, width = gray.shape
    hint = Hint((50.0, 40.0), ((0.3 * width, 0.6 * height),))
    prediction = colorizer.predict(gray, 64, hints=[hint])
    planes = np.zeros((1, 3, 64, 64), np.float32)
    row, column = int((0.6 * height + 0.5) / height * 64), int((0.3 * width + 0.5) / width * 64)
    planes[0, :, row, column] = 50, 40, 1
    lightness = torch.from_numpy(prediction.input_lightness)[None, None]
    expected = siggraph17_ab(siggraph17_tensors(), lightness, torch.from_numpy(planes))
    assert np.abs(prediction.values - expected[0].numpy()).max() < 1e-4
    place = slice(int(0.6 * height), int(0.6 * height) + 1), slice(int(0.3 * width), None)
    with_hint, without = (colorizer(gray, hints=h, input_size=64) for h in ([hint], []))
    red, plain = (lab_of(photo)[1][place][0, 0] for photo in (with_hint, without))
    assert red > plain + 20


def test_photos_are_colored_as_by_the_published_network_of_ab(
    siggraph17: Path, gray: np.ndarray
) -> None:
    lightness, guide = preprocess.network_input(gray, 64, 8, square=True)
    planes = torch.zeros(1, 3, 64, 64)
    ab = siggraph17_ab(siggraph17_tensors(), torch.from_numpy(lightness)[None, None], planes)
    expected = postprocess.to_pixels(gray, ab[0].float().numpy(), lightness, guide)
    actual = Colorizer.from_pretrained(siggraph17)(gray, input_size=64)
    assert np.abs(actual.astype(int) - expected).max() <= 1
    assert np.ptp(actual.astype(int), axis=-1).max() > 10


def test_a_network_of_ab_refuses_what_needs_classes(siggraph17: Path, gray: np.ndarray) -> None:
    colorizer = Colorizer.from_pretrained(siggraph17)
    for act in (colorizer.confidence, lambda one, **o: colorizer(one, variants=2, **o)):
        with pytest.raises(Pix2ColorError, match="predict ab, not 313 classes"):
            act(gray, input_size=64)


def test_a_file_of_another_kind_names_its_own(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(hollow(), path)
    with pytest.raises(WeightsError, match="import it as eccv16"):
        import_file("siggraph17", path, tmp_path / "net.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "siggraph17"])
def test_the_graph_of_a_whole_file_colors_as_torch(
    name: str,
    imported: dict[str, tuple[Path, str]],
    siggraph17: Path,
    gray: np.ndarray,
    tmp_path: Path,
) -> None:
    """Other commands are tried with narrow files, in tests/contracts/test_imported_networks.py."""
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    release = tmp_path / f"{name}.safetensors"
    release.symlink_to(siggraph17 if name == "siggraph17" else imported[name][0])
    assert main(["export", "--graph", "--checkpoint", str(release)]) == 0
    one, other = (Colorizer.from_pretrained(release, runtime=kind) for kind in ("torch", "onnx"))
    hint = Hint((50.0, 40.0), ((20.0, 30.0),))
    for hints in ([], [hint]):
        colored, again = (each(gray, hints=hints, input_size=64) for each in (one, other))
        assert np.abs(colored.astype(int) - again).max() <= 4
        assert np.ptp(colored.astype(int), axis=-1).max() > 10
