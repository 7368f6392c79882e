"""What is fuzzed: each target takes any bytes and raises only where the library breaks a promise."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

from skeldir_jwt_mw.config import Issuer
from skeldir_jwt_mw.core.claims import compile_claims
from skeldir_jwt_mw.core.compact import header_segment, parse_header, split
from skeldir_jwt_mw.core.effects import Content
from skeldir_jwt_mw.core.keys import UnusableDocument, import_jwks
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.core.strict_json import MalformedJSON, parse_object, parse_with_stdlib
from skeldir_jwt_mw.errors import InvalidToken
from skeldir_jwt_mw.sources.freshness import MAX_AGE_LIMIT, MAX_RETRY_AFTER, max_age, retry_after, validator

NOW = 1_800_000_000.0
ISSUER = Issuer(
    "https://issuer.example/",
    audience=("orders-api", None),
    jwks_url="https://issuer.example/jwks",
    claims={"/realm/kind": ("a", 1, True)},
    required_claims=("sub",),
    scope_claims=("scope", "/realm/roles"),
    tenant_claim="org",
)
CHECK = compile_claims(ISSUER)
SEALER = Sealer([bytes(32)])
HEADER = b'{"alg":"ES256","typ":"at+jwt","kid":"key-1"}'
CLAIMS = (
    b'{"iss":"https://issuer.example/","aud":"orders-api","exp":1800000060,"iat":1799999999,"sub":"u",'
    b'"scope":"a b","realm":{"kind":"a","roles":["r"]},"org":"acme"}'
)
EC_KEY = (
    b'{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
    b'"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","use":"sig","alg":"ES256","kid":"key-1"}'
)  # RFC 7515, A.3
OKP_KEY = b'{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'  # RFC 8037, A.2


def b64(octets: bytes) -> bytes:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def promise(kept: bool, what: str) -> None:
    """Raise where a promise is broken; an assertion would be gone under -O."""
    if not kept:
        raise RuntimeError(what)


def compact(data: bytes) -> None:
    """Framing: InvalidToken, or parts that give the same token again."""
    header_segment(data)
    header_segment(data.decode("latin-1"))
    try:
        signing_input, segment, payload, signature = split(data, 16_384)
    except InvalidToken:
        return
    promise(b".".join((segment, b64(payload), b64(signature))) == data, "a token has two spellings")
    promise(signing_input == data[: data.rfind(b".")], "another input is signed")
    try:
        header = parse_header(segment)
    except InvalidToken:
        return
    promise(header.algorithm not in ("none", "HS256"), "an algorithm that is never accepted")
    promise(header.kid is None or 0 < len(header.kid.encode()) <= 256, "an odd kid")


def strict_json(data: bytes) -> None:
    """Both readers say the same; what is read has no second meaning."""
    answers: list[Any] = []
    for read in (parse_object, parse_with_stdlib):
        try:
            answers.append(repr(read(data)))
        except MalformedJSON:
            answers.append(None)
    promise(answers[0] == answers[1], "two readers of JSON disagree")


def jwks(data: bytes) -> None:
    """Import: UnusableDocument, or keys that can be looked up without ambiguity."""
    try:
        imported = import_jwks(data)
    except UnusableDocument:
        return
    chosen = imported.for_algorithms(("RS256", "PS256", "ES256", "EdDSA"))
    answers = [(key.kid, key.algorithm) for key in chosen.keys if key.kid is not None]
    promise(len(answers) == len(set(answers)), "two keys answer to one kid")
    for key in chosen.keys:
        promise(key.verify(data[:64], data) is False, "noise is a signature")


def claims(data: bytes) -> None:
    """Claims: InvalidToken, or what was asked for in the types that were promised."""
    try:
        members = parse_object(data)
    except MalformedJSON:
        return
    try:
        accepted = CHECK(members, NOW)
    except InvalidToken as error:
        promise(error.hint is None or len(error.hint) < 200, "a hint without end")
        return
    promise(accepted.issuer == ISSUER.issuer, "another issuer")
    promise(not accepted.audience or "orders-api" in accepted.audience, "another audience")
    promise(accepted.expires_at > NOW - ISSUER.leeway and math.isfinite(accepted.expires_at), "expired")
    promise(type(accepted.tenant) is str and 0 < len(accepted.tenant) <= 256, "an odd tenant")
    promise(type(accepted.subject) is str and bool(accepted.subject), "no subject")
    promise(members["realm"]["kind"] in ("a", 1, True) or "a" in members["realm"]["kind"], "not pinned")


def seal(data: bytes) -> None:
    """The seal: nothing that was not made with the key is good, whatever a row holds."""
    row = Content(
        generation=int.from_bytes(data[:7]),
        fetched_us=int.from_bytes(data[7:13]),
        expires_us=int.from_bytes(data[13:19]),
        etag=data[19:24].decode("latin-1") or None,
        last_modified=data[24:29].decode("latin-1") or None,
        payload=data[29:],
    )
    promise(SEALER.inspect("source", row, data[:41]) != "good", "a made-up seal is good")
    promise(SEALER.inspect("source", row, None) == "forged", "no seal is good")
    made = SEALER.seal("source", row)
    promise(SEALER.inspect("source", row, made) == "good", "a good seal is none")
    promise(SEALER.inspect(data[:6].hex(), row, made) == "forged", "a row can be moved")


def response_headers(data: bytes) -> None:
    """What a provider says in its headers: bounded numbers, and validators that are one line."""
    lines = data.decode("latin-1").split("\n")
    names = ("retry-after", "date", "cache-control", "age", "etag", "last-modified", "content-type")
    headers = dict(zip(names, lines, strict=False))
    seconds = retry_after(headers, NOW)
    promise(seconds is None or 0 <= seconds <= MAX_RETRY_AFTER, "an odd Retry-After")
    fresh = max_age(headers)
    promise(fresh is None or 0 <= fresh <= MAX_AGE_LIMIT, "an odd max-age")
    for name in ("etag", "last-modified"):
        kept = validator(headers.get(name))
        promise(kept is None or (kept.isascii() and kept.isprintable()), "a validator of two lines")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (compact, strict_json, jwks, claims, seal, response_headers)
}
SEEDS: dict[str, list[bytes]] = {
    "compact": [
        b".".join((b64(HEADER), b64(CLAIMS), b64(bytes(64)))),
        b"e30.e30.AA",
        b"a.b.c.d.e",
        json.dumps({"payload": "e30", "signature": "AA", "protected": "e30"}).encode(),
    ],
    "strict_json": [HEADER, CLAIMS, b'{"a":[1,-2.5e3,true,null,"\\u00e9\\ud83d\\ude00"]}', b'{"a":1,"a":2}'],
    "jwks": [b'{"keys":[' + EC_KEY + b"," + OKP_KEY + b"]}", b'{"keys":[' + EC_KEY + b"," + EC_KEY + b"]}"],
    "claims": [CLAIMS, CLAIMS.replace(b'"orders-api"', b'["x","orders-api"]'), b'{"cnf":{}}'],
    "seal": [bytes(29) + EC_KEY, b"\x01" * 80],
    "response_headers": [
        b'120\nSun, 06 Nov 1994 08:49:37 GMT\nmax-age=60, public\n5\n"v1"\nSun, 06 Nov 1994 08:49:37 GMT',
        b'Sun, 06 Nov 1994 08:50:37 GMT\nSun, 06 Nov 1994 08:49:37 GMT\nmax-age="9"\n\n\n',
    ],
}
