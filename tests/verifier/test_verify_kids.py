"""Which key answers to a token, which tokens earn a fetch, and what is answered while none is allowed."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable

import pytest
from verifying import (
    Ask,
    MakeVerifier,
    counters_of,
    issuer_of,
    outage,
    policy_of,
    refusal,
    status_of,
)

from skeldir_jwt_mw import InvalidToken, JWTError, MemoryStore, Verifier
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey


@pytest.fixture
def warm(idp: LoopbackIssuer, make: MakeVerifier) -> Verifier:
    """A verifier that has the provider's keys; the provider has forgotten that it was asked."""
    verifier = make(issuer_of(idp))
    verifier.warm()
    idp.reset()
    return verifier


def test_a_token_without_kid_uses_the_only_key(idp: LoopbackIssuer, warm: Verifier, ask: Ask) -> None:
    token = ask(warm, idp.token(without=("kid",)))
    assert "kid" not in token.header
    assert token.kid == idp.key().kid
    assert idp.fetches == 0


def test_a_token_without_kid_uses_the_only_key_of_its_algorithm(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    idp.rotate(alg="EdDSA")
    assert make(issuer_of(idp)).verify(idp.token(without=("kid",))).header["alg"] == "ES256"


@pytest.mark.parametrize("keys", [2, 4, 5])
def test_r15_a_token_that_names_no_key_is_tried_with_a_few(
    keys: int, idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    for _ in range(keys - 1):
        idp.rotate()
    verifier = make(issuer_of(idp))
    verifier.warm()
    tokens = [idp.token(kid=kid, without=("kid",)) for kid in idp.kids]
    for raw in (*tokens, *reversed(tokens)):  # all have one header
        if keys > 4:
            assert refusal(verifier, raw, ask) == "ambiguous_key"
        else:
            assert ask(verifier, raw).subject == "user-1"
    assert idp.fetches == 1


def test_a_failed_signature_without_kid_counts_as_an_unknown_key(
    idp: LoopbackIssuer, warm: Verifier, ask: Ask
) -> None:
    ask(warm, idp.token(without=("kid",)))
    new = idp.rotate(keep_previous=False)
    assert ask(warm, idp.token(without=("kid",))).kid == new
    assert idp.fetches == 1


def test_a_strangers_token_without_kid_earns_one_fetch_and_is_refused(
    idp: LoopbackIssuer, warm: Verifier, ask: Ask
) -> None:
    for _ in range(3):
        assert refusal(warm, idp.stranger_token(without=("kid",)), ask) == "unknown_kid"
    assert idp.fetches == 1


def test_a_known_kid_with_another_algorithm_is_looked_for_as_an_unknown_one_is(
    idp: LoopbackIssuer, warm: Verifier, ask: Ask
) -> None:
    rsa = SigningKey.generate("RS256", kid=idp.key().kid)
    for _ in range(3):
        assert refusal(warm, idp.token(key=rsa), ask) == "algorithm_mismatch"
    assert idp.fetches == 1  # once per floor


def test_a_kid_that_gets_a_key_of_another_algorithm_is_not_refused_until_the_schedule(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    old = SigningKey.generate("ES256", kid="the-key")
    new = SigningKey.generate("EdDSA", kid="the-key")
    idp.serve({"keys": [old.jwk()]})
    verifier = make(issuer_of(idp))
    assert ask(verifier, idp.token(key=old)).kid == "the-key"
    idp.serve({"keys": [new.jwk()]})
    assert ask(verifier, idp.token(key=new)).header["alg"] == "EdDSA"
    assert idp.fetches == 2


def test_a_key_that_was_left_out_says_why(idp: LoopbackIssuer, make: MakeVerifier, ask: Ask) -> None:
    weak = SigningKey.generate("ES256", kid="for-encryption")
    jwks = idp.jwks()
    idp.serve({"keys": [*jwks["keys"], weak.jwk(use="enc")]})
    verifier = make(issuer_of(idp))
    verifier.warm()
    for _ in range(3):
        with pytest.raises(InvalidToken) as caught:
            ask(verifier, idp.token(key=weak))
        assert (caught.value.code, caught.value.hint) == (
            "unusable_key",
            "the key was left out: use is not sig",
        )
    assert idp.fetches == 2


def test_a_key_that_was_left_out_is_used_once_it_is_mended(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    weak = SigningKey.generate("ES256", kid="mended")
    jwks = idp.jwks()
    idp.serve({"keys": [*jwks["keys"], weak.jwk(use="enc")]})
    verifier = make(issuer_of(idp))
    verifier.warm()
    idp.serve({"keys": [*jwks["keys"], weak.jwk()]})
    assert ask(verifier, idp.token(key=weak)).kid == "mended"


def thumbprints(certificate: bytes) -> dict[str, str]:
    """What a token names the key of a certificate by (RFC 7515 §4.1.7, §4.1.8)."""
    digests = {"x5t": hashlib.sha1(certificate), "x5t#S256": hashlib.sha256(certificate)}
    return {
        name: base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
        for name, digest in digests.items()
    }


@pytest.mark.parametrize("name", ["x5t", "x5t#S256"])
@pytest.mark.parametrize("listed", ["member", "certificate"])
def test_a_thumbprint_chooses_among_keys_that_are_not_told_apart_otherwise(
    name: str, listed: str, idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    """As AD FS and WSO2 do it, while an old and a new certificate overlap for weeks."""
    keys, certificates = [SigningKey.generate("ES256") for _ in range(6)], [b"one%d" % n for n in range(6)]
    jwks = []
    for key, certificate in zip(keys, certificates, strict=True):
        chain = [base64.b64encode(certificate).decode()]
        named = {"x5c": chain} if listed == "certificate" else {name: thumbprints(certificate)[name]}
        jwks.append({k: v for k, v in {**key.jwk(), **named}.items() if k != "kid"})
    idp.serve({"keys": jwks[:5]})
    verifier = make(issuer_of(idp), policy=policy_of(floor=0.001))

    def token(signer: int, certificate: int) -> str:
        header = {name: thumbprints(certificates[certificate])[name]}
        return idp.token(key=keys[signer], header=header, without=("kid",))

    for number in range(5):
        assert ask(verifier, token(number, number)).subject == "user-1"
    assert idp.fetches == 1
    assert refusal(verifier, token(0, 1), ask) == "bad_signature"
    assert idp.fetches == 1
    assert refusal(verifier, idp.token(key=keys[0], without=("kid",)), ask) == "ambiguous_key"
    idp.serve({"keys": jwks})
    assert ask(verifier, token(5, 5)).subject == "user-1"  # an unknown certificate is as an unknown kid
    assert idp.fetches == 2


def test_a_thumbprint_is_no_obstacle_where_the_keys_have_none(
    idp: LoopbackIssuer, warm: Verifier, ask: Ask
) -> None:
    token = idp.token(header={"x5t": "AAAA"}, without=("kid",))
    assert ask(warm, token).subject == "user-1"


def test_a_bad_signature_under_a_known_kid_causes_no_fetch(idp: LoopbackIssuer, warm: Verifier) -> None:
    forger = SigningKey.generate("ES256", kid=idp.key().kid)
    assert refusal(warm, idp.token(key=forger)) == "bad_signature"
    assert idp.fetches == 0


UNDESERVING: dict[str, Callable[[LoopbackIssuer], str]] = {
    "malformed": lambda idp: idp.stranger_token()[:-1] + "!",
    "wrong_issuer": lambda idp: idp.stranger_token(iss="https://login.example.org/"),
    "wrong_audience": lambda idp: idp.stranger_token(aud="billing-api"),
    "expired": lambda idp: idp.stranger_token(expires_in=-3600),
    "not_yet_valid": lambda idp: idp.stranger_token(nbf=time.time() + 3600),
    "issued_in_future": lambda idp: idp.stranger_token(iat=time.time() + 3600),
    "wrong_type": lambda idp: idp.stranger_token(header={"typ": "logout+jwt"}),
    "algorithm_not_allowed": lambda idp: idp.stranger_token(alg="RS512"),
    "unsupported_header": lambda idp: idp.stranger_token(header={"jku": idp.jwks_url}),
    "sender_constrained": lambda idp: idp.stranger_token(cnf={}),
    "bad_claims": lambda idp: idp.stranger_token(sub=5),
}


@pytest.mark.parametrize("code", UNDESERVING)
def test_r41_a_token_that_is_wrong_anyway_earns_no_fetch(
    code: str, idp: LoopbackIssuer, warm: Verifier, ask: Ask
) -> None:
    assert refusal(warm, UNDESERVING[code](idp), ask) == code
    assert idp.fetches == 0
    assert not status_of(warm)["refreshing"]


@pytest.mark.parametrize("code", UNDESERVING)
def test_a_token_that_is_wrong_anyway_does_not_even_cause_the_first_fetch(
    code: str, idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    assert refusal(make(issuer_of(idp)), UNDESERVING[code](idp), ask) == code
    assert idp.fetches == 0


def test_a_new_key_is_fetched_once_and_used_at_once(idp: LoopbackIssuer, warm: Verifier, ask: Ask) -> None:
    new = idp.rotate()
    assert ask(warm, idp.token()).kid == new
    assert ask(warm, idp.token()).kid == new
    assert idp.fetches == 1
    assert idp.requests[0].headers["cache-control"] == "no-cache"
    assert "if-none-match" not in idp.requests[0].headers


def test_the_first_token_finds_keys_and_the_key_that_it_needs(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    assert ask(make(issuer_of(idp)), idp.token()).subject == "user-1"
    assert idp.fetches == 1


def test_an_unknown_kid_costs_no_io_while_the_gate_is_closed(
    idp: LoopbackIssuer, warm: Verifier, ask: Ask
) -> None:
    assert refusal(warm, idp.stranger_token(), ask) == "unknown_kid"
    attempts = counters_of(warm._setup.store, warm).fetch_attempt_count
    for _ in range(50):
        assert refusal(warm, idp.stranger_token(), ask) == "unknown_kid"
    assert idp.fetches == 1
    assert counters_of(warm._setup.store, warm).fetch_attempt_count == attempts
    assert 0 < status_of(warm)["gate"]["closed_for"] <= 5.5
    assert status_of(warm)["gate"]["reason"] is None


def test_a_key_that_appears_while_the_gate_is_closed_is_found_once_it_opens(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(floor=0.2))
    verifier.warm()
    assert refusal(verifier, idp.stranger_token()) == "unknown_kid"
    idp.rotate()
    assert outage(verifier, idp.token()).reason == "older_keys"
    time.sleep(status_of(verifier)["gate"]["closed_for"] + 0.01)
    assert verifier.verify(idp.token()).kid == idp.kids[0]


def test_keys_that_are_older_than_a_token_do_not_make_its_key_unknown(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    """Else whoever sends made-up kids makes every rotation cost good users a floor of refusals."""
    verifier = make(issuer_of(idp), policy=policy_of(floor=30.0))
    made_up = idp.stranger_token(iat=int(time.time()))
    assert refusal(verifier, made_up, ask) == "unknown_kid"  # a fetch was made for it
    assert refusal(verifier, made_up, ask) == "unknown_kid"
    now = time.time()
    for iat, code in ((now, "keys_unavailable"), (now - 25, "keys_unavailable"), (now - 40, "unknown_kid")):
        for spelt in (iat, int(iat)):
            with pytest.raises(JWTError) as caught:
                ask(verifier, idp.stranger_token(iat=spelt))
            assert caught.value.code == code
    error = outage(verifier, idp.stranger_token(iat=now), ask)
    assert (error.reason, round(error.retry_after)) == ("older_keys", 30)
    assert refusal(verifier, idp.stranger_token(without=("iat",)), ask) == "unknown_kid"
    assert refusal(verifier, idp.stranger_token(iat=now, exp=now - 60), ask) == "expired"
    assert idp.fetches == 2  # the cold one, and the one for the first made-up kid


def test_a_guess_at_the_next_key_costs_its_users_no_refusal(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    """Key ids can often be foretold, and some providers sign before they publish."""
    verifier = make(issuer_of(idp), policy=policy_of(floor=30.0))
    verifier.warm()
    new = SigningKey.generate("ES256", kid="2026-12")
    early = idp.token(key=new, iat=int(time.time()) + 20)  # as far ahead as leeway lets it be
    assert refusal(verifier, early, ask) == "unknown_kid"
    for late in (0, 10, 20):
        assert outage(verifier, idp.token(key=new, iat=time.time() + late), ask).reason == "older_keys"
    assert refusal(verifier, idp.token(key=new, iat=time.time() - 60), ask) == "unknown_kid"
    assert idp.fetches == 2


def test_a_key_that_was_withdrawn_is_known_to_be_gone_however_young_the_token_is(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(floor=30.0))
    withdrawn = idp.token()
    ask(verifier, withdrawn)
    idp.rotate(keep_previous=False)
    ask(verifier, idp.token())
    assert refusal(verifier, withdrawn, ask) == "unknown_kid"
    assert idp.fetches == 2


def test_after_a_failed_fetch_an_unknown_kid_is_our_fault(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    store = MemoryStore()
    verifier = make(issuer_of(idp), store=store, policy=policy_of(backoff_base=30.0))
    known = ask(verifier, idp.token())
    idp.rotate()
    idp.down()
    for _ in range(3):
        error = outage(verifier, idp.token(), ask)
        assert error.reason == "failed"
        assert 28 < error.retry_after <= 30.6
    assert idp.fetches == 2
    assert counters_of(store, verifier).failure_event_count == 1
    assert status_of(verifier)["last_error"] == "the provider answered with status 503"
    assert ask(verifier, idp.token(kid=known.kid)).subject == "user-1"


def test_retry_after_is_honoured_and_passed_on(idp: LoopbackIssuer, warm: Verifier) -> None:
    idp.down(retry_after=1234)
    assert 1230 < outage(warm, idp.stranger_token()).retry_after <= 1235


def test_without_any_keys_and_without_a_provider_the_answer_is_unavailable(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(backoff_base=0.3))
    idp.down(None)
    assert outage(verifier, idp.token(), ask).reason == "failed"
    assert outage(verifier, idp.token(), ask).retry_after >= 1.0
    assert idp.fetches == 1
    assert refusal(verifier, idp.token(expires_in=-60), ask) == "expired"
    assert refusal(verifier, "no.token", ask) == "malformed"
    idp.up()
    time.sleep(status_of(verifier)["gate"]["closed_for"] + 0.01)
    assert ask(verifier, idp.token()).subject == "user-1"


@pytest.mark.parametrize(
    "document",
    ["", "<html>", "[]", "{}", '{"keys": {}}', '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}'],
)
def test_r53_rubbish_from_the_provider_keeps_the_last_good_keys(
    document: str, idp: LoopbackIssuer, warm: Verifier
) -> None:
    idp.serve(document)
    assert outage(warm, idp.stranger_token()).reason == "failed"
    assert warm.verify(idp.token()).subject == "user-1"
    assert status_of(warm)["ready"]


def test_a_huge_document_is_a_failure(idp: LoopbackIssuer, warm: Verifier) -> None:
    idp.serve(json.dumps({**idp.jwks(), "more": "x" * 262_144}))
    assert outage(warm, idp.stranger_token()).reason == "failed"
    assert warm.verify(idp.token()).subject == "user-1"


def test_a_slow_fetch_ends_the_wait_with_the_budget_and_the_key_is_there_later(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(wait_budget=0.1))
    verifier.warm()
    idp.rotate()
    idp.slow(0.5)
    started = time.monotonic()
    error = outage(verifier, idp.token(), ask)
    assert 0.1 <= time.monotonic() - started < 0.45
    assert (error.reason, error.retry_after) == ("running", 3.0)
    time.sleep(0.6)
    assert ask(verifier, idp.token()).kid == idp.kids[0]
    assert idp.fetches == 2


def test_a_wait_budget_of_nothing_waits_for_nothing(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(wait_budget=0.0))
    idp.slow(0.2)
    started = time.monotonic()
    assert outage(verifier, idp.token(), ask).reason == "running"
    assert time.monotonic() - started < 0.15


def test_a_followed_flight_that_lacks_the_key_is_followed_by_a_forced_one(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    """A cold start answers with the old document; the token's key is published meanwhile."""
    idp.slow(0.3)
    verifier = make(issuer_of(idp))
    new = SigningKey.generate(kid="new")

    def publish() -> None:
        while idp.fetches == 0:
            time.sleep(0.005)
        idp.serve({"keys": [new.jwk()]})
        idp.slow(0.0)  # for the next request; the one that waits has its answer already

    thread = threading.Thread(target=publish)
    thread.start()
    assert verifier.verify(idp.token(key=new)).kid == "new"
    thread.join()
    assert idp.fetches == 2


def test_a_request_asks_once_for_a_kid_that_does_not_exist_however_short_the_floor(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(floor=0.001))
    verifier.warm()
    started = time.monotonic()
    assert refusal(verifier, idp.stranger_token(), ask) == "unknown_kid"
    assert time.monotonic() - started < 1.0  # and not for the whole budget
    assert idp.fetches == 2


def test_a_request_that_joins_a_fetch_asks_once_more_and_no_oftener(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    """The fetch that it joined may have been answered before its key was published."""
    verifier = make(issuer_of(idp), policy=policy_of(floor=0.001))
    verifier.warm()
    idp.slow(0.2)
    codes: list[str] = []
    threads = [
        threading.Thread(target=lambda: codes.append(refusal(verifier, idp.stranger_token())))
        for _ in range(2)
    ]
    threads[0].start()
    while idp.fetches < 2:
        time.sleep(0.005)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert codes == ["unknown_kid"] * 2
    assert idp.fetches == 3
