"""What stands before the server: only the page's own requests pass, and none is too large.

Gradio can do more than this page needs: fetch addresses on the web for a client, show its
monitoring, edit its own source. All of that is refused by a list of what is needed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_API = "/gradio_api"
_READ = re.compile(
    r"/(|config/?|theme\.css|robots\.txt|manifest\.json|favicon\.ico|login_check/?"
    r"|(assets|static|svelte|pwa_icon)(/.*)?"
    rf"|{_API[1:]}/(app_id|info|openapi\.json|startup-events|theme\.css|login_check|user|token)/?"
    rf"|{_API[1:]}/(queue/(data|status)|upload_progress)"
    rf"|{_API[1:]}/(heartbeat|call)/[^?]*"
    rf"|{_API[1:]}/file=.*)"
)
_WRITE = re.compile(rf"{_API}/(upload|queue/join|cancel|reset/?|call/[^?]*|(run|api)/[^?]*)")
_BODY = 1_000_000  # bytes of a request that is no upload
_DRAINED = 20_000_000  # bytes read of one that is too large, so that its sender hears the answer
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
_ELSEWHERE = re.compile(rb"[ \t]*<(?:meta|link)\b[^>]*=\s*\"https?://[^>]*>\n?")
"""Tags of gradio's page that name other hosts: its advertisement in link previews."""
_UPLOADED = re.compile(r"[0-9a-f]{64}/[^/]+")


class Guard:
    """An ASGI application before another."""

    def __init__(self, app: Any, *, uploads: Path, upload_bytes: int, free_bytes: int) -> None:
        """Args:
        app: what is guarded.
        uploads: where gradio puts uploaded files: the only files a client may name.
        upload_bytes: largest upload.
        free_bytes: uploads are refused when the disk has less left.
        """
        self._app = app
        self._uploads = uploads
        self._upload_bytes = upload_bytes
        self._free_bytes = free_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        if refusal := self._refused(scope):
            await _answer(send, *refusal)
            return
        upload = scope["path"] == f"{_API}/upload"
        most = self._upload_bytes + 100_000 if upload else _BODY
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            await _body(receive, _DRAINED, keep=False)
            await _answer(send, 413, "more than this page takes at a time")
            return
        if scope["method"] == "POST" and not upload:
            body = await _body(receive, most)
            if body is None or not self._names_only_uploads(body):
                await _answer(send, 400, "a request that this page does not take")
                return
            receive = _again(body, receive)
        elif upload:
            receive = _at_most(receive, most)
        await self._app(scope, receive, _dressed(send, page=scope["path"] == "/"))

    def _refused(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        path, method = scope["path"], scope["method"]
        if method in ("GET", "HEAD"):
            named = path.partition("/file=")[2]
            away = "://" in unquote(named) or unquote(named).startswith("http")
            if not _READ.fullmatch(path) or away:
                return 404, "not found"
        elif method == "POST":
            if not _WRITE.fullmatch(path):
                return 404, "not found"
            if path.endswith("/upload") and not self._has_room():
                return 507, "the server's disk is full; come back later"
        elif method != "OPTIONS":
            return 405, "not allowed"
        return None

    def _has_room(self) -> bool:
        free = shutil.disk_usage(self._uploads).free
        return free >= self._free_bytes + self._upload_bytes

    def _names_only_uploads(self, body: bytes) -> bool:
        """Whether every file that a request names is one that was uploaded here."""
        if not body:
            return True
        try:
            tree = json.loads(body)
        except (ValueError, RecursionError):
            return False
        if isinstance(tree, dict):  # which picture was pressed: told, and never opened
            tree.pop("event_data", None)
        waiting = [tree]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                if "path" in one and one["path"] is not None and not self._uploaded(one["path"]):
                    return False
                waiting += one.values()
            elif isinstance(one, list):
                waiting += one
        return True

    def _uploaded(self, path: object) -> bool:
        if not isinstance(path, str) or not path.startswith(f"{self._uploads}/"):
            return False
        rest = path.removeprefix(f"{self._uploads}/")
        return bool(_UPLOADED.fullmatch(rest)) and ".." not in rest.split("/")


async def _body(receive: Receive, most: int, *, keep: bool = True) -> bytes | None:
    """The whole body, None if it is larger or the client has gone."""
    body, size = b"", 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        if keep:
            body += part
        if not message.get("more_body"):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already, then what comes after it."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


def _at_most(receive: Receive, most: int) -> Receive:
    """End a body that is longer than it said."""
    done = 0

    async def counted() -> Message:
        nonlocal done
        message = await receive()
        done += len(message.get("body", b""))
        return {"type": "http.disconnect"} if done > most else message

    return counted


def _dressed(send: Send, *, page: bool) -> Send:
    """Add headers that keep a browser on this host; take other hosts' names out of the page."""
    start: Message | None = None
    body = b""

    async def sent(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            ours = {name for name, _ in _HEADERS}
            kept = [(k, v) for k, v in message.get("headers", ()) if k.lower() not in ours]
            message = {**message, "headers": [*kept, *_HEADERS]}
            if page:
                start = message
                return
        elif page and start is not None:
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            plain = _ELSEWHERE.sub(b"", body)
            headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
            headers.append((b"content-length", str(len(plain)).encode()))
            await send({**start, "headers": headers})
            message = {"type": "http.response.body", "body": plain}
        await send(message)

    return sent


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"application/json"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": text}).encode()})
