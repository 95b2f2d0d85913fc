"""The folder that is pushed to the Hub: a release file, its digest, and a model card.

All that the card says comes from the release file and the run's config: how to use the weights,
what they were trained on in counts, how, and what was measured. No path of a machine goes into it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pix2color.checkpoints import hub, release_file
from pix2color.config import Config, load
from pix2color.photo.writing import atomic_open_photo

_TAGS = ("colorization", "image-colorization", "black-and-white", "pix2color")
_FACTS = {
    "photos": "photos trained on",
    "samples": "crops seen",
    "gray_left_out": "nearly gray ones left out",
    "duplicates_left_out": "duplicates left out",
    "broken": "files that could not be read",
    "roots": "from",
}
_FIGURES = {
    "auc_gain": "AuC gain (%)",
    "auc_rebalanced_gain": "rebalanced AuC gain (%)",
    "psnr_gain": "PSNR gain (dB)",
    "lpips_change_percent": "LPIPS (%)",
    "colorfulness_ratio": "colorfulness / truth",
}
_MACHINE_KEYS = ("output", "roots", "decode_threads", "trackers")  # where it ran, not what it is


def write_folder(folder: Path, released: Path, *, run: Path, repo: str, license: str) -> Path:
    """Fill a folder with what belongs into a repository of the Hub; the three files are replaced.

    Args:
        folder: it is made where it is not there.
        released: the release file.
        run: the run folder that it came from.
        repo: user/repo, for the commands in the card.
        license: an identifier of the Hub, such as cc-by-4.0; other: stated nowhere.

    Raises:
        PhotoError: the folder cannot be written.
    """
    data = released.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    meta = release_file.read(released).meta
    card = model_card(meta, load(run / "config.yaml"), repo=repo, license=license, sha256=sha256)
    manifest = json.dumps({"file": hub.FILE, "sha256": sha256}, indent=1) + "\n"
    contents = {hub.FILE: data, hub.MANIFEST: manifest.encode(), hub.CARD: card.encode()}
    for name, content in contents.items():
        with atomic_open_photo(folder / name) as file:
            file.write(content)
    return folder


def model_card(
    meta: Mapping[str, Any], config: Config, *, repo: str, license: str, sha256: str
) -> str:
    """A README.md with the Hub's front matter.

    Args:
        meta: of the release file.
        config: of the run.
        repo, license: as for `write_folder`.
        sha256: of the release file.
    """
    front = {
        "license": license,
        "library_name": "pix2color",
        "pipeline_tag": "image-to-image",
        "tags": list(_TAGS),
    }
    decode = ", ".join(f"{name} {value:g}" for name, value in meta["decode"].items())
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {repo.split('/')[-1]}",
        f"Colorizes black-and-white photographs: {_network(config)}, trained with pix2color"
        f" {meta['version']}. **Its colors are guesses**: it knows what was common in its training"
        " photos, not what was in front of the camera. It is no evidence of what anybody or"
        " anything looked like.",
        "## Use",
        f"```sh\npython infer.py photos/ --checkpoint {repo}#{sha256[:12]}\n```",
        f'```python\nfrom pix2color import Colorizer\n\nColorizer.from_pretrained("{repo}")'
        '("scan.jpg")\n```',
        f"It ships with {decode}; each can be set otherwise. SHA-256 of `{hub.FILE}`: `{sha256}`.",
        "## Figures",
        _figures(meta.get("figures") or {}),
        "## Training data",
        _data(meta.get("data") or {}),
        "## Training",
        "What differs from pix2color's defaults:",
        f"```yaml\n{yaml.safe_dump(_changes(config), sort_keys=False, width=100)}```",
        "## License",
        _license(license, config),
    ]
    return "\n\n".join(parts) + "\n"


def _network(config: Config) -> str:
    model = config.model
    head = {"classes": "313 color classes", "marginal64": "64 color classes"}
    last = head.get(model.head.type, "ab by regression")
    gan = ", fine-tuned against a PatchGAN" if config.gan.enabled else ""
    return f"a {model.decoder} decoder on a {model.encoder} encoder, {last}{gan}"


def _figures(figures: Mapping[str, Any]) -> str:
    """A row a setting; what is no number is said beneath."""
    rows = _rows(figures)
    names = [name for name in _FIGURES if any(name in row for row in rows.values())]
    if not names:
        return "None were measured."
    head = ["setting", *(_FIGURES[name] for name in names)]
    lines = [head, ["---", *["---:"] * len(names)]]
    for setting, row in rows.items():
        lines.append([setting, *(f"{row[n]:.3g}" if n in row else "" for n in names)])
    protocol = figures.get("protocol", "not stated")
    said = protocol.get("text", protocol) if isinstance(protocol, Mapping) else protocol
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\nGains are over the gray photo. Protocol: {said}."


def _rows(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Numbers by setting, whether they are a run's validation, a table, or evaluate's tree."""
    if isinstance(figures.get("rows"), list):
        return {
            str(row["name"]): {
                **{f"{name}_gain": one["value"] for name, one in row.get("gains", {}).items()},
                **{name: one["value"] for name, one in row.get("figures", {}).items()},
            }
            for row in figures["rows"]
            if row["name"] not in ("truth", "gray", "random")
        }
    rows = {name: _numbers(row) for name, row in figures.items() if isinstance(row, Mapping)}
    flat = _numbers(figures)
    return {"as shipped": flat, **rows} if flat else rows


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    kept = {name: value for name, value in row.items() if name in _FIGURES}
    return {name: float(value) for name, value in kept.items() if isinstance(value, int | float)}


def _data(data: Mapping[str, Any]) -> str:
    lines = []
    for key, text in _FACTS.items():
        value = data.get(key)
        if value in (None, []):
            continue
        shown = f"{value:,}" if isinstance(value, int) else ", ".join(map(str, value))
        lines.append(f"- {text}: {shown}")
    return "\n".join(lines) or "Not recorded."


def _changes(config: Config) -> dict[str, Any]:
    """What differs from the defaults, without what tells of the machine."""
    mine, usual = config.model_dump(mode="json"), Config().model_dump(mode="json")
    return _different(mine, usual)


def _different(mine: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in mine.items():
        other = usual.get(key)
        if key in _MACHINE_KEYS or value == other:
            continue
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            inner = _different(value, other)
            out |= {key: inner} if inner else {}
        else:
            path = isinstance(value, str) and Path(value).expanduser().is_absolute()
            out[key] = Path(value).name if path else value
    return out


def _license(license: str, config: Config) -> str:
    weights = (
        "not stated: ask who published them"
        if license == "other"
        else f"{license}, as stated above"
    )
    grown = {
        "imagenet": " The encoder started from weights trained on ImageNet.",
        "default": " The encoder started from that of pix2color's packaged weights, which were"
        " trained on research photos and ImageNet: see pix2color's model card.",
    }.get(config.model.pretrained, "")
    return f"Code: Apache-2.0. Weights: {weights}.{grown}"
