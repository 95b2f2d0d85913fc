"""The functions that programs call by name through gradio_client, see docs/web-app.md.

Gradio reads their annotations at run time, so annotations are not postponed in this module.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from pix2color.app.session import Entry, Session
from pix2color.app.sessions import SessionStore
from pix2color.app.validation import hex_color, number, settings
from pix2color.errors import Pix2ColorError

_log = logging.getLogger(__name__)
_FAULT = "something went wrong on the server; the photo may be unusual, others should work"


class gradio_errors:  # noqa: N801  # used as a function: `with gradio_errors()`
    """Context that turns errors into messages for the client; faults are only logged."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Pix2ColorError):
            raise gr.Error(error.message, print_exception=False) from None
        if isinstance(error, Exception) and not isinstance(error, gr.Error):
            _log.error("a fault while serving a request", exc_info=error)
            raise gr.Error(_FAULT, print_exception=False) from None


class _ApiFunctions:
    """One method per name; each works on the photo of the caller's session."""

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions

    def colorize(
        self,
        request: gr.Request,
        photo: dict | None = None,
        temperature: float | None = None,
        saturation: float | None = None,
        vividness: float | None = None,
        calibration: float | None = None,
    ) -> dict:
        """Color a photo in place of the one before; returns the file infer.py would write."""
        with gradio_errors():
            options = settings(temperature, vividness, saturation, calibration)
            upload = self._sessions.uploaded(photo.get("path") if isinstance(photo, dict) else None)
            session = self._sessions.get_or_create(request.session_hash or "")
            session.clear()
            new = session.add([upload], options)
            if not new:
                raise Pix2ColorError(session.refused[0][1] if session.refused else "no photo")
            if len(new) > 1:
                raise Pix2ColorError("one photo at a time")
            [entry] = session.colorize(new)
            if entry.failure:
                raise Pix2ColorError(entry.failure)
            return _file(entry.result)

    def change(
        self,
        request: gr.Request,
        temperature: float | None = None,
        saturation: float | None = None,
        vividness: float | None = None,
        calibration: float | None = None,
    ) -> dict:
        """The same photo with other settings; the network is not run again."""
        with gradio_errors():
            session, entry = self._photo(request)
            options = settings(temperature, vividness, saturation, calibration)
            session.change(entry, **options.decode_options())
            return _file(entry.result)

    def hint(
        self,
        request: gr.Request,
        x: float | None = None,
        y: float | None = None,
        color: str | None = None,
    ) -> dict:
        """Set a color (#2040ff) at a point of the photo, in pixels."""
        with gradio_errors():
            session, entry = self._photo(request)
            session.hint(entry, number(x, "x"), number(y, "y"), hex_color(color))
            return _file(entry.result)

    def undo(self, request: gr.Request) -> dict:
        """Remove the last hint."""
        with gradio_errors():
            session, entry = self._photo(request)
            return _file(session.undo(entry).result)

    def hints(self, request: gr.Request) -> dict:
        """hints.json of the photo, which infer.py reads."""
        with gradio_errors():
            return _file(self._session(request).hints_file())

    def variants(self, request: gr.Request, count: int = 4) -> list:
        """Several versions of the photo, the most probable first."""
        with gradio_errors():
            session, entry = self._photo(request)
            session.make_variants(entry, int(number(count, "count")))
            return [_file(path) for path in entry.results]

    def confidence(self, request: gr.Request) -> dict:
        """The gray photo, tinted where the network's confidence is low."""
        with gradio_errors():
            session, entry = self._photo(request)
            return _file(session.confidence(entry))

    def _session(self, request: gr.Request) -> Session:
        return self._sessions.get(request.session_hash or "")

    def _photo(self, request: gr.Request) -> tuple[Session, Entry]:
        session = self._session(request)
        for entry in session.entries:
            if entry.done:
                return session, entry
        raise Pix2ColorError("color a photo first")


def register_api(sessions: SessionStore) -> None:
    """Add the functions to the gradio page that is being built."""
    api = _ApiFunctions(sessions)
    functions: tuple[Callable[..., Any], ...] = (
        api.colorize,
        api.change,
        api.hint,
        api.undo,
        api.hints,
        api.variants,
        api.confidence,
    )
    for function in functions:
        gr.api(function, api_name=function.__name__, concurrency_id="one", concurrency_limit=2)


def _file(path: Path) -> dict[str, Any]:
    return {
        "path": str(path),
        "orig_name": path.name,
        "meta": {"_type": "gradio.FileData"},
    }
