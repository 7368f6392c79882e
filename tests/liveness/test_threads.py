"""Threads that cannot be started, begin at once, or never; and how many there are, whoever asks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from rig import OURS, PATIENCE, Rig, provider, quiet, threads
from scenes import Outcome, hurried, leaves_nothing, recovers

from skeldir_jwt_mw import Issuer, KeysUnavailable, MemoryStore, RefreshPolicy, Verifier
from skeldir_jwt_mw.flight import QUEUED
from skeldir_jwt_mw.pool import MAX_WORKING
from skeldir_jwt_mw.sources import CallableSource


@pytest.fixture(autouse=True)
def in_a_hurry() -> Iterator[None]:
    with hurried():
        yield


def starting(how: Callable[[threading.Thread, Callable[[], None]], None]) -> Any:
    """Have the package's threads started by `how`, which is given the thread and its own `start`."""
    start = threading.Thread.start

    def instead(thread: threading.Thread) -> None:
        if thread.name.startswith(OURS):
            how(thread, lambda: start(thread))
        else:
            start(thread)

    return mock.patch.object(threading.Thread, "start", instead)


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", range(1, 7))
def test_a_thread_that_cannot_be_started_costs_a_request_and_no_more(number: int, for_ever: bool) -> None:
    rig = Rig()
    starts = 0

    def how(thread: threading.Thread, start: Callable[[], None]) -> None:
        nonlocal starts
        starts += 1
        if starts == number or (for_ever and starts > number):
            raise RuntimeError("can't start new thread")
        start()

    with starting(how):
        for _ in range(4):
            with contextlib.suppress(KeysUnavailable):
                assert rig.verify()
            rig.rotation += 1
            rig.time.move(rig.policy.floor + 1)
            quiet()
            assert rig.refresher._flight is None  # at once, not when it is past its deadline
    recovers(rig, Outcome())
    leaves_nothing(rig)


def test_a_thread_that_cannot_be_started_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def how(thread: threading.Thread, start: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    rig = Rig()
    with starting(how), pytest.raises(KeysUnavailable) as caught:
        rig.verify()
    (status,) = rig.verifier.status().values()
    assert (caught.value.reason, status["last_error"]) == ("local", "no thread could be started")
    assert "no thread could be started to refresh the keys" in caplog.text
    recovers(rig, Outcome())
    (status,) = rig.verifier.status().values()
    assert status["last_error"] is None
    leaves_nothing(rig)


def test_threads_that_run_at_once_inside_their_start_deadlock_nobody() -> None:
    """As green threads do that were put in place late: who starts one goes on when it blocks or has ended."""
    stuck: list[str] = []

    def how(thread: threading.Thread, start: Callable[[], None]) -> None:
        start()
        thread.join(PATIENCE)
        if thread.is_alive():
            stuck.append(thread.name)

    rig = Rig()
    with starting(how):
        for _ in range(3):
            assert rig.verify()
            rig.rotation += 1
            rig.time.move(rig.policy.floor + 1)
        assert rig.verify()
        rig.time.move(rig.policy.check_interval)
        assert rig.verify()
        rig.fails = True
        rig.rotation += 1
        with pytest.raises(KeysUnavailable):
            rig.verify()
    assert stuck == []
    leaves_nothing(rig)


def test_a_thread_that_never_begins_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    rig = Rig()
    with starting(lambda thread, start: None):
        with pytest.raises(KeysUnavailable, match="running"):
            rig.verify()
        lost = rig.refresher._flight
        assert lost is not None
    rig.time.move(QUEUED + 1)
    assert rig.verify()
    assert lost.ending is not None
    assert lost.ending.gate.reason == "lost"
    assert "was lost with its thread" in caplog.text
    leaves_nothing(rig)


class Fleet:
    """A verifier of many issuers, each with a source of its own; what `held` says hangs until `let_go`."""

    def __init__(self, issuers: int) -> None:
        self.names = [f"https://issuer-{number}.example" for number in range(issuers)]
        self.held: set[str] = set()
        self.kid = self.rotate()
        self.let_go = threading.Event()
        self.store = MemoryStore()
        self.verifier = Verifier(
            [
                Issuer(name, audience="orders-api", source=CallableSource(self._source(name), identity=name))
                for name in self.names
            ],
            store=self.store,
            policy=RefreshPolicy(
                jitter=0.0, floor=0.001, wait_budget=PATIENCE, fetch_timeout=2 * PATIENCE, lease=3 * PATIENCE
            ),
        )

    def _source(self, name: str) -> Callable[[], Any]:
        def fetch() -> Any:
            if name in self.held:
                self.let_go.wait(2 * PATIENCE)  # longer than any budget
            return {"keys": [provider().key(kid=self.kid).jwk()]}

        return fetch

    def rotate(self) -> str:
        """Have every issuer publish another key."""
        self.kid = provider().rotate(keep_previous=False)
        return self.kid

    def token(self, name: str) -> str:
        return provider().token(iss=name, kid=self.kid)

    def forged(self, name: str) -> str:
        return provider().stranger_token(iss=name)


def test_hundreds_of_issuers_whose_store_hangs_hold_a_bounded_number_of_threads() -> None:
    fleet = Fleet(600)
    stand_still = threading.Event()
    opening = fleet.store.open

    def open_slowly(seconds: float) -> Any:
        stand_still.wait(PATIENCE)
        return opening(seconds)

    fleet.store.open = open_slowly  # type: ignore[method-assign]
    refreshers = [served.refresher for served in fleet.verifier._roster.served]
    try:
        for refresher in refreshers:
            refresher.demand("cold", refresher._clock.monotonic(), force=False)
        assert 0 < len(threads()) <= MAX_WORKING
    finally:
        stand_still.set()
    quiet()
    assert all(refresher.snapshot is not None for refresher in refreshers)
    assert not threads()


def test_slow_issuers_that_forged_tokens_drive_do_not_delay_another_issuers_new_key() -> None:
    fleet = Fleet(61)
    quick, *slow = fleet.names
    assert fleet.verifier.verify(fleet.token(quick)).issuer == quick
    fleet.held.update(slow)
    fleet.rotate()

    async def scenario() -> str:
        flood = [asyncio.ensure_future(fleet.verifier.averify(fleet.forged(name))) for name in slow]
        await asyncio.sleep(0)
        try:
            with contextlib.suppress(KeysUnavailable):
                return (await fleet.verifier.averify(fleet.token(quick))).issuer
            return "it is late"
        finally:
            fleet.let_go.set()
            await asyncio.gather(*flood, return_exceptions=True)

    assert asyncio.run(scenario()) == quick
    quiet()
