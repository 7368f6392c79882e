"""Judging one setting at a time: each rule returns the value in its one form or refuses it by name.

A refusal is a `ConfigurationError` whose text is `name (value) rule`, with the credentials in a URL left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Set
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, NoReturn
from urllib.parse import urlsplit

from .core.pointer import first_member, parse_pointer
from .errors import ConfigurationError

ClaimValue = str | int | float | bool

# fmt: off
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)
# fmt: on
"""Every algorithm that an issuer may be allowed (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2)."""

MAX_SUGGESTED_FOR = 64  # characters; what is longer is no slip
MAX_DURATION = 31_622_400.0  # seconds, 366 days; keeps sums far inside what clocks, locks and SQL can hold

_URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+\Z")  # RFC 3986 §2
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")  # what is left besides is an IPv6 address in brackets
_SYMMETRIC = re.compile(r"HS\d+\Z", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def shown(value: object) -> str:
    """A setting's value for an error text: short, and without the credentials or the query of a URL."""
    text = repr(value)
    text = re.sub(r"//[^\s'\"]*@", "//***@", text)
    text = re.sub(r"\?[^'\"\s]*", "?***", text) if "://" in text else text
    return text if len(text) <= 100 else text[:97] + "..."


def suggestion(word: object, known: Iterable[str], show: Callable[[str], str] = str) -> str:
    """The words `, did you mean 'X'` where `word` is a known one but for a slip or its case, else nothing.

    `show` makes of the known word what is suggested. Another word is never suggested, however much of it is
    the same: whoever follows the suggestion must get what they meant.
    """
    if not isinstance(word, str) or len(word) > MAX_SUGGESTED_FOR:
        return ""
    folded = _bare(word)
    allowed = 0 if len(folded) < 3 else 1 if len(folded) < 6 else 2
    ranks: dict[str, tuple[int, bool]] = {}
    for name in known:
        bare = _bare(name)
        ranks[name] = (_slips(folded, bare), sorted(bare) != sorted(folded))  # a swap goes before a mistake
    best = min(ranks.values(), default=(allowed + 1, True))
    near = [name for name, rank in ranks.items() if rank == best]
    return f", did you mean {show(near[0])!r}" if len(near) == 1 and best[0] <= allowed else ""


def _bare(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")


def _slips(word: str, other: str) -> int:
    """How many letters were left out, put in, mistaken or swapped with their neighbour (Damerau)."""
    if abs(len(word) - len(other)) > 2:
        return 99
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word, 1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == wanted:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def refuse(name: str, value: object, rule: str) -> NoReturn:
    """Raise the `ConfigurationError` for a setting whose value breaks a rule."""
    raise ConfigurationError(f"{name} ({shown(value)}) {rule}")


def whole_number_of(name: str, value: object, least: int, most: int) -> int:
    """The value, which must be a whole number between the two, or be them."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigurationError(f"{name} is {value!r}; it must be a whole number from {least} to {most}")
    return value


def text_of(name: str, value: object) -> str:
    """`value`, which has to be a string with something in it and nothing odd around it."""
    if not isinstance(value, str):
        refuse(name, value, "must be a string")
    if not value.strip():
        refuse(name, value, "must not be empty")
    if value != value.strip() or _CONTROL.search(value):
        refuse(name, value, "must not have white space around it, nor control characters in it")
    if not _is_unicode(value):
        refuse(name, value, "must be well-formed Unicode")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, from undecodable bytes in the environment
        return False
    return True


def members_of(name: str, value: object, what: str, *, may_be_empty: bool = False) -> tuple[Any, ...]:
    """The members of a list, tuple or set; a lone string is a mistake that would be read letter by letter."""
    if isinstance(value, str):
        refuse(name, value, f"must be a sequence of {what}, such as ({value!r},), and not a string")
    if not isinstance(value, (list, tuple, Set)):
        refuse(name, value, f"must be a sequence of {what}")
    members = sorted(value, key=repr) if isinstance(value, Set) else value
    if not members and not may_be_empty:
        refuse(name, value, f"must not be empty; it needs at least one of {what}")
    if all(isinstance(member, str) or member is None for member in members):
        return tuple(dict.fromkeys(members))  # twice the same is once
    return tuple(members)


def flag(name: str, value: object) -> bool:
    """True or False, and nothing that is merely true or false."""
    if not isinstance(value, bool):
        refuse(name, value, "must be True or False")
    return value


def seconds_of(name: str, value: object) -> float:
    """A duration in seconds, from 0 to `MAX_DURATION`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        refuse(name, value, "must be a number of seconds")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0:
        refuse(name, value, "must be a number of seconds, finite and not negative")
    if number > MAX_DURATION:
        refuse(name, value, f"must be at most {MAX_DURATION:.0f} s (366 days)")
    return number


def claim_name(setting: str, name: object) -> str:
    """A claim's name or JSON Pointer (RFC 6901)."""
    if not isinstance(name, str):
        refuse(setting, name, "must name claims by strings")
    if not name.strip():
        refuse(setting, name, "must not hold an empty name")
    if name.startswith("/"):
        try:
            parse_pointer(name)
        except ValueError as error:
            refuse(setting, name, f"holds a malformed JSON Pointer: {error} (RFC 6901)")
    if first_member(name) == "cnf":
        refuse(setting, name, "is contradictory: a token with cnf is bound to its sender and always refused")
    return name


def url_of(name: str, value: object, *, allow_http: bool, may_have_query: bool) -> str:
    """An absolute URL that may be fetched from; addresses are judged when it is."""
    text = text_of(name, value)
    if _URL_CHARACTERS.match(text) is None:
        refuse(name, text, "must be a URL of ASCII characters that RFC 3986 allows")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        refuse(name, text, "must be a URL with a well-formed host and port")
    if parts.scheme == "http" and not allow_http:
        refuse(name, text, "must be an https URL; http is for development, with allow_http=True")
    if parts.scheme not in ("https", "http"):
        refuse(name, text, "must be an https URL")
    if not host or not (_HOST_NAME.match(host) or ":" in host) or port == 0:
        refuse(name, text, "must be a URL with a well-formed host, and a port other than 0")
    if "@" in parts.netloc:
        refuse(name, text, "must not hold a user name or password")
    if "#" in text:
        refuse(name, text, "must not have a fragment")
    if "?" in text and not may_have_query:
        refuse(name, text, "must not have a query (RFC 8414 §2)")
    return text


WELL_KNOWN = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")


def no_document(name: str, text: str, what: str) -> None:
    """Refuse the address of a discovery document where `what` is wanted."""
    for ending in WELL_KNOWN:
        if text.rstrip("/").endswith(ending):
            refuse(name, text, f"is the address of the discovery document; {what}")


def within_reach(name: str, url: str, *, allow_private_hosts: bool) -> None:
    """Refuse a URL on this machine, or over plain http in this network, without leave (R51).

    It is bound to be refused whenever keys are fetched, so say it at once. Nothing is resolved.
    """
    parts = urlsplit(url)
    if not allow_private_hosts and _is_private(parts.hostname or "", over_http=parts.scheme == "http"):
        refuse(name, url, "is on a private host: it also needs allow_private_hosts=True")


def _is_private(host: str, *, over_http: bool) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or (over_http and not address.is_global)


def algorithms_of(value: object) -> tuple[str, ...]:
    """Algorithms out of `ALGORITHMS`, in the given order (R10)."""
    allowed = f"allowed are {', '.join(ALGORITHMS)}"
    names = members_of("algorithms", value, "algorithm names")
    for name in names:
        if not isinstance(name, str):
            refuse("algorithms", name, f"must name algorithms by strings; {allowed}")
        if _SYMMETRIC.match(name):
            reason = (
                "whoever checks a MAC can issue tokens, and a public key could be passed off as its secret"
            )
            refuse("algorithms", name, f"is never accepted: {reason}; {allowed}")
        if name.casefold() == "none":
            refuse(
                "algorithms",
                name,
                f"is never accepted: without a signature a token proves nothing; {allowed}",
            )
        if name not in ALGORITHMS:
            refuse("algorithms", name, f"is not supported{suggestion(name, ALGORITHMS)}; {allowed}")
    return names


def audience_of(value: object) -> tuple[str | None, ...]:
    """Audiences; None among them stands for a token without `aud` (R31)."""
    if value is None or isinstance(value, str):
        value = (value,)
    members = members_of("audience", value, "strings (or None, for tokens without aud)")
    return tuple(None if member is None else text_of("audience", member) for member in members)


def token_types_of(value: object) -> tuple[str | None, ...]:
    """Lower-case, without `application/`: the form that a header's `typ` is compared in (RFC 7515 §4.1.9)."""
    types: list[str | None] = []
    for member in members_of("token_types", value, "types, or None for a token without typ"):
        name = None if member is None else text_of("token_types", member).lower().removeprefix("application/")
        if name == "":
            refuse("token_types", member, "must not be empty behind application/")
        if name not in types:
            types.append(name)
    return tuple(types)


def pins_of(value: object) -> Mapping[str, tuple[ClaimValue, ...]]:
    """Claim names to the scalar values of which each claim must have one."""
    if not isinstance(value, Mapping):
        refuse("claims", value, "must be a mapping from claim names to required values")
    pins: dict[str, tuple[ClaimValue, ...]] = {}
    for key, alternatives in dict(value).items():
        name = claim_name("claims", key)
        setting = f"claims[{name!r}]"
        if isinstance(alternatives, (list, tuple, Set)):
            values = members_of(setting, alternatives, "values")
        else:
            values = (alternatives,)
        for one in values:
            if not isinstance(one, (str, int, float)):  # bool is an int
                refuse(setting, one, "must be a string, a number or a boolean, or a sequence of those")
            if isinstance(one, float) and not math.isfinite(one):
                refuse(setting, one, "must be finite; JSON has no such number")
            if one == "":
                refuse(setting, one, "must not be empty; an unset variable perhaps?")
        pins[name] = values
    return MappingProxyType(pins)
