"""Where a request carries its token: in `Authorization` (RFC 6750 §2.1), or where a getter looks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from .core.compact import exactly
from .errors import ConfigurationError
from .rules import refuse, text_of

Headers: TypeAlias = Mapping[
    str, tuple[str, ...]
]  # lower-case names; several lines of one name in their order
TokenGetter: TypeAlias = Callable[[Headers], str | None]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # of headers and cookies (RFC 9110 §5.6.2)
_B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")


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
    return b"" if _names_scheme("bearer", value) else None


def scheme_token(scheme: str, lines: Sequence[bytes]) -> bytes | None:
    """The same of another header's lines and another scheme (RFC 9110 §11.4)."""
    if len(lines) != 1:
        return b"" if lines else None
    [value] = lines
    if value[: len(scheme) + 1].lower() == f"{scheme} ".lower().encode():
        return value[len(scheme) + 1 :].strip(b" ")
    return b"" if _names_scheme(scheme, value) else None


def _names_scheme(scheme: str, value: bytes) -> bool:
    """Whether a value names the scheme, in front or behind other credentials, without a token of its own."""
    in_front, joined = _patterns(scheme)
    return in_front.match(value) is not None or joined.search(value) is not None


@cache  # of what is configured, never of what is sent
def _patterns(scheme: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    name = re.escape(scheme.encode())
    return (
        re.compile(rb"\s*%b(?![!#$%%&'*+.^_`|~0-9A-Za-z-])" % name, re.IGNORECASE),
        re.compile(rb",[ \t]*%b(?=[ \t,]|\Z)" % name, re.IGNORECASE),
    )


def exact(raw: object) -> str | bytes | None:
    """What a getter found, as nothing but a string or bytes, and empty where it is neither.

    A subclass can say that it equals what it does not; nothing that is compared later is of one.
    """
    return None if raw is None else exactly(raw) or ""


def is_b64token(raw: str | bytes) -> bool:
    """Whether the grammar of bearer credentials admits the token (RFC 6750 §2.1)."""
    if isinstance(raw, str):
        raw = raw.encode("latin-1", "replace")
    return _B64TOKEN.fullmatch(raw) is not None


def from_header(name: str, scheme: str | None = None) -> HeaderGetter:
    """A `token_getter` that takes the token from the header `name`.

    It stands there bare, or with `scheme` behind that scheme's name, as in `Authorization` (RFC 9110 §11.4);
    then another scheme counts as no token. Several such lines are malformed. Raises `ConfigurationError`.
    """
    return HeaderGetter(_name_of("header", name), None if scheme is None else _name_of("scheme", scheme))


def from_cookie(name: str) -> CookieGetter:
    """A `token_getter` that takes the token from the cookie `name` (RFC 6265 §5.4).

    Several such cookies are a malformed request. Browsers send cookies along with requests that other sites
    cause; protection from those (CSRF) is the app's task. Raises `ConfigurationError`.
    """
    return CookieGetter(_name_of("cookie", name))


def first_of(*getters: TokenGetter) -> FirstOf:
    """A `token_getter` that asks several, and takes what the first of them finds that finds anything.

    What that one finds is judged, good or bad; the others are not asked for a better one. Raises
    `ConfigurationError`.
    """
    if not getters:
        raise ConfigurationError("first_of() needs at least one getter")
    return FirstOf(tuple(_getter_of("first_of", getter) for getter in getters))


def jwt_shaped(getter: TokenGetter) -> JWTShaped:
    """A `token_getter` for services that take other tokens too, such as API keys, in the same place.

    What has fewer than two dots counts as no token, so it is the app's to judge where `required=False` lets
    the request through. Raises `ConfigurationError`.
    """
    return JWTShaped(_getter_of("jwt_shaped", getter))


@dataclass(frozen=True, slots=True)
class HeaderGetter:
    """Takes the token from a header."""

    name: str  # as it was given, for descriptions
    scheme: str | None = None

    def __call__(self, headers: Headers) -> str | None:
        """The token; None where there is none, empty where it is malformed."""
        lines = headers.get(self.name.lower(), ())
        if self.scheme is None:
            return ",".join(lines) or None
        raw = scheme_token(self.scheme, [line.encode("latin-1", "replace") for line in lines])
        return None if raw is None else raw.decode("latin-1")


@dataclass(frozen=True, slots=True)
class CookieGetter:
    """Takes the token from a cookie."""

    name: str

    def __call__(self, headers: Headers) -> str | None:
        """The token; None where there is none."""
        return ",".join(value for cookie, value in _cookies(headers) if cookie == self.name) or None


@dataclass(frozen=True, slots=True)
class FirstOf:
    """Asks several getters in their order."""

    getters: tuple[TokenGetter, ...]

    def __call__(self, headers: Headers) -> str | None:
        """What the first finds that finds anything; None where none does."""
        return next((raw for getter in self.getters if (raw := getter(headers)) is not None), None)


@dataclass(frozen=True, slots=True)
class JWTShaped:
    """Passes over what is no JWT by its looks."""

    getter: TokenGetter

    def __call__(self, headers: Headers) -> str | None:
        """What the getter finds; None where that has fewer than two dots. What is malformed stays so."""
        raw = exact(self.getter(headers))
        text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
        return None if text and text.count(".") < 2 else text


def reads_authorization(getter: TokenGetter | None, *, alone: bool) -> bool:
    """Whether a getter reads bearer tokens from `Authorization`; with `alone`, from nowhere else."""
    match getter:
        case None:
            return True
        case HeaderGetter(name, scheme):
            return name.lower() == "authorization" and scheme is not None and scheme.lower() == "bearer"
        case JWTShaped(inner):
            return reads_authorization(inner, alone=alone)
        case FirstOf(getters):
            return (all if alone else any)(reads_authorization(inner, alone=alone) for inner in getters)
    return False


def _cookies(headers: Headers) -> Iterator[tuple[str, str]]:
    for line in headers.get("cookie", ()):
        for pair in line.split(";"):
            name, _, value = pair.partition("=")
            yield name.strip(" \t"), value.strip(" \t")


def _getter_of(what: str, getter: TokenGetter) -> TokenGetter:
    if not callable(getter):
        refuse(what, getter, "must be given functions of the request's headers")
    return getter


def _name_of(what: str, name: str) -> str:
    text = text_of(what, name)
    if _NAME.fullmatch(text) is None:
        refuse(what, name, "must be a name of letters, digits and !#$%&'*+-.^_`|~")
    return text
