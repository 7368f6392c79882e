"""Sources that other people wrote: whatever they do, requests get an answer and nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from verifying import (
    Ask,
    MakeVerifier,
    counters_of,
    eventually,
    issuer_of,
    outage,
    policy_of,
    settle,
    status_of,
)

from skeldir_jwt_mw import KeysUnavailable, MemoryStore
from skeldir_jwt_mw.core.effects import LocalFetchFailed
from skeldir_jwt_mw.sources import CallableSource, Conditional, Fetched, FetchFailed, JWKSUrlSource
from skeldir_jwt_mw.testing import LoopbackIssuer

SECRET = "s3cr3t-of-the-vault"


class Custom:
    """A source that does what the test says."""

    identity = "custom"

    def __init__(self, fetch: Callable[[Conditional], Any]) -> None:
        self.fetch = fetch


def raises(error: BaseException | type[BaseException]) -> Callable[[Conditional], Any]:
    def fetch(conditional: Conditional) -> Any:
        raise error

    return fetch


class Odd(BaseException):
    """What no `except Exception` catches."""


class Bare(FetchFailed):
    """A failure that says nothing at all."""

    def __init__(self) -> None:
        pass


ODD: dict[str, Callable[[Conditional], Any]] = {
    "error": raises(RuntimeError(SECRET)),
    "class": raises(KeyError),
    "stop": raises(StopIteration(SECRET)),
    "timeout": raises(TimeoutError(SECRET)),
    "recursion": raises(RecursionError()),
    "assertion": raises(AssertionError(SECRET)),
    "exit": raises(SystemExit(SECRET)),
    "interrupt": raises(KeyboardInterrupt(SECRET)),
    "cancelled": raises(asyncio.CancelledError(SECRET)),
    "generator": raises(GeneratorExit(SECRET)),
    "odd": raises(Odd(SECRET)),
    "nothing": lambda _: None,
    "bytes": lambda _: b'{"keys": []}',
    "text": lambda _: Fetched(document=SECRET),  # type: ignore[arg-type]
    "object": lambda _: Fetched(document={"keys": [SECRET]}),  # type: ignore[arg-type]
    "number": lambda _: Fetched(document=5),  # type: ignore[arg-type]
    "not modified": lambda _: Fetched(document=None),
    "rubbish": lambda _: Fetched(document=SECRET.encode()),
    "huge": lambda _: Fetched(document=b" " * 300_000),
    "etag": lambda _: Fetched(document=b"{}", etag=5),  # type: ignore[arg-type]
    "date": lambda _: Fetched(document=b"{}", last_modified=SECRET.encode()),  # type: ignore[arg-type]
    "age": lambda _: Fetched(document=b"{}", max_age=SECRET),  # type: ignore[arg-type]
    "failed without a text": raises(FetchFailed(None)),  # type: ignore[arg-type]
    "failed with a strange time": raises(FetchFailed("down", retry_after="soon")),  # type: ignore[arg-type]
    "failed without anything": raises(Bare),
    "failed for ever": raises(FetchFailed("down", retry_after=float("inf"))),
    "failed for no time": raises(FetchFailed("down", retry_after=float("nan"))),
}


@pytest.mark.parametrize("kind", ODD)
def test_whatever_a_source_does_is_a_failed_fetch(
    kind: str, idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = MemoryStore()
    verifier = make(issuer_of(idp, source=Custom(ODD[kind])), store=store)
    error = outage(verifier, idp.token(), ask)
    assert error.reason == "failed"
    assert 1.0 <= error.retry_after <= 3600.0
    record = counters_of(store, verifier)
    assert (record.fetch_attempt_count, record.failure_event_count, record.lease_owner) == (1, 1, None)
    assert not status_of(verifier)["refreshing"]
    assert "broke off" not in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in str(status_of(verifier))


def test_a_function_for_headers_that_hangs_is_no_concern_of_a_request_with_a_known_key(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    hangs, let_go, calls = threading.Event(), threading.Event(), []

    def headers() -> dict[str, str]:
        calls.append(threading.current_thread())
        if len(calls) > 1:
            hangs.set()
            assert let_go.wait(60)
        return {"X-Api-Key": "k"}

    source = JWKSUrlSource(
        idp.jwks_url, headers=headers, timeout=30.0, allow_http=True, allow_private_hosts=True
    )
    policy = policy_of(floor=0.001, wait_budget=0.0, fetch_timeout=30.0, lease=60.0)
    verifier = make(issuer_of(idp, source=source), policy=policy)
    with contextlib.suppress(KeysUnavailable):
        verifier.warm()
    settle(verifier)
    assert verifier.ready
    outage(verifier, idp.stranger_token(), ask)  # whose refresh now waits for the function
    assert hangs.wait(60)
    for _ in range(3):
        assert ask(verifier, idp.token()).kid == idp.kids[0]
    assert not let_go.is_set()
    assert threading.current_thread() not in calls
    let_go.set()
    settle(verifier)


def test_a_source_that_never_ends_is_abandoned_and_not_called_again_meanwhile(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    calls = 0
    released = threading.Event()

    def fetch(conditional: Conditional) -> Fetched:
        nonlocal calls
        calls += 1
        released.wait(30)
        raise FetchFailed("it was released")

    policy = policy_of(
        wait_budget=0.1, fetch_timeout=0.2, lease=0.4, backoff_base=0.01, backoff_max=0.02, floor=0.01
    )
    store = MemoryStore()
    verifier = make(issuer_of(idp, source=Custom(fetch)), store=store, policy=policy)
    ends = time.monotonic() + 1.5
    reasons = set()
    while time.monotonic() < ends:
        reasons.add(outage(verifier, idp.token(), ask).reason)
        time.sleep(0.02)
    assert reasons <= {"running", "failed", "local"}
    assert calls == 1
    # That the fetch hangs is this process's affair: it gives the lease back, and the fleet does not back off.
    record = counters_of(store, verifier)
    assert record.failure_event_count == 1
    assert record.abandoned_count > 0
    assert status_of(verifier)["last_error"] == "the source has not ended its previous fetch"
    stuck = [thread for thread in threading.enumerate() if thread.name == "skeldir-jwt-call"]
    assert len(stuck) == 1
    released.set()
    stuck[0].join(10)
    settle(verifier)

    def asks_again() -> bool:
        outage(verifier, idp.token())
        return calls > 1

    eventually(asks_again)


def test_a_callable_that_raises_what_nobody_expects_is_a_failed_fetch(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    def fetch() -> Any:
        raise asyncio.CancelledError(SECRET)

    verifier = make(issuer_of(idp, source=CallableSource(fetch, identity="cancelled")))
    assert outage(verifier, idp.token()).reason == "failed"
    assert SECRET not in caplog.text


def test_after_a_failure_a_source_is_asked_again_and_serves(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    answers: list[Any] = [SystemExit(3), RuntimeError("x"), idp.jwks()]

    def fetch() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    policy = policy_of(backoff_base=0.01, backoff_max=0.02)
    verifier = make(issuer_of(idp, source=CallableSource(fetch, identity="moody")), policy=policy)

    def serves() -> bool:
        try:
            return verifier.verify(idp.token()).subject == "user-1"
        except KeysUnavailable:
            return False

    eventually(serves, 5.0)
    assert answers == []


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, asyncio.CancelledError])
def test_a_store_that_breaks_leaves_no_waiter_behind(
    error: type[BaseException], idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryStore):
        def open(self, seconds: float) -> Any:
            raise error

    verifier = make(issuer_of(idp), store=Broken(), policy=policy_of(floor=0.05))
    started = time.monotonic()
    assert outage(verifier, idp.token()).reason == "local"
    assert time.monotonic() - started < 1.5
    eventually(lambda: f"broke off: {error.__name__}" in caplog.text)
    assert not status_of(verifier)["refreshing"]
    assert status_of(verifier)["last_error"] == f"the refresh broke off: {error.__name__}"


NO_THREAD = RuntimeError("can't start new thread")
NO_FILE = OSError(errno.EMFILE, SECRET)


TROUBLES = (MemoryError(), NO_THREAD, NO_FILE, ImportError(SECRET), LocalFetchFailed("no CA"))


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_process_that_cannot_ask_gives_the_lease_back_and_costs_the_fleet_nothing(
    trouble: BaseException,
    idp: LoopbackIssuer,
    make: MakeVerifier,
    ask: Ask,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    verifier = make(issuer_of(idp, source=Custom(raises(trouble))), store=store)
    assert outage(verifier, idp.token(), ask).reason == "local"
    settle(verifier)
    record = counters_of(store, verifier)
    assert (record.lease_owner, record.failure_event_count, record.consecutive_failures) == (None, 0, 0)
    assert (record.backoff_until, record.floor_until) == (0, 0)
    assert (record.fetch_attempt_count, record.abandoned_count) == (1, 1)
    assert "could not be fetched from here" in caplog.text
    assert status_of(verifier)["last_error"] is not None
    assert SECRET not in caplog.text
