"""POST /colorize: one photo in, the colored file out, for programs without a session.

The file is the one that infer.py would write. Every answer but that file is JSON with a `detail`.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from pix2color.app import uploads, validation
from pix2color.app.limits import ServerLimits
from pix2color.config import DecodeConfig
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.inference.colorizer import Colorizer
from pix2color.jobs import pipeline
from pix2color.jobs.planner import plan_jobs
from pix2color.photo import Limits

_HOW = "send one photo as multipart/form-data: curl -F photo=@scan.jpg"
_OPTIONS = ("temperature", "vividness", "saturation", "calibration")
_AT_A_TIME = 2  # photos that are colored
_FAULT = "something went wrong on the server; the photo may be unusual, others should work"
_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]


class ColorizeEndpoint:
    """An ASGI application; the request filter has checked host, size and disk before.

    Args:
        colorizer: of the server.
        limits: of the server.
        folder: for its temporary files.
    """

    def __init__(self, colorizer: Colorizer, limits: ServerLimits, folder: Path) -> None:
        self._colorizer = colorizer
        self._limits = limits
        self._folder = folder
        self._places = anyio.Semaphore(_AT_A_TIME)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        folder = Path(tempfile.mkdtemp(prefix="post-", dir=self._folder))
        try:
            answer = await self._answer(request, folder)
            await answer(scope, receive, send)
        except ClientDisconnect:
            pass
        finally:
            await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)

    async def _answer(self, request: Request, folder: Path) -> Response:
        try:
            decode = self._decode(request)
            source = await _save_photo(request, folder, self._limits.upload_bytes)
            if self._places.statistics().tasks_waiting >= self._limits.queue:
                return _refusal(503, "too many photos are waiting; try again later")
            async with self._places:
                target = await run_in_threadpool(self._colorize, source, decode, folder / "out")
        except HTTPException as error:
            return _refusal(error.status_code, error.detail)
        except Exception as error:  # a fault of the server, which goes on
            if isinstance(error, ClientDisconnect):
                raise
            _log.error("a fault while serving a request", exc_info=error)
            return _refusal(500, _FAULT)
        return FileResponse(target, filename=target.name)

    def _decode(self, request: Request) -> DecodeConfig:
        """The options of the query, each once."""
        options: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name not in _OPTIONS:
                raise HTTPException(400, f"no option {name[:40]!r}: {', '.join(_OPTIONS)}")
            if name in options:
                raise HTTPException(400, f"{name} is given twice")
            try:
                options[name] = float(value)
            except ValueError:
                raise HTTPException(400, f"{name} is not a number") from None
        try:
            settings = validation.settings(**options)
            return self._colorizer.resolve_decode(**settings.decode_options())
        except Pix2ColorError as error:
            raise HTTPException(400, error.message) from None

    def _colorize(self, source: Path, decode: DecodeConfig, out: Path) -> Path:
        options = pipeline.JobOptions(
            decode=decode,
            limits=Limits(megapixels=self._limits.megapixels),
            provenance=pipeline.provenance_of(self._colorizer, decode),
        )
        jobs = plan_jobs([source], out).jobs
        [outcome] = pipeline.colorize_jobs(jobs, lambda: self._colorizer, options, workers=1)
        if outcome.is_fault:
            _log.error("a fault while coloring a photo: %s", outcome.reason)
            raise HTTPException(500, _FAULT)
        if outcome.status != "done":
            raise HTTPException(422, outcome.reason)
        return outcome.job.target


async def _save_photo(request: Request, folder: Path, most: int) -> Path:
    """The one file of a form, under its plain name."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, _HOW)
    try:
        async with request.form(max_files=2, max_fields=10) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if len(files) != 1 or not files[0].size:
                empty = files and not files[0].size
                found = "an empty file" if empty else f"{len(files) or 'no'} files"
                raise HTTPException(400, f"{found}: {_HOW}")
            return await run_in_threadpool(_take, files[0], folder, most)
    except MultiPartException as error:
        raise HTTPException(400, error.message) from None
    except PhotoError as error:
        raise HTTPException(422, error.message) from None


def _take(file: UploadFile, folder: Path, most: int) -> Path:
    """Copy an upload out of its temporary file; raises PhotoError for what is no photo."""
    sent = folder / "sent" / Path(uploads.plain_name(file.filename or "photo")).name
    sent.parent.mkdir()
    with sent.open("wb") as out:
        shutil.copyfileobj(file.file, out, 1 << 20)
    result = uploads.ingest([sent], folder / "in", files=1, size=most)
    if result.refused:
        raise PhotoError(result.refused[0][1])
    return result.photos[0][1]


def _refusal(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"detail": reason}, status)
