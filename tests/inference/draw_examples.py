"""The pictures of README and docs/examples.md, drawn on bundled photos.

python tests/inference/draw_examples.py docs
python tests/inference/draw_examples.py docs --compare gan.jpg BEFORE.safetensors AFTER.safetensors
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from pix2color import Colorizer

PHOTOS = Path(__file__).parents[2] / "photos"
HEIGHT = 240
GAP = 6
HINTS = {
    "coffee": [
        {"x": 0.52, "y": 0.32, "color": "#2a5fbf"},
        {"x": 0.2, "y": 0.12, "color": "#7a3b1e"},
    ],
    "chelsea": [{"x": 0.3, "y": 0.6, "color": "#8c8f96"}],
    "astronaut": [
        {"x": 0.2, "y": 0.75, "color": "#3a6bb8"},
        {"x": 0.45, "y": 0.8, "color": "#3a6bb8"},
    ],
}
"""Places as shares of width and height."""


def row(pictures: list[Image.Image]) -> Image.Image:
    fitted = [p.convert("RGB").resize((p.width * HEIGHT // p.height, HEIGHT)) for p in pictures]
    width = sum(p.width for p in fitted) + GAP * (len(fitted) - 1)
    sheet = Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for picture in fitted:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    return sheet


def stack(rows: list[Image.Image]) -> Image.Image:
    sheet = Image.new(
        "RGB", (max(r.width for r in rows), len(rows) * (HEIGHT + GAP) - GAP), "white"
    )
    for number, one in enumerate(rows):
        sheet.paste(one, (0, number * (HEIGHT + GAP)))
    return sheet


def gray(name: str) -> Image.Image:
    return Image.open(PHOTOS / f"{name}.jpg")


SQUARES = ("astronaut", "coffee", "chelsea", "rocket", "camera", "grass")


def squares(colorizer: Colorizer | None = None, **decode: float) -> Image.Image:
    """A row of photos, gray or colored."""
    pictures = [gray(name) for name in SQUARES]
    if colorizer is not None:
        pictures = [colorizer(picture, **decode) for picture in pictures]
    return row([ImageOps.fit(picture, (HEIGHT, HEIGHT)) for picture in pictures])


def photos(colorizer: Colorizer) -> Image.Image:
    return stack([squares(), squares(colorizer)])


def compare(files: list[str]) -> Image.Image:
    """A row each, at the setting that the GAN runs of docs/training-log.md are shown at."""
    loaded = [Colorizer.from_pretrained(file) for file in files]
    return stack([squares(colorizer, temperature=0.6, vividness=0.35) for colorizer in loaded])


def variants(colorizer: Colorizer) -> Image.Image:
    names = ("coffee", "astronaut", "chelsea")
    return stack([row([gray(n), *colorizer(gray(n), variants=4)]) for n in names])


def confidence(colorizer: Colorizer) -> Image.Image:
    rows = []
    for name in ("rocket", "astronaut", "chelsea"):
        sure = Image.fromarray(np.rint(255 * colorizer.confidence(gray(name))).astype(np.uint8))
        rows.append(row([gray(name), colorizer(gray(name)), sure]))
    return stack(rows)


def hints(colorizer: Colorizer) -> Image.Image:
    rows = []
    for name, wanted in HINTS.items():
        photo = gray(name)
        placed = [
            h | {"x": round(h["x"] * photo.width), "y": round(h["y"] * photo.height)}
            for h in wanted
        ]
        marked = photo.convert("RGB")
        pen = ImageDraw.Draw(marked)
        reach = photo.height / 40
        for hint in placed:
            x, y = hint["x"], hint["y"]
            where = (x - reach, y - reach, x + reach, y + reach)
            pen.ellipse(where, fill=hint["color"], outline="white", width=2)
        rows.append(row([marked, colorizer(photo), colorizer(photo, hints=placed)]))
    return stack(rows)


def reference(colorizer: Colorizer) -> Image.Image:
    from skimage import data

    palette = Image.fromarray(data.coffee())
    photo = gray("astronaut")
    cooler = Image.fromarray(data.rocket())
    return stack(
        [
            row([ImageOps.fit(p, photo.size), colorizer(photo, reference=p, strength=s)])
            for p, s in ((palette, 0.8), (cooler, 0.8))
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("docs", type=Path)
    parser.add_argument("--checkpoint")
    parser.add_argument("--compare", nargs="+", metavar=("NAME", "FILE"))
    arguments = parser.parse_args()
    docs = arguments.docs
    out = docs / "examples"
    out.mkdir(parents=True, exist_ok=True)
    if arguments.compare:
        name, *files = arguments.compare
        compare(files).save(out / name, quality=85)
        return 0
    colorizer = Colorizer.from_pretrained(arguments.checkpoint)
    photos(colorizer).save(docs / "photos.jpg", quality=85)
    for draw in (variants, confidence, hints, reference):
        draw(colorizer).save(out / f"{draw.__name__}.jpg", quality=85)
    return 0


if __name__ == "__main__":
    sys.exit(main())
