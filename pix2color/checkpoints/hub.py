"""Weights by name: the packaged file, a path, or a repository of the Hugging Face Hub.

A repository holds one release file, `model.safetensors` where `push` made it, a model card, and
`pix2color.json`, which states the file's SHA-256. What was fetched lies in the Hub library's own
cache and is used from there without network. The library is imported only when a repository is
named; where it looks, and as whom, is its own affair (HF_HOME, HF_TOKEN, HF_ENDPOINT,
HF_HUB_OFFLINE).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.errors import WeightsError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILE = "model.safetensors"
"""The release file's name in a repository; the Hub shows size and type of a file called so."""
MANIFEST = "pix2color.json"
"""States the release file's name and SHA-256."""
CARD = "README.md"
LOGIN = "`hf auth login` (older: `huggingface-cli login`), or HF_TOKEN=..."
_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(?:@(?P<revision>[^#@\s]+))?(?:#(?P<digest>[0-9a-f]{12,64}))?",
    re.ASCII,
)
_FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".onnx", ".npz")
_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")
_SECONDS = 10  # for the Hub to answer


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
    """A name of the Hub; None for what is a path: it is there, or ends as files of weights do."""
    text = str(name)
    found = _NAME.fullmatch(text)
    if not found or text.endswith(_FILE_SUFFIXES) or Path(text).exists():
        return None
    return RepoRef(**found.groupdict())


def resolve(name: str | Path | None) -> Path:
    """The file that a name of weights stands for; a repository's is fetched.

    Args:
        name: None or `default`: the packaged weights; a path; `user/repo`, `user/repo@revision`,
            `user/repo@revision#digest`. What is there as a path is taken as one.

    Raises:
        WeightsError: there is no such thing, or it cannot be had; it says what to do.
    """
    if name is None or str(name) == "default":
        return DEFAULT_FILE
    path, hub_name = Path(name), parse(name)
    if hub_name:
        return download(hub_name)
    if path.is_dir():
        raise WeightsError(f"{path} is a folder: give the .safetensors file in it")
    if not path.exists():
        raise WeightsError(
            f"no weights file {path}: check the path, or give user/repo of the Hugging Face Hub"
        )
    return path


def download(name: RepoRef) -> Path:
    """The one release file of a repository, from the cache where it is in there, checked.

    Raises:
        WeightsError: no such repository or revision, no right to it, no network and not in the
            cache, no release file or several, or another digest than stated.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if name.revision and _COMMIT.fullmatch(name.revision):  # what it holds can never change
        kept = _cached(name)
        if kept:
            return _checked(name, kept)
    api = HfApi(library_name="pix2color")
    with _translate_errors(name):
        try:
            info = api.model_info(name.repo, revision=name.revision, timeout=_SECONDS)
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code < 500:
                raise
            return _without_hub(name, error)
        except Exception as error:  # each generation of the library has another transport's errors
            return _without_hub(name, error)
        file = _single_checkpoint(name, (sibling.rfilename for sibling in info.siblings or ()))
        # By revision, not by commit: so the library remembers what the revision was, for
        # the time without network.
        path = Path(api.hf_hub_download(name.repo, file, revision=name.revision))
        names = {sibling.rfilename for sibling in info.siblings or ()}
        if MANIFEST in names:
            api.hf_hub_download(name.repo, MANIFEST, revision=path.parent.name)
    return _checked(name, path)


def _cached(name: RepoRef) -> Path | None:
    """The release file of a revision that was fetched before."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            name.repo,
            revision=name.revision,
            local_files_only=True,
            allow_patterns=["*.safetensors", MANIFEST],
        )
    except LocalEntryNotFoundError:
        return None
    files = [path.name for path in Path(folder).glob("*.safetensors")]
    return Path(folder) / _single_checkpoint(name, files) if files else None


def _without_hub(name: RepoRef, error: Exception) -> Path:
    kept = _cached(name)
    if kept:
        return _checked(name, kept)
    raise WeightsError(
        f"{name} is not in the cache, and the Hugging Face Hub does not answer ({_short(error)}): "
        "connect once (and unset HF_HUB_OFFLINE), or give the path of a .safetensors file"
    ) from None


def _single_checkpoint(name: RepoRef, files: Iterable[str]) -> str:
    """The one release file among a repository's files."""
    found = sorted(file for file in files if file.endswith(".safetensors") and "/" not in file)
    if len(found) == 1:
        return found[0]
    if found:
        raise WeightsError(
            f"{name} holds {len(found)} release files ({', '.join(found[:3])}): a repository holds "
            "one; give a revision that does, or download one and give its path"
        )
    raise WeightsError(
        f"{name} holds no release file (.safetensors)",
        remedy="make one with the command `python -m pix2color release`",
    )


def _checked(name: RepoRef, path: Path) -> Path:
    """The file, when its bytes are the ones that were stated.

    Stated are: the digest in the name; the manifest's; and the Hub's own, by which the library
    calls what it keeps.
    """
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    stated = {"the name": name.digest, **_manifest_digest(name, path)}
    if _SHA256.fullmatch(path.resolve().name):
        stated["the Hub"] = path.resolve().name
    for who, digest in stated.items():
        if digest and not sha256.startswith(digest):
            raise WeightsError(
                f"{name}: {path.name} has the digest {sha256[:12]}, {who} says {digest[:12]}: "
                f"not used; delete {path.parents[2]} to fetch it anew, or ask who published it"
            )
    return path


def _manifest_digest(name: RepoRef, path: Path) -> dict[str, str | None]:
    manifest = path.with_name(MANIFEST)
    if not manifest.is_file():
        return {}
    try:
        tree = json.loads(manifest.read_text(encoding="utf-8"))
        digest = str(tree["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{name}: {MANIFEST} does not state a sha256 ({error!r:.60})") from None
    if tree.get("file") != path.name or not _SHA256.fullmatch(digest):
        raise WeightsError(f"{name}: {MANIFEST} does not state a sha256 of {path.name}")
    return {MANIFEST: digest}


@dataclass(frozen=True)
class PushResult:
    """Where a folder went."""

    url: str
    commit: str
    """The whole commit; `user/repo@commit` names these very weights for ever."""


def push(folder: Path, repo: str, *, private: bool = False) -> PushResult:
    """Upload a folder's release file, manifest and card; the repository is made where it is not.

    Args:
        repo: user/repo.
        private: make the repository so that only its owner sees it.

    Raises:
        WeightsError: not logged in, no right to write there, another release file is there
            already, or no network.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    name = repository(repo)
    if not get_token():
        raise WeightsError(f"not logged in to the Hugging Face Hub: {LOGIN}")
    api = HfApi(library_name="pix2color")
    with _translate_errors(name, writing=True):
        api.create_repo(repo, private=private, exist_ok=True)
        others = _others(api, repo)
        if others:
            raise WeightsError(
                f"{repo} holds {', '.join(others)} already, and a repository holds one release "
                "file: delete it there, or push to another"
            )
        files = [
            CommitOperationAdd(path_in_repo=file, path_or_fileobj=folder / file)
            for file in (FILE, MANIFEST, CARD)
        ]
        made = api.create_commit(repo, files, commit_message="Release by pix2color")
    return PushResult(f"{api.endpoint}/{repo}", str(made.oid))


def repository(repo: str) -> RepoRef:
    """A plain `user/repo`; WeightsError for anything else."""
    found = _NAME.fullmatch(repo)
    if not found or found["revision"] or found["digest"] or repo.endswith(_FILE_SUFFIXES):
        raise WeightsError(f"{repo!r} is no repository of the Hugging Face Hub: write USER/REPO")
    return RepoRef(repo, None, None)


def _others(api: HfApi, repo: str) -> list[str]:
    files = [sibling.rfilename for sibling in api.model_info(repo).siblings or ()]
    return [f for f in files if f.endswith(".safetensors") and "/" not in f and f != FILE]


@contextmanager
def _translate_errors(name: RepoRef, *, writing: bool = False) -> Iterator[None]:
    """What the Hub library raises, in one line that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except WeightsError:
        raise
    except errors.HFValidationError as error:
        raise WeightsError(f"{name}: {_short(error)} Give a path, or user/repo") from None
    except errors.HfHubHTTPError as error:
        _refused(name, error, writing=writing)
    except Exception as error:  # each generation of the library has another transport's errors
        what = "uploaded" if writing else "downloaded"
        raise WeightsError(
            f"{name} cannot be {what} ({_short(error)}): try again with a network connection"
            + ("" if writing else ", or give the path of a .safetensors file")
        ) from None


def _refused(name: RepoRef, error: Any, *, writing: bool) -> NoReturn:
    from huggingface_hub import errors

    status = error.response.status_code if error.response is not None else 0
    if writing and status in (401, 403):
        why = "does not know this token" if status == 401 else "does not let this token write there"
        said = f"the Hub {why}: log in with one of the role `write` ({LOGIN})"
    elif isinstance(error, errors.GatedRepoError):
        said = f"access has to be asked for on its page of the Hub; then log in ({LOGIN})"
    elif isinstance(error, errors.RevisionNotFoundError):
        said = f"the repository has no revision {name.revision}: see its history on the Hub"
    elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
        said = (
            "no such file here, and no such model on the Hugging Face Hub that you may see: "
            f"check the path or the name; where it is private, log in ({LOGIN})"
        )
    else:
        said = f"the Hugging Face Hub answers {status or 'nothing'} ({_short(error)}): try later"
    raise WeightsError(f"{name}: {said}") from None


def _short(error: Exception) -> str:
    """The first line that an error says, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0]:.100}" if lines else type(error).__name__
