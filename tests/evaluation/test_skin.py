"""Colors of skin: patches of known color, and a real face."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pix2color.color.lab import lab_to_rgb, rgb_to_lab
from pix2color.evaluation import skin
from pix2color.evaluation.evaluator import evaluate_methods
from pix2color.evaluation.methods import Method

# L, a, b of skin of each tone, and its ITA in degrees by hand: atan((L - 50) / b).
PATCHES = {
    "dark": ((30.0, 10.0, 14.0), -55.0),
    "brown": ((47.0, 15.0, 20.0), -8.5),
    "tan": ((57.0, 15.0, 20.0), 19.3),
    "intermediate": ((64.0, 14.0, 20.0), 35.0),
    "light": ((70.0, 13.0, 18.0), 48.0),
    "very light": ((77.0, 11.0, 14.0), 62.6),
}


def patch(color: tuple[float, float, float], side: int = 32) -> Tensor:
    """An even photo: 1,3,side,side in 0..1."""
    return lab_to_rgb(torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, side, side))


def pixels(color: tuple[float, float, float]) -> np.ndarray:
    return (patch(color)[0].permute(1, 2, 0) * 255).round().byte().numpy()


def measured(color: tuple[float, float, float], predicted: tuple[float, float]) -> dict[str, float]:
    """The figures of an even photo whose prediction is even too."""
    rgb = patch(color)
    lightness, ab = rgb_to_lab(rgb).split((1, 2), dim=1)
    prediction = torch.tensor(predicted).view(1, 2, 1, 1).expand_as(ab)
    values = skin.measure(skin.skin_mask(rgb), lightness, prediction, ab)
    return {name: float(value) for name, value in values.items()}


@pytest.mark.parametrize("tone", PATCHES)
def test_skin_of_every_tone_is_found_and_named(tone: str) -> None:
    color, angle = PATCHES[tone]
    assert skin.skin_mask(patch(color))[:, 8:24, 8:24].all()
    values = measured(color, color[1:])
    assert values["skin_ita"] == pytest.approx(angle, abs=0.3)
    _, by_tone = skin.groupings({key: np.array([one]) for key, one in values.items()})
    (name,) = by_tone.groups
    assert values["skin_lightness"] == pytest.approx(color[0], abs=0.05)
    assert name.startswith(f"{tone} (ITA ")


@pytest.mark.parametrize("color", [(50.0, 0.0, 0.0), (50.0, -30.0, 25.0), (60.0, 5.0, -30.0)])
def test_gray_leaves_and_sky_are_not_skin(color: tuple[float, float, float]) -> None:
    assert not skin.skin_mask(patch(color)).any()
    assert all(math.isnan(value) for value in measured(color, (10.0, 10.0)).values())


def test_skin_counts_in_the_middle_only_and_where_there_is_enough() -> None:
    face = patch(PATCHES["tan"][0])
    mask = skin.skin_mask(face)[0]
    assert mask.sum() == 16 * 16 and mask[8:24, 8:24].all()
    scene = patch((50.0, 0.0, 0.0))
    scene[..., 8:24, 8:9] = face[..., 8:24, 8:9]  # one of 16 columns
    assert not skin.skin_mask(scene).any()
    scene[..., 8:24, 8:10] = face[..., 8:24, 8:10]
    assert skin.skin_mask(scene).sum() == 32


def test_the_true_colors_have_no_error() -> None:
    color, angle = PATCHES["brown"]
    values = measured(color, color[1:])
    assert values["skin_auc"] == pytest.approx(100, abs=1e-3)
    assert values["skin_chroma"] == pytest.approx(25.0, abs=0.01)
    for name in ("skin_chroma_error", "skin_hue_error", "skin_ita_error"):
        assert values[name] == pytest.approx(0, abs=0.01)
    assert values["skin_ita"] == pytest.approx(angle, abs=0.1)


def test_errors_have_their_signs() -> None:
    (lightness, a, b), _ = PATCHES["dark"]
    true_chroma, true_hue = math.hypot(a, b), math.degrees(math.atan2(b, a))
    duller = measured((lightness, a, b), (a / 2, b / 2))
    assert duller["skin_chroma_error"] == pytest.approx(-true_chroma / 2, abs=0.01)
    assert duller["skin_hue_error"] == pytest.approx(0, abs=0.01)
    assert duller["skin_ita_error"] == pytest.approx(
        math.degrees(math.atan2(lightness - 50, b / 2) - math.atan2(lightness - 50, b)), abs=0.05
    )
    assert duller["skin_ita_error"] < 0  # dark skin that loses color is darker by this scale
    assert duller["skin_auc"] == pytest.approx(100 * (1 - true_chroma / 2 / 150), abs=0.01)
    redder = measured((lightness, a, b), (true_chroma, 0.0))
    assert redder["skin_hue_error"] == pytest.approx(-true_hue, abs=0.05)
    assert redder["skin_chroma_error"] == pytest.approx(0, abs=0.01)
    gray = measured((lightness, a, b), (0.0, 0.0))
    assert math.isnan(gray["skin_hue_error"])
    light = measured(PATCHES["light"][0], (6.5, 9.0))
    assert light["skin_ita_error"] > 0


def test_tones_and_bands_of_lightness_divide_all_photos() -> None:
    angles = np.array([-90, -30.01, -30, 10, 10.01, 28, 41, 55, 55.01, 120, np.nan])
    lightness = np.array([10, 35, 36, 45, 50, 60, 70, 75, 76, 77, np.nan])
    by_lightness, by_tone = skin.groupings({"skin_ita": angles, "skin_lightness": lightness})
    assert [name.partition(" (")[0] for name in by_tone.groups] == [*skin.TONES, skin.NO_SKIN]
    assert [len(chosen) for chosen in by_tone.groups.values()] == [3, 1, 2, 1, 1, 2, 1]
    assert [*by_lightness.groups][::3] == ["L up to 35", "L 55 to 65", skin.NO_SKIN]
    assert [len(chosen) for chosen in by_lightness.groups.values()] == [2, 2, 1, 1, 2, 2, 1]
    for grouping in (by_lightness, by_tone):
        members = [index for chosen in grouping.groups.values() for index in chosen]
        assert sorted(members) == list(range(len(angles)))


def test_figures_of_tones_add_up_to_those_of_the_whole() -> None:
    photos = [pixels(color) for color, _ in PATCHES.values()] * 2
    photos.append(pixels((50.0, -30.0, 25.0)))
    half = Method.from_ab("half", lambda batch: batch.ab / 2, primary=True)
    evaluation = evaluate_methods(photos, [half], measure_skin=True, timed=False, resamples=20)
    truth, _, result = evaluation.results
    groups = skin.groupings(truth.metrics.values)[1].groups
    assert [len(chosen) for chosen in groups.values()] == [2] * 6 + [1]
    assert groups[skin.NO_SKIN] == [12]
    figures = {
        name: evaluation.select(np.array(chosen)).figures()[2] for name, chosen in groups.items()
    }
    assert math.isnan(figures[skin.NO_SKIN][0]["skin_auc"].value)
    whole, gains = evaluation.figures()[2]
    parts = [values["skin_auc"].value for name, (values, _) in figures.items() if "ITA" in name]
    assert whole["skin_auc"].value == pytest.approx(np.mean(parts))
    assert whole["skin_auc"].value == pytest.approx(np.nanmean(result.metrics.values["skin_auc"]))
    for name in ("skin_chroma_ratio", "skin_error_ratio"):
        assert whole[name].value == pytest.approx(0.5, abs=0.02)
    assert gains["skin_auc"].low > 0


def test_a_real_face_is_found(photos: dict[str, np.ndarray]) -> None:
    face = torch.from_numpy(photos["astronaut"][20:180, 145:305].copy())
    rgb = face.permute(2, 0, 1).unsqueeze(0) / 255
    mask = skin.skin_mask(rgb)
    assert mask[0, 40:120, 40:120].float().mean() > 0.5
    lightness, ab = rgb_to_lab(rgb).split((1, 2), dim=1)
    values = skin.measure(mask, lightness, ab, ab)
    assert 28 < float(values["skin_ita"]) < 75
