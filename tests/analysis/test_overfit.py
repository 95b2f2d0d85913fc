"""Overfitting checks, the ladder, the analyze commands, and filmstrips of a training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2color.analysis.filmstrip import filmstrip
from pix2color.analysis.overfit import HELD_OUT, STEPS, LadderStep, describe, overfit, run_ladder
from pix2color.checkpoints import checkpoint
from pix2color.cli import main
from pix2color.config import load
from pix2color.errors import DataError, TrainingError

SIZE = 32
TINY = [f"data.crop={SIZE}", f"decode.input_size={SIZE}", "model.conv_encoder.width=4",
        "model.upsample.stages=[[], [8]]", "optim.encoder_lr=1e-2",
        "optim.decoder_lr=1e-2"]  # fmt: skip


def test_one_photo_is_overfitted(small_photos: list[np.ndarray], tmp_path: Path) -> None:
    config = load("zhang_cnn_w16.yaml", TINY)
    steps: list[int] = []
    result = overfit(
        config,
        small_photos[1:2],
        steps=60,
        batch=1,
        folder=tmp_path / "run",
        eval_steps=(20,),
        held_out=small_photos[:1],
        progress=lambda done, total: steps.append(done),
    )
    assert [point.step for point in result.evaluations] == [20, 60]
    assert result.final_mse < result.evaluations[0].mse
    assert result.final_mse < result.gray_mse / 3
    assert steps == list(range(1, 61))
    assert result.held_out_mse is not None
    assert result.planned_steps == 60
    assert f"{result.final_mse:.1f} after 60 of 60 steps" in describe(result)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 60
    width, height = Image.open(tmp_path / "run" / "picture.png").size
    assert width > 200
    assert height > 200
    assert not (tmp_path / "run" / "state").exists()
    assert checkpoint.load(tmp_path / "run" / "release.safetensors").generator.stride == 4


def test_a_limit_in_minutes_ends_a_training_and_is_said(
    small_photos: list[np.ndarray], tmp_path: Path
) -> None:
    """What the network has learned by then is measured, also on the photos held out."""
    result = overfit(
        load("zhang_cnn_w16.yaml", TINY),
        small_photos[:1],
        steps=10_000,
        batch=1,
        folder=tmp_path,
        minutes=0.005,
        eval_steps=(5_000,),
        held_out=small_photos[1:2],
    )
    assert 0 < result.steps < result.planned_steps == 10_000
    assert [point.step for point in result.evaluations] == [result.steps]
    assert result.held_out_mse is not None
    assert f"after {result.steps} of 10000 steps" in describe(result)
    assert (tmp_path / "picture.png").is_file()


def test_the_ladder_overfits_each_step(small_photos: list[np.ndarray], tmp_path: Path) -> None:
    photos = [photo[i : i + 40, i : i + 40] for photo in small_photos for i in (0, 10, 20)]
    lines: list[str] = []
    ladder = (LadderStep(2, 16, 2, 2), LadderStep(3, 16, 1, 1))
    results = run_ladder(photos, folder=tmp_path, ladder=ladder, size=SIZE, announce=lines.append)
    assert [result.steps for result in results] == [2, 3]
    assert results[0].held_out_gray_mse == results[1].held_out_gray_mse  # the same photos
    assert len(lines) == 2
    tree = json.loads((tmp_path / "ladder.json").read_text())
    assert [(step["photos"], step["width"]) for step in tree] == [(2, 16), (3, 16)]
    assert (tmp_path / "3-photos-w16" / "picture.png").is_file()


def test_the_ladder_is_that_of_the_report() -> None:
    assert [(r.photos, r.width, r.batch, r.epochs) for r in STEPS[:3]] == [
        (10, 32, 5, 200),
        (20, 32, 5, 200),
        (20, 16, 5, 400),
    ]


def test_too_few_photos_are_refused_at_once(small_photos: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"needs {40 + HELD_OUT} photos, 4 were found"):
        run_ladder(small_photos, folder=tmp_path)
    with pytest.raises(DataError, match="no photo"):
        overfit(load("zhang_cnn_w16.yaml"), [], steps=1, batch=1, folder=tmp_path)


def test_the_command_overfits(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ("--steps", "2", "--size", str(SIZE), "--quiet", "--out", str(out))
    code = main(["analyze", "overfit", str(photo_folder), *options])
    assert code == 0
    assert "MSE of ab" in capsys.readouterr().out
    assert (out / "picture.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyze", "overfit", "nothing-here"], "no such file"),
        (["analyze", "overfit", "--steps", "0"], "--steps 0"),
        (["analyze", "overfit", "--minutes", "0"], "--minutes 0"),
        (["analyze", "ladder", "--data", "x", "--minutes", "nan"], "--minutes nan"),
        (["analyze", "overfit", "--config", "gan.yaml", "--set", "init_from=null"], "adversarial"),
        (["analyze", "ladder", "--data", "nothing-here"], "no such file"),
        (["analyze", "ladder", "--data", "x", "--epoch-fraction", "2"], "--epoch-fraction"),
        (["analyze", "filmstrip", "nothing-here"], "no sample pictures"),
        (["analyze", "activations", "nothing-here.jpg"], "No such file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments]) != 0
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert shown.count("\n") == 1


# A photo's way through a run


def sample_picture(path: Path, shade: int) -> None:
    """As the trainer writes it: two photos; gray, colored and true cells of plain shades."""
    grid = np.full((2 * 164, 3 * 164, 3), 255, np.uint8)
    for row in range(2):
        for column, value in enumerate((10, shade, 250)):
            top, left = 4 + 164 * row, 4 + 164 * column
            grid[top : top + 160, left : left + 160] = value + row
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(path)


def test_a_filmstrip_shows_gray_every_picture_and_truth(tmp_path: Path) -> None:
    for run, samples, shade in (("first", 0, 60), ("first", 1000, 90), ("second", 500, 120)):
        sample_picture(tmp_path / run / "samples" / f"{samples:09d}.png", shade)
    picture = filmstrip([tmp_path / "first", tmp_path / "second"], photo=1)
    assert picture.shape == (160 + 2 * 4 + 16, 5 * 164 + 4, 3)
    assert [int(picture[100, 80 + 164 * i, 0]) for i in range(5)] == [11, 61, 91, 121, 251]
    with pytest.raises(TrainingError, match="no photo 2"):
        filmstrip([tmp_path / "first"], photo=2)
