"""The identity of the adapter tests: one issuer with fixed keys, its tokens, and verifiers for them.

The public keys travel to server processes in the variable `ADAPTER_TESTS_JWKS`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from copy import copy
from typing import Any

from request_table import Case

from skeldir_jwt_mw import InvalidToken, Issuer, RefreshPolicy, Verifier
from skeldir_jwt_mw.sources import FetchFailed, StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint
from skeldir_jwt_mw.testing.tokens import b64url

ISSUER = "https://login.example.com/"
AUDIENCE = "orders-api"
JWKS_VARIABLE = "ADAPTER_TESTS_JWKS"
EVERYTHING_VARIABLE = "ADAPTER_TESTS_EVERYTHING"  # set: verifiers have every option
TENANT = "acme"
# Neither is a URL, so they are in no metadata; and no token of the tests is for their audience.
OTHER_ISSUERS = ("urn:another", ISSUER + "{tid}/")
EVERY_OPTION: Mapping[str, Any] = {
    "tenant_claim": "tid",
    "claims": {"/tid": (TENANT, "other")},
    "required_claims": ("exp",),
    "scope_claims": ("/scope", "/scp"),
    "ignored_headers": ("jku", "x5c", "x5u", "zip"),
}


class DownSource:
    """A source that never has keys."""

    identity = "down"

    def fetch(self, conditional: object) -> Any:
        """Fail."""
        raise FetchFailed("it is down")


class Verifiers:
    """A verifier with keys and one without, made when they are first asked for.

    With `everything` they remember tokens, and have other issuers besides and every option.
    """

    def __init__(self, jwks: str, *, everything: bool = False) -> None:
        self._jwks = jwks
        self.everything = everything
        self._made: dict[bool, Verifier] = {}

    def for_case(self, case: Case) -> Verifier:
        """The verifier that a case is to meet."""
        return self.get(keys=case.keys)

    def get(self, *, keys: bool = True) -> Verifier:
        """The verifier."""
        if keys not in self._made:
            source = StaticSource(self._jwks) if keys else DownSource()
            policy = RefreshPolicy(wait_budget=1.5)
            options = EVERY_OPTION if self.everything else {}
            issuers = [Issuer(ISSUER, audience=AUDIENCE, source=source, **options)]
            if self.everything:
                issuers += [Issuer(name, audience="x", source=source, **options) for name in OTHER_ISSUERS]
            self._made[keys] = Verifier(issuers, policy=policy, token_cache=64 if self.everything else 0)
        return self._made[keys]

    def warm(self, tokens: Iterable[str]) -> None:
        """Have every token remembered that can be, after each has come in an odd form too."""
        for raw in tokens:
            for odd in (Odd(raw), raw, raw.encode(), Odd(raw)):
                with suppress(InvalidToken):
                    self.get().verify(odd)

    def close(self) -> None:
        """Close what was made."""
        for verifier in self._made.values():
            verifier.close()


class Odd(str):
    """A string that says of itself that it equals everything, and is nothing."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __str__(self) -> str:
        return "***"


def user_key(subject: str, *, everything: bool) -> str:
    """The name of the user with that subject among the users of all issuers."""
    return f"{ISSUER}|{subject}" if everything and subject else subject


def verifiers_of_environment() -> Verifiers:
    """The verifiers of a server process."""
    return Verifiers(os.environ[JWKS_VARIABLE], everything=EVERYTHING_VARIABLE in os.environ)


class Signer:
    """Signs the tokens of the table."""

    def __init__(self) -> None:
        self.key = SigningKey.generate("ES256", kid="adapter-tests")
        self.jwks = json.dumps({"keys": [self.key.jwk()]})
        self.environ = {JWKS_VARIABLE: self.jwks}  # for server processes

    def with_everything(self) -> Signer:
        """One whose server processes have verifiers with everything."""
        copied = copy(self)
        copied.environ = {**self.environ, EVERYTHING_VARIABLE: "1"}
        return copied

    def token(
        self, *, key: SigningKey | None = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token that is right but for what is given; a claim of None is left out."""
        now = int(time.time())
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "user-1",
            "iat": now,
            "exp": now + 3600,
            "scope": "orders:read orders:write",
            "tid": TENANT,
            **claims,
        }
        present = {name: value for name, value in payload.items() if value is not None}
        return mint(key or self.key, present, header)

    def tokens(self) -> dict[str, str]:
        """One token of each kind, by the name that the table uses."""
        valid = self.token()
        head, payload, signature = valid.split(".")
        stranger = SigningKey.generate("ES256", kid=self.key.kid)
        unsigned = b64url(json.dumps({"alg": "none", "typ": "at+jwt"}).encode())
        return {
            "valid": valid,
            "nobody": self.token(sub=None),
            "expired": self.token(exp=int(time.time()) - 3600),
            "misaddressed": self.token(aud="billing-api"),
            "alien": self.token(iss="https://login.example.org/"),
            "unsigned": f"{unsigned}.{payload}.{signature}",
            "forged": self.token(key=stranger),
            "unknown_key": self.token(key=SigningKey.generate("ES256", kid="unknown")),
            "scribbled": f"{head}.{payload[:-4]}AAAA.{signature}",
        }
