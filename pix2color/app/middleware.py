"""Request filter in front of gradio: passes only what the app needs, within size limits.

POST /colorize goes to an application of its own (`endpoint`).

Gradio can do more than the app needs: fetch web addresses for a client, show its monitoring, edit
its own source. All of that is refused by a list of what is needed. The list names
addresses of gradio that are not documented: `_READ` for its page and client, `_WRITE` for the queue
and uploads. With a gradio that has other ones the page does not load, and its tests fail; nothing
more than listed is ever let through. `/run` and `/api` are left out because they bypass the queue
and its limits.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pix2color.app.hosts import HostPolicy

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_API = "/gradio_api"
_COLORIZE = "/colorize"
_DISK_FULL = "the server's disk is full; come back later"
_READ = re.compile(
    r"/(|config/?|theme\.css|robots\.txt|manifest\.json|favicon\.ico|login_check/?"
    r"|(assets|static|svelte|pwa_icon)(/.*)?"
    rf"|{_API[1:]}/(app_id|info|openapi\.json|startup-events|theme\.css|login_check|user|token)/?"
    rf"|{_API[1:]}/(queue/(data|status)|upload_progress)"
    rf"|{_API[1:]}/(heartbeat/[^/?]+|call/[^/?]+/[^/?]+)"
    rf"|{_API[1:]}/file=.*)"
)
_WRITE = re.compile(rf"{_API}/(upload|queue/join|cancel|reset/?|call/[^/?]+)")
_UNQUEUED = re.compile(rf"{_API}/((run|api)/|call/v2/).*")
_MAX_BODY_BYTES = 1_000_000  # of a request other than an upload
_MAX_DRAINED_BYTES = 20_000_000  # read of a request that is too large, so that the answer arrives
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # gradio's own
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_EXTERNAL_TAGS = re.compile(rb"[ \t]*<(?:meta|link)\b[^>]*=\s*\"https?://[^>]*>\n?")
"""Tags of gradio's page that name other hosts: its advertisement in link previews."""
_UPLOADED = re.compile(r"[0-9a-f]{64}/[^/]+")


class RequestFilter:
    """ASGI middleware."""

    def __init__(
        self,
        app: Any,
        *,
        hosts: HostPolicy,
        arguments: Mapping[int | str, int],
        uploads: Path,
        upload_bytes: int,
        free_bytes: int,
        endpoint: Any = None,
    ) -> None:
        """Set the limits up.

        Args:
            app: the application behind the filter.
            hosts: which Host and Origin headers are accepted.
            arguments: how many arguments a function takes, by gradio's number of it and, where
                programs may call it, by its name. There are no other functions.
            uploads: where gradio puts uploaded files: the only files a client may name.
            upload_bytes: largest upload.
            free_bytes: uploads are refused when the disk has less left.
            endpoint: the application behind POST /colorize; None: there is none.
        """
        self._app = app
        self._hosts = hosts
        self._arguments = arguments
        self._uploads = uploads
        self._upload_bytes = upload_bytes
        self._free_bytes = free_bytes
        self._endpoint = endpoint

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if reason := self._hosts.refusal(scope["method"], scope["path"], headers):
            await _answer(send, 403, reason)
            return
        if refusal := self._refused(scope):
            await _answer(send, *refusal)
            return
        direct = scope["path"] == _COLORIZE
        upload = direct or scope["path"] == f"{_API}/upload"
        if direct and b"content-length" not in headers:
            await _answer(send, 411, "state the length of the request")
            return
        limit = self._upload_bytes + 100_000 if upload else _MAX_BODY_BYTES
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            await _body(receive, _MAX_DRAINED_BYTES, keep=False)
            await _answer(send, 413, "larger than this server accepts")
            return
        if scope["method"] == "POST" and not upload:
            body = await _body(receive, limit)
            if body is None or (refusal := self._refused_body(scope["path"], body)):
                await _answer(send, *(refusal or (400, "the request ended early")))
                return
            receive = _replay(body, receive)
        elif upload:
            receive = _limit_body(receive, limit)
        app = self._endpoint if direct else self._app
        await app(scope, receive, _with_security_headers(send, page=scope["path"] == "/"))

    def _refused(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        path, method = scope["path"], scope["method"]
        if path == _COLORIZE and self._endpoint is not None:
            if method != "POST":
                return 405, "send a photo by POST"
            return None if self._has_room() else (507, _DISK_FULL)
        if method in ("GET", "HEAD"):
            file = path.partition("/file=")[2]
            is_remote = "://" in unquote(file) or unquote(file).startswith("http")
            if not _READ.fullmatch(path) or is_remote:
                return 404, "not found"
        elif method == "POST":
            if _UNQUEUED.fullmatch(path):
                return 404, f"call the function as {_API}/call/NAME"
            if not _WRITE.fullmatch(path):
                return 404, "not found"
            if path.endswith("/upload") and not self._has_room():
                return 507, _DISK_FULL
        elif method != "OPTIONS":
            return 405, "not allowed"
        return None

    def _has_room(self) -> bool:
        free = shutil.disk_usage(self._uploads).free
        return free >= self._free_bytes + self._upload_bytes

    def _refused_body(self, path: str, body: bytes) -> tuple[int, str] | None:
        try:
            tree = json.loads(body)
        except (ValueError, RecursionError):
            return 400, "the request is not JSON"
        if not isinstance(tree, dict):
            return 400, "the request is not a JSON object"
        tree.pop("event_data", None)  # of a click on an image: may name files, opens none
        name = path.partition("/call/")[2]
        if name or "fn_index" in tree or path.endswith("/queue/join"):
            function: Any = name or tree.get("fn_index")
            count = self._arguments.get(function) if type(function) in (int, str) else None
            if count is None:
                return 404, "no such function"
            data = tree.get("data")
            if isinstance(data, list) and len(data) != count:
                return 400, f"the function takes {count} arguments, not {len(data)}"
        if not self._names_only_uploads(tree):
            return 400, "the request names a file that was not uploaded here"
        return None

    def _names_only_uploads(self, tree: object) -> bool:
        """Whether every file that a request names is one that was uploaded here."""
        pending = [tree]
        while pending:
            node = pending.pop()
            if isinstance(node, dict):
                if (
                    "path" in node
                    and node["path"] is not None
                    and not self._is_upload(node["path"])
                ):
                    return False
                pending += node.values()
            elif isinstance(node, list):
                pending += node
        return True

    def _is_upload(self, path: object) -> bool:
        if not isinstance(path, str) or not path.startswith(f"{self._uploads}/"):
            return False
        rest = path.removeprefix(f"{self._uploads}/")
        return bool(_UPLOADED.fullmatch(rest)) and ".." not in rest.split("/")


async def _body(receive: Receive, limit: int, *, keep: bool = True) -> bytes | None:
    """The whole body, None if it is larger than `limit` bytes or the client has disconnected."""
    body, size = b"", 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return None
        if keep:
            body += part
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, then later messages."""
    replayed = False

    async def replay() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _limit_body(receive: Receive, limit: int) -> Receive:
    """A `receive` that disconnects when the body is longer than announced."""
    received = 0

    async def receive_counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return {"type": "http.disconnect"} if received > limit else message

    return receive_counted


def _with_security_headers(send: Send, *, page: bool) -> Send:
    """A `send` that adds security headers and removes links to other hosts from the page."""
    start: Message | None = None
    body = b""

    async def send_filtered(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            own_names = {name for name, _ in _HEADERS}
            headers = [(k, v) for k, v in message.get("headers", ()) if k.lower() not in own_names]
            message = {**message, "headers": [*headers, *_HEADERS]}
            if page:
                start = message
                return
        elif page and start is not None:
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            html = _EXTERNAL_TAGS.sub(b"", body)
            headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
            headers.append((b"content-length", str(len(html)).encode()))
            await send({**start, "headers": headers})
            message = {"type": "http.response.body", "body": html}
        await send(message)

    return send_filtered


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"application/json"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": text}).encode()})
