"""Which paths need no token."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from .rules import members_of, refuse

logger = logging.getLogger("skeldir_jwt_mw")

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
    """A path is among them when it equals one, or starts with one that ends in `/`.

    Paths are compared decoded, as the app routes on them. Raises `ConfigurationError` for a relative path,
    and for one that no request can match.
    """

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, paths: Iterable[str]) -> None:
        members = members_of("exempt", paths, "paths", may_be_empty=True)
        for path in members:
            if not isinstance(path, str) or not path.startswith("/"):
                refuse("exempt", path, "must hold paths that start with /")
            if pattern := _PATTERN.search(path):
                refuse(
                    "exempt", path, f"must hold paths and no patterns: {_instead_of(path, pattern.start())}"
                )
            if _AMBIGUOUS.search(path):
                refuse("exempt", path, "must hold decoded paths without dot segments, // and backslashes")
        if "/" in members:
            logger.warning("exempt holds '/', the prefix of every path: no request needs a token")
        self._exact = frozenset(members)
        self._prefixes = tuple(path for path in members if path.endswith("/"))

    def __bool__(self) -> bool:
        return bool(self._exact)

    def __contains__(self, path: str) -> bool:
        if path not in self._exact and not path.startswith(self._prefixes):
            return False
        return _AMBIGUOUS.search(path) is None


def _instead_of(path: str, pattern_at: int) -> str:
    """What to write in place of a pattern. Never that all paths are exempt, which nobody should slip into."""
    prefix = path[: path.rindex("/", 0, pattern_at) + 1]
    return "name each path" if prefix == "/" else f"write {prefix!r} for every path below it"
