"""The compact JWS, read strictly: framing, base64url and the header (RFC 7515 §3.1, §4, §7.1; RFC 8725).

The path of every request works on bytes and never splits: everything between the first and the last dot has
to decode as base64url, which a third dot does not.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, cast

from skeldir_jwt_mw.errors import InvalidToken

from .signature import SUPPORTED_ALGORITHMS, canonical_algorithm
from .strict_json import MalformedJSON, parse_brief, parse_object, parts_of

__all__ = [
    "Compact",
    "Header",
    "HeaderRules",
    "MalformedJSON",
    "claimed_issuers",
    "compile_header_check",
    "decode_segment",
    "exactly",
    "header_segment",
    "is_key_id",
    "max_header_bytes",
    "may_be_issued_after",
    "parse_brief",
    "parse_header",
    "parse_object",
    "payload_segment",
    "split",
    "thumbprints_in",
    "too_large",
]

MAX_HEADER_BYTES = 2048  # decoded
MAX_CERTIFICATE_HEADER_BYTES = 8192  # decoded, for issuers whose headers bring certificates that are ignored
MAX_HEADER_CHARACTERS = (MAX_CERTIFICATE_HEADER_BYTES * 8 + 5) // 6  # the same, in base64url
MAX_HEADER_PARTS = 32  # commas and opening brackets, those in strings too, but for a short header
SHORT_HEADER_BYTES = 128  # decoded; whatever it holds is read soon
MAX_KEY_ID_BYTES = 256  # in UTF-8
MAX_CLAIMED = 8  # strings called `iss`, at any depth, among which the issuer is looked for
JWE_DOTS = 4

_URL_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_STANDARD = _URL_SAFE[:62] + b"+/"
_ILLEGAL = b"!"

# To the alphabet that binascii reads; every byte outside base64url ("=", "+", "/" and the dot among them)
# becomes one that its strict mode refuses (R01).
_TO_STANDARD = bytes.maketrans(
    bytes(range(256)),
    bytes(_STANDARD[_URL_SAFE.index(byte)] if byte in _URL_SAFE else _ILLEGAL[0] for byte in range(256)),
)

# By length mod 4: the padding to add, and the last characters whose unused bits are zero (R04; RFC 4648
# §3.5). A length of 1 mod 4 is no base64 at all, so nothing may end it.
_PADDING = (b"", b"", b"==", b"=")
_LAST = (_STANDARD, b"", _STANDARD[::16], _STANDARD[::4])

# Up to eleven digits of whole seconds, behind which no digit or exponent may follow; else an empty match.
_IAT = re.compile(rb'"iat"\s*:\s*((?:[0-9]{1,11}(?![0-9.eE]))?)')

_ISS = re.compile(rb'"iss"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# Members that change how a token is to be read. We understand none of them, so any `crit` is refused (R12),
# and `b64` even where it is true (R13; RFC 7797 §7).
_CHANGES_READING = frozenset({"crit", "b64", "enc", "p2c", "p2s", "epk"})
# Members that bring a key along: never a key source; ignored for an issuer that says it sends them (R14). So
# is `zip`, which means nothing in a JWS and of which some providers do not know that.
_IGNORABLE = frozenset({"jwk", "jku", "x5u", "x5c", "zip"})

Compact = tuple[bytes, bytes, bytes, bytes]
"""Signing input, header segment (base64url, not judged yet), payload (decoded), signature (decoded)."""


def exactly(raw: object) -> str | bytes | None:
    """A string or bytes as an exact one, whatever a subclass makes of itself; None for what is neither."""
    kind = type(raw)
    if kind is str or kind is bytes:
        return raw  # type: ignore[return-value]
    # By its type: `isinstance` believes the `__class__` of a lazy object.
    if issubclass(kind, str):
        return str.__str__(cast(str, raw))
    if issubclass(kind, bytes):
        return bytes.__getitem__(cast(bytes, raw), slice(None))
    return None


def too_large(max_bytes: int) -> InvalidToken:
    """The refusal of a token of more than `max_bytes`."""
    return InvalidToken("too_large", f"the token is longer than {max_bytes} bytes (max_token_bytes)")


def split(token: object, max_bytes: int) -> Compact:
    """Take a compact JWS of at most `max_bytes` apart; raises `InvalidToken` (R01-R04; RFC 7515 §7.1).

    A plain tuple, for a value class costs as much as all the slicing. Payload and signature come decoded. The
    header segment does not: the caller remembers what it made of it, and `parse_header` judges a new one.
    """
    if not isinstance(token, (str, bytes)):
        raise InvalidToken("malformed")
    if len(token) > max_bytes:
        raise too_large(max_bytes)
    if isinstance(token, str):
        # Asked before encode(), whose error would hold the token.
        if not token.isascii():
            raise InvalidToken("malformed")
        token = token.encode()
    header_end = token.find(b".")
    payload_end = token.rfind(b".")
    if header_end > MAX_HEADER_CHARACTERS:
        raise InvalidToken("too_large", f"the header is longer than {MAX_CERTIFICATE_HEADER_BYTES} bytes")
    standard = token.translate(_TO_STANDARD)
    payload = standard[header_end + 1 : payload_end]
    signature = standard[payload_end + 1 :]
    if (
        header_end < 1
        or not payload
        or not signature
        or payload[-1] not in _LAST[len(payload) & 3]
        or signature[-1] not in _LAST[len(signature) & 3]
    ):
        raise _unframed(token)
    try:
        payload = binascii.a2b_base64(payload + _PADDING[len(payload) & 3], strict_mode=True)
        signature = binascii.a2b_base64(signature + _PADDING[len(signature) & 3], strict_mode=True)
    except binascii.Error:
        pass
    else:
        return token[:payload_end], token[:header_end], payload, signature
    raise _unframed(token)


def header_segment(token: object) -> bytes:
    """What stands before the first dot, unjudged; empty where nothing does that could be a header."""
    if isinstance(token, str):
        return token[: max(0, token.find(".", 0, MAX_HEADER_CHARACTERS + 1))].encode("ascii", "replace")
    if isinstance(token, bytes):
        return token[: max(0, token.find(b".", 0, MAX_HEADER_CHARACTERS + 1))]
    return b""


def claimed_issuers(payload: bytes) -> list[str]:
    """The first strings called `iss` in a payload, at any depth, by a single pass; one more than MAX_CLAIMED.

    The token's own is among them, unless they are too many or the payload is no strict JSON. So they are good
    to choose by whose keys a signature is checked with, never to accept by.
    """
    if b"\\" in payload:  # escapes that the name may be written with
        payload = payload.replace(b"\\u0069", b"i").replace(b"\\u0073", b"s")
    return [_text(match[1]) for match in islice(_ISS.finditer(payload), MAX_CLAIMED + 1)]


def _text(written: bytes) -> str:
    """What stands between two quotes of JSON; empty, which no issuer is, where it is no strict JSON."""
    try:
        return str(json.loads(b'"%b"' % written)) if b"\\" in written else str(written, "utf-8")
    except ValueError:
        return ""


def payload_segment(token: str | bytes) -> bytes:
    """What stands between the first dot and the last, unjudged."""
    if isinstance(token, str):
        return token[token.find(".") + 1 : token.rfind(".")].encode("ascii", "replace")
    return token[token.find(b".") + 1 : token.rfind(b".")]


def may_be_issued_after(payload: bytes, moment: float) -> bool:
    """Whether a payload's `iat` may lie after `moment` (Unix seconds); True where only a full look tells.

    For tokens that are refused either way: it looks for what could be the claim, wherever it stands, and
    nobody gets anywhere by misleading it.
    """
    if b"\\" in payload:  # an escape may hide the name
        return True
    found = _IAT.findall(payload)
    return b"" in found or max(map(int, found), default=-1) + 1 > moment


def _unframed(token: bytes) -> InvalidToken:
    return InvalidToken("encrypted" if token.count(b".") == JWE_DOTS else "malformed")


def decode_segment(segment: bytes) -> bytes:
    """The bytes that one base64url segment stands for, canonical and without padding (R01, R04; RFC 7515 §2).

    Raises `InvalidToken` with the code "malformed", also for an empty segment.
    """
    standard = segment.translate(_TO_STANDARD)
    if standard and standard[-1] in _LAST[len(standard) & 3]:
        try:
            return binascii.a2b_base64(standard + _PADDING[len(standard) & 3], strict_mode=True)
        except binascii.Error:
            pass
    raise InvalidToken("malformed")


class Header(NamedTuple):
    """A header whose members are well-formed and which may be read as it stands, whoever the issuer is.

    A tuple, since one is made for every token of a flood, and a frozen class takes a microsecond more.
    """

    algorithm: str
    kid: str | None
    token_type: str | None  # `typ`, in lower case and without "application/"
    certificates: tuple[str, ...]  # `x5t#S256` and `x5t` of a token without `kid`: its key's certificate
    members: Mapping[str, Any]


class HeaderRules(Protocol):
    """What an issuer says about headers; `Issuer` fits."""

    @property
    def algorithms(self) -> Sequence[str]:
        """Names of the algorithms allowed."""

    @property
    def token_types(self) -> Sequence[str | None]:
        """Values of `typ` allowed, None for a token without it."""

    @property
    def ignored_headers(self) -> Sequence[str]:
        """Which of `jwk`, `jku`, `x5u`, `x5c`, `zip` are ignored instead of refused."""


def is_key_id(value: object) -> bool:
    """Whether a `kid` is a string of 1 to 256 bytes without control characters (R15)."""
    return (
        isinstance(value, str)
        and 0 < len(value.encode()) <= MAX_KEY_ID_BYTES
        and (value.isprintable() or not _CONTROL.search(value))  # what is printable holds no control
    )


def _media_type(name: str) -> str:
    # Only ASCII is folded: lower() also turns the Kelvin sign into a "k" (RFC 7515 §4.1.9, RFC 2045 §5.1).
    return name.lower().removeprefix("application/") if name.isascii() else name


def max_header_bytes(ignored_headers: Sequence[str]) -> int:
    """How long a decoded header may be; a chain of certificates that is ignored anyway may need more."""
    return MAX_CERTIFICATE_HEADER_BYTES if "x5c" in ignored_headers else MAX_HEADER_BYTES


def parse_header(segment: bytes, max_bytes: int = MAX_HEADER_BYTES) -> Header:
    """Read a header segment and judge what needs no issuer; raises `InvalidToken` (RFC 7515 §4, RFC 8725 §3).

    Rules R05, R06, R10, R12, R13, R15 and R17. Costs some microseconds, so callers remember the answer.
    """
    if len(segment) > MAX_HEADER_CHARACTERS or len(segment) * 6 // 8 > max_bytes:
        raise InvalidToken("too_large", f"the header is longer than {max_bytes} bytes")
    data = decode_segment(segment)
    if len(data) > SHORT_HEADER_BYTES and parts_of(data) > MAX_HEADER_PARTS:
        raise InvalidToken("bad_header", f"the header has more than {MAX_HEADER_PARTS} members and items")
    try:
        members = parse_object(data)
    except MalformedJSON as error:
        raise InvalidToken("bad_header", error.hint) from None
    algorithm = members.get("alg")
    typ = members.get("typ", "")
    cty = members.get("cty")
    if not isinstance(algorithm, str) or not isinstance(typ, str):
        raise InvalidToken("bad_header")
    if "cty" in members and not isinstance(cty, str):
        raise InvalidToken("bad_header")
    if "kid" in members and not is_key_id(members["kid"]):
        raise InvalidToken("bad_header", f"kid is no plain string of 1 to {MAX_KEY_ID_BYTES} bytes")
    if algorithm not in SUPPORTED_ALGORITHMS:  # "none" and HS* are not, whatever an issuer may say
        raise InvalidToken("algorithm_not_allowed")
    if not _CHANGES_READING.isdisjoint(members) or (cty and _media_type(cty) == "jwt"):
        raise InvalidToken("unsupported_header")
    token_type = _media_type(typ) if "typ" in members else None
    kid = members.get("kid")
    certificates = thumbprints_in(members) if kid is None else ()  # what has a kid need not pay for more
    return Header(algorithm, kid, token_type, certificates, MappingProxyType(members))


def thumbprints_in(members: Mapping[str, Any]) -> tuple[str, ...]:
    """The certificate thumbprints that a header or a JWK holds; one that is no text or empty names nothing.

    RFC 7515 §4.1.7, §4.1.8; RFC 7517 §4.8, §4.9.
    """
    given = (members.get("x5t#S256"), members.get("x5t"))
    return tuple(one for one in given if isinstance(one, str) and one)


def compile_header_check(issuer: HeaderRules) -> Callable[[Header], None]:
    """The check of a header against one issuer, which raises `InvalidToken` (R10, R14, R16)."""
    algorithms = frozenset(canonical_algorithm(name) for name in issuer.algorithms)
    token_types = frozenset(None if name is None else _media_type(name) for name in issuer.token_types)
    refused = _IGNORABLE.difference(issuer.ignored_headers)

    def admit(header: Header) -> None:
        if canonical_algorithm(header.algorithm) not in algorithms:
            raise InvalidToken("algorithm_not_allowed")
        if not refused.isdisjoint(header.members):
            raise InvalidToken("unsupported_header")
        if header.token_type not in token_types:
            raise InvalidToken("wrong_type")

    return admit
