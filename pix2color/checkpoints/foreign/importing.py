"""A published file of weights -> a release file."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pix2color._version import __version__
from pix2color.checkpoints import hub, release_file
from pix2color.checkpoints.foreign.ddcolor import DDCOLOR, DDCOLOR_TINY
from pix2color.checkpoints.foreign.network import OWN, ForeignNetwork
from pix2color.checkpoints.foreign.zhang import ECCV16, SIGGRAPH17
from pix2color.checkpoints.state_dict import read_tensors
from pix2color.color.ab_bins import Prior
from pix2color.config import DecodeConfig, ModelConfig
from pix2color.errors import Pix2ColorError, WeightsError

KINDS: dict[str, ForeignNetwork] = {
    "eccv16": ECCV16,
    "siggraph17": SIGGRAPH17,
    "ddcolor": DDCOLOR,
    "ddcolor-tiny": DDCOLOR_TINY,
}
"""The networks that can be imported."""


@dataclass(frozen=True)
class Imported:
    """What was read from a file."""

    sha256: str
    """Of the file."""
    is_published: bool | None
    """Whether its digest is the one that the authors state; None: they state none."""
    note: str
    """What was found out about it; empty: nothing."""


def kind_of(name: str) -> ForeignNetwork:
    """The kind of that name; Pix2ColorError names the nearest one."""
    if name not in KINDS:
        near = difflib.get_close_matches(name, KINDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)}"
        raise Pix2ColorError(f"no kind of network {name!r}: {hint}")
    return KINDS[name]


def find_file(kind: str, name: str) -> tuple[Path, str]:
    """The file of a name, and how the metadata call it.

    Args:
        kind: one of KINDS.
        name: a path, or for kinds that are on the Hugging Face Hub `user/repo`,
            `user/repo@revision` or `user/repo#digest`, which is downloaded.

    Raises:
        Pix2ColorError: no such kind.
        WeightsError: no such file or repository, or it cannot be downloaded.
    """
    network, ref = kind_of(kind), hub.parse(name)
    if ref and network.hub_files:
        path = hub.download(ref, wanted=network.hub_files)
        return path, f"{ref.repo}@{path.parent.name}/{path.name}"
    path = Path(name)
    if not path.is_file():
        raise WeightsError(
            f"no weights file {path}",
            remedy=f"check the path; its authors' file is {network.file} ({network.origin['url']})",
        )
    return path, path.name


def import_file(kind: str, path: Path, out: Path, *, name: str | None = None) -> Imported:
    """Write the weights of a published file as a release file, float32.

    Args:
        kind: one of KINDS.
        path: a state dict: a `.safetensors` file, or one of torch, of which nothing but tensors is
            read; also under the key `params`.
        out: NAME.safetensors; replaced when it is there.
        name: of the file, for the metadata; None: its own.

    Raises:
        Pix2ColorError: no such kind.
        WeightsError: the file is missing, holds more than tensors, or other ones than its kind has.
        OSError: `out` cannot be written.
    """
    network = kind_of(kind)
    tensors = read_tensors(path, nested="params")
    _check(kind, network, tensors, path)
    state, decode, note = network.convert(tensors), dict(network.decode), ""
    if "head.log_prior" in network.own_shapes:
        state[OWN[0]] = Prior.load().probability.double().log().float()
    if network.adjust is not None:
        state, note = network.adjust(state, tensors, decode)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    imported = Imported(sha256, sha256.startswith(network.sha256) if network.sha256 else None, note)
    meta = _metadata(kind, network, decode, name or path.name, imported)
    release_file.write(out, state, meta, half=False)
    return imported


def _check(kind: str, network: ForeignNetwork, tensors: dict[str, Tensor], path: Path) -> None:
    """Raise WeightsError where a file's tensors are not those of the kind."""
    problems = network.problems(tensors)
    if not problems:
        return
    others = [name for name, other in KINDS.items() if name != kind and not other.problems(tensors)]
    remedy = f"import it as {others[0]}" if others else f"its authors' file is {network.file}"
    raise WeightsError(
        f"{path.name} does not hold the weights of {kind}: {'; '.join(problems)}", remedy=remedy
    )


def _metadata(
    kind: str, network: ForeignNetwork, decode: dict[str, Any], name: str, imported: Imported
) -> dict[str, Any]:
    origin = network.origin
    return {
        "model": ModelConfig.model_validate(network.model).model_dump(mode="json"),
        "decode": DecodeConfig.model_validate(decode).model_dump(mode="json"),
        "data": {},
        "figures": {},
        "notice": (
            f"Weights: {origin['license']}, {origin['authors']}, {origin['url']}."
            " Colors are guesses, not facts."
        ),
        "origin": {
            **origin,
            "kind": kind,
            "file": name,
            "sha256": imported.sha256,
            "note": imported.note,
        },
        "version": __version__,
    }
