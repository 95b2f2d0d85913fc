"""Release files: whole or not there, float16 but for statistics, and never a pickle."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fake_model import halving
from safetensors import safe_open
from safetensors.torch import save_file

from pix2color.checkpoints import release_file
from pix2color.errors import WeightsError

TENSORS = {
    "layer.weight": torch.linspace(-2, 2, 12).view(3, 4),
    "norm.running_mean": torch.tensor((1 / 3, 1e-6)),
    "norm.running_var": torch.tensor((1e5, 2.0)),
    "norm.num_batches_tracked": torch.tensor(7),
    "head.log_prior": torch.tensor((-27.631021, -0.1)),
}
META = {
    "model": {"encoder": "resnet18", "decoder_channels": [1, 2]},
    "notice": "plain words",
    "config_digest": "123456789012",  # text, although it looks like a number
    "rows": [3, 4],
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "net.safetensors"
    release_file.write(path, TENSORS, META)
    return path


def test_what_is_written_reads_back(written: Path) -> None:
    file = release_file.read(written)
    assert file.meta == {"format": release_file.FORMAT, **META}
    assert file.tensors.keys() == TENSORS.keys()
    for key, tensor in TENSORS.items():
        half = tensor.is_floating_point() and not release_file.keep_float32(key)
        assert file.tensors[key].dtype == (torch.float16 if half else tensor.dtype)
        assert torch.equal(file.tensors[key], tensor.half() if half else tensor)
    assert file.digest == hashlib.sha256(written.read_bytes()).hexdigest()[:12]
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_a_header_of_any_length_is_no_pickle(tmp_path: Path) -> None:
    """Its length comes first, and 640 and 896 are the first bytes of pickles."""
    path, lengths = tmp_path / "net.safetensors", set()
    for padding in range(0, 700, 4):  # headers are padded to multiples of 8
        release_file.write(path, {"w": torch.zeros(2)}, {"notice": "x" * padding})
        lengths.add(int.from_bytes(path.read_bytes()[:8], "little"))
        assert len(release_file.read(path).meta["notice"]) == padding
    assert {640, 896} & lengths


def test_a_write_that_fails_leaves_the_old_file_alone(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        release_file.write(written, TENSORS, META)
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        release_file.read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'boom')!r}, 'w')",))

    for protocol in (2, 4, 5):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
        assert "pickle" in refused(path)
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / name)
    assert "pickle" in refused(tmp_path / name)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(written: Path, share: float) -> None:
    content = written.read_bytes()
    written.write_bytes(content[: int(len(content) * share)])
    assert "not a whole safetensors file" in refused(written)


def test_files_of_other_formats_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.safetensors"
    text.write_text("weights, as promised\n" * 20)
    assert "not a whole safetensors file" in refused(text)
    assert "no weights file" in refused(tmp_path / "missing.safetensors")
    assert "no weights file" in refused(tmp_path)


def test_safetensors_of_others_and_of_other_versions(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    said = refused(path)
    assert "not a pix2color release file" in said and "python -m pix2color import" in said
    save_file({"a": torch.zeros(2)}, path, metadata={"format": "pix2color-99"})
    said = refused(path)
    assert "pix2color-99" in said and release_file.FORMAT in said


@pytest.fixture
def calibrated(tmp_path: Path) -> Path:
    path = tmp_path / "calibrated.safetensors"
    calibration = halving(release_file.weights_digest(TENSORS))
    release_file.write(path, TENSORS, META, calibration=calibration)
    return path


def test_a_calibration_reads_back_beside_the_weights(calibrated: Path, written: Path) -> None:
    file, plain = release_file.read(calibrated), release_file.read(written)
    assert plain.calibration is None
    assert file.meta == plain.meta and file.tensors.keys() == plain.tensors.keys()
    assert file.calibration is not None
    expected = halving(release_file.weights_digest(TENSORS))
    assert file.calibration.shift.tobytes() == expected.shift.tobytes()
    assert file.calibration.metadata() == expected.metadata()
    assert release_file.read(calibrated, calibrated=False).calibration is None


def test_the_digest_of_weights_is_of_nothing_else(calibrated: Path, tmp_path: Path) -> None:
    file = release_file.read(calibrated)
    digest = release_file.weights_digest(file.tensors)
    assert digest == release_file.weights_digest(TENSORS)  # before they were rounded
    again = tmp_path / "again.safetensors"
    release_file.write(again, file.tensors, {"decode": {"x": 1}}, calibration=file.calibration)
    rewritten = release_file.read(again)
    assert rewritten.calibration is not None and rewritten.digest != file.digest
    for changed in (
        {**TENSORS, "layer.weight": TENSORS["layer.weight"] + 0.01},
        {**TENSORS, "norm.num_batches_tracked": torch.tensor(8)},
        {**TENSORS, "layer.weight": TENSORS["layer.weight"].reshape(4, 3)},
        {("other" if key == "layer.weight" else key): v for key, v in TENSORS.items()},
    ):
        assert release_file.weights_digest(changed) != digest


def test_numpy_reads_what_torch_reads(calibrated: Path) -> None:
    """onnxruntime takes its weights and their calibration without torch."""
    arrays, tensors = (release_file.read(calibrated, framework=kind) for kind in ("np", "pt"))
    assert arrays.tensors.keys() == TENSORS.keys() and arrays.meta == tensors.meta
    for key, array in arrays.tensors.items():
        assert array.tobytes() == tensors.tensors[key].numpy().tobytes()
    assert arrays.calibration is not None and tensors.calibration is not None
    assert arrays.calibration.encode() == tensors.calibration.encode()
    digest = release_file.weights_digest(TENSORS)
    assert release_file.weights_digest(arrays.tensors) == digest
    unrounded = {key: tensor.numpy() for key, tensor in TENSORS.items()}
    assert release_file.weights_digest(unrounded) == digest


Change = Callable[[dict[str, torch.Tensor], dict[str, str]], object]


def spoil_metadata(**changes: object) -> Change:
    def change(tensors: dict[str, torch.Tensor], texts: dict[str, str]) -> None:
        texts["calibration"] = json.dumps({**json.loads(texts["calibration"]), **changes})

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors, texts: tensors.update(calibration=torch.zeros(20, 24)), "20 x 24, not 20"),
        (lambda tensors, texts: tensors["calibration"][3, 4].fill_(torch.nan), "not finite"),
        (lambda tensors, texts: tensors["calibration"].mul_(3), "gains outside of 0..2"),
        (lambda tensors, texts: tensors["layer.weight"].mul_(2), "fitted for other weights"),
        (lambda tensors, texts: tensors.pop("calibration"), "the table is missing"),
        (lambda tensors, texts: texts.pop("calibration"), "its metadata lack photos"),
        (spoil_metadata(weights="abcdef012345"), "fitted for other weights"),
    ],
)
def test_a_calibration_that_cannot_be_used_is_an_error(
    calibrated: Path, change: Change, said: str
) -> None:
    with safe_open(calibrated, framework="pt") as file:
        texts = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(tensors, texts)
    save_file(tensors, calibrated, metadata=texts)
    message = refused(calibrated)
    assert said in message and "calibration" in message
    assert "python -m pix2color calibrate" in message  # which can read the file:
    assert release_file.read(calibrated, calibrated=False).tensors.keys() == TENSORS.keys()


def test_a_calibration_of_other_weights_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(ValueError, match="other weights"):
        release_file.write(path, TENSORS, META, calibration=halving("abcdef012345"))
    assert not path.exists()


def test_weights_of_another_network_are_named() -> None:
    network = torch.nn.Linear(4, 3)
    whole = {"weight": torch.ones(3, 4).half(), "bias": torch.ones(3)}
    release_file.load_state_strict(network, whole, source="x")
    assert network.weight.dtype == torch.float32
    cases = {
        "1 missing (bias, ...)": {"weight": whole["weight"]},
        "1 foreign (scale, ...)": {**whole, "scale": torch.ones(1)},
        "1 of another shape (weight, ...)": {**whole, "weight": torch.ones(4, 3)},
    }
    for said, tensors in cases.items():
        with pytest.raises(WeightsError) as caught:
            release_file.load_state_strict(network, tensors, source="net.safetensors")
        assert said in str(caught.value) and "net.safetensors" in str(caught.value)
