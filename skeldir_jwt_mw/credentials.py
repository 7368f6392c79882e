"""Where a request carries its token: in `Authorization` (RFC 6750 §2.1), or where a getter looks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .rules import refuse, text_of

Headers: TypeAlias = Mapping[
    str, tuple[str, ...]
]  # lower-case names; several lines of one name in their order
TokenGetter: TypeAlias = Callable[[Headers], str | None]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # of headers and cookies (RFC 9110 §5.6.2)
_B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
_BEARER = re.compile(rb"\s*bearer(?![!#$%&'*+.^_`|~0-9A-Za-z-])", re.IGNORECASE)
_JOINED_BEARER = re.compile(rb",[ \t]*bearer(?=[ \t,]|\Z)", re.IGNORECASE)


def bearer_token(lines: Sequence[bytes]) -> bytes | None:
    """The token of the `Authorization` lines; None if there are none, empty where they are malformed.

    Whether the token is a b64token is left to `is_b64token`: only tokens that are refused need the question.
    """
    if len(lines) != 1:
        return b"" if lines else None
    value = lines[0]
    if value.startswith(b"Bearer ") or value[:7].lower() == b"bearer ":  # the first is how it is sent
        raw = value[7:]
        return raw.strip(b" ") if b" " in raw else raw
    # An empty value counts as no header: gateways that hand headers on as variables send it for want of one.
    return b"" if _BEARER.match(value) or _JOINED_BEARER.search(value) else None


def is_b64token(raw: str | bytes) -> bool:
    """Whether the grammar of bearer credentials admits the token (RFC 6750 §2.1)."""
    if isinstance(raw, str):
        raw = raw.encode("latin-1", "replace")
    return _B64TOKEN.fullmatch(raw) is not None


def from_header(name: str) -> HeaderGetter:
    """A `token_getter` that takes the bare token from the header `name`.

    Several such lines are joined, as servers do, so that the request is refused as malformed. Raises
    `ConfigurationError`.
    """
    return HeaderGetter(_name_of("header", name))


def from_cookie(name: str) -> CookieGetter:
    """A `token_getter` that takes the token from the cookie `name` (RFC 6265 §5.4).

    Several such cookies are a malformed request. Browsers send cookies along with requests that other sites
    cause; protection from those (CSRF) is the app's task. Raises `ConfigurationError`.
    """
    return CookieGetter(_name_of("cookie", name))


@dataclass(frozen=True, slots=True)
class HeaderGetter:
    """Takes the token from a header."""

    name: str  # as it was given, for descriptions

    def __call__(self, headers: Headers) -> str | None:
        """The token; None where there is none."""
        return ",".join(headers.get(self.name.lower(), ())) or None


@dataclass(frozen=True, slots=True)
class CookieGetter:
    """Takes the token from a cookie."""

    name: str

    def __call__(self, headers: Headers) -> str | None:
        """The token; None where there is none."""
        return ",".join(value for cookie, value in _cookies(headers) if cookie == self.name) or None


def _cookies(headers: Headers) -> Iterator[tuple[str, str]]:
    for line in headers.get("cookie", ()):
        for pair in line.split(";"):
            name, _, value = pair.partition("=")
            yield name.strip(" \t"), value.strip(" \t")


def _name_of(what: str, name: str) -> str:
    text = text_of(what, name)
    if _NAME.fullmatch(text) is None:
        refuse(what, name, "must be a name of letters, digits and !#$%&'*+-.^_`|~")
    return text
