"""The updates that the page's event handlers send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_model import fake_colorizer
from PIL import Image

from pix2color.app import validation
from pix2color.app.limits import ServerLimits
from pix2color.app.session import Session
from pix2color.app.sessions import SessionStore
from pix2color.config import DecodeConfig


@pytest.fixture(autouse=True)
def _gradio() -> None:
    """Imported where a test runs: it takes seconds, and every process collects all tests."""
    pytest.importorskip("gradio", reason="the page needs gradio")


@pytest.fixture
def files(tmp_path: Path, small_photos: list[np.ndarray]) -> list[Path]:
    """Three gray photos."""
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path, photo in zip(paths, small_photos, strict=False):
        Image.fromarray(photo).convert("L").save(path)
    return paths


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return SessionStore(fake_colorizer(), ServerLimits(), tmp_path / "s").get_or_create("client")


def progress(session: Session, files: list[Path]) -> Iterator[tuple[Any, ...]]:
    """The updates of an upload."""
    from pix2color.app import page

    handlers = page._Handlers(None, None, session.colorizer.decode)  # type: ignore[arg-type]
    return handlers._progress(session, session.add(files))


def test_the_zip_is_not_hidden_after_the_status_says_that_all_is_done(
    session: Session, files: list[Path]
) -> None:
    """A click on "Prepare a zip" at that moment must not lose the button that it shows."""
    updates = list(progress(session, files))
    assert ["3 photos colored." in update[0] for update in updates] == [False, False, True]
    zip_file = updates[-1][7]
    assert zip_file["visible"] is False  # one of earlier photos is out of date


@pytest.mark.parametrize("calibrated", [False, True])
def test_the_calibration_has_a_slider_where_the_weights_have_one(calibrated: bool) -> None:
    import gradio as gr

    from pix2color.app.components import Components

    decode = DecodeConfig(calibration=0.8 if calibrated else 0.0)
    with gr.Blocks():
        slider = Components(decode, calibrated=calibrated).calibration
    assert slider.visible is calibrated and slider.value == decode.calibration
    presets = validation.presets(decode)
    assert presets[validation.NATURAL][-1] == decode.calibration
    assert presets[validation.FAITHFUL] == (1.0, 0.0, 1.0, 0.0)


def test_refused_uploads_are_reported(session: Session, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"a film")
    [update] = progress(session, [tmp_path / "film.mp4"])
    assert "film.mp4" in update[0] and "photos only" in update[0]


@pytest.mark.parametrize("colored", [1, 2])
def test_starting_over_while_photos_are_colored_ends_their_updates(
    colored: int, session: Session, files: list[Path]
) -> None:
    """Neither an error nor a progress bar may replace "No photo yet."."""
    updates = progress(session, files)
    for _ in range(colored):
        next(updates)
    session.clear()
    assert list(updates) == []
