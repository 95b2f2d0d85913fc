"""Whole files through the pipeline: what must survive, in every container."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from fake_model import fake_colorizer
from icc_profiles import adobe_rgb, gray_gamma
from PIL import Image, ImageCms

from pix2color.color import lab_numpy
from pix2color.color.lab import rgb_to_lab, rgb_to_lightness
from pix2color.inference import borders, preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.jobs import pipeline
from pix2color.jobs.planner import Job
from pix2color.photo import Limits, Photo, Provenance, exif, read, write


@pytest.fixture
def colorizer() -> Colorizer:
    return fake_colorizer()


def gray(bits: int = 8, shape: tuple[int, int] = (61, 83)) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    wave = 0.5 + 0.45 * np.sin(rows / 9) * np.cos(columns / 7)
    top = 2**bits - 1
    return np.rint(wave * top).astype(np.uint8 if bits == 8 else np.uint16)


def run(job: Job, colorizer: Colorizer, **options: Any) -> pipeline.Outcome:
    settings = pipeline.JobOptions(colorizer.decode, **options)
    return next(iter(pipeline.colorize_jobs([job], lambda: colorizer, settings)))


def make(path: Path, bits: int, alpha: bool) -> None:
    array = gray(bits)
    if alpha:
        array = np.dstack((array, array[::-1]))
    if path.suffix == ".tif":
        extra = {"extrasamples": ["unassalpha"], "planarconfig": "contig"} if alpha else {}
        tifffile.imwrite(path, array, photometric="minisblack", compression="zlib", **extra)
    else:
        write(Photo(gray(bits), alpha=gray(bits)[::-1].copy() if alpha else None), path)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_files_keep_lightness_depth_and_alpha(
    suffix: str, bits: int, alpha: bool, tmp_path: Path, colorizer: Colorizer
) -> None:
    job = Job(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    make(job.source, bits, alpha)
    assert run(job, colorizer).status == "done"
    out = read(job.target)
    assert out.bits == bits and out.pixels.shape == (61, 83, 3)
    rgb = torch.from_numpy(out.pixels.astype(np.float32) / (2**bits - 1)).permute(2, 0, 1)
    ours = rgb_to_lab(rgb)
    expected = preprocess.lightness_table(bits)[gray(bits)]
    assert np.abs(ours[0].numpy() - expected).max() <= (0.5 if bits == 8 else 0.01)
    assert ours[1:].abs().max() > 10
    if alpha:
        assert out.alpha is not None and (out.alpha == gray(bits)[::-1]).all()


def test_mark_is_in_exif_and_xmp_of_every_container(tmp_path: Path, colorizer: Colorizer) -> None:
    block = Image.Exif()
    block[305] = "ScanSoft 3"
    mark = Provenance("0123456789ab", "size 48")
    for suffix in (".jpg", ".png", ".tif", ".webp", ".avif"):
        job = Job(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
        Image.fromarray(gray()).save(job.source, exif=block)
        assert run(job, colorizer, provenance=mark).status == "done"
        software = Image.open(job.target).getexif()[305]
        assert software.startswith("colors predicted by pix2color")
        assert "weights 0123456789ab, size 48" in software and software.endswith("| ScanSoft 3")
        out = read(job.target)
        assert out.xmp is not None and b'pix2color:weights="0123456789ab"' in out.xmp
        again = Job(job.target, tmp_path / f"again{suffix}")
        assert run(again, colorizer, provenance=mark).status == "done"
        assert (exif.software(read(again.target).exif) or "").count("pix2color") == 1
        plain = Job(job.source, tmp_path / f"plain{suffix}")
        assert run(plain, colorizer).status == "done"
        assert Image.open(plain.target).getexif()[305] == "ScanSoft 3"
        assert read(plain.target).xmp is None


def lightness_by_littlecms(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """L of 8-bit pixels of a profile, through Pillow's color management to sRGB."""
    image = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
    )
    rgb = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    return rgb_to_lightness(rgb)[0].numpy()


def test_a_photo_in_adobe_rgb_stays_there_or_becomes_srgb(
    tmp_path: Path, photos: dict[str, np.ndarray], colorizer: Colorizer
) -> None:
    icc = adobe_rgb()
    small = np.asarray(Image.fromarray(photos["chelsea"]).resize((90, 60)))
    job = Job(tmp_path / "in.png", tmp_path / "out.png")
    Image.fromarray(small).save(job.source, icc_profile=icc)
    before = lightness_by_littlecms(small, icc)
    assert run(job, colorizer).status == "done"
    out = read(job.target)
    assert out.icc == icc
    after = lightness_by_littlecms(np.ascontiguousarray(out.pixels), icc)
    # littlecms rounds to 8 bits twice and clips colors outside sRGB.
    assert np.abs(after - before).mean() < 0.3
    assert run(job, colorizer, srgb=True).status == "done"
    out = read(job.target)
    assert out.icc is not None and out.icc != icc
    after = rgb_to_lightness(torch.from_numpy(out.pixels.copy()).permute(2, 0, 1))[0].numpy()
    assert np.abs(after - before).mean() < 0.4


@pytest.mark.parametrize("gamma", [1.8, 2.2])
def test_a_gray_profile_gives_lightness_and_way_to_srgb(
    gamma: float, tmp_path: Path, colorizer: Colorizer
) -> None:
    job = Job(tmp_path / "in.tif", tmp_path / "out.tif")
    write(Photo(gray(16), icc=gray_gamma(gamma), format="TIFF"), job.source)
    assert run(job, colorizer).status == "done"
    out = read(job.target)
    assert out.icc is not None and out.icc[16:20] == b"RGB "
    linear = (gray(16) / 65535) ** (round(gamma * 256) / 256)
    expected = 116 * lab_numpy.lab_f(linear) - 16
    rgb = torch.from_numpy(out.pixels.astype(np.float32) / 65535).permute(2, 0, 1)
    # The curve is taken at 4,096 steps; below the first ones it is a line.
    bright = linear > 1e-3
    assert np.abs(rgb_to_lightness(rgb)[0].numpy() - expected)[bright].max() < 0.02


def test_all_pages_of_a_tiff_are_colored(tmp_path: Path, colorizer: Colorizer) -> None:
    job = Job(tmp_path / "in.tif", tmp_path / "out.tif")
    pages = (Photo(gray(16)), Photo(gray(8, (30, 40))))
    write(Photo(gray(), pages=pages, format="TIFF"), job.source)
    assert run(job, colorizer, provenance=Provenance("w", "o")).status == "done"
    with tifffile.TiffFile(job.target) as file:
        assert [(p.shape, p.dtype) for p in file.pages] == [
            ((61, 83, 3), np.uint8), ((61, 83, 3), np.uint16), ((30, 40, 3), np.uint8),
        ]  # fmt: skip


def test_skip_color_skips_color_and_does_sepia(
    tmp_path: Path, photos: dict[str, np.ndarray], colorizer: Colorizer
) -> None:
    color = Job(tmp_path / "color.png", tmp_path / "out/color.png")
    Image.fromarray(photos["coffee"]).save(color.source)
    outcome = run(color, colorizer, skip_color=True)
    assert (outcome.status, outcome.reason) == ("skipped", "it already has color")
    assert not color.target.exists()
    from pix2color.inference import compose

    sepia = Job(tmp_path / "sepia.png", tmp_path / "out/sepia.png")
    tone = np.array((6.0, 20.0), np.float32).reshape(2, 1, 1)
    write(Photo(compose.compose_rgb(gray(), tone)), sepia.source)
    assert run(sepia, colorizer, skip_color=True).status == "done"
    before = preprocess.lightness_table(8)[preprocess.gray_values(read(sepia.source))]
    after = preprocess.lightness_table(8)[preprocess.gray_values(read(sepia.target))]
    assert np.abs(after - before).max() <= 0.75  # both are rounded to gray codes here


def test_truncated_photos_and_limits(tmp_path: Path, colorizer: Colorizer) -> None:
    job = Job(tmp_path / "in.jpg", tmp_path / "out.jpg")
    Image.fromarray(gray(8, (200, 300))).save(job.source)
    data = job.source.read_bytes()
    job.source.write_bytes(data[: len(data) * 2 // 3])
    assert run(job, colorizer).status == "failed" and not job.target.exists()
    outcome = run(job, colorizer, limits=Limits(on_truncated="keep"))
    assert outcome.status == "done" and "truncated" in outcome.notes[0]
    job.source.write_bytes(data)
    outcome = run(job, colorizer, limits=Limits(megapixels=0.05))
    assert outcome.status == "failed" and outcome.remedy == "raise {max_megapixels} to 1"


class TestBorders:
    """Paper and black around a photo."""

    @staticmethod
    def framed(value: float, width: int) -> np.ndarray:
        inner = 50 + 30 * np.sin(np.mgrid[:120, :160].sum(axis=0) / 6)
        noise = np.random.default_rng(0).normal(0, 1, (120 + 2 * width, 160 + 2 * width))
        padded = np.pad(inner, width, constant_values=value)
        return np.clip(padded + noise, 0, 100).astype(np.float32)

    @pytest.mark.parametrize("value", [3.0, 94.0])
    def test_a_frame_is_found(self, value: float) -> None:
        rows, columns = borders.content_slices(self.framed(value, 10))
        assert 10 <= rows.start <= 13 and 127 <= rows.stop <= 130
        assert 10 <= columns.start <= 13 and 167 <= columns.stop <= 170

    def test_no_frame_no_border(self) -> None:
        assert borders.content_slices(self.framed(94.0, 0)) == (slice(0, 120), slice(0, 160))

    def test_a_plain_sky_is_no_border(self) -> None:
        ramp = np.repeat(np.linspace(95, 40, 200)[:, None], 100, axis=1).astype(np.float32)
        assert borders.content_slices(ramp) == (slice(0, 200), slice(0, 100))

    def test_the_frame_stays_gray(self, colorizer: Colorizer) -> None:
        codes = np.pad(gray(8, (200, 260)), 24, constant_values=245)
        out = colorizer(codes)
        assert np.ptp(out[:16].astype(int), axis=-1).max() <= 1
        assert np.ptp(out[40:-40, 40:-40].astype(int), axis=-1).max() > 20
