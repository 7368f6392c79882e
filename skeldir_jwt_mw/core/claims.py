"""An issuer's rules for claims, compiled once into one function (RFC 7519 §4, RFC 8725 §3.8 to §3.10).

`compile_claims` is called once per issuer; what it returns is called for every request, so it looks
everything up beforehand and takes the accepted path without calling anything that it need not. Why a token is
refused is only worked out once it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from skeldir_jwt_mw.errors import InvalidToken

from .issuer import issuer_hint
from .pointer import MISSING, compile_lookup

if TYPE_CHECKING:
    from skeldir_jwt_mw.config import Issuer

TIME_LIMIT = 10**11  # Unix seconds in the year 5138; what lies beyond is milliseconds
MAX_TENANT = 256  # characters

# Claims that are non-empty strings wherever they are required (RFC 7519 §4.1.2 and §4.1.7, RFC 8693 §4.3).
_STRINGS = frozenset({"sub", "jti", "client_id"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Accepted(NamedTuple):
    """What a claim set says, once it was found right."""

    issuer: str
    subject: str  # empty where there is no sub
    audience: tuple[str, ...]  # empty where there is no aud
    scopes: frozenset[str]
    tenant: str | None
    expires_at: float  # Unix seconds, without leeway
    not_before: float  # Unix seconds, without leeway: the later of nbf and iat, 0 where there is neither


ClaimsCheck = Callable[[Mapping[str, Any], float], Accepted]

_accept: Callable[[tuple[Any, ...]], Accepted] = partial(tuple.__new__, Accepted)
_NO_SCOPES: frozenset[str] = frozenset()


def compile_claims(issuer: Issuer) -> ClaimsCheck:
    """A function of (claims, now in Unix seconds) that returns what they say or raises `InvalidToken`."""
    expected, template, leeway = issuer.issuer, issuer.template, issuer.leeway
    audiences = frozenset(audience for audience in issuer.audience if audience is not None)
    aud_may_be_absent = None in issuer.audience
    extras = (*map(_compile_required, issuer.required_claims), *_compile_pins(issuer))
    scopes_of = _compile_scopes(issuer.scope_claims)
    tenant_of = None if issuer.tenant_claim is None else _compile_tenant(issuer.tenant_claim)

    def check(claims: Mapping[str, Any], now: float) -> Accepted:
        get = claims.get

        iss = get("iss")
        if template is None:
            if iss != expected:
                raise InvalidToken("wrong_issuer", issuer_hint(iss, (expected,)))
        elif type(iss) is not str or iss != template.fill(claims):
            raise InvalidToken("wrong_issuer", "iss is not the template filled with the token's own claim")

        aud = get("aud", MISSING)
        if type(aud) is str:
            if aud not in audiences:
                raise InvalidToken("wrong_audience", _audience_hint(aud, audiences))
            audience: tuple[str, ...] = (aud,)
        elif aud is MISSING or aud == []:  # an empty list names nobody
            if not aud_may_be_absent:
                raise InvalidToken("wrong_audience", "the token has no aud")
            audience = ()
        else:
            audience = _audience_list(aud, audiences)

        exp = get("exp")
        if (type(exp) is not int and type(exp) is not float) or not 0 <= exp < TIME_LIMIT:
            raise _bad_time(claims, "exp")
        if now >= exp + leeway:
            raise InvalidToken("expired", _clock_hint(now - exp - leeway))
        nbf = get("nbf", 0)
        if (type(nbf) is not int and type(nbf) is not float) or not 0 <= nbf < TIME_LIMIT:
            raise _bad_time(claims, "nbf")
        latest = now + leeway
        if nbf > latest:
            raise InvalidToken("not_yet_valid", _clock_hint(nbf - latest))
        iat = get("iat", 0)
        if (type(iat) is not int and type(iat) is not float) or not 0 <= iat < TIME_LIMIT:
            raise _bad_time(claims, "iat")
        if iat > latest:
            raise InvalidToken("issued_in_future", _clock_hint(iat - latest))

        if "cnf" in claims:
            raise InvalidToken("sender_constrained")
        subject = get("sub", "")
        if type(subject) is not str:
            raise InvalidToken("bad_claims", "sub is not a string")
        for refuse_unless_right in extras:
            refuse_unless_right(claims)
        return _accept(
            (
                iss,
                subject,
                audience,
                scopes_of(claims),
                None if tenant_of is None else tenant_of(claims),
                exp + 0.0,
                (nbf if nbf > iat else iat) + 0.0,
            )
        )

    return check


def _compile_required(name: str) -> Callable[[Mapping[str, Any]], None]:
    """Refuses where the claim is absent or null, and where one that is a string by its RFC is none (R34)."""
    lookup = compile_lookup(name)
    is_string = name in _STRINGS
    absent = f"the token has no {name!r}"  # names come from the configuration, never from the token
    mistyped = f"{name!r} is not a string"

    def refuse_unless_present(claims: Mapping[str, Any]) -> None:
        value = lookup(claims)
        if value is MISSING or value is None or (is_string and value == ""):
            raise InvalidToken("missing_claim", absent)
        if is_string and type(value) is not str:
            raise InvalidToken("bad_claims", mistyped)

    return refuse_unless_present


def _compile_pins(issuer: Issuer) -> tuple[Callable[[Mapping[str, Any]], None], ...]:
    return tuple(_compile_pin(name, values) for name, values in issuer.claims.items())


def _compile_pin(
    name: str, values: tuple[str | int | float | bool, ...]
) -> Callable[[Mapping[str, Any]], None]:
    """Refuses unless the claim is one of `values`, or an array that holds one, in the same JSON type."""
    lookup = compile_lookup(name)
    strings = frozenset(value for value in values if isinstance(value, str))
    booleans = frozenset(value for value in values if isinstance(value, bool))
    numbers = frozenset(v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool))
    absent = f"the token has no {name!r}"
    other = f"{name!r} has another value than required"
    other_type = f"{name!r} has another JSON type than required"

    # In Python True == 1, so each JSON type has its own set; 1 and 1.0 are one number (RFC 8259 §6).
    of_type: dict[type, frozenset[Any]] = {str: strings, bool: booleans, int: numbers, float: numbers}

    def refuse_unless_pinned(claims: Mapping[str, Any]) -> None:
        value = lookup(claims)
        if type(value) is str and value in strings:
            return
        if value is MISSING:
            raise InvalidToken("missing_claim", absent)
        for one in value if type(value) is list else (value,):
            allowed = of_type.get(type(one))
            if allowed and one in allowed:
                return
        typed = type(value) is list or of_type.get(type(value))
        raise InvalidToken("claim_mismatch", other if typed else other_type)

    return refuse_unless_pinned


def _compile_scopes(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], frozenset[str]]:
    """The union of the scopes in all of `names`; each is a string or a list of strings, or absent (R35)."""
    lookups = tuple(map(compile_lookup, names))
    members = tuple(name for name in names if not name.startswith("/"))

    def scopes_of_members(claims: Mapping[str, Any]) -> frozenset[str]:
        scopes = _NO_SCOPES
        for name in members:
            if name in claims:
                found = _scopes_in(claims[name])
                scopes = scopes | found if scopes else found
        return scopes

    def scopes_of_lookups(claims: Mapping[str, Any]) -> frozenset[str]:
        values = (lookup(claims) for lookup in lookups)
        return frozenset().union(*(_scopes_in(value) for value in values if value is not MISSING))

    return scopes_of_members if len(members) == len(names) else scopes_of_lookups


def _scopes_in(value: Any) -> frozenset[str]:
    if type(value) is str:
        return _split(value)
    if type(value) is list and all(type(scope) is str for scope in value):
        return frozenset(value) - {""}
    raise InvalidToken("bad_scope")


@lru_cache(maxsize=256)  # a service sees few different scope strings, each of them very often
def _split(scope: str) -> frozenset[str]:
    """Scopes are separated by spaces, and by no other white space (RFC 6749 §3.3)."""
    return frozenset(scope.split(" ")) - {""}


def _compile_tenant(name: str) -> Callable[[Mapping[str, Any]], str]:
    """The tenant: 1 to 256 characters without control characters, never coerced (R35, R36)."""
    lookup = compile_lookup(name)
    hint = f"{name!r} is no plain string of 1 to {MAX_TENANT} characters"

    def tenant_of(claims: Mapping[str, Any]) -> str:
        tenant = lookup(claims)
        if type(tenant) is not str or not 0 < len(tenant) <= MAX_TENANT:
            raise InvalidToken("bad_tenant", hint)
        if not tenant.isprintable() and _CONTROL.search(tenant):  # what is printable holds none
            raise InvalidToken("bad_tenant", hint)
        return tenant

    return tenant_of


def _audience_list(aud: Any, audiences: frozenset[str]) -> tuple[str, ...]:
    if type(aud) is not list or not all(type(one) is str for one in aud):
        raise InvalidToken("bad_claims", "aud is neither a string nor a list of strings")
    if audiences.isdisjoint(aud):
        raise InvalidToken("wrong_audience", "aud is a list without this service")
    return tuple(aud)


def _audience_hint(aud: str, audiences: frozenset[str]) -> str | None:
    bare, folded = aud.rstrip("/"), aud.casefold()
    for audience in audiences:
        if bare == audience.rstrip("/"):
            return "aud differs by a trailing slash"
        if folded == audience.casefold():
            return "aud differs in upper and lower case"
    return None


def _bad_time(claims: Mapping[str, Any], name: str) -> InvalidToken:
    """The refusal for a NumericDate that is none; exp may also be missing (RFC 7519 §2)."""
    if name not in claims:
        return InvalidToken("missing_claim", f"the token has no {name!r}")
    value = claims[name]
    if (type(value) is int or type(value) is float) and value >= TIME_LIMIT:
        return InvalidToken("bad_claims", f"{name!r} is not a number of seconds: milliseconds?")
    return InvalidToken("bad_claims", f"{name!r} is not a number of seconds from 0 to 10^11")


def _clock_hint(seconds: float) -> str | None:
    """A word on clocks where less than a minute more of leeway would have let the token pass."""
    return "by less than a minute: do the clocks agree?" if seconds < 60 else None
