"""For how long one write to the row can deny service: the bounds of docs/security.md, to the second.

Time passes here by moving the processes' clocks and what the row says, both by the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from attack import Attack, error_of, until
from psycopg.conninfo import make_conninfo
from test_interference import rewriting

from skeldir_jwt_mw import deadline, verifier
from skeldir_jwt_mw.clock import SYSTEM
from skeldir_jwt_mw.errors import MAX_RETRY_AFTER

TABLE = "public.jwt_verification_cache"
TIMES = ("fetched_at", "next_refresh_at", "expires_at", "claimed_at", "lease_until")
UNSEALED_TIMES = (
    "next_refresh_at",
    "claimed_at",
    "lease_until",
    "floor_until",
    "floor_set_at",
    "backoff_until",
    "backoff_set_at",
)


class Clock:
    """The processes' monotonic clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return deadline.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(verifier.Verifier, "_clock", replace(SYSTEM, monotonic=clock))
    return clock


def pass_time(attack: Attack, clock: Clock, seconds: float) -> None:
    """As if so many seconds had gone by, except for what the seal covers."""
    moved = ", ".join(f"{name} = {name} - %s * interval '1 s'" for name in UNSEALED_TIMES)
    attack.write(moved, *[seconds] * len(UNSEALED_TIMES))
    clock.ahead += seconds


# The longest that counts, and how long it denies a new key to those who run.
STALLS: dict[str, tuple[str, float]] = {
    "lease": (
        "lease_owner = gen_random_uuid(), claimed_at = now(), lease_until = now() + interval '60 s'",
        60.0,
    ),
    "floor": ("floor_set_at = now(), floor_until = now() + interval '60 s'", 60.0),
    "backoff": (
        "backoff_set_at = now(), backoff_until = now() + interval '3700 s', consecutive_failures = 9",
        3700.0,
    ),
}


@pytest.mark.parametrize("name", STALLS)
def test_one_hostile_deadline_denies_new_keys_for_its_horizon_and_no_longer(
    stage: Callable[..., Attack], clock: Clock, name: str
) -> None:
    attack = stage(wait_budget=0.3, max_stale=9000.0, refresh_interval=8000.0)
    assignments, horizon = STALLS[name]
    attack.idp.rotate()
    new = attack.idp.token(expires_in=9000)
    attack.write(assignments)
    written = time.monotonic()
    for worker in attack.running:
        reasons = ("older_keys", "running", "failed")
        assert error_of(worker, new) in {f"keys_unavailable/{reason}" for reason in reasons}
    # Just before the end it still holds, and nobody is asked.
    fetches = attack.idp.fetches
    pass_time(attack, clock, horizon - (time.monotonic() - written) - 5.0)
    for worker in attack.running:
        assert error_of(worker, new) is not None
        attack.assert_nothing_forged_gets_in(worker)
    attack.assert_known_keys_verify()
    assert attack.idp.fetches == fetches
    pass_time(attack, clock, 6.0)
    until(lambda: [error_of(worker, new) for worker in attack.running] == [None, None])
    assert attack.idp.fetches == fetches + 1


def test_a_refusal_never_sends_a_caller_away_for_more_than_an_hour(attack: Attack) -> None:
    attack.write(STALLS["backoff"][0])
    cold = attack.worker()
    cold_or_not = [*attack.running, cold]
    attack.idp.rotate()
    for worker in cold_or_not:
        try:
            worker.verify(attack.idp.token())
        except Exception as error:
            assert getattr(error, "retry_after", 1.0) <= MAX_RETRY_AFTER  # noqa: PT017


def test_known_keys_serve_until_max_stale_and_not_longer_while_refreshes_are_denied(
    stage: Callable[..., Attack],
) -> None:
    max_stale = 3.0
    times: dict[str, Any] = {
        "refresh_interval": 0.5,
        "check_interval": 0.1,
        "max_stale": max_stale,
        "wait_budget": 0.1,
    }
    attack = stage(**times)
    worker = attack.running[0]
    denial = (
        f"UPDATE {TABLE} SET backoff_set_at = now(), backoff_until = now() + interval '1 h',"
        " consecutive_failures = 5 WHERE source_key = %(ours)s"
    )
    with rewriting(attack, denial) as rounds:
        until(lambda: rounds() > 0)
        fetched_at = time.monotonic() - attack.status_of(worker)["age"]
        last_accepted = first_refused = None
        while first_refused is None:
            asked_at = time.monotonic()
            error = error_of(worker, attack.good)
            if error is None:
                last_accepted = time.monotonic()
                fetched_at = asked_at - attack.status_of(worker)["age"]
            else:
                first_refused = asked_at
                assert error == "keys_unavailable/failed"  # never open, and never a 401
            assert time.monotonic() - fetched_at < max_stale + 5.0
            time.sleep(0.005)
        assert last_accepted is not None
        assert first_refused - fetched_at >= max_stale - 0.1, "refused before its time"
        assert last_accepted - fetched_at <= max_stale + 0.1, "accepted after its time"
        attack.assert_nothing_forged_gets_in(worker)
        assert error_of(attack.worker(), attack.good) is not None
    attack.execute(f"UPDATE {TABLE} SET backoff_until = 'epoch' WHERE source_key = %(ours)s")
    fresh = attack.worker()
    until(lambda: error_of(fresh, attack.good) is None)


def test_r55_an_expiry_that_was_put_off_is_not_believed_by_who_would_wait_longer(
    stage: Callable[..., Attack],
) -> None:
    """The row is of a service with a short `max_stale`; a reader with a long one is bound by the row's."""
    attack = stage(refresh_interval=0.5, max_stale=2.0, wait_budget=0.1)
    attack.policy.update(refresh_interval=60.0, max_stale=9000.0)
    patient = attack.worker()
    assert error_of(patient, attack.good) is None
    for worker in attack.running:
        worker.close()
    attack.idp.down()  # so that nobody can put things right
    attack.write("expires_at = expires_at + interval '1 year'")
    cold = attack.worker()
    assert error_of(cold, attack.good) is not None
    assert attack.status_of(patient)["expires"] < 2.0
    until(lambda: error_of(patient, attack.good) is not None, within=5.0)


CLOCK_OF_THEIRS = """
CREATE SCHEMA theirs;
CREATE FUNCTION theirs.clock_timestamp() RETURNS timestamptz LANGUAGE sql
    AS $$SELECT pg_catalog.clock_timestamp() - interval '1 hour'$$;
GRANT USAGE ON SCHEMA theirs TO PUBLIC;
"""


@pytest.mark.parametrize("path", ["theirs,public", "theirs,pg_catalog,public"])
def test_a_clock_of_the_adversarys_does_not_bring_an_expired_row_back(
    stage: Callable[..., Attack], path: str
) -> None:
    attack = stage(refresh_interval=0.5, max_stale=2.0, wait_budget=0.1)
    attack.idp.down()
    until(lambda: error_of(attack.running[0], attack.good) is not None)
    attack.database.execute(CLOCK_OF_THEIRS)
    try:
        dsn = make_conninfo(attack.dsn, options=f"-c search_path={path}")
        assert error_of(attack.worker(dsn=dsn), attack.good) is not None
    finally:
        attack.database.execute("DROP SCHEMA theirs CASCADE")
