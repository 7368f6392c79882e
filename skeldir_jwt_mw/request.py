"""What an adapter shows of a request, in the two forms that requests come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .credentials import Headers


class Request(Protocol):
    """What is read of a request; each part is asked for only where it matters."""

    @property
    def method(self) -> str:
        """The method as it was sent; some other word where there is none."""
        ...

    @property
    def path(self) -> str:
        """The decoded path that the app routes on, without `root_path` or `SCRIPT_NAME`."""
        ...

    @property
    def has_one_path(self) -> bool:
        """Whether every framework reads `path` out of the request, and none of them another one."""
        ...

    @property
    def authorization(self) -> Sequence[bytes]:
        """The value of every `Authorization` line, as bytes."""
        ...

    @property
    def headers(self) -> Headers:
        """All header lines."""
        ...


class EnvironRequest:
    """A request that is described by a WSGI environ (PEP 3333), or by Django's `META`."""

    __slots__ = ("_environ",)

    has_one_path = True  # a server has taken `SCRIPT_NAME` off already

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    @property
    def method(self) -> str:
        """`REQUEST_METHOD`."""
        return str(self._environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        """`PATH_INFO`, whose characters stand for bytes, as the UTF-8 that those bytes are."""
        path: str = self._environ.get("PATH_INFO", "")
        return path.encode("latin-1", "replace").decode("utf-8", "replace")

    @property
    def authorization(self) -> Sequence[bytes]:
        """`HTTP_AUTHORIZATION`, into which a server has joined several lines."""
        value: str | None = self._environ.get("HTTP_AUTHORIZATION")
        return () if value is None else (value.encode("latin-1", "replace"),)

    @property
    def headers(self) -> Headers:
        """`HTTP_*`, `CONTENT_TYPE` and `CONTENT_LENGTH` under the names of the headers."""
        return {
            name.removeprefix("HTTP_").replace("_", "-").lower(): (value,)
            for name, value in self._environ.items()
            if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        }


class ScopeRequest:
    """A request that is described by an ASGI connection scope, of HTTP or a WebSocket.

    Raises `ValueError` for the scope of any other protocol, and for one that lacks its path (ASGI
    §Applications: what an app does not serve it answers with an exception).
    """

    __slots__ = ("_scope",)

    def __init__(self, scope: Mapping[str, Any]) -> None:
        kind = scope.get("type")
        if kind != "http" and kind != "websocket":
            served = "http, websocket and lifespan are"
            raise ValueError(f"an ASGI scope of the type {kind!r:.40} is not served; {served}")
        if "path" not in scope:
            raise ValueError(f"an ASGI scope of the type {kind!r} is not served without its path")
        self._scope = scope

    @property
    def method(self) -> str:
        """`method`; a WebSocket's scope has none."""
        if self._scope["type"] == "websocket":
            return "WEBSOCKET"
        return str(self._scope.get("method", ""))

    @property
    def path(self) -> str:
        """`path` below `root_path`, which some servers and frameworks put in front of it and some do not."""
        path: str = self._scope["path"]
        below = path.removeprefix(self._root)
        return below if below[:1] in ("", "/") else path

    @property
    def has_one_path(self) -> bool:
        """Whether `root_path` stands in front or nowhere: some frameworks cut it off wherever it stands."""
        path = self._scope["path"]
        return not self._root or self._root not in path or self.path != path

    @property
    def _root(self) -> str:
        root: str = self._scope.get("root_path", "")
        return root if root != "/" else ""

    @property
    def authorization(self) -> Sequence[bytes]:
        """The `Authorization` lines. Names need not be in lower case; length first, for speed."""
        lines: list[bytes] = []
        for name, value in self._scope.get("headers", ()):
            if len(name) == 13 and name.lower() == b"authorization":
                lines.append(value)
        return tuple(lines)

    @property
    def headers(self) -> Headers:
        """All header lines, decoded as Latin-1."""
        headers: dict[str, list[str]] = {}
        for raw_name, value in self._scope.get("headers", ()):
            name = raw_name.decode("latin-1").lower()
            headers.setdefault(name, []).append(value.decode("latin-1"))
        return {name: tuple(lines) for name, lines in headers.items()}
