"""What the operator is told of keys that were left out: once for each set of them, bounded, on one line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest
from signing import private_key, public_jwk

from skeldir_jwt_mw.core.effects import Report
from skeldir_jwt_mw.core.keys import MAX_KEYS
from skeldir_jwt_mw.reports import MAX_KEY_ID, MAX_NAMED, MAX_SETS, Reports
from skeldir_jwt_mw.snapshot import Snapshot, fixed

NAME = "https://login.example.com/"
GOOD = public_jwk(private_key("ES256"), kid="good", alg="ES256")
ENC = {**GOOD, "kid": "enc", "use": "enc"}
TEXT = f"left out of the keys of {NAME}: "


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def snapshot(*jwks: Any, algorithms: Iterable[str] = ("ES256",)) -> Snapshot:
    """A key set in use, of these keys and a good one."""
    document = json.dumps({"keys": [GOOD, *jwks]}).encode()
    return Snapshot.after(None, fixed(document, 0.0), tuple(algorithms))


def unfit(kid: str) -> dict[str, str]:
    return {"kty": "PQ", "kid": kid}


def test_each_left_out_key_is_named_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    Reports(NAME).look_at(snapshot(ENC, {**GOOD, "kid": "odd", "crv": "P-1"}, {"kty": "PQ"}, 7))
    ((logger, level, message),) = caplog.record_tuples
    assert (logger, level) == ("skeldir_jwt_mw", logging.WARNING)
    assert message == (
        f"{TEXT}'enc' (use is not sig), 'odd' (a curve that is not supported),"
        " key 4 (a key type that is not supported), key 5 (not an object)"
    )


def test_keys_for_another_use_are_told_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """Keycloak, for one, publishes such a key in every realm: there is nothing to mend."""
    Reports(NAME).look_at(snapshot(ENC))
    message = f"the keys of {NAME} hold some for another use: 'enc' (use is not sig)"
    assert caplog.record_tuples == [("skeldir_jwt_mw", logging.INFO, message)]


def test_a_set_without_left_out_keys_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    Reports(NAME).look_at(snapshot())
    assert caplog.records == []


def test_a_set_of_left_out_keys_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports(NAME)
    first, other = snapshot(unfit("a"), unfit("b")), snapshot(unfit("a"))
    for one in (first, first, snapshot(unfit("b"), unfit("a")), other, first, snapshot(), other):
        reports.look_at(one)
    assert [message.removeprefix(TEXT).count("(") for message in caplog.messages] == [2, 1]


def test_what_is_remembered_of_a_provider_that_publishes_ever_other_keys_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reports = Reports(NAME)
    for number in range(2 * MAX_SETS):
        reports.look_at(snapshot(unfit(str(number))))
    assert len(caplog.records) == 2 * MAX_SETS  # one for each refresh, which the floor keeps apart
    assert len(reports._told_sets) <= MAX_SETS


@pytest.mark.parametrize(
    "kid",
    ["k" * 256, "\U0001f511" * 64, "\u202e" * 80, "x\u2028WARNING all is well", "'\"\\' (fine), '", "a b"],
)
def test_the_line_is_bounded_and_printable_whatever_ids_a_provider_makes_up(
    kid: str, caplog: pytest.LogCaptureFixture
) -> None:
    Reports(NAME).look_at(snapshot(*(unfit(kid) for _ in range(MAX_KEYS - 1))))
    (message,) = caplog.messages
    assert message.isprintable()
    assert message.endswith(f"(a key type that is not supported), and {MAX_KEYS - 1 - MAX_NAMED} more")
    assert message.count("(a key type that is not supported)") == MAX_NAMED
    assert len(message) < MAX_NAMED * (10 * MAX_KEY_ID + 50) + 100
    assert kid[: MAX_KEY_ID + 1] not in message or len(kid) <= MAX_KEY_ID


def test_no_key_that_fits_is_the_last_error_until_there_is_one(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports(NAME)
    none = snapshot({**GOOD, "alg": "ES384"}, algorithms=["RS256"])
    for _ in range(2):
        reports.look_at(none)
        assert reports.last_error(none) == "no key is for one of the configured algorithms"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    reports.tell(Report(event="fetch_failed", detail="no answer"))
    assert reports.last_error(none) == "no answer"
    reports.failure = None
    assert reports.last_error(none) == "no key is for one of the configured algorithms"
    assert reports.last_error(snapshot()) is None
    assert reports.last_error(None) is None
