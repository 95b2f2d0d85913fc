"""Luma is exact, and chroma planes show the requested colors."""

from __future__ import annotations

import numpy as np
import pytest

from pix2color.inference import compose
from pix2color.video import yuv

av = pytest.importorskip("av", reason="the video extra is not installed")


def test_made_frames_hold_the_exact_luma(frames: list[np.ndarray]) -> None:
    form = yuv.PixelFormat(64, 48, 8, False, 6, 2, 2)
    luma = np.arange(256, dtype=np.uint8)[None].repeat(12, 0).reshape(48, 64)
    gray = yuv.luma_to_gray(luma, form)
    assert gray.min() == 0 and gray.max() == 255  # gray outside 16..235 are clipped for colors
    frame = form.make_frame(luma, yuv.chroma_planes(gray, np.full((2, 6, 8), 40, np.float32), form))
    assert np.array_equal(yuv.extract_luma(frame, form), luma)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_chroma_planes_show_the_requested_color(bits: int, full: bool, matrix: int) -> None:
    """Of a flat color the RGB of photos results, shifted by the change of luma."""
    form = yuv.PixelFormat(32, 32, bits, full, matrix, 2, 2)
    black, white = form.luma_range()
    luma = np.full((32, 32), (black + white) // 2, np.uint8 if bits == 8 else np.uint16)
    gray = yuv.luma_to_gray(luma, form)
    for a, b in ((20.0, 30.0), (-25.0, 10.0), (10.0, -40.0), (0.0, 0.0)):
        ab = np.stack([np.full((4, 4), a), np.full((4, 4), b)]).astype(np.float32)
        cb, cr = (plane[0, 0].astype(float) for plane in yuv.chroma_planes(gray, ab, form))
        assert (cb, cr) == (128 * 2 ** (bits - 8),) * 2 or (a, b) != (0, 0)
        code_range = 2**bits - 1 if full else 224 * 2 ** (bits - 8)
        red, blue = yuv._WEIGHTS[matrix]
        shown = [
            (cr - 128 * 2 ** (bits - 8)) / code_range * 2 * (1 - red),
            (cb - 128 * 2 ** (bits - 8)) / code_range * 2 * (1 - blue),
        ]
        expected = compose.compose_rgb(gray, ab)[0, 0] / np.iinfo(gray.dtype).max
        mean = red * expected[0] + (1 - red - blue) * expected[1] + blue * expected[2]
        assert np.allclose(shown, [expected[0] - mean, expected[2] - mean], atol=0.012)
