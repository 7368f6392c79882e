"""Headers that are JSON and wrong: algorithms, extensions, keys brought along, key ids, types."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from crafting import ABSENT, NOW, Made, claims_of, family, header_of, json_of, key, key_set, parts, token
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skeldir_jwt_mw.testing.tokens import SigningKey, b64url

# Keys that are older than a token do not say that its key is unknown.
A_WHILE_AGO = claims_of(iat=NOW - 180)

NO_STRINGS = {
    "null": None,
    "true": True,
    "false": False,
    "0": 0,
    "1": 1,
    "1.5": 1.5,
    "list": ["ES256"],
    "empty list": [],
    "object": {"alg": "ES256"},
    "empty object": {},
}


@family("R10", "bad_header")
def alg_that_is_no_string() -> Iterator[Made]:
    yield "absent", token(header_of(alg=ABSENT))
    yield "ALG", token(header_of(alg=ABSENT, ALG="ES256"))
    for name, value in NO_STRINGS.items():
        yield name, token(header_of(alg=value))


@family("R10", "algorithm_not_allowed", "malformed")
def no_signature_asked_for() -> Iterator[Made]:
    body = parts(token())[1]
    for name in (
        "none",
        "None",
        "NONE",
        "nOnE",
        " none",
        "none ",
        "none\0",
        "",
        "null",
        "nil",
        "no",
        "undefined",
    ):
        head = b64url(json_of(header_of(alg=name)))
        yield f"{name!r}, no signature", f"{head}.{body}."
        yield f"{name!r}, a good signature", token(header_of(alg=name))
        yield f"{name!r}, no dot", f"{head}.{body}"


def public_encodings(signer: SigningKey) -> dict[str, bytes]:
    """What a public key may be passed off as a secret in."""
    public = signer.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = signer.jwk()
    found = {
        "PEM": pem,
        "PEM without its last line break": pem.rstrip(b"\n"),
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "PEM behind a byte order mark": b"\xef\xbb\xbf" + pem,
        "PEM behind a space": b" " + pem,
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json_of(jwk),
        "JWKS": json_of(key_set(jwk)),
        "kid": signer.kid.encode(),
        "nothing": b"",
        "NUL": b"\0",
    }
    if jwk["kty"] == "RSA":
        found["PKCS #1 PEM"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        found["modulus"] = jwk["n"].encode()
    if jwk["kty"] == "EC":
        found["point"] = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if jwk["kty"] == "OKP":
        found["raw"] = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    found["OpenSSH"] = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return found


def macced(secret: bytes, algorithm: str, kid: str) -> str:
    """A token under an HMAC."""
    text = ".".join(
        map(b64url, (json_of({"alg": algorithm, "typ": "at+jwt", "kid": kid}), json_of(claims_of())))
    )
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    return f"{text}.{b64url(hmac.new(secret, text.encode(), digest).digest())}"


@family("R10", "algorithm_not_allowed")
def public_key_as_a_secret() -> Iterator[Made]:
    for kind in ("RS256", "ES256", "EdDSA"):
        for name, secret in public_encodings(key(kind)).items():
            for algorithm in ("HS256", "HS384", "HS512"):
                yield f"{kind} {name} {algorithm}", macced(secret, algorithm, key(kind).kid)


@family("R10", "algorithm_not_allowed")
def symmetric_keys_in_the_set() -> Iterator[Made]:
    good = key("ES256").jwk()
    for name, secret in {"empty": b"", "short": b"a", "good": b"s" * 32}.items():
        jwk = {"kty": "oct", "k": b64url(secret), "kid": "mac", "alg": "HS256", "use": "sig"}
        yield name, macced(secret, "HS256", "mac"), key_set(good, jwk)
        bare = {"kty": "oct", "k": b64url(secret), "kid": "mac"}
        yield f"{name}, without alg", macced(secret, "HS512", "mac"), key_set(good, bare)


@family("R10", "algorithm_not_allowed")
def alg_in_another_spelling() -> Iterator[Made]:
    for name in (
        "es256", "Es256", "ES256 ", " ES256", "ES-256", "ES_256", "ES256\0", "ES256\n",
        "SHA256withECDSA", "ES256K",
        "ES224", "RS1", "RS224", "ES521", "\uff25S256", "ecdsa", "ES256,RS256", "Ed448", "eddsa",
        "ESP256", "HS1",
        "A128KW", "dir", "RSA1_5", "ES25", "ES2566", "*",
    ):  # fmt: skip
        yield repr(name), token(header_of(alg=name))


@family("R10", "algorithm_not_allowed")
def algorithm_that_the_issuer_does_not_allow() -> Iterator[Made]:
    for name in ("ES384", "ES512", "RS512", "PS384"):
        yield name, token(signer=key(name))
    for name in ("RS384", "RS512", "PS384", "PS512"):
        other = SigningKey(kid="rs256", alg=name, private=key("RS256").private)
        yield f"{name} under a key for RS256", token(signer=other)


@family("R11", "algorithm_mismatch")
def algorithm_of_another_key() -> Iterator[Made]:
    for kind in ("ES256", "EdDSA", "RS256", "PS256"):
        for claimed in ("ES256", "EdDSA", "RS256", "PS256"):
            if claimed != kind:
                yield (
                    f"{claimed} under a key for {kind}",
                    token(header_of(key(kind), alg=claimed), signer=key(kind)),
                )
    for kind, other in (("RS256", "PS256"), ("PS256", "RS256")):
        crossed = SigningKey(kid=key(kind).kid, alg=other, private=key(kind).private)
        yield f"{other} by the key for {kind}", token(signer=crossed)


@family("R11", "algorithm_mismatch")
def key_without_alg() -> Iterator[Made]:
    """Its algorithm is the first one allowed, here RS256, and never the token's (CVE-2026-22817)."""
    jwk = {name: value for name, value in key("RS256").jwk().items() if name not in ("alg", "use")}
    crossed = SigningKey(kid="rs256", alg="PS256", private=key("RS256").private)
    yield "PS256", token(signer=crossed), key_set(jwk)
    yield "PS256, two keys", token(signer=crossed), key_set(jwk, key("ES256").jwk())
    yield "ES256", token(header_of(key("ES256"), kid="rs256")), key_set(jwk, key("ES256").jwk())
    yield "EdDSA", token(header_of(key("EdDSA"), kid="rs256"), signer=key("EdDSA")), key_set(jwk)


@family("R12", "unsupported_header")
def critical_extensions() -> Iterator[Made]:
    for name, crit in {
        "an unknown one": ["x"],
        "none": [],
        "null": None,
        "a string": "exp",
        "an object": {"exp": True},
        "a number": 1,
        "true": True,
        "a number inside": [1],
        "null inside": [None],
        "twice the same": ["x", "x"],
        "one that is absent": ["absent"],
        "alg": ["alg"],
        "crit itself": ["crit"],
        "the empty name": [""],
        "exp": ["exp"],
        "nested": [["x"]],
        "many": [f"x{n}" for n in range(25)],
    }.items():
        yield name, token(header_of(crit=crit, x=1, exp=2**40))
    yield "b64", token(header_of(crit=["b64"], b64=True))


@family("R13", "unsupported_header")
def members_that_change_the_reading() -> Iterator[Made]:
    for name, value in {
        "b64": False,
        "zip": "DEF",
        "enc": "A256GCM",
        "p2c": 2_147_483_647,
        "p2s": "AAAA",
        "epk": {"kty": "EC", "crv": "P-256"},
    }.items():
        for one in (value, None, True, "", []):
            yield f"{name} {one!r}", token(header_of(**{name: one}))
    yield "b64 and crit", token(header_of(b64=False, crit=["b64"]))


@family("R14", "unsupported_header", "unknown_kid")
def key_brought_along() -> Iterator[Made]:
    evil = key("ES256 evil")
    members = {
        "jwk": evil.jwk(),
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/cert",
        "x5c": ["MIIB"],
    }
    for name, value in members.items():
        yield f"{name}, signed by it", token(header_of(evil, **{name: value}), A_WHILE_AGO, evil)
        yield (
            f"{name}, under a trusted kid",
            token(header_of(evil, kid="es256", **{name: value}), signer=evil),
        )
        yield f"{name}, signed by the right key", token(header_of(**{name: value}))
        yield f"{name} null", token(header_of(**{name: None}))
    for url in ("file:///etc/passwd", "http://169.254.169.254/", "data:,x", "//evil.example", "", "ftp://a/"):
        yield f"jku {url!r}", token(header_of(jku=url))
    yield "the right jwk", token(header_of(jwk=key("ES256").jwk()))
    yield "all of them", token(header_of(**members))


@family("R15", "bad_header")
def kid_that_is_no_string() -> Iterator[Made]:
    for name, value in NO_STRINGS.items():
        yield name, token(header_of(kid=value))


@family("R15", "bad_header")
def kid_that_is_malformed() -> Iterator[Made]:
    yield "empty", token(header_of(kid=""))
    for length in (257, 300, 1500):
        yield f"{length} bytes", token(header_of(kid="k" * length))
    yield "129 letters of two bytes", token(b'{"alg":"ES256","kid":"' + "\u00e9".encode() * 129 + b'"}')
    for character in "\0\x01\t\n\r\x1b\x7f\x80\x85\x9f":
        yield ascii(character), token(header_of(kid=f"es256{character}"))
    yield "NUL in front", token(header_of(kid="\0es256"))


@family("R15", "unknown_kid")
def kid_that_nobody_has() -> Iterator[Made]:
    for kid in (
        "ES256", "es25", "es256 ", " es256", "es2566", "es256/", "./es256", "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1", "es256' --", "1; DROP TABLE keys", "es256%00", "es256%", "*", "%", "_____", "{}",
        "${jndi:x}",
        "https://evil.example/key", "\u0435s256", "e\u0073\u0301256", "\uff45s256", "es256\u200b", "0",
        "null", "None",
        "undefined", "-1", "__proto__", "constructor", "es256,rs256", "k" * 256,
    ):  # fmt: skip
        yield ascii(kid), token(header_of(kid=kid), A_WHILE_AGO)


@family("R15", "ambiguous_key")
def no_kid_and_more_keys_than_are_tried() -> Iterator[Made]:
    for kind in ("ES256", "EdDSA"):
        signers = [key(kind), *(SigningKey.generate(kind) for _ in range(4))]
        keys = key_set(*(signer.jwk() for signer in signers))
        for place in (0, 1, 4):
            signer = signers[place]
            yield f"{kind}, key {place + 1} signed", token(header_of(signer, kid=ABSENT), signer=signer), keys


@family("R16", "wrong_type")
def typ_of_something_else() -> Iterator[Made]:
    for typ in (
        "id+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "rt+jwt", "JWE", "JWS", "JOSE", "", "jwt ",
        " at+jwt",
        "at+jwt;v=1", "application/", "application/application/jwt", "text/jwt", "at-jwt", "at+jwt\0",
        "at+JWT\u200b",
        "\u212awt", "token-introspection+jwt", "oauth-authz-req+jwt", "kb+jwt", "dc+sd-jwt", "none",
    ):  # fmt: skip
        yield ascii(typ), token(header_of(typ=typ))


@family("R16", "bad_header")
def typ_that_is_no_string() -> Iterator[Made]:
    for name, value in NO_STRINGS.items():
        yield name, token(header_of(typ=value))


@family("R17", "unsupported_header")
def nested_tokens() -> Iterator[Made]:
    for cty in ("JWT", "jwt", "Jwt", "application/jwt", "APPLICATION/JWT"):
        yield cty, token(header_of(cty=cty))


@family("R17", "bad_header")
def cty_that_is_no_string() -> Iterator[Made]:
    for name, value in NO_STRINGS.items():
        yield name, token(header_of(cty=value))
