"""Every check of a token's header and claims by itself, for who has to find out why a token is refused.

A verifier stops at the first fault. Here each check is asked about its own claim alone, with all others made
right beforehand, so that it is the verifier's own rules that answer, one after the other. Keys and signature
are no part of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .config import Issuer
from .core.claims import compile_claims
from .core.compact import compile_header_check, max_header_bytes, parse_header
from .core.pointer import first_member, parse_pointer
from .errors import InvalidToken

TIMES = ("exp", "nbf", "iat")
MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
LAST = 253_402_300_799  # Unix seconds, the end of the year 9999

Row = dict[str, Any]


def checks(issuer: Issuer, raw: str, contents: Mapping[str, Any], now: float) -> dict[str, Row]:
    """What each check says of a token: the token's value, the one that is wanted, and the verdict.

    `contents` are its `header` and `claims`, where they decode; `now` is in Unix seconds.
    """
    rows: dict[str, Row] = {}
    header, claims = contents.get("header"), contents.get("claims")
    if header is not None:
        rows["header"] = {
            "token": {name: header[name] for name in ("alg", "typ") if name in header},
            "wanted": {"alg": list(issuer.algorithms), "typ": list(issuer.token_types)},
            **_verdict_on_header(issuer, raw),
        }
    if claims is not None:
        for name in _judged(issuer):
            rows[name] = _row(issuer, name, claims, now)
    return rows


def _verdict_on_header(issuer: Issuer, raw: str) -> Row:
    try:
        segment = raw.partition(".")[0].encode()
        compile_header_check(issuer)(parse_header(segment, max_header_bytes(issuer.ignored_headers)))
    except (InvalidToken, UnicodeEncodeError) as error:
        return {"verdict": getattr(error, "code", "malformed")}
    return {"verdict": "ok"}


def _judged(issuer: Issuer) -> list[str]:
    """The top-level claims that are judged, each once."""
    names = ["iss", "aud", "exp", "nbf", "iat", "cnf", "sub"]
    names += map(first_member, (*issuer.required_claims, *issuer.claims, *issuer.scope_claims))
    names += [first_member(issuer.tenant_claim)] if issuer.tenant_claim else []
    return list(dict.fromkeys(names))


def _row(issuer: Issuer, name: str, claims: Mapping[str, Any], now: float) -> Row:
    judged: tuple[str, ...] = (name,)
    if issuer.template is not None and name in ("iss", issuer.template.claim):
        judged = ("iss", issuer.template.claim)  # neither is right without the other
    made_right = {other: value for other, value in _right(issuer, now).items() if other not in judged}
    kept = {one: claims[one] for one in judged if one in claims}
    row: Row = {"token": _shown(name, claims.get(name), now), "wanted": _wanted(issuer, name)}
    try:
        compile_claims(issuer)({**made_right, **kept}, now)
    except InvalidToken as error:
        return {**row, "verdict": error.code, **({"hint": error.hint} if error.hint else {})}
    return {**row, "verdict": "ok"}


def _right(issuer: Issuer, now: float) -> dict[str, Any]:
    """Claims that the issuer's rules accept, but for what a template is filled with."""
    claims: dict[str, Any] = {"iss": issuer.issuer, "exp": now + HOUR}
    audience = next((one for one in issuer.audience if one is not None), None)
    if audience is not None:
        claims["aud"] = audience
    values: dict[str, Any] = dict.fromkeys(issuer.required_claims, "x")
    if issuer.tenant_claim is not None:
        values[issuer.tenant_claim] = "x"
    values |= {name: alternatives[0] for name, alternatives in issuer.claims.items()}
    for name, value in values.items():
        if name not in ("iss", "aud", *TIMES):
            _put(claims, parse_pointer(name) if name.startswith("/") else (name,), value)
    if "nbf" in values or "iat" in values:
        claims |= {name: now for name in ("nbf", "iat") if name in values}
    if issuer.template is not None:
        filled = claims.get(issuer.template.claim)
        claims["iss"] = f"{issuer.template.prefix}{filled}{issuer.template.suffix}"
    return claims


def _put(claims: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    place = claims
    for token in path[:-1]:
        inner = place.get(token)
        place[token] = inner = inner if isinstance(inner, dict) else {}
        place = inner
    place[path[-1]] = value


def _wanted(issuer: Issuer, name: str) -> Any:
    match name:
        case "iss":
            return issuer.issuer
        case "aud":
            return list(issuer.audience)
        case "exp":
            return f"later than now, or at most {issuer.leeway:g} s ago"
        case "nbf" | "iat":
            return f"not later than now, or by {issuer.leeway:g} s at most"
        case "cnf":
            return "absent: a bearer token is bound to nobody"
    pins = {pin: list(values) for pin, values in issuer.claims.items() if first_member(pin) == name}
    if pins:
        return pins[name] if list(pins) == [name] else pins
    required = (*issuer.required_claims, *([issuer.tenant_claim] if issuer.tenant_claim else []))
    if any(first_member(one) == name for one in required):
        return "present"
    return "well-formed, or absent"


def _shown(name: str, value: Any, now: float) -> Any:
    if name not in TIMES or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if not 0 <= value <= LAST:
        return value
    moment = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{value:.15g} ({moment}, {_distance(value - now)})"


def _distance(seconds: float) -> str:
    """How far off a moment is, in words."""
    away = abs(seconds)
    for unit, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if away >= 2 * unit:
            words = f"{away / unit:.0f} {name}"
            break
    else:
        words = f"{away:.0f} seconds"
    return f"in {words}" if seconds > 0 else f"{words} ago"
