"""Every command and every Python example of README.md and docs/ runs, with small inputs.

They run in a folder that holds photos, scans and a run folder under the names that the documents
use, with options that shorten them (`SHORTER`). A new command gets missing inputs in `_fill`; a
command that cannot run here is listed in ONLY_PARSED with the reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from documents import PYTHON, ROOT, SHELL, Block, command_of, label
from fake_model import write_calibrated, write_release
from PIL import Image

from pix2color.checkpoints import release_file
from pix2color.cli import COMMANDS

ONLY_PARSED = {
    "pip install": "the environment of the tests is not changed; .ci/run installs",
    "pytest": "it would run itself; .ci/run does it",
    "accelerate config": "it asks questions",
    "accelerate launch train.py --config distill.yaml": (
        "its precision is not that of this process; tests/training/test_teacher.py"
    ),
    "python -m pix2color index s3://": "it needs a bucket; tests/data/test_remote_shards.py",
    "accelerate launch train.py --config pretrain_class.yaml --data s3://": (
        "it needs a bucket; tests/training/test_shards.py"
    ),
    "hf auth login": "it asks for a token",
    "python tests/": "a measurement, run by hand",
    "python -m pix2color export --fetch-ort": "it needs the network; tests/web/test_bundle.py",
    "python -m pix2color export --web": "it needs onnxruntime-web; tests/web/test_bundle.py",
    "python -m pix2color import": "it needs published weights; tests/checkpoints/test_foreign_*",
    "python -m pix2color analyze": "minutes; tests/analysis runs its parts in small",
    "python -m pix2color benchmark": "minutes; tests/benchmark/test_smoke.py runs it in small",
    "python -m pix2color evaluate --protocol": (
        "it needs ImageNet or COCO; tests/evaluation/test_paper_protocols.py"
    ),
    "python -m pix2color calibrate": "it needs 200 photos; tests/cli/test_calibrate.py",
    "python -m pix2color export --graph": (
        "it changes the packaged graph; tests/runtime/test_graph.py"
    ),
    "curl": "it needs a running server; tests/app/test_endpoint.py runs it",
    "docker": "it needs Docker; .ci/light runs the steps of the Dockerfile",
    "python -m pix2color app": "it runs until it is stopped; tests/app",
    "python -m pix2color release --run runs/gan --push USER/REPO": (
        "it needs the Hub; tests/cli/test_release_push.py pushes to a local server"
    ),
    "python infer.py photos/ --checkpoint USER/REPO": (
        "it needs the Hub; tests/checkpoints/test_hub.py"
    ),
    "python -m pix2color evaluate --data my-photos/ --split": (
        "it needs hundreds of photos to hold some out; tests/training/test_recorded_split.py"
    ),
    "python -m pix2color evaluate --data photos-wide/": (
        "it needs thousands of photos; tests/cli/test_evaluate_photos.py runs it in small"
    ),
    "accelerate launch train.py --config gan.yaml --data my-photos/ --set gan.discriminator": (
        "it downloads ImageNet weights; tests/training/test_trainer.py trains with a file"
    ),
    "python infer.py s3://": "it needs a bucket; tests/cli/test_infer_stores.py",
    "python infer.py film.mp4": "it needs PyAV and a video; tests/cli/test_infer_videos.py",
}
"""The start of a command -> why it is not run here."""

ONLY_COMPILED = {
    "gradio_client": "it needs a running server; tests/app",
    'from_pretrained("USER/REPO': "it needs the Hub; tests/checkpoints/test_hub.py",
}
"""A part of a Python block -> why it is not run here."""

TINY = (
    "budget.samples=8", "train.batch_size=4", "data.crop=32", "data.cache_size=48",
    "decode.input_size=32", "train.num_val_photos=1", "train.num_sample_photos=0",
    "gan.discriminator_warmup_samples=0", "gan.base_channels=8", "data.max_corrupt_fraction=1.0",
)  # fmt: skip
SHORTER = {
    "infer": ["--size", "48", "--quiet"],
    "train": [part for one in TINY for part in ("--set", one)],
    "evaluate": [
        "--limit", "2", "--crop", "48", "--size", "48", "--no-lpips", "--resamples", "5", "--quiet",
    ],
    "baseline": ["--samples", "8", "--batch", "4", "--crop", "32", "--quiet"],
    "profile": ["--runs", "1"],
}  # fmt: skip
"""Appended to a command where it is run."""


def _main(command: str) -> Callable[[list[str]], int]:
    main: Callable[[list[str]], int] = importlib.import_module(COMMANDS[command][0]).main
    return main


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, small_photos: list[np.ndarray]) -> Path:
    """A folder with the inputs of all commands of the documents."""
    folder = tmp_path_factory.mktemp("documents")
    _fill(folder, small_photos)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ["--config", "gan.yaml", "--data", "my-photos/", "--quiet"]
        arguments += ["--set", "init_from=null", "--set", "model.decoder_channels=[8,8,8,8]"]
        patch.setattr("pix2color.training.trainer.draw_curves", lambda run: None)
        assert _main("train")([*arguments, *SHORTER["train"]]) == 0
        assert _main("release")(["--run", "runs/gan"]) == 0
        head = ["--data", "my-photos/", "--out", "l2_head.safetensors"]
        assert _main("baseline")([*head, *SHORTER["baseline"]]) == 0
        if importlib.util.find_spec("onnx"):
            assert _main("export")(["--onnx", "out.onnx"]) == 0
    return folder


def _fill(folder: Path, photos: list[np.ndarray]) -> None:
    """The photos and files that the documents name."""
    for name in ("my-photos", "val", "imagenet-photos"):
        (folder / name).mkdir()
        for number, photo in enumerate(photos * 4):
            Image.fromarray(np.roll(photo, 3 * number, axis=1)).save(
                folder / name / f"{number}.png"
            )
    (folder / "my-shards").mkdir()
    with tarfile.open(folder / "my-shards" / "train-0.tar", "w") as shard:
        shard.add(folder / "my-photos", "")
    color = [Image.fromarray(photo).resize((216, 144)) for photo in photos]
    gray = [photo.convert("L") for photo in color]
    for name in ("photos", "scans", "archive"):
        (folder / name).mkdir()
        gray[0].save(folder / name / "one.jpg")
    for number, name in enumerate(("portrait.tif", "portrait.jpg", "scan.tif", "scan.jpg")):
        gray[number].save(folder / name)
    gray[1].save(folder / "scans/portrait.jpg")
    for name in ("other.jpg", "photo.jpg"):
        color[2].save(folder / name)
    write_calibrated(folder / "calibrated.safetensors", release_file.DEFAULT_FILE)
    for name in ("eccv16", "siggraph17", "ddcolor-tiny"):
        write_release(folder / f"{name}.safetensors")  # a stand-in of their kind of file
    hints = '{"portrait.jpg": [{"x": 12, "y": 8, "color": "#2040ff"}]}'
    (folder / "hints.json").write_text(hints)
    for name in ("configs", "tests"):
        (folder / name).symlink_to(ROOT / name)


def _reason(words: list[str]) -> str | None:
    """Why a command is only parsed; USER/REPO stands for any name of the Hub in the documents."""
    text = " ".join(words)
    return next((why for start, why in ONLY_PARSED.items() if text.startswith(start)), None)


RUN = {" ".join(words): (block, words) for block, words in SHELL if not _reason(words)}
"""Each command once, with its first block."""


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Draw no curves, which take longer than these trainings, and leave the user's cache alone."""
    monkeypatch.setattr("pix2color.training.trainer.draw_curves", lambda run: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize(("block", "words"), RUN.values(), ids=label)
def test_a_command_runs(
    block: Block,
    words: list[str],
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parsed = command_of(words)
    assert parsed, f"{block}: {' '.join(words)!r} cannot be run here: list it in ONLY_PARSED"
    command, arguments = parsed
    if command == "train":
        arguments = [*arguments, "--quiet", "--set", f"output={tmp_path / 'run'}"]
        arguments = [a for a in arguments if a != "--resume"]
    monkeypatch.chdir(prepared)
    if "--out" not in arguments and command in ("infer", "evaluate", "restore"):
        arguments = [*arguments, "--out", str(tmp_path / "out")]
    code = _main(command)([*arguments, *SHORTER.get(command, ())])
    errors = capsys.readouterr().err
    if code and "needs the extra" in errors:
        pytest.skip(errors)
    remedy = "give it its inputs in _fill, or list it in ONLY_PARSED (tests/docs/test_running.py)"
    assert code == 0, f"{block}: {' '.join(words)!r} ends with {code}: {errors}{remedy}"


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=label)
def test_an_example_runs(
    block: Block, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = next((why for part, why in ONLY_COMPILED.items() if part in block.text), None)
    if reason:
        pytest.skip(reason)
    for module in re.findall(r"^import (\w+)", block.text, re.MULTILINE):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    left = shutil.ignore_patterns("runs", "report", "colorized")
    shutil.copytree(prepared, tmp_path / "here", symlinks=True, ignore=left)
    monkeypatch.chdir(tmp_path / "here")
    gray = np.asarray(Image.open("scan.jpg"))
    names = {"gray": gray, "image": Image.open("portrait.jpg"), "other": Image.open("scan.jpg")}
    exec(compile(block.text, str(block), "exec"), names)
