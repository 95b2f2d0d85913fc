"""Which blocks of a network rate colorings as LPIPS does: the choice of loss.perceptual_layers.

    python tests/losses/measure_blocks.py photos/ --network mobilenet_v2.safetensors --limit 100

Photos are color photos that the weights have not seen; their center squares. A row a block and
distance: its mean for the gray photo, the change from that in percent at each setting, and how the
photos' ratios to gray at the first setting go with LPIPS's own (correlation). A block to train on
has its best setting where LPIPS (squeeze) has its best, and a high correlation.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.checkpoints.pretrained import pretrained_encoder
from pix2color.color.lab import lab_to_rgb_in_gamut, rgb_to_lab
from pix2color.config import DataConfig, DecodeConfig
from pix2color.data.dataset import ALL_SPLITS, load_photos
from pix2color.evaluation.lpips import Lpips
from pix2color.evaluation.protocol import crop_photo, network_input, resize
from pix2color.losses.perceptual import DISTANCES
from pix2color.models.feature_maps import FeatureMaps

SETTINGS = ((1.0, 0.0), (1.0, 0.15), (1.0, 0.3), (0.6, 0.3), (0.6, 0.5))
"""Temperature and vividness."""


def colorings(rgb: Tensor, actual: checkpoint.Checkpoint) -> list[Tensor]:
    """The gray photo, then one at each setting: 1,3,H,W each, in 0..1."""
    lightness = rgb_to_lab(rgb)[:, :1]
    small = network_input(lightness, actual.decode.input_size)
    raw = actual.generator.predict_raw(small)
    abs_ = [torch.zeros_like(rgb[:, 1:])]
    for temperature, vividness in SETTINGS:
        decode = DecodeConfig(temperature=temperature, vividness=vividness)
        ab = actual.generator.decode_raw(raw, (small.shape[-2], small.shape[-1]), decode)
        abs_.append(resize(ab, *rgb.shape[-2:]))
    return [lab_to_rgb_in_gamut(torch.cat((lightness, ab), dim=1)) for ab in abs_]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--checkpoint", help="release file (the packaged weights)")
    parser.add_argument("--network", default="imagenet", help="mobilenet_v2's weights")
    parser.add_argument("--lpips-backbone", help="squeezenet1_1's weights")
    arguments = parser.parse_args()

    actual = checkpoint.load(arguments.checkpoint)
    lpips = Lpips("squeeze", backbone=arguments.lpips_backbone)
    encoder = pretrained_encoder("mobilenet_v2", arguments.network)
    names = [
        f"{i}.{name}"
        for i, level in enumerate(encoder.levels)
        for name, _ in level.named_children()
    ]
    features = FeatureMaps(encoder.eval(), names)
    rows: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    data = DataConfig(roots=tuple(arguments.photos), cache_size=176, max_photos=arguments.limit)
    for photo in load_photos(data, splits=ALL_SPLITS, keep_gray=True).photos:
        square = crop_photo(photo, "center", crop=176)
        rgb = torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            shown = colorings(rgb, actual)
            truth = lpips.features(rgb)
            here, expected = [features(one) for one in shown], features(rgb)
            for distance, name in itertools.product(DISTANCES, names):
                both = [(one[name], expected[name]) for one in here]
                rows[distance, name].append([float(DISTANCES[distance](*pair)) for pair in both])
            distances = [lpips.distance(lpips.features(one), truth) for one in shown]
        rows["LPIPS", "squeeze"].append([float(d) for d in distances if d is not None])

    reference = np.array(rows.pop(("LPIPS", "squeeze")))  # photos, 1 + settings
    write("LPIPS squeeze", reference, reference)
    for (distance, name), values in rows.items():
        write(f"{distance} {name}", np.array(values), reference)
    return 0


def write(name: str, values: np.ndarray, expected: np.ndarray) -> None:
    """A row: photos,1 + settings each."""
    change = 100 * (values[:, 1:].mean(0) / values[:, 0].mean() - 1)
    goes_with = np.corrcoef(values[:, 1] / values[:, 0], expected[:, 1] / expected[:, 0])[0, 1]
    cells = "".join(f" | {c:+.1f}" for c in change)
    sys.stdout.write(f"| {name} | {values[:, 0].mean():.4f}{cells} | {goes_with:.2f} |\n")


if __name__ == "__main__":
    sys.exit(main())
