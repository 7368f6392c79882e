"""Who accepts what: this library, joserfc, PyJWT and jwcrypto over the hostile corpus, run now.

    pip install pyjwt jwcrypto               # beside this package; nothing else needs them
    python benchmarks/score.py               # the table
    python benchmarks/score.py --families    # and which kinds of hostile tokens each of the others accepts
    python benchmarks/score.py --markdown    # as docs/security.md holds it

Every library is asked the same: one issuer, one audience, its keys, the four algorithms, 30 s of leeway, and
`exp`, `iss` and `aud` required, in the way that its documentation tells. What a library does not check unless
code of one's own asks it to (the type of a token, `cnf`, the types of scopes) is not asked of it. So some of
what the others accept is outside of what they set out to do; `--families` shows which.

"False accepts" are hostile tokens accepted, "false rejects" oddities refused, "foreign exceptions" those
for which something else is raised than the library's own errors. Wycheproof's JWS vectors are judged by their
labels as they are printed, mislabelled ones included, with the key that belongs to each; WYCHEPROOF_DIR names
the folder.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import logging
import os
import platform
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/hostile"), str(ROOT / "tests/conformance")]

from corpus import FAMILIES  # noqa: E402
from crafting import AUDIENCE, ISSUER, Case  # noqa: E402
from judging import Judges  # noqa: E402
from oddities import oddities  # noqa: E402

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
LEEWAY = 30
Verify = Callable[[str, Mapping[str, Any]], object]
VerifyJWS = Callable[[str, Mapping[str, Any]], object]
VECTORS = "json_web_signature_test.json"
EVERY_ALGORITHM = [f"{kind}{size}" for kind in ("HS", "RS", "PS", "ES") for size in (256, 384, 512)] + [
    "EdDSA"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """One library, as a careful service would use it."""

    name: str
    distribution: str
    verify: Verify  # a token with a key set: whatever is returned is an acceptance
    verify_jws: VerifyJWS  # a JWS with one key
    own: tuple[type[BaseException], ...]  # its own errors


@dataclass(slots=True, kw_only=True)
class Score:
    """What one library did."""

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: list[str] = field(default_factory=list)
    foreign: Counter[str] = field(default_factory=Counter)
    agreed: int = 0
    vectors: int = 0
    agreed_asymmetric: int = 0
    asymmetric: int = 0


def ours() -> Library:
    """This library. It has no half-step without claims, so vectors go through its core."""
    from skeldir_jwt_mw import JWTError
    from skeldir_jwt_mw.core.compact import parse_header, split
    from skeldir_jwt_mw.core.keys import Miss, UnusableDocument, import_jwks
    from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS

    judges = Judges()

    def verify_jws(token: str, jwk: Mapping[str, Any]) -> object:
        signing_input, segment, _, signature = split(token, 65_536)
        header = parse_header(segment)
        key = import_jwks(json.dumps({"keys": [jwk]}).encode()).for_algorithms(SUPPORTED_ALGORITHMS)
        found = key.find(header.kid, header.algorithm)
        if isinstance(found, Miss) or not any(one.verify(signature, signing_input) for one in found.keys):
            raise UnusableDocument
        return header

    return Library(
        name="skeldir_jwt_mw",
        distribution="skeldir_jwt_mw",
        verify=lambda token, keys: judges.of(keys).verify(token),
        verify_jws=verify_jws,
        own=(JWTError, UnusableDocument),
    )


def joserfc() -> Library:
    """joserfc with a key set, an allow-list and a registry of claims."""
    from joserfc import jws, jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, KeySet

    claims = jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    )

    def verify(token: str, keys: Mapping[str, Any]) -> object:
        trusted = KeySet.import_key_set({"keys": keys["keys"]})
        found = jwt.decode(token, trusted, algorithms=ALGORITHMS)
        claims.validate(found.claims)
        return found

    def verify_jws(token: str, jwk: Mapping[str, Any]) -> object:
        return jws.deserialize_compact(token, JWKRegistry.import_key(dict(jwk)), algorithms=EVERY_ALGORITHM)

    return Library(
        name="joserfc", distribution="joserfc", verify=verify, verify_jws=verify_jws, own=(JoseError,)
    )


def pyjwt() -> Library:
    """PyJWT with a key set, from which the token's kid picks, as PyJWKClient does it."""
    import jwt

    def verify(token: str, keys: Mapping[str, Any]) -> object:
        trusted = jwt.PyJWKSet.from_dict({"keys": keys["keys"]})
        kid = jwt.get_unverified_header(token).get("kid")
        usable = [key for key in trusted.keys if key.public_key_use in ("sig", None)]
        found = next((key for key in usable if key.key_id == kid), None)
        if found is None:
            raise jwt.PyJWKClientError("no key of that id")
        options = {"require": ["exp", "iss", "aud"]}
        return jwt.decode(
            token,
            found,
            algorithms=ALGORITHMS,
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY,
            options=options,
        )

    def verify_jws(token: str, jwk: Mapping[str, Any]) -> object:
        return jwt.PyJWS().decode_complete(token, jwt.PyJWK(dict(jwk)), algorithms=EVERY_ALGORITHM)

    return Library(
        name="PyJWT", distribution="PyJWT", verify=verify, verify_jws=verify_jws, own=(jwt.PyJWTError,)
    )


def jwcrypto() -> Library:
    """jwcrypto with a key set, an allow-list and the claims to check."""
    from jwcrypto.common import JWException
    from jwcrypto.jwk import JWK, JWKSet
    from jwcrypto.jws import JWS
    from jwcrypto.jwt import JWT

    def verify(token: str, keys: Mapping[str, Any]) -> object:
        trusted = JWKSet.from_json(json.dumps({"keys": keys["keys"]}))
        checked = {"iss": ISSUER, "aud": AUDIENCE, "exp": None}
        made = JWT(algs=ALGORITHMS, check_claims=checked, expected_type="JWS")
        made.leeway = LEEWAY
        made.deserialize(token, trusted)
        return json.loads(made.claims)

    def verify_jws(token: str, jwk: Mapping[str, Any]) -> object:
        made = JWS()
        made.allowed_algs = EVERY_ALGORITHM
        made.deserialize(token, JWK(**jwk))
        return made.payload

    return Library(
        name="jwcrypto", distribution="jwcrypto", verify=verify, verify_jws=verify_jws, own=(JWException,)
    )


def judge(library: Library, family: str, case: Case, score: Score) -> bool:
    """Whether the library accepts the token; a foreign exception is noted and is no acceptance."""
    try:
        text = case.token if isinstance(case.token, str) else case.token.decode("latin-1")
        library.verify(text, case.keys)
    except library.own:
        return False
    except Exception as error:  # what is counted
        score.foreign[f"{family}: {type(error).__name__}"] += 1
        return False
    return True


def scored(library: Library, families: Mapping[str, list[Case]], odd: list[Case]) -> Score:
    """Run everything."""
    score = Score()
    for family, cases in families.items():
        score.accepted[family] += sum(judge(library, family, case, score) for case in cases)
    score.rejected += [case.name for case in odd if not judge(library, "oddities", case, score)]
    folder = os.environ.get("WYCHEPROOF_DIR")
    if folder and (path := Path(folder) / VECTORS).is_file():
        for group in json.loads(path.read_text(encoding="utf-8"))["testGroups"]:
            for test in group["tests"]:
                agrees = verifies(library, group, test["jws"]) is (test["result"] == "valid")
                score.vectors += 1
                score.agreed += agrees
                if group["private"]["kty"] != "oct":
                    score.asymmetric += 1
                    score.agreed_asymmetric += agrees
    return score


def verifies(library: Library, group: Mapping[str, Any], jws: str) -> bool:
    """Whether a vector is accepted; a label says nothing of errors."""
    try:
        library.verify_jws(jws, group.get("public", group["private"]))
    except Exception:
        return False
    return True


def version(library: Library) -> str:
    """The library's name and version."""
    return f"{library.name} {importlib.metadata.version(library.distribution)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", action="store_true", help="tell which kinds of tokens are accepted")
    parser.add_argument("--markdown", action="store_true", help="the table as the documentation holds it")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # of short keys, which are among what is tried
    # Made once: all are asked of the same tokens.
    families = {name: family.cases() for name, family in FAMILIES.items()}
    odd = oddities()
    libraries = [ours(), joserfc(), pyjwt(), jwcrypto()]
    scores = {version(library): scored(library, families, odd) for library in libraries}
    hostile = sum(map(len, families.values()))
    rows = {
        f"false accepts, of {hostile} hostile tokens": [s.accepted.total() for s in scores.values()],
        f"families with a false accept, of {len(families)}": [
            sum(map(bool, s.accepted.values())) for s in scores.values()
        ],
        f"false rejects, of {len(odd)} legal oddities": [len(s.rejected) for s in scores.values()],
        "foreign exceptions": [s.foreign.total() for s in scores.values()],
    }
    first = next(iter(scores.values()))
    if first.vectors:
        rows[f"agrees with Wycheproof's label, of {first.vectors}"] = [s.agreed for s in scores.values()]
        rows[f"of the {first.asymmetric} with a public key"] = [s.agreed_asymmetric for s in scores.values()]
    width = max(map(len, rows))
    line = "| {} | {} |" if options.markdown else "{}  {}"
    columns = [max(len(name), 8) for name in scores]

    def show(first: str, cells: list[Any]) -> None:
        shown = (f"{cell:>{size}}" for cell, size in zip(cells, columns, strict=True))
        print(line.format(f"{first:<{width}}", (" | " if options.markdown else "  ").join(shown)))

    show("", list(scores))
    if options.markdown:
        print("|---|" + "---|" * len(scores))
    for name, cells in rows.items():
        show(name, cells)
    made_with = (
        f"Python {platform.python_version()}, cryptography {importlib.metadata.version('cryptography')}"
    )
    print(f"\nMade on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} with {made_with}.")
    if options.families:
        for name, score in scores.items():
            print(f"\n{name}")
            for family, count in score.accepted.items():
                if count:
                    rule, of = FAMILIES[family].rule, len(families[family])
                    print(f"  accepts {count:>3} of {of:>3}: {family} ({rule})")
            for what, count in sorted(score.foreign.items()):
                print(f"  raises  {count:>3} in {what}")
            if score.rejected:
                print(f"  refuses {', '.join(score.rejected)}")


if __name__ == "__main__":
    main()
