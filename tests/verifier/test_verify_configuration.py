"""What a verifier refuses to be made of; nothing is asked of anybody to find that out."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from verifying import issuer_of

from skeldir_jwt_mw import ConfigurationError, Issuer, MemoryStore, PostgresStore, Verifier
from skeldir_jwt_mw.environment import ALLOW_MUTATIONS, DISABLE_SINGLEFLIGHT
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

ISSUER = Issuer("https://login.example.com/", audience="orders-api")
NOWHERE = PostgresStore("postgresql://nobody@127.0.0.1:1/nothing")
KEY = b"k" * 32


def complaint(*arguments: Any, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Verifier(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "issuers", [[], (), None, "https://login.example.com/", {}, 5, [None], ["https://x"]]
)
def test_issuers_are_one_or_several(issuers: Any) -> None:
    assert "issuers" in complaint(issuers)


def test_an_issuer_given_twice_is_named() -> None:
    other = Issuer("https://login.example.com/", audience="billing-api")
    assert "'https://login.example.com/') is given twice" in complaint([ISSUER, other])


def test_a_shared_store_without_seal_keys_prints_the_command_that_makes_one() -> None:
    text = complaint(ISSUER, store=NOWHERE)
    assert "seal_keys is missing" in text
    assert "skeldir-jwt seal-key" in text


def test_a_short_seal_key_is_counted_and_not_shown() -> None:
    text = complaint(ISSUER, store=NOWHERE, seal_keys=[KEY, b"secret"])
    assert "entry 2, 6 bytes" in text
    assert "secret" not in text
    assert "skeldir-jwt seal-key" in text


@pytest.mark.parametrize("seal_keys", [KEY, "k" * 32, ["k" * 32], [None], {KEY: 1}, 5])
def test_seal_keys_are_a_sequence_of_bytes(seal_keys: Any) -> None:
    text = complaint(ISSUER, store=NOWHERE, seal_keys=seal_keys)
    assert "seal_keys" in text
    assert "kkkk" not in text


def test_going_without_a_seal_is_possible_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    Verifier(ISSUER, store=NOWHERE, seal_keys=())
    assert "not sealed" in caplog.text


def test_a_store_of_one_process_needs_no_seal(caplog: pytest.LogCaptureFixture) -> None:
    Verifier(ISSUER, store=MemoryStore())
    assert caplog.records == []


@pytest.mark.parametrize("value", [-1, 10_000_001, True, 1.5, "100", None])
def test_the_token_cache_is_a_number_of_tokens(value: Any) -> None:
    assert complaint(ISSUER, token_cache=value).startswith(f"token_cache is {value!r}; it must be")


@pytest.mark.parametrize("value", [0, 255, 65_537, False, 4096.0, "4096", None])
def test_r03_the_longest_token_is_a_number_of_bytes(value: Any) -> None:
    assert complaint(ISSUER, max_token_bytes=value).startswith(f"max_token_bytes is {value!r}; it must be")


def test_the_limits_themselves_are_fine() -> None:
    Verifier(ISSUER, token_cache=0, max_token_bytes=256)
    Verifier(ISSUER, token_cache=10_000_000, max_token_bytes=65_536)


def test_a_misspelt_option_is_pythons_own_error() -> None:
    with pytest.raises(TypeError):
        Verifier(ISSUER, sealkeys=[KEY])  # type: ignore[call-arg]


def test_the_mutation_toggle_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLE_SINGLEFLIGHT, "1")
    for allowed in (None, "0"):
        if allowed is None:
            monkeypatch.delenv(ALLOW_MUTATIONS, raising=False)
        else:
            monkeypatch.setenv(ALLOW_MUTATIONS, allowed)
        text = complaint(ISSUER)
        assert DISABLE_SINGLEFLIGHT in text
        assert ALLOW_MUTATIONS in text


def test_the_mutation_toggle_warns_at_every_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(DISABLE_SINGLEFLIGHT, "1")
    monkeypatch.setenv(ALLOW_MUTATIONS, "1")
    for _ in range(2):
        caplog.clear()
        Verifier(ISSUER)
        assert "coordination is switched off" in caplog.text


def test_with_the_toggle_every_verifier_fetches_for_itself(
    idp: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    monkeypatch.setenv(DISABLE_SINGLEFLIGHT, "1")
    monkeypatch.setenv(ALLOW_MUTATIONS, "1")
    for _ in range(3):
        verifier = Verifier(issuer_of(idp), store=store)
        assert verifier.verify(idp.token()).subject == "user-1"
        verifier.close()
    assert idp.fetches == 3


def test_a_static_source_without_a_fitting_key_is_refused_at_once() -> None:
    source = StaticSource({"keys": [SigningKey.generate("ES256").jwk()]})
    issuer = Issuer(
        "https://login.example.com/", audience="orders-api", source=source, algorithms=("EdDSA", "ES384")
    )
    assert complaint(issuer) == (
        "no key of the source of https://login.example.com/ is for one of: EdDSA, ES384"
    )


def test_a_source_that_the_fleet_cannot_name_is_refused() -> None:
    class Nameless:
        def fetch(self, conditional: object) -> Any:
            raise AssertionError

    issuer = Issuer("https://login.example.com/", audience="orders-api", source=Nameless())
    assert "identity" in complaint(issuer)


def test_making_a_verifier_asks_nobody_and_starts_nothing(
    idp: LoopbackIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    verifier = Verifier(issuer_of(idp), store=NOWHERE, seal_keys=[KEY])
    assert not verifier.ready
    assert verifier.status()[idp.issuer]["generation"] == 0
    verifier.close()
    assert idp.requests == []
    assert caplog.records == []
