"""Weights by name: the packaged file, a path, or a repository of the Hugging Face Hub.

A repository holds one release file (`push` calls it `model.safetensors`), its graph of the same
name where it has one, a model card, and `pix2color.json` with the SHA-256 of both. Downloads are
kept in the cache of huggingface_hub and used from there without a network. The library is imported
only when a repository is named; its environment variables apply (HF_HOME, HF_TOKEN, HF_ENDPOINT,
HF_HUB_OFFLINE).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.errors import WeightsError

FILE = "model.safetensors"
"""The release file's name in a repository; the Hub shows size and type of a file of this name."""
GRAPH = "model.onnx"
"""Its graph."""
MANIFEST = "pix2color.json"
"""JSON with the names and SHA-256 of the release file and its graph."""
CARD = "README.md"
LOGIN = "`hf auth login`, or set HF_TOKEN"
_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(?:@(?P<revision>[^#@\s]+))?(?:#(?P<digest>[0-9a-f]{12,64}))?",
    re.ASCII,
)
_FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".onnx", ".npz")
_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")
_TIMEOUT = 10  # seconds for an answer of the Hub


@dataclass(frozen=True)
class RepoRef:
    """`user/repo@revision#digest`; revision and digest may be missing."""

    repo: str
    revision: str | None
    """A branch, a tag or a commit."""
    digest: str | None
    """The first 12 hex digits or more of the release file's SHA-256."""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{revision}" + (f"#{self.digest}" if self.digest else "")


def parse(name: str | Path) -> RepoRef | None:
    """A repository of the Hub; None for a path: an existing one, or one that ends like weights."""
    text = str(name)
    match = _NAME.fullmatch(text)
    if not match or text.endswith(_FILE_SUFFIXES) or Path(text).exists():
        return None
    return RepoRef(**match.groupdict())


def resolve(name: str | Path | None) -> Path:
    """The file of a name of weights; a repository's file is downloaded.

    Args:
        name: None or `default`: the packaged weights; a path; `user/repo`, `user/repo@revision`,
            `user/repo@revision#digest`. An existing path takes precedence over a repository.

    Raises:
        WeightsError: no such file or repository, or it cannot be downloaded; the message says how
            to proceed.
    """
    if name is None or str(name) == "default":
        return DEFAULT_FILE
    path, ref = Path(name), parse(name)
    if ref:
        return download(ref)
    if path.is_dir():
        raise WeightsError(f"{path} is a folder: give the .safetensors file in it")
    if not path.exists():
        raise WeightsError(
            f"no weights file {path}: check the path, or give user/repo of the Hugging Face Hub"
        )
    return path


def display_name(name: str | Path | None) -> str:
    """What messages call weights: `default`, the repository as it was named, or the file's name."""
    text = "default" if name is None else str(name)
    return text if text == "default" or parse(text) else Path(text).name


def download(ref: RepoRef, *, wanted: Sequence[str] = ()) -> Path:
    """The release file of a repository, from the cache or the Hub, with its digest verified.

    Its graph, where the repository has one, is then beside it.

    Args:
        ref: the repository.
        wanted: names of a file of weights of another kind, the preferred one first; none: its
            release file.

    Raises:
        WeightsError: no such repository or revision, no access to it, no network and not in the
            cache, no release file or several, or another digest than stated.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if ref.revision and _COMMIT.fullmatch(ref.revision):  # the files of a commit never change
        path = _cached(ref, wanted)
        if path:
            return path
    api = HfApi(library_name="pix2color")
    with _translate_errors(ref):
        try:
            info = api.model_info(ref.repo, revision=ref.revision, timeout=_TIMEOUT)
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code < 500:
                raise
            return _offline(ref, error, wanted)
        except Exception as error:  # versions of the library use different HTTP clients
            return _offline(ref, error, wanted)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        file = _first_of(ref, names, wanted) if wanted else _single_checkpoint(ref, names)
        # Downloading by revision, not by commit, lets the library record which commit the revision
        # is, for later use without a network.
        path = Path(api.hf_hub_download(ref.repo, file, revision=ref.revision))
        for other in (MANIFEST, path.with_suffix(".onnx").name):
            if other in names and not wanted:
                api.hf_hub_download(ref.repo, other, revision=path.parent.name)
    return _verified(ref, path)


def _cached(ref: RepoRef, wanted: Sequence[str] = ()) -> Path | None:
    """`download` of a revision that is in the cache; None where it is not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                ref.repo,
                revision=ref.revision,
                local_files_only=True,
                allow_patterns=list(wanted) or ["*.safetensors", "*.onnx", MANIFEST],
            )
        )
    except LocalEntryNotFoundError:
        return None
    if wanted:
        present = [name for name in wanted if (folder / name).is_file()]
        return _verified(ref, folder / present[0]) if present else None
    files = [path.name for path in folder.glob("*.safetensors")]
    return _verified(ref, folder / _single_checkpoint(ref, files)) if files else None


def _offline(ref: RepoRef, error: Exception, wanted: Sequence[str]) -> Path:
    """`download` from the cache, where the Hub does not answer."""
    path = _cached(ref, wanted)
    if path:
        return path
    raise WeightsError(
        f"{ref} is not in the cache, and the Hugging Face Hub does not answer ({_short(error)}): "
        "connect once (and unset HF_HUB_OFFLINE), or give the path of a .safetensors file"
    ) from None


def _release_files(names: Iterable[str]) -> list[str]:
    """The release files among the names of a repository's files."""
    return sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)


def _first_of(ref: RepoRef, names: Iterable[str], wanted: Sequence[str]) -> str:
    """The first of the wanted names that a repository has."""
    present = [name for name in wanted if name in set(names)]
    if not present:
        raise WeightsError(f"{ref} holds no {' and no '.join(wanted)}: check the name")
    return present[0]


def _single_checkpoint(ref: RepoRef, names: Iterable[str]) -> str:
    """The one release file among the names of a repository's files."""
    files = _release_files(names)
    if len(files) == 1:
        return files[0]
    if files:
        raise WeightsError(
            f"{ref} holds {len(files)} release files ({', '.join(files[:3])}), and pix2color needs "
            "exactly one: give a revision that has one, or download one and give its path"
        )
    raise WeightsError(
        f"{ref} holds no release file (.safetensors)",
        remedy="upload one with the command `python -m pix2color release`",
    )


def _verified(ref: RepoRef, path: Path) -> Path:
    """The path, after its digest and that of its graph were compared with all stated ones.

    Digests are stated by the reference (of the release file), by the manifest, and by the Hub: the
    library names the files in its cache by them.
    """
    graph, manifest = path.with_suffix(".onnx"), _manifest(ref, path)
    stated = [(path, "the name", ref.digest), (path, MANIFEST, manifest.get("sha256"))]
    if graph.is_file():
        stated.append((graph, MANIFEST, manifest.get("graph_sha256")))
    for file in dict.fromkeys(file for file, _, _ in stated):
        if _SHA256.fullmatch(file.resolve().name):
            stated.append((file, "the Hub", file.resolve().name))
    for file, source, digest in stated:
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest() if digest else ""
        if digest and not sha256.startswith(digest):
            raise WeightsError(
                f"{ref}: {file.name} has the digest {sha256[:12]}, {source} says {digest[:12]}: it "
                f"is not used; delete {path.parents[2]} to download it again, or ask its publisher"
            )
    return path


def _manifest(ref: RepoRef, path: Path) -> dict[str, str]:
    """The manifest beside a release file; empty where there is none."""
    manifest = path.with_name(MANIFEST)
    if not manifest.is_file():
        return {}
    try:
        tree = {str(k): str(v) for k, v in json.loads(manifest.read_text(encoding="utf-8")).items()}
        digests = [tree["sha256"], *([tree["graph_sha256"]] if "graph" in tree else [])]
    except (ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{ref}: {MANIFEST} does not state a sha256 ({error!r:.60})") from None
    if tree.get("file") != path.name or not all(map(_SHA256.fullmatch, digests)):
        raise WeightsError(f"{ref}: {MANIFEST} does not state a sha256 of {path.name}")
    return tree


def files_in(folder: Path) -> list[str]:
    """The files of a folder that `push` uploads: all but a graph are always there."""
    graph = [GRAPH] if (folder / GRAPH).is_file() else []
    return [FILE, *graph, MANIFEST, CARD]


@dataclass(frozen=True)
class PushResult:
    """Where a folder was uploaded to."""

    url: str
    commit: str
    """The full commit; `user/repo@commit` always names these weights."""


def push(folder: Path, repo: str, *, private: bool = False) -> PushResult:
    """Upload a folder's release file, graph, manifest and card; create the repository if necessary.

    A graph of earlier weights in the repository is deleted where the folder has none.

    Args:
        folder: see model_card.write_folder.
        repo: user/repo.
        private: create the repository as a private one.

    Raises:
        WeightsError: not logged in, no right to write there, another release file is there
            already, or no network.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    ref = repository(repo)
    if not get_token():
        raise WeightsError(f"not logged in to the Hugging Face Hub: {LOGIN}")
    api = HfApi(library_name="pix2color")
    with _translate_errors(ref, writing=True):
        api.create_repo(repo, private=private, exist_ok=True)
        names = [sibling.rfilename for sibling in api.model_info(repo).siblings or ()]
        others = [name for name in _release_files(names) if name != FILE]
        if others:
            raise WeightsError(
                f"{repo} holds {', '.join(others)} already, and a repository holds one release "
                "file: delete it there, or push to another repository"
            )
        files = files_in(folder)
        operations: list[Any] = [
            CommitOperationAdd(path_in_repo=file, path_or_fileobj=folder / file) for file in files
        ]
        if GRAPH in names and GRAPH not in files:
            operations.append(CommitOperationDelete(path_in_repo=GRAPH))
        commit = api.create_commit(repo, operations, commit_message="Release by pix2color")
    return PushResult(f"{api.endpoint}/{repo}", str(commit.oid))


def repository(repo: str) -> RepoRef:
    """A plain `user/repo`; WeightsError for anything else."""
    match = _NAME.fullmatch(repo)
    if not match or match["revision"] or match["digest"] or repo.endswith(_FILE_SUFFIXES):
        raise WeightsError(f"{repo!r} is no repository of the Hugging Face Hub: write USER/REPO")
    return RepoRef(repo, None, None)


@contextmanager
def _translate_errors(ref: RepoRef, *, writing: bool = False) -> Iterator[None]:
    """Turn the Hub library's errors into a WeightsError of one line that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except WeightsError:
        raise
    except errors.HFValidationError as error:
        raise WeightsError(f"{ref}: {_short(error)} Give a path, or user/repo") from None
    except errors.HfHubHTTPError as error:
        raise WeightsError(f"{ref}: {_refusal(ref, error, writing=writing)}") from None
    except Exception as error:  # versions of the library use different HTTP clients
        action = "uploaded" if writing else "downloaded"
        raise WeightsError(
            f"{ref} cannot be {action} ({_short(error)}): try again with a network connection"
            + ("" if writing else ", or give the path of a .safetensors file")
        ) from None


def _refusal(ref: RepoRef, error: Any, *, writing: bool) -> str:
    """Why the Hub answered with an error status, and what to do."""
    from huggingface_hub import errors

    status = error.response.status_code if error.response is not None else 0
    if writing and status in (401, 403):
        why = "does not know this token" if status == 401 else "does not let this token write there"
        return f"the Hub {why}: log in with a token of the role `write` ({LOGIN})"
    if isinstance(error, errors.GatedRepoError):
        return f"access has to be requested on its page of the Hub; then log in ({LOGIN})"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the repository has no revision {ref.revision}: see its history on the Hub"
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
        return (
            "no such file, and no such model on the Hugging Face Hub that you have access to: "
            f"check the path or the name; log in if it is private ({LOGIN})"
        )
    return f"the Hugging Face Hub answers {status or 'nothing'} ({_short(error)}): try later"


def _short(error: Exception) -> str:
    """The first line of an error's message, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0]:.100}" if lines else type(error).__name__
