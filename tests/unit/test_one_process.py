"""A Verifier stays in the process that made it, says so, and is easily made in each."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from functools import partial
from typing import Any

import pytest

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint
from skeldir_jwt_mw.wsgi import JWTMiddleware

ISSUER, AUDIENCE = "https://login.example.com/", "orders-api"
KEY = SigningKey.generate()
SAID = "a Verifier belongs to one process, .* make it in each process"

_verifier: Verifier | None = None


def make(jwk: dict[str, Any]) -> Verifier:
    return Verifier(Issuer(ISSUER, audience=AUDIENCE, source=StaticSource({"keys": [jwk]})))


def initialize(jwk: dict[str, Any]) -> None:
    global _verifier
    _verifier = make(jwk)


def subject_of(raw: str) -> str | None:
    assert _verifier is not None
    return _verifier.verify(raw).subject


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    "attempt",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda it: pickle.dumps({"state": [it]}),
        lambda it: pickle.dumps(JWTMiddleware(app, it)),
        lambda it: pickle.dumps(partial(print, it)),
    ],
)
def test_a_verifier_cannot_be_pickled_or_copied_and_says_what_to_do(attempt: Any) -> None:
    with pytest.raises(TypeError, match=SAID):
        attempt(make(KEY.jwk()))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_verifier_given_to_another_process_says_what_to_do(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    with pytest.raises(TypeError, match=SAID):
        context.Process(target=print, args=(make(KEY.jwk()),)).start()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_verifier_made_in_each_process_serves_there(method: str) -> None:
    token = mint(KEY, {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": 2**33})
    context: Any = multiprocessing.get_context(method)
    with context.Pool(2, initialize, (KEY.jwk(),)) as pool:
        assert pool.map(subject_of, [token] * 4, chunksize=1) == ["ada"] * 4
