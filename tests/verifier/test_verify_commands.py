"""`refresh`, `warm`, `ready`, `status`, `set_issuers` and `close`, and their async forms."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from verifying import (
    MakeVerifier,
    counters_of,
    eventually,
    generation_of,
    issuer_of,
    outage,
    policy_of,
    refusal,
    settle,
    status_of,
)

from skeldir_jwt_mw import ConfigurationError, JWTError, KeysUnavailable, MemoryStore, Verifier
from skeldir_jwt_mw.pool import Pool
from skeldir_jwt_mw.testing import LoopbackIssuer

Command = Callable[[Verifier], None]


@pytest.fixture(params=["refresh", "arefresh"])
def refresh(request: pytest.FixtureRequest) -> Command:
    return Verifier.refresh if request.param == "refresh" else lambda it: asyncio.run(it.arefresh())


@pytest.fixture(params=["warm", "awarm"])
def warm(request: pytest.FixtureRequest) -> Command:
    return Verifier.warm if request.param == "warm" else lambda it: asyncio.run(it.awarm())


def blocked(command: Command, verifier: Verifier) -> KeysUnavailable:
    with pytest.raises(KeysUnavailable) as caught:
        command(verifier)
    return caught.value


def test_refresh_returns_once_newer_keys_are_in_use(
    idp: LoopbackIssuer, make: MakeVerifier, refresh: Command
) -> None:
    verifier = make(issuer_of(idp))
    verifier.warm()
    generation = generation_of(verifier)
    new = idp.rotate(keep_previous=False)
    refresh(verifier)
    assert status_of(verifier)["kids"] == [new]
    assert generation_of(verifier) > generation
    assert idp.fetches == 2
    assert counters_of(verifier._setup.store, verifier).last_refresh_reason == "manual"


def test_refresh_fetches_where_there_was_nothing(
    idp: LoopbackIssuer, make: MakeVerifier, refresh: Command
) -> None:
    verifier = make(issuer_of(idp))
    refresh(verifier)
    assert verifier.ready
    assert idp.fetches == 1


def test_refresh_obeys_the_floor(idp: LoopbackIssuer, make: MakeVerifier, refresh: Command) -> None:
    verifier = make(issuer_of(idp))
    refresh(verifier)
    error = blocked(refresh, verifier)
    assert error.reason == "floor"
    assert 4 < error.retry_after <= 5.5
    assert idp.fetches == 1


def test_refresh_obeys_the_backoff(idp: LoopbackIssuer, make: MakeVerifier, refresh: Command) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(backoff_base=30.0))
    idp.down()
    assert blocked(refresh, verifier).reason == "failed"
    idp.up()
    error = blocked(refresh, verifier)
    assert (error.reason, idp.fetches) == ("failed", 1)
    assert 28 < error.retry_after <= 30.6


def test_refresh_looks_at_the_row_even_while_the_own_gate_is_closed(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    store = MemoryStore()
    first, second = (make(issuer_of(idp), store=store) for _ in range(2))
    first.warm()
    second.warm()
    assert refusal(first, idp.stranger_token()) == "unknown_kid"
    with pytest.raises(KeysUnavailable, match="floor"):
        second.refresh()
    assert generation_of(first) == generation_of(second)
    assert idp.fetches == 2


def test_many_who_refresh_at_once_share_one_fetch_and_all_succeed(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    store = MemoryStore()
    verifiers = [make(issuer_of(idp), store=store) for _ in range(4)]
    for verifier in verifiers:
        verifier.warm()
    idp.slow(0.3)
    new = idp.rotate()
    failures: list[BaseException] = []

    def run(verifier: Verifier) -> None:
        try:
            verifier.refresh()
            assert new in status_of(verifier)["kids"]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(verifier,)) for verifier in verifiers for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert idp.fetches == 2


def test_refresh_refreshes_all_issuers_and_then_raises_what_failed(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, make: MakeVerifier, refresh: Command
) -> None:
    verifier = make([issuer_of(idp), issuer_of(other_idp)])
    idp.down()
    assert blocked(refresh, verifier).reason == "failed"
    status = verifier.status()
    assert (status[idp.issuer]["ready"], status[other_idp.issuer]["ready"]) == (False, True)


def test_issuers_are_refreshed_side_by_side(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, make: MakeVerifier, refresh: Command
) -> None:
    verifier = make([issuer_of(idp), issuer_of(other_idp)])
    idp.slow(0.5)
    other_idp.slow(0.5)
    started = time.monotonic()
    refresh(verifier)
    assert time.monotonic() - started < 0.95


def test_warm_loads_what_is_missing_and_nothing_else(
    idp: LoopbackIssuer, make: MakeVerifier, warm: Command
) -> None:
    verifier = make(issuer_of(idp))
    assert not verifier.ready
    warm(verifier)
    warm(verifier)
    assert verifier.ready
    assert idp.fetches == 1
    assert counters_of(verifier._setup.store, verifier).last_refresh_reason == "cold"
    assert status_of(verifier)["gate"]["closed_for"] == 0.0  # not a forced fetch: the floor is not armed


@pytest.mark.parametrize("command", [Verifier.warm, Verifier.refresh])
def test_no_thread_is_left_for_a_fork_to_meet(
    idp: LoopbackIssuer, make: MakeVerifier, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """Python 3.12 and later warn of a fork beside threads, and a server forks right after its app is made."""
    next_course = Pool._next

    def leave_slowly(pool: Pool, me: threading.Thread) -> Any:
        course = next_course(pool, me)
        if course is None:
            time.sleep(0.05)
        return course

    monkeypatch.setattr(Pool, "_next", leave_slowly)
    verifier = make(issuer_of(idp))
    command(verifier)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("skeldir-jwt")] == []


def test_warm_uses_what_another_has_fetched(idp: LoopbackIssuer, make: MakeVerifier, warm: Command) -> None:
    store = MemoryStore()
    make(issuer_of(idp), store=store).warm()
    second = make(issuer_of(idp), store=store)
    warm(second)
    assert second.ready
    assert idp.fetches == 1


def test_warm_says_when_there_is_nothing_to_be_had(
    idp: LoopbackIssuer, make: MakeVerifier, warm: Command
) -> None:
    verifier = make(issuer_of(idp))
    idp.down(retry_after=100)
    error = blocked(warm, verifier)
    assert error.reason == "failed"
    assert 95 < error.retry_after <= 101
    assert not verifier.ready


def test_a_failed_warm_does_not_keep_a_service_from_starting(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(backoff_base=0.1))
    idp.down()
    assert blocked(Verifier.warm, verifier).reason == "failed"
    idp.up()
    time.sleep(0.15)
    assert verifier.verify(idp.token()).subject == "user-1"


def test_a_cancelled_warm_leaves_the_fetch_alone(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp))
    idp.slow(0.2)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(verifier.awarm(), 0.05)

    asyncio.run(impatient())
    eventually(lambda: verifier.ready, 3.0)
    assert idp.fetches == 1


def test_status_is_plain_and_says_what_is_in_use(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp))
    cold = status_of(verifier)
    assert (cold["ready"], cold["kids"], cold["generation"], cold["age"]) == (False, [], 0, None)
    verifier.warm()
    status = status_of(verifier)
    json.dumps(status)
    assert status["ready"] is True
    assert status["kids"] == list(idp.kids)
    assert status["generation"] > 0
    assert 0 <= status["age"] < 5
    assert 290 < status["next_refresh"] <= 300
    assert 25 < status["next_check"] <= 60
    assert 21_590 < status["expires"] <= 21_600
    assert status["last_error"] is None
    assert status["gate"] == {"closed_for": 0.0, "reason": None}
    assert status["refreshing"] is False


def test_status_shows_a_refresh_in_the_air_and_the_last_error_until_the_next_success(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(wait_budget=0.0, backoff_base=0.05))
    idp.hang()
    assert outage(verifier, idp.token()).reason == "running"
    assert status_of(verifier)["refreshing"]
    idp.down()
    settle(verifier)
    assert status_of(verifier)["last_error"] == "the provider answered with status 503"
    idp.up()
    time.sleep(0.1)
    verifier.warm()
    assert status_of(verifier)["last_error"] is None


def test_issuers_are_replaced_and_unchanged_ones_keep_their_keys(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(idp))
    known = verifier.verify(idp.token())
    assert refusal(verifier, other_idp.token()) == "wrong_issuer"
    verifier.set_issuers([issuer_of(other_idp), issuer_of(idp)])
    assert verifier.issuers == (issuer_of(other_idp), issuer_of(idp))
    assert verifier.status()[idp.issuer]["kids"] == list(idp.kids)  # without a look at the store
    assert verifier.verify(other_idp.token()).issuer == other_idp.issuer
    assert verifier.verify(idp.token()).generation == known.generation
    verifier.set_issuers(issuer_of(other_idp))
    assert refusal(verifier, idp.token()) == "wrong_issuer"
    assert verifier.verify(other_idp.token()).issuer == other_idp.issuer
    assert (idp.fetches, other_idp.fetches) == (1, 1)
    assert list(verifier.status()) == [other_idp.issuer]


def test_an_issuer_with_other_rules_is_another_one(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp))
    verifier.verify(idp.token())
    verifier.set_issuers(issuer_of(idp, audience="billing-api"))
    assert refusal(verifier, idp.token()) == "wrong_audience"
    assert verifier.verify(idp.token(aud="billing-api")).subject == "user-1"
    assert idp.fetches == 1  # the row is still there


def test_unusable_issuers_replace_nothing(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp))
    verifier.verify(idp.token())
    for issuers in ([], [issuer_of(idp), issuer_of(idp)], None, "https://login.example.com/"):
        with pytest.raises(ConfigurationError):
            verifier.set_issuers(issuers)  # type: ignore[arg-type]
    assert verifier.verify(idp.token()).subject == "user-1"


def test_a_removed_issuer_stops_following_the_fetch_of_another(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    store = MemoryStore()
    policy = policy_of(wait_budget=8.0, fetch_timeout=10.0, lease=15.0)
    leader, follower = (make(issuer_of(idp), store=store, policy=policy) for _ in range(2))
    idp.hang()
    raw = idp.token()
    threads = [threading.Thread(target=_verify_or_fail, args=(it, raw)) for it in (leader, follower)]
    threads[0].start()
    eventually(lambda: idp.fetches == 1)
    threads[1].start()
    eventually(lambda: status_of(follower)["refreshing"])
    started = time.monotonic()
    follower.set_issuers(issuer_of(other_idp))
    threads[1].join(20)
    assert time.monotonic() - started < 3.0
    assert follower.verify(other_idp.token()).subject == "user-1"
    idp.up()
    threads[0].join(20)
    assert leader.verify(raw).subject == "user-1"


def _verify_or_fail(verifier: Verifier, raw: str) -> None:
    with contextlib.suppress(JWTError):
        verifier.verify(raw)


def test_refresh_is_not_content_with_a_fetch_that_began_before_it(
    idp: LoopbackIssuer, make: MakeVerifier, refresh: Command
) -> None:
    verifier = make(issuer_of(idp))
    idp.slow(0.3)
    thread = threading.Thread(target=verifier.warm)
    thread.start()
    eventually(lambda: idp.fetches == 1)
    new = idp.rotate()
    refresh(verifier)
    thread.join()
    assert new in status_of(verifier)["kids"]
    assert idp.fetches == 2


def test_what_an_operator_has_to_mend_is_raised_before_what_may_pass(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, make: MakeVerifier, refresh: Command
) -> None:
    class Session:
        """Refuses one row and serves all others."""

        def __init__(self, session: Any, refused: list[str]) -> None:
            self._session = session
            self._refused = refused

        def claim(self, source_key: str, claim: Any) -> Any:
            if source_key in self._refused:
                raise ConfigurationError("no privilege")
            return self._session.claim(source_key, claim)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    class Store(MemoryStore):
        refused: ClassVar[list[str]] = []

        def open(self, seconds: float) -> Any:
            return Session(super().open(seconds), self.refused)

    store = Store()
    verifier = make([issuer_of(idp), issuer_of(other_idp)], store=store)
    store.refused.append(verifier.source_keys()[1])
    idp.down()
    with pytest.raises(ConfigurationError, match="no privilege"):
        refresh(verifier)


def test_closed_it_serves_what_it_has_and_starts_nothing(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(refresh_interval=0.2, check_interval=0.1, floor=0.1))
    known = idp.token()
    verifier.verify(known)
    verifier.close()
    verifier.close()
    asyncio.run(verifier.aclose())
    idp.rotate()
    time.sleep(0.4)
    assert verifier.verify(known).subject == "user-1"
    assert outage(verifier, idp.token()).reason == "closed"
    assert idp.fetches == 1
    for command in (Verifier.refresh, Verifier.warm):
        if command is Verifier.refresh:
            assert blocked(command, verifier).reason == "closed"
        else:
            command(verifier)  # its keys are still usable
    assert verifier.ready


def test_closed_before_its_first_token_it_has_no_keys(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp))
    asyncio.run(verifier.aclose())
    assert outage(verifier, idp.token()).reason == "closed"
    assert blocked(Verifier.warm, verifier).reason == "closed"
    assert refusal(verifier, "no.token") == "malformed"
    assert idp.fetches == 0


def test_close_does_not_wait_for_a_refresh(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(wait_budget=0.0))
    idp.hang()
    assert outage(verifier, idp.token()).reason == "running"
    started = time.monotonic()
    verifier.close()
    assert time.monotonic() - started < 0.2
