"""What one verification costs, beside the bare signature check and beside other libraries.

    python benchmarks/verify.py              # with orjson where it is installed
    python benchmarks/verify.py --stdlib     # without it
    python benchmarks/verify.py --json       # for machines

Every cell verifies the same 64 tokens; the cells of a round run in random order, and a figure is the median
over the rounds of the ratio to the bare `cryptography` verify *of the same round*, in CPU time, so that a
machine that gets slower for a while does not count for or against anybody. Needs PyJWT beside the package's
own extras.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import statistics
import sys
import time
from collections.abc import Callable

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
TOKENS = 64
AUDIENCE = "orders-api"

GOALS = {  # row -> algorithm -> (at most, of raw) or (at least, times faster)
    "ours": {"RS256": 1.50, "PS256": 1.45, "ES256": 1.20, "EdDSA": 1.13},
    "ours, remembered": {"RS256": 0.15},
    "ours, unknown kid refused": {"RS256": 0.25},
}
FASTER = {"RS256": 4.5, "PS256": 4.2, "ES256": 2.3, "EdDSA": 1.9}

Cell = Callable[[str], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--stdlib", action="store_true", help="without orjson")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    if options.stdlib:
        sys.modules["orjson"] = None  # type: ignore[assignment]  # an import of it fails from here on
    figures = {algorithm: measure(algorithm, options.rounds) for algorithm in ALGORITHMS}
    if options.as_json:
        print(json.dumps(figures, indent=2))
        return
    report(figures)


def measure(algorithm: str, rounds: int) -> dict[str, float]:
    """Ratios to the bare verify, by cell; the cell "raw" is its median microseconds."""
    names, tokens, strangers = cells(algorithm)
    batches = {name: strangers if "unknown" in name else tokens for name in names}
    for name, cell in names.items():  # warm up: caches, branch predictors, key sets
        run(cell, batches[name])
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        order = list(names)
        random.shuffle(order)
        for name in order:
            seconds[name].append(run(names[name], batches[name]))
    raw = seconds["raw"]
    ratios = {
        name: statistics.median(mine / bare for mine, bare in zip(seconds[name], raw, strict=True))
        for name in names
        if name != "raw"
    }
    return {"raw": statistics.median(raw) / TOKENS * 1e6} | ratios


def run(cell: Cell, batch: list[str]) -> float:
    """CPU seconds of this thread for the batch; what else the machine does is not counted."""
    clock = time.thread_time
    started = clock()
    for token in batch:
        cell(token)
    return clock() - started


def cells(algorithm: str) -> tuple[dict[str, Cell], list[str], list[str]]:
    """The contestants, 64 tokens for them, and 64 tokens with kids that do not exist."""
    import jwt
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from joserfc import jwt as jose
    from joserfc.jwk import KeySet

    from skeldir_jwt_mw import InvalidToken, Issuer, RefreshPolicy, Verifier
    from skeldir_jwt_mw.sources import CallableSource
    from skeldir_jwt_mw.testing.tokens import SigningKey, mint

    issuer = "https://login.example.com/"
    key, stranger = SigningKey.generate(algorithm, kid="k1"), SigningKey.generate(algorithm, kid="made-up")
    now = int(time.time())
    claims = [
        {
            "iss": issuer,
            "sub": f"auth0|{number:024x}",
            "aud": AUDIENCE,
            "iat": now
            - 60,  # before the keys were fetched, whatever the leeway: the strangers are proven such
            "exp": now + 3600,
            "jti": f"{number:032x}",
            "client_id": "web",
            "scope": "orders:read orders:write",
        }
        for number in range(TOKENS)
    ]
    tokens = [mint(key, member) for member in claims]
    strangers = [mint(stranger, member) for member in claims]
    jwks = {
        "keys": [key.jwk(), SigningKey.generate(algorithm, kid="k2").jwk()]
    }  # the current key and the next

    public = load_pem_public_key(key.public_pem().encode())
    parts = {}
    for token in tokens:
        signing_input, _, signature = token.rpartition(".")
        decoded = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        if algorithm == "ES256":
            decoded = encode_dss_signature(
                int.from_bytes(decoded[:32], "big"), int.from_bytes(decoded[32:], "big")
            )
        parts[token] = (decoded, signing_input.encode())
    sha256 = hashes.SHA256()
    schemes = {
        "RS256": (padding.PKCS1v15(), sha256),
        "PS256": (padding.PSS(padding.MGF1(sha256), 32), sha256),
        "ES256": (ec.ECDSA(sha256),),
        "EdDSA": (),
    }
    scheme = schemes[algorithm]
    assert isinstance(public, rsa.RSAPublicKey) or algorithm not in ("RS256", "PS256")

    def raw(token: str) -> object:
        return public.verify(*parts[token], *scheme)  # type: ignore[union-attr,call-arg,arg-type]

    def verifier(**options: int) -> Verifier:
        source = CallableSource(lambda: jwks, identity="benchmark")
        verifier = Verifier([Issuer(issuer, audience=AUDIENCE, source=source)], policy=policy, **options)
        verifier.warm()
        return verifier

    policy = RefreshPolicy(refresh_interval=3600, check_interval=1800, floor=1800)
    ours, remembering, flooded = verifier(), verifier(token_cache=1000), verifier()
    flooded.refresh()  # closes the gate for the floor

    def refused(token: str) -> object:
        try:
            return flooded.verify(token)
        except InvalidToken as error:
            return error

    client = jwt.PyJWKClient("https://login.example.com/jwks")
    client.jwk_set_cache.put(jwks)

    def with_client(token: str) -> object:
        signing_key = client.get_signing_key_from_jwt(token)
        return jwt.decode(token, signing_key, algorithms=[algorithm], audience=AUDIENCE, issuer=issuer)

    prepared = jwt.PyJWK(key.jwk(), algorithm=algorithm)

    def with_key(token: str) -> object:
        return jwt.decode(token, prepared, algorithms=[algorithm], audience=AUDIENCE, issuer=issuer)

    key_set = KeySet.import_key_set(jwks)
    registry = jose.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    )

    def with_joserfc(token: str) -> object:
        decoded = jose.decode(token, key_set, algorithms=[algorithm])
        registry.validate(decoded.claims)
        return decoded

    return (
        {
            "raw": raw,
            "ours": ours.verify,
            "ours, remembered": remembering.verify,
            "ours, unknown kid refused": refused,
            "PyJWT, prepared key": with_key,
            "PyJWT + PyJWKClient": with_client,
            "joserfc": with_joserfc,
        },
        tokens,
        strangers,
    )


def report(figures: dict[str, dict[str, float]]) -> None:
    """Print a table of ratios to the bare verify, and how they stand to the goals."""
    json_module = "stdlib json" if sys.modules.get("orjson", 0) is None else "orjson"
    print(
        f"Python {sys.version.split()[0]}, {json_module}; times the bare verify, medians of paired rounds\n"
    )
    print(f"{'':28}" + "".join(f"{algorithm:>10}" for algorithm in ALGORITHMS))
    raw = "".join(f"{figures[algorithm]['raw']:8.1f}us" for algorithm in ALGORITHMS)
    print(f"{'bare cryptography verify':28}{raw}")
    for name in figures["RS256"]:
        if name != "raw":
            print(f"{name:28}" + "".join(f"{figures[algorithm][name]:10.2f}" for algorithm in ALGORITHMS))
    print(f"{'faster than PyJWKClient':28}" + "".join(f"{faster(figures[a]):9.1f}x" for a in ALGORITHMS))
    print("\ngoals (with orjson)")
    for name, goals in GOALS.items():
        for algorithm, most in goals.items():
            got = figures[algorithm][name]
            verdict = "reached" if got <= most else "MISSED"
            print(f"  {name}, {algorithm}: {got:.2f}, at most {most:.2f}: {verdict}")
    for algorithm, least in FASTER.items():
        got = faster(figures[algorithm])
        print(
            f"  faster than PyJWKClient, {algorithm}: {got:.1f}x, at least {least:.1f}x:"
            f" {'reached' if got >= least else 'MISSED'}"
        )


def faster(ratios: dict[str, float]) -> float:
    """How many times faster than PyJWT with a cached PyJWKClient."""
    return ratios["PyJWT + PyJWKClient"] / ratios["ours"]


if __name__ == "__main__":
    main()
