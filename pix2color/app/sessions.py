"""The store of all sessions, and the removal of what ended ones leave behind."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
from pathlib import Path

from pix2color.app.cached_runtime import CachePool
from pix2color.app.limits import ServerLimits
from pix2color.app.session import Session
from pix2color.errors import Pix2ColorError
from pix2color.inference.colorizer import Colorizer

_DIGEST = re.compile("[0-9a-f]{64}")
_UNUSED_SECONDS = (
    300.0  # after which the network output is dropped and a new session may replace this one
)
_FRESH_SECONDS = 30.0  # age below which an upload of an ended session stays


class SessionStore:
    """All sessions by the id that a client's gradio generates."""

    def __init__(self, colorizer: Colorizer, limits: ServerLimits, root: Path) -> None:
        """Create an empty store.

        Args:
            colorizer: used by all sessions.
            limits: of the server.
            root: parent of the sessions' folders, inside the folder of uploads; created here.
        """
        self._colorizer = colorizer
        self._caches = CachePool(colorizer, limits.cached_outputs)
        self._limits = limits
        self._root = root
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._orphans: list[Path] = []
        root.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, session_id: str) -> Session | None:
        """The session of that id, if there is one."""
        with self._lock:
            return self._sessions.get(session_id)

    def get(self, session_id: str) -> Session:
        """The session of that id; Pix2ColorError if there is none."""
        if session := self.find(session_id):
            return session
        raise Pix2ColorError(
            "no photo is here: none was sent, or the session has ended and its photos are removed"
        )

    def get_or_create(self, session_id: str) -> Session:
        """The session of that id, a new one for a new id.

        For clients that send photos: an id alone needs no session. Where all places are taken, a
        session without results ends, or else the one unused for longest, if that is some minutes.

        Raises:
            Pix2ColorError: an empty id, or no place.
        """
        if not session_id:
            raise Pix2ColorError("a request without a session id")
        replaced = None
        with self._lock:
            if session_id not in self._sessions:
                if len(self._sessions) >= self._limits.sessions:
                    replaced = self._sessions.pop(self._replaceable())
                folder = self._root / secrets.token_urlsafe(24)
                folder.mkdir(mode=0o700)
                self._sessions[session_id] = Session(
                    self._colorizer, self._limits, folder, self._caches
                )
            session = self._sessions[session_id]
        if replaced is not None:
            self._close(replaced)
        return session

    def _replaceable(self) -> str:
        """The id of the session that a new one may replace."""
        idle = [
            (s.has_results, s.last_used, name) for name, s in self._sessions.items() if not s.busy
        ]
        if idle:
            has_results, last_used, name = min(idle)
            if not has_results or last_used < time.monotonic() - _UNUSED_SECONDS:
                return name
        raise Pix2ColorError("too many people are here; come back later")

    def uploaded(self, path: object) -> Path:
        """The upload that a client names, and no other file: FOLDER/<digest>/<name>.

        Gradio and the request filter have checked it before; here it is opened.

        Args:
            path: anything.

        Raises:
            Pix2ColorError: it is no upload, or no longer there.
        """
        upload = Path(str(path))
        inside = upload.parent.parent == self._root.parent and _DIGEST.fullmatch(upload.parent.name)
        if not inside or upload.is_symlink() or not upload.is_file():
            raise Pix2ColorError("this upload is not here; upload the photo again")
        return upload

    def close(self, session_id: str) -> None:
        """Close and remove a session. Unknown ids are ignored."""
        with self._lock:
            session = self._sessions.pop(session_id, None)
        if session is not None:
            self._close(session)

    def _close(self, session: Session) -> None:
        session.close()
        with self._lock:
            self._orphans += session.uploads

    def expire(self) -> None:
        """Close idle sessions, drop unused network outputs, remove uploads of ended sessions."""
        now = time.monotonic()
        for session_id, session in [*self._sessions.items()]:
            if session.last_used < now - self._limits.idle_seconds:
                self.close(session_id)
            elif session.last_used < now - _UNUSED_SECONDS and not session.busy:
                self._caches.release(session.folder)
        with self._lock:
            self._orphans = [path for path in self._orphans if not _removed(path)]

    def close_all(self) -> None:
        """Close all sessions, at shutdown."""
        for session_id in [*self._sessions]:
            self.close(session_id)


def _removed(upload: Path) -> bool:
    """Remove an upload unless it is fresh: another client may just have sent the same photo."""
    with contextlib.suppress(OSError):
        if upload.stat().st_mtime > time.time() - _FRESH_SECONDS:
            return False
        upload.unlink()
        upload.parent.rmdir()
    return True


def remove_old_uploads(folder: Path, *, older_than: float, keep: Path) -> None:
    """Delete uploads in `folder` that are older than `older_than` seconds, and empty folders.

    Those uploads were never added to a session.

    Args:
        keep: the sessions' folder, which is left alone.
    """
    latest = time.time() - older_than
    for parent, folders, names in os.walk(folder):
        if Path(parent) == folder and keep.parent == folder:
            folders.remove(keep.name)
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < latest:
                    path.unlink()
        for name in folders:
            with contextlib.suppress(OSError):  # not empty
                Path(parent, name).rmdir()
