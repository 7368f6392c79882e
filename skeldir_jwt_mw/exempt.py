"""Which requests need no token."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from http import HTTPMethod

from .request import Request
from .rules import members_of, refuse, suggestion

logger = logging.getLogger("skeldir_jwt_mw")

METHODS = (*HTTPMethod.__members__, "QUERY", "WEBSOCKET")  # the last is what a WebSocket's handshake goes by

# Whatever an app, or something behind it, may read as another path than the one that was compared: dot
# segments (also with parameters), empty segments, backslashes, control characters; what a second decoding
# would turn into these; and what is left of bytes that are not UTF-8.
_AMBIGUOUS = re.compile(
    r"/\.{1,2}(?:[/;]|\Z) | // | \\ | %(?:2[ef]|5c|00) | [\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]",
    re.IGNORECASE | re.VERBOSE,
)

# What patterns of other tools hold; a plain path of an app hardly ever does.
_PATTERN = re.compile(r"[*?{}<>] | \$\Z", re.VERBOSE)


class ExemptPaths:
    """A request is among them when its path equals one, or starts with one that ends in `/`.

    A path may have methods in front (`"GET,HEAD /public/"`), and is then exempt for these alone. Paths are
    compared decoded, as the app routes on them. Raises `ConfigurationError` for a relative path, for one that
    no request can match, and for what is no method.
    """

    __slots__ = ("_by_method", "_of_all")

    def __init__(self, paths: Iterable[str]) -> None:
        of_all: list[str] = []
        by_method: dict[str, list[str]] = {}
        for entry in members_of("exempt", paths, "paths", may_be_empty=True):
            methods, path = _parts_of(entry)
            for places in [by_method.setdefault(method, []) for method in methods] or [of_all]:
                places.append(path)
            if path == "/":
                which = ", ".join(methods) or "all"
                logger.warning(
                    "exempt holds '/', the prefix of every path: no request needs a token (methods: %s)",
                    which,
                )
        self._of_all = _Places(of_all)
        self._by_method = {method: _Places(places) for method, places in by_method.items()}

    def __bool__(self) -> bool:
        return bool(self._of_all or self._by_method)

    def __contains__(self, request: Request) -> bool:
        path = request.path
        if path not in self._of_all:
            places = self._by_method.get(request.method)
            if places is None or path not in places or overrides_method(request):
                return False
        return _AMBIGUOUS.search(path) is None and request.has_one_path


class _Places:
    """Paths that are compared whole, and those that are compared as prefixes."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, paths: Sequence[str]) -> None:
        self._exact = frozenset(paths)
        self._prefixes = tuple(path for path in paths if path.endswith("/"))

    def __bool__(self) -> bool:
        return bool(self._exact)

    def __contains__(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._prefixes)


def overrides_method(request: Request) -> bool:
    """Whether a header asks that the app take the request for one of another method.

    What honours it may stand behind us, so such a request is never exempt for the method that we see.
    """
    return any("method" in name and "override" in name for name in request.headers) or (
        "x-http-method" in request.headers
    )


def _parts_of(entry: object) -> tuple[tuple[str, ...], str]:
    """The methods of an entry, none where it is for all of them, and its path."""
    if not isinstance(entry, str):
        refuse("exempt", entry, "must hold paths that start with /")
    methods: tuple[str, ...] = ()
    path = entry
    if not entry.startswith("/"):
        named, space, path = entry.partition(" /")
        if not space:
            refuse("exempt", entry, "must hold paths that start with /, or methods in front of such a path")
        methods, path = tuple(dict.fromkeys(named.split(","))), f"/{path}"
        for method in methods:
            if method not in METHODS:
                hint = suggestion(method, METHODS)
                known = f"such as 'GET,HEAD {path}'{hint}; there are {', '.join(METHODS)}"
                refuse("exempt", entry, f"must name methods in capitals, with commas between them, {known}")
    if pattern := _PATTERN.search(path):
        refuse("exempt", entry, f"must hold paths and no patterns: {_instead_of(path, pattern.start())}")
    if _AMBIGUOUS.search(path):
        refuse("exempt", entry, "must hold decoded paths without dot segments, // and backslashes")
    return methods, path


def _instead_of(path: str, pattern_at: int) -> str:
    """What to write in place of a pattern. Never that all paths are exempt, which nobody should slip into."""
    prefix = path[: path.rindex("/", 0, pattern_at) + 1]
    return "name each path" if prefix == "/" else f"write {prefix!r} for every path below it"
