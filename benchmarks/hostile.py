"""What a hostile token costs, as a multiple of a good one of its length.

    python benchmarks/hostile.py             # every kind of token and options, the worst first
    python benchmarks/hostile.py --top 20    # the worst 20
    python benchmarks/hostile.py --markdown  # the worst of each kind, as docs/benchmarks.md holds it
    python benchmarks/hostile.py --stdlib    # without orjson

A hostile token is measured against a good one under the same options: of the same number of bytes (plain
claims and one long string), of the same algorithm, with a header that is remembered. The two take turns, and
a figure is the median over the rounds of the ratio within a round, in CPU time of the thread. Nothing that is
measured here has a good signature.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

BOUND = 1.5  # times a good token of the same length
ISSUER, OTHER, THIRD = (f"https://{name}.example.com/" for name in ("login", "other", "third"))
TEMPLATE = "https://tenants.example.com/{tid}/v2.0"
TENANT = "11111111-aaaa-bbbb-cccc-000000000001"
AUDIENCE = "orders-api"
BATCH = 4  # tokens a round
LENGTHS = (2_000, 16_000)  # bytes of a token whose header or payload is stuffed
HEADER_BYTES, CERTIFICATE_HEADER_BYTES = 2_000, 8_000  # decoded, of a stuffed header

Claims = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """How one hostile token compares with the good one of its length under the same options."""

    options: str
    kind: str
    size: int  # bytes
    ratio: float
    nanoseconds: float  # CPU time per byte of the token


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--top", type=int, default=0, help="print only so many")
    parser.add_argument("--markdown", action="store_true", help="the worst of each kind, as a table")
    parser.add_argument("--stdlib", action="store_true", help="without orjson")
    options = parser.parse_args()
    if options.stdlib:
        sys.modules["orjson"] = None  # type: ignore[assignment]  # an import of it fails from here on
    logging.disable(logging.CRITICAL)
    figures = sorted(measure(options.rounds), key=lambda figure: figure.ratio, reverse=True)
    if options.markdown:
        print(
            "| a token with a bad signature, or of an unknown key | bytes | times a good one | ns per byte |"
        )
        print("|---|---|---|---|")
        for figure in worst_of_each_kind(figures):
            print(
                f"| {figure.kind}; {figure.options} | {figure.size:,} | {figure.ratio:.2f} |"
                f" {figure.nanoseconds:.1f} |"
            )
        return
    print(f"{'times':>6} {'bytes':>7} {'ns/byte':>8}  token; options")
    for figure in figures[: options.top or None]:
        line = (
            f"{figure.ratio:6.2f} {figure.size:7} {figure.nanoseconds:8.1f}  {figure.kind}; {figure.options}"
        )
        print(line + ("" if figure.ratio <= BOUND else "  ABOVE THE BOUND"))


def worst_of_each_kind(figures: list[Figure]) -> list[Figure]:
    """The first figure of each kind, whatever it is stuffed with; `figures` are sorted, the worst first."""
    kinds: dict[tuple[str, str], Figure] = {}
    for figure in figures:
        kind, options = figure.kind.partition(":")[0], figure.options.partition(", gate")[0]
        apart = options.startswith("no kid") or (kind == "header" and options == "x5c ignored")
        kinds.setdefault((kind, options if apart else ""), figure)
    return list(kinds.values())


def measure(rounds: int) -> Iterator[Figure]:
    """Every kind of hostile token under every kind of options."""
    from skeldir_jwt_mw import InvalidToken, KeysUnavailable

    for scene in scenes():
        verifier = scene.verifier
        verify = verifier.verify

        def ask(token: str, verify: Callable[[str], object] = verify) -> object:
            try:
                return verify(token)
            except (InvalidToken, KeysUnavailable) as error:
                return error

        for kind, hostile in scene.hostile():
            good = scene.good(len(hostile))
            for token in (*good, hostile):  # warm up
                ask(token)
            ratios, seconds = [], []
            for _ in range(rounds):
                mine, others = run(ask, [hostile] * BATCH), run(ask, good)
                ratios.append(mine / others)
                seconds.append(mine)
            if not isinstance(ask(hostile), Exception) or isinstance(ask(good[0]), Exception):
                raise AssertionError(f"{kind}; {scene.options}: {ask(hostile)!r}, {ask(good[0])!r}")
            yield Figure(
                options=scene.options,
                kind=kind,
                size=len(hostile),
                ratio=statistics.median(ratios),
                nanoseconds=statistics.median(seconds) / BATCH / len(hostile) * 1e9,
            )
        verifier.close()


def run(ask: Callable[[str], object], batch: list[str]) -> float:
    """CPU seconds of this thread for the batch."""
    clock = time.thread_time
    started = clock()
    for token in batch:
        ask(token)
    return clock() - started


# -- what payloads and headers are stuffed with: a text of `length` bytes or little less -------------------


def repeated(unit: str) -> Callable[[int], str]:
    """As many of a unit as an array holds."""
    return lambda length: '"x":[' + ",".join([unit] * (length // (len(unit) + 1))) + "]"


def nested(length: int) -> str:
    """Arrays within arrays."""
    return '"x":' + "[" * (length // 2) + "]" * (length // 2)


def nested_to_the_limit(length: int) -> str:
    """Arrays that are as deep as is read, one beside the other."""
    unit = "[" * 13 + "]" * 13
    return '"x":[' + ",".join([unit] * (length // (len(unit) + 1))) + "]"


def members(length: int) -> str:
    """As many members as one object may have, in several objects."""
    objects = []
    while length > 40:
        names = [f'"{number:x}":0' for number in range(min(1000, length // 7))]
        objects.append("{" + ",".join(names) + "}")
        length -= len(objects[-1]) + 1
    return '"x":[' + ",".join(objects) + "]"


STUFFING: dict[str, Callable[[int], str]] = {
    "a long string": lambda length: '"x":"' + "x" * length + '"',
    "a string of escapes": lambda length: '"x":"' + "\\u00e9" * (length // 6) + '"',
    "a string of surrogate pairs": lambda length: '"x":"' + "\\ud83d\\ude00" * (length // 12) + '"',
    "a string of quotes": lambda length: '"x":"' + '\\"' * (length // 2) + '"',
    "nesting without end": nested,
    "nesting to the limit": nested_to_the_limit,
    "empty arrays": repeated("[]"),
    "empty objects": repeated("{}"),
    "small objects": repeated('{"a":0}'),
    "many members": members,
    "numbers": repeated("1"),
    "long numbers": repeated("1" * 40),
    "long fractions": repeated("0." + "1" * 39),
    "short strings": repeated('""'),
    "numbers, spaced": lambda length: '"x": [' + ",".join(["1"] * (length // 2)) + "]",
    "long numbers, spaced": lambda length: '"x": [' + ",".join(["1" * 20] * (length // 21)) + "]",
    "fractions, spaced": lambda length: '"x": [' + ",".join(["1e2"] * (length // 4)) + "]",
    "small objects, spaced": lambda length: '"x": [' + ",".join(['{"a":0}'] * (length // 8)) + "]",
    "many members, spaced": lambda length: members(length).replace(":", ": ", 1),
    "many members and an escape": lambda length: members(length) + ',"y":"\\n"',
    "white space": lambda length: " " * length + '"x":0',
    "duplicate iss": lambda length: '"iss":"https://nobody.example/","x":"' + "x" * length + '"',
    "iss in every object": lambda length: (
        '"x":[' + ",".join(['{"iss":"' + OTHER + '"}'] * (length // 45)) + "]"
    ),
    "an escaped iss": lambda length: '"\\u0069ss":"' + OTHER + '","x":"' + "x" * length + '"',
    "no JSON": lambda length: "x" * length,
}


# -- the options --------------------------------------------------------------------------------------------


class Scene:
    """A verifier with the keys at hand, good tokens for it and hostile ones."""

    def __init__(
        self,
        options: str,
        *,
        algorithm: str = "RS256",
        keys: int = 1,
        kid: str | None = "k1",
        issuers: tuple[str, ...] = (ISSUER,),
        iss: str = ISSUER,
        closed: bool = False,
        stuffed: bool = False,
        bits: int = 2048,
        header: Mapping[str, Any] | None = None,
        issuer_options: Mapping[str, Any] | None = None,
        **verifier_options: Any,
    ) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        from skeldir_jwt_mw import Issuer, RefreshPolicy, Verifier
        from skeldir_jwt_mw.sources import CallableSource
        from skeldir_jwt_mw.testing.tokens import SigningKey

        self.options, self.iss, self.kid, self.stuffed, self.closed = options, iss, kid, stuffed, closed
        self.extra_header = dict(header or {})
        self.keys = [SigningKey.generate(algorithm, kid=f"k{number + 1}") for number in range(keys)]
        self.stranger = SigningKey.generate(algorithm, kid=kid or "k1")
        if bits != 2048:
            self.keys, self.stranger = (
                [SigningKey(kid="k1", alg=algorithm, private=rsa.generate_private_key(65537, bits))],
                SigningKey(kid="k1", alg=algorithm, private=rsa.generate_private_key(65537, bits)),
            )
        jwks = {"keys": [key.jwk() for key in self.keys]}
        policy = RefreshPolicy(
            refresh_interval=7200, check_interval=3600, floor=3600, jitter=0, max_stale=20_000
        )
        self.verifier = Verifier(
            [
                Issuer(
                    name,
                    audience=AUDIENCE,
                    algorithms=[algorithm],
                    source=CallableSource(lambda: jwks, identity=name),
                    **({"tenant_claim": "tid"} if "{" in name else {}),
                    **(issuer_options or {}),
                )
                for name in issuers
            ],
            policy=policy,
            **verifier_options,
        )
        self.verifier.warm()
        if closed:
            self.verifier.refresh()

    def claims(self) -> Claims:
        """Claims that are right."""
        now = int(time.time())
        tenant = {"tid": TENANT} if "tenants." in self.iss or "tenant" in self.options else {}
        return {
            "iss": self.iss,
            "sub": "auth0|0123456789",
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 7200,
            **tenant,
        }

    def header(self, **more: Any) -> dict[str, Any]:
        """A header that is right."""
        named = {} if self.kid is None else {"kid": self.kid}
        return {"alg": self.stranger.alg, "typ": "at+jwt", **named, **self.extra_header, **more}

    def good(self, length: int) -> list[str]:
        """Good tokens of this many bytes or up to three less, none like the other."""
        tokens = []
        for number in range(BATCH):
            claims = {**self.claims(), "jti": str(number)}
            bare = len(self.signed(self.keys[-1], json_of(self.header()), json_of(claims)))
            if length > bare + 20:
                claims["x"] = "x" * ((length - bare) * 3 // 4 - 7)
            tokens.append(self.signed(self.keys[-1], json_of(self.header()), json_of(claims)))
        return tokens

    @staticmethod
    def signed(key: Any, header: str, payload: str) -> str:
        """A token of this header and payload, as they are."""
        from skeldir_jwt_mw.testing.tokens import b64url

        signing_input = f"{b64url(header.encode())}.{b64url(payload.encode())}"
        return f"{signing_input}.{b64url(key.sign(signing_input.encode()))}"

    def hostile(self) -> Iterator[tuple[str, str]]:
        """Hostile tokens by kind."""
        header, payload = json_of(self.header()), json_of(self.claims())
        signed, stranger = self.signed, self.stranger
        yield "a wrong signature", signed(stranger, header, payload)
        if not self.stuffed:
            return
        unknown = json_of(self.header(kid="made-up"))
        # Of nobody, it earns no refresh, so that the gate stays open.
        stray = payload if self.closed else json_of({**self.claims(), "iss": "https://nobody.example/"})
        for name, stuffing in STUFFING.items():
            for length in LENGTHS:
                room = length * 3 // 4 - 700
                for more, front, claims in (
                    ("wrong signature", header, payload),
                    ("unknown kid", unknown, stray),
                ):
                    yield (
                        f"{more}: {name}",
                        signed(stranger, front, claims[:-1] + "," + stuffing(room) + "}"),
                    )
                    yield (
                        f"{more}: {name}, in front",
                        signed(stranger, front, "{" + stuffing(room) + "," + claims[1:]),
                    )
            full = CERTIFICATE_HEADER_BYTES if "x5c" in self.options else HEADER_BYTES
            stuffed = header[:-1] + "," + stuffing(full - 150) + "}"
            yield f"header: {name}", signed(stranger, stuffed, payload)
        yield "only dots", "." * LENGTHS[-1]
        yield "dots in the payload", f"{signed(stranger, header, payload)[:80]}{'.a' * 8000}"
        yield "no dots", "a" * LENGTHS[-1]


def json_of(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"))


SEVERAL, TENANTS = (OTHER, THIRD, ISSUER), TEMPLATE.replace("{tid}", TENANT)
OPTIONS: dict[str, dict[str, Any]] = {
    "one issuer": {},
    "one issuer, gate closed": {"closed": True},
    "x5c ignored": {"issuer_options": {"ignored_headers": ["x5c"]}},
    "three issuers": {"issuers": SEVERAL},
    "three issuers, gate closed": {"issuers": SEVERAL, "closed": True},
    "a template": {"issuers": (TEMPLATE,), "iss": TENANTS},
    "issuers and a template": {"issuers": (*SEVERAL, TEMPLATE), "iss": TENANTS},
    "tenant": {"issuer_options": {"tenant_claim": "tid"}},
    "token cache": {"token_cache": 1},
}


def scenes() -> Iterator[Scene]:
    """Every kind of options: one at a time, for keys and tokens are made for each."""
    for algorithm in ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"):
        yield Scene(algorithm, algorithm=algorithm)
    yield Scene("RS256 of 4096 bits", bits=4096)
    for keys in range(1, 5):
        yield Scene(f"no kid, {keys} RS256 keys", keys=keys, kid=None)
        yield Scene(f"no kid, {keys} RS256 keys, gate closed", keys=keys, kid=None, closed=True)
    for name, options in OPTIONS.items():
        yield Scene(name, stuffed=True, **options)
    yield Scene("one issuer, ES256", algorithm="ES256", stuffed=True)


if __name__ == "__main__":
    main()
