"""A fake Hugging Face Hub on loopback, as far as its library's real client needs one.

Repositories are lists of commits, a commit is a dict of files. Weights are uploaded by LFS, the
others in the commit. `requests` lists the requests so far.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_stand_in"
READER = "hf_reads_only"


@dataclass
class Repo:
    """A repository: commits by hash, oldest first, and names of some."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: Mapping[str, bytes | None]) -> str:
        """Files on top of what there is, None deletes; returns the commit, which `main` then is."""
        changed = {**self.commits.get(self.refs.get("main", ""), {}), **files}
        now = {name: data for name, data in changed.items() if data is not None}
        lines = [f"{name} {hashlib.sha1(data).hexdigest()}" for name, data in sorted(now.items())]
        commit = hashlib.sha1("\n".join([*lines, str(len(self.commits))]).encode()).hexdigest()
        self.commits[commit] = now
        self.refs["main"] = commit
        return commit


class Hub:
    """The server; `with Hub() as hub: hub.url`."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.failing = 0
        """A status that every request gets; 0: none."""
        self.served: dict[str, bytes] = {}
        """File name -> other bytes than the repository says it has."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Its address, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: dict[str, bytes], **options: Any) -> str:
        """A new repository, or a commit to one; returns the commit."""
        return self.repos.setdefault(name, Repo(**options)).commit(files)


def is_large(name: str) -> bool:
    """Whether a file is stored with LFS."""
    return name.endswith((".safetensors", ".bin"))


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.hub = hub
    return Handler


class _RefusedError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status, code, message)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.0"  # no connection outlives the server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {path}")
        try:
            if self.hub.failing:
                raise _RefusedError(self.hub.failing)
            for pattern, method in _ROUTES:
                match = re.fullmatch(pattern, path)
                if match:
                    method(self, **match.groupdict())
                    return
            raise _RefusedError(404)
        except _RefusedError as refused:
            status, code, message = refused.args
            self._send(b"", status, {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, tree: Any, status: int = 200) -> None:
        self._send(json.dumps(tree).encode(), status, {"Content-Type": "application/json"})

    @property
    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _repo(self, name: str) -> Repo:
        repo = self.hub.repos.get(name)
        authorized = self._token in (TOKEN, READER)
        if repo is None or (repo.private and not authorized):
            status = 404 if authorized else 401  # as the Hub does, which does not say what exists
            raise _RefusedError(
                status, "RepoNotFound" if authorized else "", "Repository not found"
            )
        return repo

    def _writer(self) -> None:
        if self._token != TOKEN:
            status = 403 if self._token == READER else 401
            raise _RefusedError(status, "", "You don't have the rights to create a model")

    def _commit(self, repo: Repo, revision: str | None) -> str:
        commit = repo.refs.get(revision or "main", revision or "")
        if commit not in repo.commits:
            raise _RefusedError(404, "RevisionNotFound", "Invalid rev id")
        return commit

    def info(self, repo: str, revision: str | None = None) -> None:
        match = self._repo(repo)
        commit = self._commit(match, revision)
        files = [{"rfilename": name} for name in sorted(match.commits[commit])]
        self._json({"id": repo, "sha": commit, "private": match.private, "siblings": files})

    def tree(self, repo: str, revision: str) -> None:
        match = self._repo(repo)
        files = match.commits[self._commit(match, revision)]
        self._json([_entry(name, data) for name, data in sorted(files.items())])

    def resolve(self, repo: str, revision: str, file: str) -> None:
        match = self._repo(repo)
        if match.gated:
            raise _RefusedError(403, "GatedRepo", "Access to this model is restricted")
        commit = self._commit(match, revision)
        data = match.commits[commit].get(file)
        if data is None:
            raise _RefusedError(404, "EntryNotFound", "Entry not found")
        tag = hashlib.sha256(data) if is_large(file) else hashlib.sha1(data)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{tag.hexdigest()}"'}
        self._send(self.hub.served.get(file, data), headers=headers)

    def create(self) -> None:
        self._writer()
        request = json.loads(self.body)
        name = f"{request['organization']}/{request['name']}"
        if name in self.hub.repos:
            answer = {
                "error": "You already created this model repo",
                "url": f"{self.hub.url}/{name}",
            }
            self._json(answer, 409)
            return
        private = request.get("private") or request.get("visibility") == "private"
        self.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        self._json({"url": f"{self.hub.url}/{name}", "name": name, "id": "0"})

    def validate(self) -> None:
        text = json.loads(self.body)["content"]
        assert text.startswith("---\n") and "\n---\n" in text
        self._json({"errors": [], "warnings": []})

    def preupload(self, repo: str, revision: str) -> None:
        self._writer()
        self._repo(repo)
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._json({"files": files})

    def batch(self, repo: str) -> None:
        self._writer()
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}
            for one in json.loads(self.body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _RefusedError(400)
        self.hub.blobs[oid] = self.body
        self._send(b"")

    def make_commit(self, repo: str, revision: str) -> None:
        self._writer()
        files = {}
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif item["key"] == "deletedFile":
                files[value["path"]] = None
        commit = self.hub.add(repo, files)
        self._json({"commitUrl": f"{self.hub.url}/{repo}/commit/{commit}", "commitOid": commit})


def _entry(name: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    if is_large(name):
        entry["lfs"] = {
            "oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130,
        }  # fmt: skip
    return entry


_REPO = r"(?P<repo>[^/]+/[^/]+?)"
_ROUTES = (
    (r"/api/repos/create", _Handler.create),
    (r"/api/validate-yaml", _Handler.validate),
    (rf"/api/models/{_REPO}", _Handler.info),
    (rf"/api/models/{_REPO}/revision/(?P<revision>.+)", _Handler.info),
    (rf"/api/models/{_REPO}/tree/(?P<revision>[^/]+)", _Handler.tree),
    (rf"/api/models/{_REPO}/preupload/(?P<revision>.+)", _Handler.preupload),
    (rf"/api/models/{_REPO}/commit/(?P<revision>.+)", _Handler.make_commit),
    (rf"/{_REPO}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"/lfs/(?P<oid>[0-9a-f]+)", _Handler.put),
    (rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler.resolve),
)


def point_at(hub: Hub, monkeypatch: Any, home: Any, *, token: str = "") -> None:
    """Let the library, in this process and those it starts, know this Hub and a home of its own."""
    from huggingface_hub import constants

    environment = {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": token,
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "AGENT_HARNESSES_PATH": str(home / "agents.json"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(constants, name, value, raising=False)
