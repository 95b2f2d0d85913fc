"""Starts and stops the server, and removes files that are not needed."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pix2color.app.hosts import HostPolicy
from pix2color.app.limits import ServerLimits
from pix2color.errors import Pix2ColorError
from pix2color.inference.colorizer import Colorizer

_CLEANUP_INTERVAL = 15.0  # seconds between two removals of old files
_UPLOAD_AGE = 1800.0  # seconds that an upload may wait to be added to a session


@dataclass(frozen=True)
class RunningApp:
    """A running server."""

    url: str
    share_url: str | None
    sessions: Any
    folder: Path
    """All of its files."""


@contextlib.contextmanager
def serve(
    colorizer: Colorizer,
    *,
    host: str = "127.0.0.1",
    port: int | None = 7860,
    share: bool = False,
    allowed_hosts: Sequence[str] = (),
    limits: ServerLimits | None = None,
) -> Iterator[RunningApp]:
    """Serve the page in background threads until the block ends; then all photos are removed.

    Args:
        port: None takes a free one.
        share: let gradio tunnel the page to a public address.
        allowed_hosts: host names that clients may use beside localhost and `host`.

    Raises:
        Pix2ColorError: gradio is missing, the port is taken.
    """
    limits = limits or ServerLimits()
    folder = Path(tempfile.mkdtemp(prefix="pix2color-page-")).resolve()
    uploads = folder / "uploads"
    uploads.mkdir()
    stop = threading.Event()
    with _environment(folder):
        _check_gradio()
        from pix2color.app import page as pages
        from pix2color.app.endpoint import ColorizeEndpoint
        from pix2color.app.sessions import SessionStore

        # Below gradio's own folder, so that it serves results from where they are.
        sessions = SessionStore(colorizer, limits, uploads / "sessions")
        calibrated = colorizer.runtime.info.calibration is not None
        page = pages.build(sessions, colorizer.decode, calibrated=calibrated)
        page.queue(max_size=limits.queue, default_concurrency_limit=2)
        cleanup = threading.Thread(
            target=_clean, args=(sessions, uploads, stop), name="cleanup", daemon=True
        )
        try:
            hosts = HostPolicy(host, allowed_hosts)
            endpoint = ColorizeEndpoint(colorizer, limits, folder)
            url, share_url = _launch(page, host, port, share, limits, uploads, hosts, endpoint)
            if share_url:
                hosts.allow(urlsplit(share_url).hostname or "")
            cleanup.start()
            yield RunningApp(url, share_url, sessions, folder)
        finally:
            stop.set()
            with contextlib.suppress(Exception):
                page.close(verbose=False)
            sessions.close_all()
            shutil.rmtree(folder, ignore_errors=True)


def _check_gradio() -> None:
    """Import gradio, with less logging; raises Pix2ColorError where it is not installed."""
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise Pix2ColorError('the page needs the extra: pip install -e ".[app]"') from None
    for name in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _launch(
    page: Any,
    host: str,
    port: int | None,
    share: bool,
    limits: ServerLimits,
    uploads: Path,
    hosts: HostPolicy,
    endpoint: Any,
) -> tuple[str, str | None]:
    from starlette.middleware import Middleware

    from pix2color.app import theme
    from pix2color.app.middleware import RequestFilter

    request_filter = Middleware(
        RequestFilter,
        hosts=hosts,
        arguments=_arguments(page),
        uploads=uploads,
        upload_bytes=limits.upload_bytes,
        free_bytes=limits.free_bytes,
        endpoint=endpoint,
    )
    try:
        _, url, share_url = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            quiet=True,
            inbrowser=False,
            prevent_thread_lock=True,
            show_error=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            max_file_size=limits.upload_bytes,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=theme.build_theme(),
            css=theme.CSS,
            js=theme.SCRIPT,
            app_kwargs={"middleware": [request_filter], "docs_url": None, "redoc_url": None},
            state_session_capacity=1000,
        )
    except OSError as error:
        raise Pix2ColorError(
            f"no server at {host}:{port}: {error}", remedy="choose another {port}"
        ) from None
    return url, share_url


def _arguments(page: Any) -> dict[int | str, int]:
    """As `RequestFilter` takes them."""
    counts: dict[int | str, int] = {number: len(fn.inputs) for number, fn in page.fns.items()}
    public = (fn for fn in page.fns.values() if fn.api_visibility == "public")
    return counts | {fn.api_name: len(fn.inputs) for fn in public}


def _clean(sessions: Any, uploads: Path, stop: threading.Event) -> None:
    from pix2color.app.sessions import remove_old_uploads

    while not stop.wait(_CLEANUP_INTERVAL):
        sessions.expire()
        remove_old_uploads(uploads, older_than=_UPLOAD_AGE, keep=uploads / "sessions")


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Set gradio's environment: its files below `folder`, no telemetry, no optional features."""
    settings = {
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_SHARE": "False",
        "GRADIO_SSR_MODE": "False",
        "GRADIO_MCP_SERVER": "False",
        "GRADIO_RUN_HISTORY": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
