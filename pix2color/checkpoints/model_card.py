"""The folder that is pushed to the Hub: a release file, its graph, digests, and a model card.

The card is written from the release file and the run's config: how to use the weights, counts of
the training photos, settings of the training, and measured figures. It contains no path of a
machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pix2color import markdown
from pix2color.checkpoints import hub, release_file
from pix2color.config import Config, load
from pix2color.photo.writing import atomic_open_photo

_TAGS = ("colorization", "image-colorization", "black-and-white", "pix2color")
_FACTS = {
    "photos": "photos trained on",
    "samples": "crops trained on",
    "gray_left_out": "nearly gray ones left out",
    "duplicates_left_out": "duplicates left out",
    "corrupt": "files that could not be read",
    "roots": "from",
}
_FIGURES = {
    "auc_gain": "AuC gain (%)",
    "auc_rebalanced_gain": "rebalanced AuC gain (%)",
    "psnr_gain": "PSNR gain (dB)",
    "lpips_change_percent": "LPIPS (%)",
    "colorfulness_ratio": "colorfulness / truth",
}
_MACHINE_KEYS = (
    "output",
    "roots",
    "decode_threads",
    "trackers",
)  # of the machine, not of the recipe


def write_folder(
    folder: Path, released: Path, graph: bytes | None, *, run: Path, repo: str, license: str
) -> Path:
    """Write the files of a repository of the Hub; existing ones are replaced.

    Args:
        folder: created if it does not exist.
        released: the release file.
        graph: its graph, for weights called `hub.FILE`; None: without one.
        run: the run folder that it was exported from.
        repo: user/repo, for the commands in the card.
        license: an identifier of the Hub, such as cc-by-4.0; other: not stated.

    Raises:
        PhotoError: the folder cannot be written.
    """
    data = released.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    meta = release_file.read(released).meta
    card = model_card(meta, load(run / "config.yaml"), repo=repo, license=license, sha256=sha256)
    manifest = {"file": hub.FILE, "sha256": sha256}
    contents = {hub.FILE: data, hub.CARD: card.encode()}
    if graph is None:
        (folder / hub.GRAPH).unlink(missing_ok=True)
    else:
        contents[hub.GRAPH] = graph
        manifest |= {"graph": hub.GRAPH, "graph_sha256": hashlib.sha256(graph).hexdigest()}
    contents[hub.MANIFEST] = f"{json.dumps(manifest, indent=1)}\n".encode()
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
        f" {meta['version']}. **Its colors are guesses**: the network has learned which colors were"
        " common in its training photos, not those in front of the camera. They are no evidence of"
        " what anybody or anything looked like.",
        "## Use",
        f"```sh\npython infer.py photos/ --checkpoint {repo}#{sha256[:12]}\n```",
        f'```python\nfrom pix2color import Colorizer\n\nColorizer.from_pretrained("{repo}")'
        '("scan.jpg")\n```',
        f"Default settings: {decode}; each can be overridden. SHA-256 of `{hub.FILE}`: `{sha256}`.",
        "## Figures",
        _figures(meta.get("figures") or {}),
        "## Training data",
        _data(meta.get("data") or {}),
        "## Training",
        "Settings that differ from pix2color's defaults:",
        f"```yaml\n{yaml.safe_dump(_changes(config), sort_keys=False, width=100)}```",
        "## License",
        _license(license, config),
    ]
    return "\n\n".join(parts) + "\n"


def _network(config: Config) -> str:
    model = config.model
    heads = {
        "classes": "313 color classes",
        "marginal64": "64 classes for each of a and b",
        "regression": "ab by regression",
    }
    against = {"patch": "a PatchGAN", "projected": "a discriminator on frozen features"}
    kind = config.gan.discriminator
    gan = f", fine-tuned against {against[kind]}" if config.gan.enabled else ""
    return f"a {model.decoder} decoder on a {model.encoder} encoder, {heads[model.head.type]}{gan}"


def _figures(figures: Mapping[str, Any]) -> str:
    """One table row per setting, and the protocol below it."""
    rows = _rows(figures)
    names = [name for name in _FIGURES if any(name in row for row in rows.values())]
    if not names:
        return "None were measured."
    head = ["setting", *(_FIGURES[name] for name in names)]
    lines = [
        [setting, *(f"{row[n]:.3g}" if n in row else "" for n in names)]
        for setting, row in rows.items()
    ]
    protocol = figures.get("protocol", "not stated")
    text = protocol.get("text", protocol) if isinstance(protocol, Mapping) else protocol
    return f"{markdown.table(head, lines)}\n\nGains are over the gray photo. Protocol: {text}."


def _rows(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Numbers by setting: from a run's validation, a table of settings, or evaluate's results."""
    if isinstance(figures.get("rows"), list):
        return {
            str(row["name"]): {
                **{f"{k}_gain": figure["value"] for k, figure in row.get("gains", {}).items()},
                **{k: figure["value"] for k, figure in row.get("figures", {}).items()},
            }
            for row in figures["rows"]
            if row["name"] not in ("truth", "gray", "random")
        }
    rows = {name: _numbers(row) for name, row in figures.items() if isinstance(row, Mapping)}
    flat = _numbers(figures)
    return {"as shipped": flat, **rows} if flat else rows


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if name in _FIGURES and isinstance(value, int | float)
    }


def _data(data: Mapping[str, Any]) -> str:
    lines = []
    for key, text in _FACTS.items():
        value = data.get(key)
        if value in (None, []):
            continue
        formatted = f"{value:,}" if isinstance(value, int) else ", ".join(map(str, value))
        lines.append(f"- {text}: {formatted}")
    return "\n".join(lines) or "Not recorded."


def _changes(config: Config) -> dict[str, Any]:
    """The settings that differ from the defaults, except for those of the machine."""
    return _different(config.model_dump(mode="json"), Config().model_dump(mode="json"))


def _different(tree: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        default = defaults.get(key)
        if key in _MACHINE_KEYS or value == default:
            continue
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            inner = _different(value, default)
            out |= {key: inner} if inner else {}
        else:
            path = isinstance(value, str) and Path(value).expanduser().is_absolute()
            out[key] = Path(value).name if path else value
    return out


def _license(license: str, config: Config) -> str:
    weights = (
        "not stated: ask their publisher" if license == "other" else f"{license}, as stated above"
    )
    origin = {
        "imagenet": " The encoder started from weights trained on ImageNet.",
        "default": " The encoder started from the one in pix2color's packaged weights, which were"
        " trained on research photos and ImageNet: see pix2color's model card.",
    }.get(config.model.pretrained, "")
    return f"Code: Apache-2.0. Weights: {weights}.{origin}"
