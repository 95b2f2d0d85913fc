"""Which host names the server answers to, and which web pages may send requests to it.

A check of the Host header stops DNS rebinding: a web page whose own host name is made to point to
this machine. A check of Origin and Sec-Fetch-Site stops requests that other pages send directly.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_NETLOC = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:[0-9]{1,5})?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WILDCARDS = ("", "0.0.0.0", "::")


class HostPolicy:
    """The check of one server."""

    def __init__(self, bound: str, allowed: Iterable[str] = ()) -> None:
        """Set the names up.

        Args:
            bound: the address or name that the server listens on. With a wildcard address every
                IP address is accepted, since only names can be rebound.
            allowed: further host names, such as that of a proxy in front of the server.
        """
        self._allowed = {_normalized(name) for name in allowed}
        self._names = {*_LOOPBACK, _normalized(bound)}
        self._any_address = _normalized(bound) in _WILDCARDS

    def allow(self, name: str) -> None:
        """Accept a further host name."""
        self._allowed.add(_normalized(name))

    def refusal(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> str | None:
        """Why a request is refused; None if it is not."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self._serves(host):
            return "this server does not answer to that host name"
        if self._is_foreign(host, headers) and not (method in ("GET", "HEAD") and path == "/"):
            return "a request from a page of some other site"
        return None

    def _serves(self, host: str) -> bool:
        name = _hostname(host)
        if name is None:
            return False
        return name in self._names | self._allowed or (self._any_address and _is_address(name))

    def _is_foreign(self, host: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser says that another site's page sends this; programs say nothing."""
        site = headers.get(b"sec-fetch-site", b"none")
        if site not in (b"same-origin", b"none"):
            return True
        origin = headers.get(b"origin")
        if origin is None:
            return False
        netloc = urlsplit(origin.decode("latin-1").lower()).netloc
        # A proxy may have replaced the Host header, but not the origin.
        return netloc != host and _hostname(netloc) not in self._allowed


def _normalized(name: str) -> str:
    return name.strip().lower().strip("[]").rstrip(".")


def _hostname(netloc: str) -> str | None:
    """Host without port and brackets; None for what is not a host."""
    match = _NETLOC.fullmatch(netloc)
    return _normalized(match[1]) if match else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
