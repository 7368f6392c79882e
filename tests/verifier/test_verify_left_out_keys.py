"""Keys of a JWKS that no token is verified with: the operator learns which and why, wherever he looks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from verifying import Ask, MakeVerifier, issuer_of, outage, policy_of, quiet, refusal, snapshot_of, status_of

from skeldir_jwt_mw import ConfigurationError, InvalidToken, Verifier
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

NOT_SUPPORTED = "a key type that is not supported"
TWIN = "two different keys with one kid and algorithm"
ODD = {"kty": "PQ", "kid": "odd"}


def left_out(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told of keys that were left out."""
    quiet()
    return [
        message.partition(": ")[2]
        for message in caplog.messages
        if message.startswith("left out of the keys")
    ]


def test_the_log_and_the_status_name_them_once_for_each_set(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    good = idp.jwks()["keys"]
    idp.serve({"keys": [*good, ODD]})
    verifier = make(issuer_of(idp), policy=policy_of(floor=0.001))
    assert status_of(verifier)["rejected_keys"] == []
    for _ in range(3):
        verifier.refresh()
        verifier.verify(idp.token())
    told = f"'odd' ({NOT_SUPPORTED})"
    assert left_out(caplog) == [told]
    assert status_of(verifier)["rejected_keys"] == [{"kid": "odd", "reason": NOT_SUPPORTED}]
    idp.serve({"keys": [*good, ODD], "again": "in other bytes"})
    verifier.refresh()
    assert left_out(caplog) == [told]
    idp.serve({"keys": [*good, ODD, {"kty": "PQ"}]})
    verifier.refresh()
    assert left_out(caplog) == [told, f"{told}, key 3 ({NOT_SUPPORTED})"]
    assert status_of(verifier)["rejected_keys"][1] == {"kid": None, "reason": NOT_SUPPORTED}
    idp.serve({"keys": good})
    verifier.refresh()
    assert status_of(verifier)["rejected_keys"] == []


def test_twins_say_why_they_are_refused(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    twins = [SigningKey.generate("ES256", kid="twin") for _ in range(2)]
    idp.serve({"keys": [*idp.jwks()["keys"], *(twin.jwk() for twin in twins)]})
    verifier = make(issuer_of(idp))
    for twin in twins:
        with pytest.raises(InvalidToken) as caught:
            ask(verifier, idp.token(key=twin))
        assert (caught.value.code, caught.value.hint) == ("unusable_key", f"the key was left out: {TWIN}")
    assert left_out(caplog) == [f"'twin' ({TWIN}), 'twin' ({TWIN})"]
    assert status_of(verifier)["rejected_keys"] == [{"kid": "twin", "reason": TWIN}] * 2


def test_a_key_that_a_token_names_by_its_certificate_says_why_it_was_left_out(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    key = SigningKey.generate("ES256")
    named = [{**jwk, "x5t": "other"} for jwk in idp.jwks()["keys"]]
    idp.serve({"keys": [*named, key.jwk(use="enc", x5t="left-out")]})
    token = idp.token(key=key, header={"x5t": "left-out"}, without=("kid",))
    with pytest.raises(InvalidToken) as caught:
        ask(make(issuer_of(idp)), token)
    assert (caught.value.code, caught.value.hint) == (
        "unusable_key",
        "the key was left out: use is not sig",
    )


def test_where_all_are_left_out_the_log_and_the_status_say_why(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    idp.serve({"keys": [SigningKey.generate("ES256").jwk(use="enc"), ODD]})
    verifier = make(issuer_of(idp))
    assert outage(verifier, idp.token(), ask).reason == "failed"
    why = f"the key set has no usable key: use is not sig; {NOT_SUPPORTED}"
    assert status_of(verifier)["last_error"] == why
    quiet()
    assert f"fetching the keys of {idp.issuer} failed: {why}" in caplog.messages


def test_where_all_that_would_fit_are_left_out_the_log_and_the_status_say_why(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    unfit = SigningKey.generate("EdDSA").jwk()
    idp.serve({"keys": [unfit, *(jwk | {"use": "enc"} for jwk in idp.jwks()["keys"])]})
    verifier = make(issuer_of(idp, algorithms=("ES256",)))
    assert outage(verifier, idp.token(), ask).reason == "no_fitting_key"
    status = status_of(verifier)
    assert status["last_error"] == "no key is for one of the configured algorithms"
    assert status["rejected_keys"] == [{"kid": idp.kids[0], "reason": "use is not sig"}]
    quiet()
    assert f"no key of {idp.issuer} fits the algorithms that it is configured for" in caplog.messages


def test_those_of_a_static_source_are_told_when_it_is_configured(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = make(issuer_of(idp, source=StaticSource({"keys": [*idp.jwks()["keys"], ODD]})))
    assert left_out(caplog) == [f"'odd' ({NOT_SUPPORTED})"]
    assert status_of(verifier)["rejected_keys"] == [{"kid": "odd", "reason": NOT_SUPPORTED}]
    with pytest.raises(ConfigurationError, match=f"no usable key: {NOT_SUPPORTED}"):
        StaticSource({"keys": [ODD]})


def test_other_algorithms_may_leave_others_out(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    """Without `alg`, which algorithm a key is for is the issuer's to say, and so who is whose twin."""
    rsa = [SigningKey.generate(name, kid="rsa").jwk() for name in ("RS256", "PS256")]
    del rsa[1]["alg"]
    idp.serve({"keys": [*idp.jwks()["keys"], *rsa]})
    apart = issuer_of(idp, algorithms=("ES256", "PS256", "RS256"))
    verifier = make(apart)
    verifier.warm()
    assert left_out(caplog) == status_of(verifier)["rejected_keys"] == []
    verifier.set_issuers(issuer_of(idp, algorithms=("ES256", "RS256")))
    assert left_out(caplog) == [f"'rsa' ({TWIN}), 'rsa' ({TWIN})"]
    assert status_of(verifier)["rejected_keys"] == [{"kid": "rsa", "reason": TWIN}] * 2
    verifier.set_issuers(apart)
    assert status_of(verifier)["rejected_keys"] == []


class Asking(logging.Handler):
    """A handler that asks the verifier for what only an unlocked refresher can give, and then raises."""

    def __init__(self, verifier: Verifier) -> None:
        super().__init__()
        self._verifier = verifier
        self.seen: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "left out of the keys" in record.getMessage():
            self.seen.append(status_of(self._verifier)["rejected_keys"])
            raise RuntimeError


def test_it_is_told_outside_every_lock_and_a_handler_that_raises_costs_nothing(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    idp.serve({"keys": [*idp.jwks()["keys"], ODD]})
    verifier = make(issuer_of(idp))
    handler = Asking(verifier)
    logger = logging.getLogger("skeldir_jwt_mw")
    logger.addHandler(handler)
    try:
        assert asyncio.run(verifier.averify(idp.token())).subject == "user-1"
        verifier.set_issuers(issuer_of(idp, leeway=1.0))
    finally:
        logger.removeHandler(handler)
    assert handler.seen == [[{"kid": "odd", "reason": NOT_SUPPORTED}]]
    assert snapshot_of(verifier) is not None


@pytest.mark.parametrize("names", [{"x5t": "one"}, {"x5t#S256": "two"}, {"x5t": "one", "x5t#S256": "two"}])
def test_a_token_with_both_thumbprints_finds_a_key_that_has_one(
    names: dict[str, str], idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    key = SigningKey.generate("ES256")
    others = [jwk | {"x5t": "another"} for jwk in idp.jwks()["keys"]]
    idp.serve({"keys": [*others, {**key.jwk(), **names}]})
    verifier = make(issuer_of(idp))
    header = {"x5t": "one", "x5t#S256": "two"}
    assert ask(verifier, idp.token(key=key, header=header, without=("kid",))).subject == "user-1"
    forged = idp.token(key=SigningKey.generate("ES256"), header=header, without=("kid",))
    assert refusal(verifier, forged, ask) == "bad_signature"
    contradiction = idp.token(key=key, header=names | {_other(names): "another"}, without=("kid",))
    assert refusal(verifier, contradiction, ask) == "ambiguous_key"
    assert idp.fetches == 1


def _other(names: dict[str, str]) -> str:
    """The thumbprint that the key does not have, else the first that it has."""
    return next((name for name in ("x5t#S256", "x5t") if name not in names), "x5t")
