"""What programs call through gradio_client: the page's functions by name, see docs/page.md.

Gradio reads the annotations of these functions, so they are no strings here.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from pix2color.app.session import Entry, Session, for_client
from pix2color.app.values import hex_color, number, settings
from pix2color.app.visitors import Sessions
from pix2color.errors import Pix2ColorError

_log = logging.getLogger(__name__)
_FAULT = "something went wrong on the server; the photo may be unusual, others should work"


class told:  # noqa: N801  # reads as a word in `with`
    """Errors for the visitor as a message on the page; faults go to the server's log alone."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Pix2ColorError):
            raise gr.Error(for_client(str(error)), print_exception=False) from None
        if isinstance(error, Exception) and not isinstance(error, gr.Error):
            _log.error("a fault while serving the page", exc_info=error)
            raise gr.Error(_FAULT, print_exception=False) from None


class _Calls:
    """One function a name; each works on the caller's own photo."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def colour(
        self,
        request: gr.Request,
        photo: dict | None = None,
        temperature: float | None = None,
        saturation: float | None = None,
        vividness: float | None = None,
    ) -> dict:
        """Colour a photo in place of the one before; returns the file infer.py would write."""
        with told():
            chosen = settings(temperature, vividness, saturation)
            upload = self._sessions.uploaded(photo.get("path") if isinstance(photo, dict) else None)
            session = self._sessions.get_or_create(request.session_hash or "")
            session.clear()
            new = session.add([upload], chosen)
            if not new:
                raise Pix2ColorError(session.refused[0][1] if session.refused else "no photo")
            if len(new) > 1:
                raise Pix2ColorError("one photo at a time")
            [entry] = session.colour(new)
            if entry.failure:
                raise Pix2ColorError(entry.failure)
            return _file(entry.result)

    def change(
        self,
        request: gr.Request,
        temperature: float | None = None,
        saturation: float | None = None,
        vividness: float | None = None,
    ) -> dict:
        """The same photo with other settings; the network is not run again."""
        with told():
            session, entry = self._photo(request)
            chosen = settings(temperature, vividness, saturation)
            session.change(
                entry,
                temperature=chosen.temperature,
                vividness=chosen.vividness,
                saturation=chosen.saturation,
            )
            return _file(entry.result)

    def hint(
        self,
        request: gr.Request,
        x: float | None = None,
        y: float | None = None,
        color: str | None = None,
    ) -> dict:
        """Pin a colour (#2040ff) to a place of the photo, in pixels."""
        with told():
            session, entry = self._photo(request)
            session.hint(entry, number(x, "x"), number(y, "y"), hex_color(color))
            return _file(entry.result)

    def undo(self, request: gr.Request) -> dict:
        """Take the last hint away."""
        with told():
            session, entry = self._photo(request)
            return _file(session.undo(entry).result)

    def hints(self, request: gr.Request) -> dict:
        """hints.json of the photo, for `infer.py --hints`."""
        with told():
            return _file(self._session(request).hints_file())

    def variants(self, request: gr.Request, count: int = 4) -> list:
        """Several versions of the photo, the likeliest first."""
        with told():
            session, entry = self._photo(request)
            session.vary(entry, int(number(count, "count")))
            return [_file(path) for path in entry.results]

    def confidence(self, request: gr.Request) -> dict:
        """The gray photo, dyed where the network is not sure of its colours."""
        with told():
            session, entry = self._photo(request)
            return _file(session.confidence(entry))

    def _session(self, request: gr.Request) -> Session:
        return self._sessions.get(request.session_hash or "")

    def _photo(self, request: gr.Request) -> tuple[Session, Entry]:
        session = self._session(request)
        for entry in session.entries:
            if entry.done:
                return session, entry
        raise Pix2ColorError("colour a photo first")


def offer(sessions: Sessions) -> None:
    """Add the functions to the gradio page that is being built."""
    calls = _Calls(sessions)
    functions: tuple[Callable[..., Any], ...] = (
        calls.colour,
        calls.change,
        calls.hint,
        calls.undo,
        calls.hints,
        calls.variants,
        calls.confidence,
    )
    for function in functions:
        gr.api(function, api_name=function.__name__, concurrency_id="one", concurrency_limit=2)


def _file(path: Path) -> dict[str, Any]:
    return {
        "path": str(path),
        "orig_name": path.name,
        "meta": {"_type": "gradio.FileData"},
    }
