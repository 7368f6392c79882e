"""What happens to keys over time: schedules, conditional requests, removal, expiry and idle workers."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest
from verifying import (
    Ask,
    MakeVerifier,
    counters_of,
    eventually,
    generation_of,
    issuer_of,
    outage,
    policy_of,
    refusal,
    settle,
    snapshot_of,
    status_of,
)

from skeldir_jwt_mw import Issuer, JWTError, MemoryStore, RefreshPolicy, Verifier
from skeldir_jwt_mw.clock import Clock
from skeldir_jwt_mw.core.effects import StoreUnavailable
from skeldir_jwt_mw.deadline import monotonic
from skeldir_jwt_mw.flight import Flight
from skeldir_jwt_mw.sources import CallableSource
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey


class UnwritableStore(MemoryStore):
    """Reads and claims as ever, but what was fetched cannot be written down."""

    def open(self, seconds: float) -> Any:
        session = super().open(seconds)
        session.publish = self.refuse  # type: ignore[method-assign]
        return session

    def refuse(self, source_key: str, publish: Any) -> bool:
        raise StoreUnavailable("down")


def error_of(verifier: Verifier, token: str) -> str | None:
    """The code of the error that a token leads to, None where it is accepted."""
    try:
        verifier.verify(token)
    except JWTError as error:
        return error.code
    return None


def lively(**changes: float) -> RefreshPolicy:
    """A policy under which everything happens within a second."""
    return policy_of(**{"refresh_interval": 0.3, "check_interval": 0.1, "floor": 0.05, **changes})


def serve_until(verifier: Verifier, token: str, seconds: float) -> float:
    """Verify a token over and over; returns the longest time that it took."""
    longest = 0.0
    ends = time.monotonic() + seconds
    while (started := time.monotonic()) < ends:
        verifier.verify(token)
        longest = max(longest, time.monotonic() - started)
        time.sleep(0.005)
    return longest


def test_keys_are_refreshed_in_the_background_while_requests_are_served(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(idp), policy=lively())
    known = idp.token()
    verifier.verify(known)
    idp.slow(0.4)  # whoever waited for the schedule would take as long
    new = idp.rotate()
    assert serve_until(verifier, known, 1.0) < 0.3
    assert new in status_of(verifier)["kids"]


def test_a_scheduled_refresh_is_conditional_and_only_extends_times(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    idp.configure(etag=True, last_modified=True)
    verifier = make(issuer_of(idp), policy=lively())
    token = idp.token()
    verifier.verify(token)
    keys, generation = snapshot_of(verifier).keys, generation_of(verifier)
    serve_until(verifier, token, 0.6)
    settle(verifier)
    assert idp.not_modified >= 1
    assert "if-none-match" in idp.requests[1].headers
    assert snapshot_of(verifier).keys is keys
    assert generation_of(verifier) > generation
    assert status_of(verifier)["age"] < 0.6


def test_an_identical_document_only_extends_times(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    idp.configure(etag=False)
    verifier = make(issuer_of(idp), policy=policy_of(max_stale=1000.0))
    verifier.verify(idp.token())
    before = snapshot_of(verifier)
    time.sleep(0.05)
    verifier.refresh()
    after = snapshot_of(verifier)
    assert (idp.fetches, idp.not_modified) == (2, 0)
    assert after.keys is before.keys
    assert after.bindings is before.bindings
    assert after.bindings
    assert after.generation > before.generation
    assert after.expires_at > before.expires_at + 0.04


def test_another_document_replaces_the_keys(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp))
    verifier.verify(idp.token())
    before = snapshot_of(verifier)
    idp.rotate()
    verifier.refresh()
    assert snapshot_of(verifier).keys is not before.keys
    assert snapshot_of(verifier).bindings == {}


def test_r54_a_removed_key_is_refused_after_the_next_refresh(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp))
    removed = idp.token()
    ask(verifier, removed)
    idp.rotate(keep_previous=False)
    assert ask(verifier, removed).subject == "user-1"  # nobody has looked yet
    verifier.refresh()
    assert refusal(verifier, removed, ask) == "unknown_kid"
    assert ask(verifier, idp.token()).subject == "user-1"


def test_r54_a_removed_key_goes_with_the_schedule(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=lively())
    removed = idp.token()
    verifier.verify(removed)
    idp.rotate(keep_previous=False)

    def is_refused() -> bool:
        try:
            verifier.verify(removed)
        except JWTError as error:
            return error.code == "unknown_kid"
        return False

    started = time.monotonic()
    eventually(is_refused)
    assert time.monotonic() - started < 1.5  # interval, check and fetch, and a busy machine


def test_r53_past_max_stale_it_fails_closed(idp: LoopbackIssuer, make: MakeVerifier, ask: Ask) -> None:
    verifier = make(issuer_of(idp), policy=lively(max_stale=0.6, backoff_base=5.0))
    token = idp.token()
    ask(verifier, token)
    idp.down()
    time.sleep(0.4)
    assert ask(verifier, token).subject == "user-1"  # due, but not expired
    settle(verifier)
    time.sleep(0.3)
    assert not verifier.ready
    assert outage(verifier, token, ask).reason == "failed"
    assert status_of(verifier)["expires"] == 0.0


def test_expired_keys_are_fetched_anew_before_they_are_used(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=lively(max_stale=0.4))
    removed = idp.token()
    ask(verifier, removed)
    idp.rotate(keep_previous=False)
    time.sleep(0.45)
    assert refusal(verifier, removed, ask) == "unknown_kid"


def test_an_idle_worker_checks_before_it_uses_what_it_has(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=lively())
    removed = idp.token()
    ask(verifier, removed)
    idp.rotate(keep_previous=False)
    time.sleep(0.5)
    assert refusal(verifier, removed, ask) == "unknown_kid"


def test_an_idle_worker_adopts_what_another_has_fetched(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    store = MemoryStore()
    idle, busy = (make(issuer_of(idp), store=store, policy=lively()) for _ in range(2))
    idle.verify(idp.token())
    time.sleep(0.35)
    new = idp.rotate()
    busy.verify(idp.token())
    fetches = idp.fetches
    assert idle.verify(idp.token()).kid == new
    assert idp.fetches == fetches


def test_an_idle_worker_serves_on_when_its_check_takes_too_long(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=lively(wait_budget=0.1))
    token = idp.token()
    verifier.warm()
    idp.hang()
    time.sleep(0.5)
    started = time.monotonic()
    assert ask(verifier, token).subject == "user-1"
    assert 0.09 <= time.monotonic() - started < 0.5
    started = time.monotonic()
    for _ in range(20):
        ask(verifier, token)
    assert time.monotonic() - started < 0.5  # the first has waited for all
    assert status_of(verifier)["refreshing"]
    idp.up()


def test_an_idle_worker_serves_on_once_its_check_has_failed(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), policy=lively(backoff_base=30.0, backoff_max=30.0))
    token = idp.token()
    ask(verifier, token)
    idp.down()
    time.sleep(0.5)
    for _ in range(20):
        assert ask(verifier, token).subject == "user-1"
    assert idp.fetches == 2


def test_max_age_shortens_the_schedule_and_not_below_a_minute(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    for max_age, seconds in ((0, 60.0), (100, 100.0), (10_000, 300.0)):
        idp.configure(max_age=max_age)
        verifier = make(issuer_of(idp))
        verifier.warm()
        assert seconds - 2 < status_of(verifier)["next_refresh"] <= seconds


def test_no_key_for_the_own_algorithms_is_a_local_matter_and_no_failure(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    choosy = make(issuer_of(idp, algorithms=("EdDSA",)), store=store)
    token = idp.token()
    foreign = idp.stranger_token(alg="EdDSA")
    error = outage(choosy, foreign, ask)
    assert error.reason == "no_fitting_key"
    namesake = SigningKey.generate("EdDSA", kid=idp.kids[0])
    assert outage(choosy, idp.token(key=namesake), ask).reason == "no_fitting_key"
    assert refusal(choosy, token, ask) == "algorithm_not_allowed"
    assert not choosy.ready
    assert not status_of(choosy)["ready"]
    record = counters_of(store, choosy)
    assert (record.failure_event_count, record.consecutive_failures, record.backoff_until) == (0, 0, 0)
    fetches = idp.fetches
    ordinary = make(issuer_of(idp), store=store)
    assert ask(ordinary, token).subject == "user-1"
    assert idp.fetches == fetches
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert told
    assert "no key of" in told[0].getMessage()


def test_keys_that_cannot_be_written_down_are_used_at_once(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp), store=UnwritableStore(), policy=policy_of(lease=30.0))
    assert ask(verifier, idp.token()).subject == "user-1"
    assert verifier.ready
    assert not status_of(verifier)["refreshing"]  # for this process it has ended; it goes on for the fleet
    assert idp.fetches == 1


def test_a_private_key_is_told_of_once(make: MakeVerifier, caplog: pytest.LogCaptureFixture) -> None:
    good, leaked = SigningKey.generate(), {**SigningKey.generate().jwk(), "d": "AQAB"}
    source = CallableSource(lambda: {"keys": [good.jwk(), leaked]}, identity="leaky")
    issuer = Issuer("https://leaky.example/", audience="orders-api", source=source)
    verifier = make(issuer, policy=policy_of(floor=0.001))
    verifier.warm()
    time.sleep(0.01)
    verifier.refresh()
    assert [record.getMessage() for record in caplog.records if "a private key" in record.getMessage()] == [
        "about the keys of https://leaky.example/: the provider published a private key; it is not used; "
        "tell the provider"
    ]


def test_a_cold_process_does_not_judge_by_a_row_that_is_past_its_schedule(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    """Else short processes, none of which lives to see its refresh, accept a revoked key for hours."""
    store = MemoryStore()
    removed = idp.token()
    make(issuer_of(idp), store=store, policy=lively()).verify(removed)
    idp.rotate(keep_previous=False)
    time.sleep(0.35)
    cold = make(issuer_of(idp), store=store, policy=lively())
    assert refusal(cold, removed, ask) == "unknown_kid"


def test_warm_returns_with_keys_that_are_on_schedule(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    store = MemoryStore()
    make(issuer_of(idp), store=store, policy=lively()).warm()
    new = idp.rotate()
    time.sleep(0.35)
    cold = make(issuer_of(idp), store=store, policy=lively())
    cold.warm()
    assert new in status_of(cold)["kids"]


def test_warm_says_why_its_keys_are_past_their_schedule_and_starts_with_them(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    make(issuer_of(idp), store=store, policy=lively()).warm()
    idp.down()
    time.sleep(0.35)
    cold = make(issuer_of(idp), store=store, policy=lively(backoff_base=30.0, backoff_max=30.0))
    cold.warm()
    assert "are past their schedule (failed)" in caplog.text
    assert cold.ready


def test_who_cannot_read_the_row_says_so_and_fetches_for_itself_in_time(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    store = MemoryStore()
    ours, theirs = ({"store": store, "seal_keys": [bytes([number]) * 32]} for number in (1, 2))
    reader = make(issuer_of(idp), policy=lively(backoff_base=30.0, backoff_max=30.0), **ours)
    removed = idp.token()
    ask(reader, removed)
    make(issuer_of(idp), policy=lively(), **theirs).refresh()  # and the row is theirs
    time.sleep(0.12)
    ask(reader, removed)
    settle(reader)
    assert not status_of(reader)["row_readable"]
    assert not reader.ready
    assert "not configured here" in status_of(reader)["last_error"]
    idp.rotate(keep_previous=False)
    eventually(lambda: error_of(reader, removed) == "unknown_kid")
    assert ask(reader, idp.token()).kid == idp.kids[0]


def test_strangers_whose_row_was_replaced_are_not_left_alone_for_longer_the_next_time(
    idp: LoopbackIssuer, make: MakeVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = 0.0
    its_clock = Clock(
        monotonic=lambda: monotonic() + moved, wall=lambda: time.time() + moved, draw=lambda: 0.5
    )
    monkeypatch.setattr(Verifier, "_clock", its_clock)
    store = MemoryStore(clock=its_clock.wall)
    ours, theirs = (
        make(issuer_of(idp), store=store, policy=policy_of(backoff_base=10.0), seal_keys=[key * 32])
        for key in (b"o", b"t")
    )
    for _ in range(5):  # left alone for ever longer it would be for 10, 20, 40, … s
        for verifier in (theirs, ours):
            moved += 30.0
            verifier.refresh()
            assert status_of(verifier)["row_readable"]


def test_a_failure_is_told_however_late_the_thread_of_the_success_before_it_is(
    idp: LoopbackIssuer, make: MakeVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    landings: list[threading.Thread] = []
    goes_on = threading.Event()
    land = Flight.land

    def land_late(self: Flight, ending: Any) -> None:
        land(self, ending)
        landings.append(threading.current_thread())
        if len(landings) == 1:
            assert goes_on.wait(20)

    monkeypatch.setattr(Flight, "land", land_late)
    verifier = make(issuer_of(idp))
    try:
        assert verifier.verify(idp.token())
        idp.rotate()
        idp.down()
        assert outage(verifier, idp.token()).reason == "failed"
    finally:
        goes_on.set()
    landings[0].join(20)
    assert "503" in status_of(verifier)["last_error"]
