"""Chroma calibration: a fixed map of chroma that gives predictions the chroma of true photos.

Pixels are sorted by lightness into BANDS bands and by hue into SECTORS sectors. Within such a cell
a predicted chroma c becomes the chroma above which true photos have as many pixels in that cell as
predictions have above c. Numbers of pixels are compared, not shares of a cell: where predictions
have more pixels of a hue than the truth has, the surplus, which is at the bottom, becomes neutral.
That removes tints of white and dark things that no photo shows so often. Hue and lightness stay.
Imports no torch.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BANDS = 20
"""Of equal width over L 0..100."""
SECTORS = 24
"""Of equal width over the hues, atan2(b, a); the first begins at 0 degrees."""
KNOTS = 60
"""Chroma at which the map is stored: KNOT_STEP, 2 KNOT_STEP, ...; at 0 it is 0."""
KNOT_STEP = 2.0
"""Lab units."""
MAX_GAIN = 2.0
"""Largest ratio of calibrated to predicted chroma."""
SHAPE = (BANDS, SECTORS, KNOTS)
FIELDS = ("photos", "temperature", "vividness", "input_size", "weights")
"""How a calibration was fitted: the metadata beside its table."""

_BINS_PER_KNOT = 4  # of the histograms
_BINS = 280  # up to 140, more than any color of sRGB has
_PSEUDOCOUNT = 0.02  # photos per cell, in both histograms: a cell of few pixels changes little
_TOLERANCE = 1e-3  # Lab units by which rounding may break the bounds of a table


@dataclass(frozen=True, eq=False)
class ChromaCalibration:
    """The map, and how it was fitted.

    Raises ValueError for a table of another shape, with values that are not finite, or outside of
    the bounds of a map: monotonic in chroma, gains in 0..MAX_GAIN.
    """

    shift: Floats
    """BANDS,SECTORS,KNOTS: calibrated less predicted chroma, Lab units."""
    photos: int
    """Number of photos that it was fitted on."""
    temperature: float
    """Of the decoding that it was fitted for, as are the next two."""
    vividness: float
    input_size: int
    weights: str
    """Digest of the weights that it was fitted for (`checkpoints.release_file.weights_digest`)."""

    def __post_init__(self) -> None:
        if self.shift.shape != SHAPE:
            shape, expected = (" x ".join(map(str, s)) for s in (self.shift.shape, SHAPE))
            raise ValueError(f"the table has the shape {shape}, not {expected}")
        if not np.isfinite(self.shift).all():
            raise ValueError("the table has values that are not finite")
        knots = _knots()
        target = knots + self.shift
        low, high = target.min(initial=0), (target - MAX_GAIN * knots).max(initial=0)
        if low < -_TOLERANCE or high > _TOLERANCE:
            raise ValueError(f"the table has gains outside of 0..{MAX_GAIN:g}")
        if np.diff(target, axis=-1).min(initial=0) < -_TOLERANCE:
            raise ValueError("the table is not monotonic in chroma")

    def apply(self, ab: Floats, lightness: Floats, share: float) -> Floats:
        """Calibrated colors.

        Args:
            ab: 2,h,w in Lab units.
            lightness: h,w in 0..100.
            share: 0: `ab` itself; 1: the whole map.

        Returns:
            2,h,w float32: the same hues.
        """
        if share == 0:
            return ab
        chroma = np.hypot(ab[0], ab[1])
        inside = np.clip(chroma, 1e-6, KNOTS * KNOT_STEP)  # beyond the last knot its gain holds
        ratio = self._shift_at(lightness, _hue(ab), inside) / inside
        return ab * np.maximum(1 + np.float32(share) * ratio, 0)

    def _shift_at(self, lightness: Floats, hue: Floats, chroma: Floats) -> Floats:
        """The table, interpolated linearly between the middles of its cells."""
        band = np.clip(lightness * np.float32(BANDS / 100) - np.float32(0.5), 0, BANDS - 1)
        sector = hue * np.float32(SECTORS / 360) - np.float32(0.5)
        knot = chroma * np.float32(1 / KNOT_STEP)
        table = np.pad(self.shift, ((0, 0), (0, 0), (1, 0)))  # no chroma stays none
        (b, b_part), (s, s_part), (k, k_part) = (_split(x) for x in (band, sector, knot))
        b_next, k_next = np.minimum(b + 1, BANDS - 1), np.minimum(k + 1, KNOTS)

        def along_chroma(b: NDArray[np.intp], s: NDArray[np.intp]) -> Floats:
            s = s % SECTORS
            return _mix(table[b, s, k], table[b, s, k_next], k_part)

        lower, upper = (
            _mix(along_chroma(each, s), along_chroma(each, s + 1), s_part) for each in (b, b_next)
        )
        return _mix(lower, upper, b_part)

    def metadata(self) -> dict[str, Any]:
        """How it was fitted, as plain values."""
        return {name: getattr(self, name) for name in FIELDS}

    def encode(self) -> dict[str, Any]:
        """All of it as JSON values: the metadata and `shift`, base64 of float32, little-endian."""
        data = self.shift.astype("<f4").tobytes()
        return {**self.metadata(), "shift": base64.b64encode(data).decode()}


def from_parts(shift: Floats, metadata: Any) -> ChromaCalibration:
    """A calibration from its table and its `metadata`.

    Raises ValueError for a table or metadata that are not those of a calibration.
    """
    fields = metadata if isinstance(metadata, Mapping) else {}
    missing = [name for name in FIELDS if name not in fields]
    if missing:
        raise ValueError(f"its metadata lack {missing[0]}")
    fitted = {name: fields[name] for name in FIELDS}
    return ChromaCalibration(np.ascontiguousarray(shift, np.float32), **fitted)


def decode(encoded: Any) -> ChromaCalibration:
    """The inverse of `ChromaCalibration.encode`; raises ValueError as `from_parts`."""
    text = encoded.get("shift", "") if isinstance(encoded, Mapping) else ""
    data = base64.b64decode(str(text), validate=True)
    if len(data) != 4 * np.prod(SHAPE):
        raise ValueError(f"the table has {len(data)} bytes, not {4 * np.prod(SHAPE)}")
    return from_parts(np.frombuffer(data, "<f4").reshape(SHAPE), encoded)


class CalibrationFitter:
    """Counts the pixels of each lightness, hue and chroma, predicted and true, and fits the map."""

    def __init__(self) -> None:
        self.photos = 0
        self._counts = np.zeros((2, BANDS, SECTORS, _BINS))  # in photos: predicted, true

    def add(self, predicted_ab: Floats, true_ab: Floats, lightness: Floats) -> None:
        """Count one photo; each has the same weight, whatever its size.

        Args:
            predicted_ab, true_ab: 2,H,W in Lab units.
            lightness: H,W in 0..100.
        """
        band = np.clip(lightness * (BANDS / 100), 0, BANDS - 1).astype(np.intp)
        for counts, ab in zip(self._counts, (predicted_ab, true_ab), strict=True):
            sector = (_hue(ab) * (SECTORS / 360)).astype(np.intp) % SECTORS
            chroma = np.hypot(ab[0], ab[1]) * (_BINS_PER_KNOT / KNOT_STEP)
            bin_ = np.minimum(chroma, _BINS - 1).astype(np.intp)
            index = (band * SECTORS + sector) * _BINS + bin_
            cells, pixels = np.unique(index, return_counts=True)  # few of all cells
            counts.reshape(-1)[cells] += pixels / lightness.size
        self.photos += 1

    def fit(
        self, *, temperature: float, vividness: float, input_size: int, weights: str
    ) -> ChromaCalibration:
        """The map from the predictions to the truth of the photos added.

        Args:
            temperature, vividness, input_size: the decoding of the predictions.
            weights: digest of the network's weights.
        """
        smooth = _smooth(self._counts) + _PSEUDOCOUNT / _BINS
        above = np.zeros((2, BANDS, SECTORS, _BINS + 1))  # pixels of at least each edge's chroma
        above[..., :-1] = smooth[..., ::-1].cumsum(-1)[..., ::-1]
        edges = np.arange(_BINS + 1) * (KNOT_STEP / _BINS_PER_KNOT)
        knots = _knots()
        at_knots = slice(_BINS_PER_KNOT, KNOTS * _BINS_PER_KNOT + 1, _BINS_PER_KNOT)
        target = np.empty(SHAPE)
        for cell in np.ndindex(BANDS, SECTORS):
            predicted, true = above[(0, *cell)][at_knots], above[(1, *cell)]
            target[cell] = np.interp(predicted, true[::-1], edges[::-1])
        shift = np.minimum(target, MAX_GAIN * knots) - knots
        return ChromaCalibration(
            shift.astype(np.float32), self.photos, temperature, vividness, input_size, weights
        )


def _smooth(counts: NDArray[Any]) -> NDArray[Any]:
    """Each cell with half of its weight on itself and a quarter on each neighbor, per axis."""
    for axis, mode in ((1, "edge"), (2, "wrap")):
        widths = [(1, 1) if each == axis else (0, 0) for each in range(counts.ndim)]
        padded = np.moveaxis(np.pad(counts, widths, mode=mode), axis, 0)  # type: ignore[call-overload]
        mean = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
        counts = np.moveaxis(mean, 0, axis)
    return counts


def _knots() -> NDArray[np.float64]:
    return np.linspace(KNOT_STEP, KNOTS * KNOT_STEP, KNOTS)


def _hue(ab: Floats) -> Floats:
    """2,h,w -> h,w in degrees, -180..180."""
    hue: Floats = np.degrees(np.arctan2(ab[1], ab[0]))
    return hue


def _split(position: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The whole part and the rest, in 0..1."""
    whole = np.floor(position)
    return whole.astype(np.intp), position - whole


def _mix(first: Floats, second: Floats, part: Floats) -> Floats:
    """In this form, equal values give exactly themselves."""
    return first + part * (second - first)
