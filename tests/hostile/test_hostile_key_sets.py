"""No key set makes anything but our own errors, a forged token good, or the good key in it useless."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest
from crafting import AUDIENCE, ISSUER, key, key_set, token
from key_sets import KeySetCase, key_set_cases

from skeldir_jwt_mw import ConfigurationError, InvalidToken, Issuer, KeysUnavailable, RefreshPolicy, Verifier
from skeldir_jwt_mw.core.keys import Found, UnusableDocument, import_jwks
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS
from skeldir_jwt_mw.sources import CallableSource, StaticSource

CASES = key_set_cases()
QUICK = 0.25  # seconds of CPU for a document of at most 256 KiB and 64 keys
MEMORY = 16_000_000  # bytes
ALL = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def outcome(call: Callable[[], object]) -> str:
    """`ok`, or the name of what is raised."""
    try:
        call()
    except (InvalidToken, KeysUnavailable, ConfigurationError) as error:
        return error.code
    except Exception as error:  # that is what is looked for
        return type(error).__name__
    return "ok"


def test_there_are_many_of_either_sort() -> None:
    assert len(CASES) >= 200
    assert sum(case.is_set for case in CASES) >= 140


@ALL
def test_a_document_is_a_set_with_the_good_key_in_it_or_refused_as_a_whole(case: KeySetCase) -> None:
    if not case.is_set:
        with pytest.raises(UnusableDocument):
            import_jwks(case.document)
        return
    keys = import_jwks(case.document).for_algorithms(SUPPORTED_ALGORITHMS)
    answer = keys.find("es256", "ES256")
    assert isinstance(answer, Found)
    (found,) = answer.keys
    signing_input = b"input"
    assert found.verify(key("ES256").sign(signing_input), signing_input)


@ALL
def test_a_service_with_that_provider_accepts_the_good_token_and_no_forged_one(case: KeySetCase) -> None:
    source = CallableSource(lambda: case.document, identity="hostile")
    issuer = Issuer(ISSUER, audience=AUDIENCE, source=source)
    verifier = Verifier([issuer], policy=RefreshPolicy(floor=0.001, jitter=0.0))
    expected = "ok" if case.is_set else "keys_unavailable"
    assert outcome(lambda: verifier.verify(token())) == expected
    assert outcome(lambda: verifier.verify(case.forged)) != "ok"
    assert outcome(lambda: verifier.verify(token())) == expected
    verifier.close()


@ALL
def test_a_hostile_set_after_a_good_one_replaces_it_only_where_it_is_a_set(case: KeySetCase) -> None:
    documents = [key_set(key("ES256").jwk(), key("EdDSA").jwk())]
    source = CallableSource(
        lambda: documents[0] if len(documents) == 1 else case.document, identity="hostile"
    )
    policy = RefreshPolicy(floor=0.001, jitter=0.0)
    verifier = Verifier([Issuer(ISSUER, audience=AUDIENCE, source=source)], policy=policy)
    of_edwards = token(signer=key("EdDSA"))
    assert outcome(lambda: verifier.verify(of_edwards)) == "ok"
    documents.append({})
    assert outcome(verifier.refresh) == ("ok" if case.is_set else "keys_unavailable")
    assert outcome(lambda: verifier.verify(token())) == "ok"
    assert outcome(lambda: verifier.verify(case.forged)) != "ok"
    # Replaced and never merged; kept where there was nothing to replace it with.
    assert outcome(lambda: verifier.verify(of_edwards)) == ("unknown_kid" if case.is_set else "ok")
    verifier.close()


@ALL
def test_a_fixed_set_is_refused_at_construction_or_works(case: KeySetCase) -> None:
    made = outcome(lambda: Verifier([Issuer(ISSUER, audience=AUDIENCE, source=StaticSource(case.document))]))
    assert made == "configuration" if not case.is_set else made in {"ok", "configuration"}


@ALL
def test_a_document_is_judged_quickly_and_in_little_memory(case: KeySetCase) -> None:
    took = []
    for _ in range(4):
        began = time.thread_time()
        outcome(lambda: import_jwks(case.document))
        took.append(time.thread_time() - began)
        if took[-1] < QUICK:
            break
    assert min(took) < QUICK
    tracemalloc.start()
    try:
        outcome(lambda: import_jwks(case.document))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
