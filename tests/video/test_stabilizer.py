"""Optical flow, scene cuts, rotation and the stabilizer on known motion."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import video_factory as vf

from pix2color.video import optical_flow, scene_cuts, stabilizer
from pix2color.video.rotation import Rotation


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("flip_rows", [False, True])
@pytest.mark.parametrize("flip_columns", [False, True])
def test_invert_undoes_apply(transposed: bool, flip_rows: bool, flip_columns: bool) -> None:
    plane = np.arange(12).reshape(3, 4)
    rotation = Rotation(transposed, flip_rows, flip_columns)
    assert np.array_equal(rotation.invert(rotation.apply(plane)[None])[0], plane)


def test_cuts_are_found_and_motion_is_not_a_cut() -> None:
    names = ("coffee", "astronaut", "rocket", "chelsea", "camera")
    rng = np.random.default_rng(0)
    pans = {
        name: [frame / 2.55 for frame in vf.to_gray(vf.shot(name, 6, step=4))] for name in names
    }
    for name, pan in pans.items():
        for before, after in itertools.pairwise(pan):
            flickering = after * rng.uniform(0.85, 1.15) + rng.normal(0, 3, after.shape)
            assert not scene_cuts.is_cut(before, flickering), name
        for other in names:
            assert other == name or scene_cuts.is_cut(pan[-1], pans[other][0]), (name, other)


def test_flow_finds_a_pan() -> None:
    frames = vf.shot("astronaut", 2, height=80, width=106, step=3)
    before, after = (np.float32(frame / 2.55) for frame in vf.to_gray(frames))
    motion = optical_flow.flow(before, after)
    rows, columns = vf.source_positions(*frames, 80, 106)
    expected = np.stack([rows, columns]) - np.mgrid[:80, :106]
    error = np.hypot(*(motion - expected))
    assert np.median(error) < 0.4 and np.hypot(*expected).mean() > 2.5
    back = optical_flow.warp(before[None], motion)[0]
    visible = optical_flow.inside(motion)
    assert np.abs(back - after)[visible].mean() < 0.4 * np.abs(before - after)[visible].mean()


def test_warping_by_no_motion_changes_nothing() -> None:
    planes = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    assert np.allclose(
        optical_flow.warp(planes, np.zeros((2, 7, 5), np.float32)), planes, atol=1e-5
    )
    assert optical_flow.inside(np.zeros((2, 7, 5), np.float32)).all()


def stabilize(frames: list[vf.Frame], method: stabilizer.Method) -> list[np.ndarray]:
    """The stabilized colors of a video, of which the network's guesses vary from frame to frame."""
    rng = np.random.default_rng(0)
    stabilize_next = stabilizer.TemporalStabilizer(method)
    result = []
    for frame, gray in zip(frames, vf.to_gray(frames), strict=True):
        lightness = np.float32(gray / 2.55)
        ab = frame.rgb.transpose(2, 0, 1)[:2] / 4 + rng.normal(0, 6, (2, 1, 1))
        result.append(stabilize_next(np.float32(ab), lightness, lightness))
    return result


def flicker(frames: list[vf.Frame], colors: list[np.ndarray]) -> float:
    """Mean change of the color of a thing between frames."""
    changes = []
    for number in range(1, len(frames)):
        height, width = colors[number].shape[1:]
        rows, columns = vf.source_positions(frames[number - 1], frames[number], height, width)
        motion = np.float32(np.stack([rows, columns]) - np.mgrid[:height, :width])
        change = colors[number] - optical_flow.warp(colors[number - 1], motion)
        changes.append(np.abs(change)[:, optical_flow.inside(motion)].mean())
    return float(np.mean(changes))


def test_flow_reduces_flicker_and_starts_again_after_a_cut() -> None:
    pan = vf.shot("coffee", 8, height=80, width=106, step=2)
    assert flicker(pan, stabilize(pan, "flow")) < 0.45 * flicker(pan, stabilize(pan, "none"))
    both = [*pan, *vf.shot("rocket", 4, height=80, width=106, step=2)]
    stabilized, single = stabilize(both, "flow"), stabilize(both, "none")
    same = [np.array_equal(*colors) for colors in zip(stabilized, single, strict=True)]
    assert [number for number, equal in enumerate(same) if equal] == [0, 8]


def test_uncovered_areas_keep_their_own_colors() -> None:
    """A dark bar moves over a light ground: behind it no ghost of its color stays."""
    stabilize_next = stabilizer.TemporalStabilizer("flow")
    for number in range(8):
        lightness = np.full((60, 80), 80, np.float32)
        ab = np.zeros((2, 60, 80), np.float32)
        bar = slice(10 + 6 * number, 20 + 6 * number)
        lightness[:, bar], ab[:, :, bar] = 20, 50
        result = stabilize_next(ab, lightness, lightness)
    behind = result[:, :, 10 : 10 + 6 * 7 - 2]
    assert np.abs(behind).mean() < 2
