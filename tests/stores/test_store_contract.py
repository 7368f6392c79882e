"""What every store promises: in memory, in Postgres with and without the gate, pooled, and isolated."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

import pytest
from store_bench import (
    FLOOR,
    KEY,
    LEASE,
    REFRESH,
    Bench,
    MemoryBench,
    PostgresBench,
    claim_of,
    isolated,
    publish_of,
)

from skeldir_jwt_mw.core.effects import Read


@pytest.fixture(params=["memory", "advisory", "lease", "pgbouncer", "repeatable read", "serializable"])
def bench(request: pytest.FixtureRequest) -> Bench:
    match request.param:
        case "memory":
            return MemoryBench()
        case "advisory" | "lease":
            return PostgresBench(request.getfixturevalue("pg_dsn"), use_gate=request.param == "advisory")
        case "pgbouncer":
            return PostgresBench(request.getfixturevalue("pooled_dsn"))
        case isolation:
            return PostgresBench(isolated(request.getfixturevalue("pg_dsn"), isolation))


def test_a_cold_claim_leads(bench: Bench) -> None:
    row = bench.claim(need=True, reason="cold")
    assert (row.verdict, row.generation, row.outcome) == ("leader", 0, "ok")
    assert row.fence > 0
    assert row.claimed_us is not None
    assert row.payload is row.seal is row.etag is row.last_modified is None


def test_the_second_claim_waits_for_the_first(bench: Bench) -> None:
    leader, _ = bench.lead()
    row = bench.claim()
    assert (row.verdict, row.outcome, row.fence) == ("wait", "running", leader.fence)
    assert LEASE - 1 < row.lease_left <= LEASE


def test_a_repeated_claim_leads_again_under_the_same_fence_and_time(bench: Bench) -> None:
    leader, claim = bench.lead()
    again = bench.claim(claim)
    assert (again.verdict, again.fence, again.claimed_us) == ("leader", leader.fence, leader.claimed_us)
    assert bench.columns()["fetch_attempt_count"] == 1


def test_a_publish_is_what_others_find_newer(bench: Bench) -> None:
    leader, claim = bench.lead()
    assert bench.publish(leader, claim)
    row = bench.claim()
    assert (row.verdict, row.generation, row.outcome) == ("newer", leader.fence, "ok")
    assert (row.payload, row.seal, row.etag) == (b'{"keys":[]}', b"seal", '"one"')
    assert row.last_modified == "Sun, 01 Nov 2026 00:00:00 GMT"
    assert row.fetched_us == leader.claimed_us
    assert leader.claimed_us is not None
    assert row.expires_us == leader.claimed_us + 21_600_000_000
    assert 299 < row.refresh_left <= 300


def test_a_publish_without_validators_leaves_none_of_the_old_ones(bench: Bench) -> None:
    bench.fetch()
    leader, claim = bench.lead(force=True, have=bench.columns()["generation"])
    assert bench.publish(leader, claim, etag=None, last_modified=None)
    row = bench.claim()
    assert row.etag is row.last_modified is None


def test_who_has_the_newest_generation_finds_it_fresh(bench: Bench) -> None:
    generation = bench.fetch()
    row = bench.claim(have=generation)
    assert (row.verdict, row.payload) == ("fresh", None)
    assert 299 < row.refresh_left <= 300


def test_a_row_is_due_after_its_schedule(bench: Bench) -> None:
    generation = bench.fetch()
    bench.advance(299)
    assert bench.claim(have=generation).verdict == "fresh"
    bench.advance(2)
    row = bench.claim(have=generation)
    assert (row.verdict, row.refresh_left) == ("leader", 0.0)


@pytest.mark.parametrize("wish", [{"need": True}, {"force": True}])
def test_what_one_process_misses_does_not_change_the_schedule(bench: Bench, wish: dict[str, bool]) -> None:
    bench.fetch()
    row = bench.claim(**wish)
    assert row.verdict == "newer"
    assert 299 < row.refresh_left <= 300  # else everybody who adopts it would look at the row again at once


def test_a_row_is_due_after_the_readers_own_interval(bench: Bench) -> None:
    generation = bench.fetch()
    bench.advance(100)
    row = bench.claim(have=generation, refresh=150.0)
    assert row.verdict == "fresh"
    assert 49 < row.refresh_left <= 50
    assert bench.claim(have=generation, refresh=99.0).verdict == "leader"


def test_who_needs_keys_and_has_refused_the_row_leads(bench: Bench) -> None:
    generation = bench.fetch()
    assert bench.claim(have=generation, need=True).verdict == "leader"


def test_a_rejected_generation_is_not_newer(bench: Bench) -> None:
    generation = bench.fetch()
    row = bench.claim(bad=generation)
    assert (row.verdict, row.payload) == ("fresh", None)
    assert bench.claim(bad=generation, force=True).verdict == "leader"


def test_a_row_older_than_what_the_process_has_is_due(bench: Bench) -> None:
    generation = bench.fetch()
    have = generation + 10**9
    row = bench.claim(have=have)
    assert row.verdict == "leader"
    assert row.fence > have


def test_only_the_holder_of_fence_and_owner_publishes(bench: Bench) -> None:
    leader, claim = bench.lead()
    stranger = claim_of()
    assert not bench.publish(leader, stranger)
    assert not bench.publish(leader, claim, generation=leader.fence - 1)
    assert not bench.publish(leader, claim, generation=leader.fence + 1)
    assert bench.columns()["payload"] is None
    assert bench.publish(leader, claim)


def test_a_publish_lands_once(bench: Bench) -> None:
    leader, claim = bench.lead()
    assert bench.publish(leader, claim)
    assert not bench.publish(leader, claim)
    assert bench.columns()["refresh_event_count"] == 1


def test_a_stale_fence_changes_nothing(bench: Bench) -> None:
    zombie, old = bench.lead()
    bench.advance(LEASE + 1)
    leader, claim = bench.lead()
    before = bench.columns()
    assert not bench.publish(zombie, old, payload=b"old")
    assert bench.fail(zombie, old) is None
    assert bench.columns() == before
    assert bench.publish(leader, claim)
    after = bench.columns()
    assert not bench.publish(zombie, old, payload=b"old")
    assert bench.fail(zombie, old) is None
    assert bench.columns() == after


def test_a_stale_fence_of_the_same_owner_changes_nothing(bench: Bench) -> None:
    zombie, claim = bench.lead()
    bench.advance(LEASE + 1)
    leader = bench.claim(claim)
    assert leader.verdict == "leader"
    assert leader.fence > zombie.fence
    assert not bench.publish(zombie, claim)
    assert bench.fail(zombie, claim) is None


def test_who_wakes_up_after_the_lease_changes_nothing_even_where_nobody_took_over(bench: Bench) -> None:
    leader, claim = bench.lead()
    bench.advance(LEASE + 1)
    before = bench.columns()
    assert not bench.publish(leader, claim)
    assert bench.fail(leader, claim) is None
    assert not bench.release(leader, claim)
    assert bench.columns() == before
    assert bench.claim().verdict == "leader"


@pytest.mark.parametrize("force", [True, False], ids=["forced", "scheduled"])
def test_a_lease_that_is_given_back_costs_the_fleet_nothing(bench: Bench, force: bool) -> None:
    generation = bench.fetch()
    leader, claim = bench.lead(force=force, need=True, have=generation)
    assert bench.release(leader, claim)
    row = bench.read(have=generation)
    assert (row.outcome, row.failures, row.last_error) == ("ok", 0, None)
    assert row.lease_left == row.floor_left == row.backoff_left == 0
    again = bench.claim(force=True, have=generation)
    assert again.verdict == "leader"
    assert again.fence > leader.fence


def test_a_lease_that_is_given_back_leaves_the_floor_of_another(bench: Bench) -> None:
    generation = bench.fetch(force=True)
    bench.advance(1)
    leader, claim = bench.lead(need=True, have=generation)
    assert bench.release(leader, claim)
    assert bench.claim(force=True, have=generation).verdict == "floor"


def test_only_the_holder_gives_a_lease_back_and_once(bench: Bench) -> None:
    leader, claim = bench.lead()
    assert not bench.release(leader, claim_of())
    assert not bench.release(leader, claim, fence=leader.fence - 1)
    assert bench.claim().verdict == "wait"
    assert bench.release(leader, claim)
    assert not bench.release(leader, claim)
    assert not bench.publish(leader, claim)
    assert bench.fail(leader, claim) is None
    columns = bench.columns()
    assert (columns["fetch_attempt_count"], columns["abandoned_count"]) == (1, 1)


def test_failures_in_a_row_are_told(bench: Bench) -> None:
    for failures in (1, 2):
        leader, claim = bench.lead()
        left = bench.fail(leader, claim)
        assert left is not None
        assert bench.claim().failures == bench.read().failures == failures
        bench.advance(left + 1)
    bench.fetch()
    assert bench.read().failures == 0


def test_an_error_is_kept_in_what_every_database_can_hold(bench: Bench) -> None:
    leader, claim = bench.lead()
    assert bench.fail(leader, claim, error="a\0b\n\x1b[31m\u202e\ud800 ü %s {x} \\") is not None
    assert bench.read().last_error == r"a\x00b\n\x1b[31m\u202e\ud800 \xfc %s {x} " + "\\"


def test_a_lease_that_ends_is_taken_over_and_counted(bench: Bench) -> None:
    first, _ = bench.lead()
    bench.advance(LEASE - 1)
    assert bench.claim().verdict == "wait"
    bench.advance(1.1)
    row = bench.claim()
    assert (row.verdict, row.outcome) == ("leader", "abandoned")
    assert row.fence > first.fence
    columns = bench.columns()
    assert (columns["abandoned_count"], columns["fetch_attempt_count"]) == (1, 2)


def test_a_failure_backs_the_whole_fleet_off(bench: Bench) -> None:
    leader, claim = bench.lead()
    assert bench.fail(leader, claim) == pytest.approx(2.5, abs=0.1)
    row = bench.claim(need=True)
    assert (row.verdict, row.outcome, row.last_error) == ("backoff", "failed", "no answer")
    assert 1.5 < row.backoff_left <= 2.5
    assert bench.claim(force=True, need=True).verdict == "backoff"
    bench.advance(3)
    assert bench.claim(need=True).verdict == "leader"


def test_backoff_doubles_up_to_its_maximum_and_a_success_ends_it(bench: Bench) -> None:
    waits = []
    for _ in range(7):
        leader, claim = bench.lead()
        left = bench.fail(leader, claim)
        assert left is not None
        waits.append(round(left, 1))
        bench.advance(left + 1)
    assert waits == [2.5, 4.5, 8.5, 16.5, 32.5, 60.5, 60.5]
    assert bench.columns()["consecutive_failures"] == 7
    bench.fetch()
    columns = bench.columns()
    assert (columns["consecutive_failures"], columns["last_error"]) == (0, None)
    leader, claim = bench.lead(force=True, have=columns["generation"])
    assert bench.fail(leader, claim) == pytest.approx(2.5, abs=0.1)


@pytest.mark.parametrize(("asked", "given"), [(30.0, 30.0), (1.0, 2.5), (1e9, 3600.0)])
def test_retry_after_is_obeyed_up_to_an_hour(bench: Bench, asked: float, given: float) -> None:
    leader, claim = bench.lead()
    assert bench.fail(leader, claim, retry_after=asked) == pytest.approx(given, abs=0.1)
    assert bench.claim().backoff_left == pytest.approx(given, abs=1)


def test_only_the_holder_records_a_failure(bench: Bench) -> None:
    leader, claim = bench.lead()
    assert bench.fail(leader, claim_of()) is None
    assert bench.fail(leader, claim, fence=leader.fence - 1) is None
    assert bench.columns()["failure_event_count"] == 0
    assert bench.fail(leader, claim) is not None
    assert bench.fail(leader, claim) is None


def test_a_long_error_is_cut(bench: Bench) -> None:
    leader, claim = bench.lead()
    bench.fail(leader, claim, error="x" * 1000)
    assert bench.columns()["last_error"] == "x" * 200


def test_forced_claims_are_a_floor_apart(bench: Bench) -> None:
    generation = bench.fetch(force=True)
    row = bench.claim(have=generation, force=True)
    assert row.verdict == "floor"
    assert FLOOR - 1 < row.floor_left <= FLOOR
    bench.advance(FLOOR - 1)
    assert bench.claim(have=generation, force=True).verdict == "floor"
    bench.advance(1)
    assert bench.claim(have=generation, force=True).verdict == "leader"


def test_a_scheduled_fetch_neither_arms_nor_obeys_the_floor(bench: Bench) -> None:
    generation = bench.fetch()
    generation = bench.fetch(have=generation, force=True)
    row, claim = bench.lead(have=generation, need=True)
    assert row.floor_left > 0
    assert bench.publish(row, claim)
    bench.advance(FLOOR)
    assert bench.claim(have=row.fence, force=True).verdict == "leader"


def test_a_lease_goes_before_the_floor(bench: Bench) -> None:
    bench.lead(force=True)
    assert bench.claim(force=True).verdict == "wait"


def test_the_floor_outlives_a_crash(bench: Bench) -> None:
    bench.lead(force=True)
    bench.advance(LEASE + 1)
    row = bench.claim(force=True)
    assert (row.verdict, row.outcome) == ("floor", "abandoned")
    assert bench.claim().verdict == "leader"


def test_who_waits_for_a_forced_fetch_may_hold_an_older_set(bench: Bench) -> None:
    generation = bench.fetch()
    bench.lead(force=True, have=generation)
    assert bench.claim(force=True, have=generation).verdict == "wait"
    assert bench.claim(have=generation).verdict == "fresh"
    assert bench.claim().verdict == "newer"


def test_a_rotation_is_one_attempt_and_one_refresh(bench: Bench) -> None:
    generation = bench.fetch()
    before = bench.columns()
    bench.fetch(force=True, have=generation, reason="unknown_kid")
    after = bench.columns()
    for name in ("fetch_attempt_count", "refresh_event_count"):
        assert after[name] == before[name] + 1
    for name in ("failure_event_count", "abandoned_count"):
        assert after[name] == before[name] == 0
    assert after["last_refresh_reason"] == "unknown_kid"


def test_attempts_are_refreshes_failures_and_abandoned_ones(bench: Bench) -> None:
    bench.fetch()
    for _ in range(2):
        leader, claim = bench.lead(need=True, have=2**60)
        left = bench.fail(leader, claim)
        assert left is not None
        bench.advance(left + 1)
    bench.lead(need=True, have=2**60)
    bench.advance(LEASE + 1)
    leader, claim = bench.lead(need=True, have=2**60)
    assert bench.release(leader, claim)
    bench.lead(need=True, have=2**60)
    columns = bench.columns()
    assert columns["fetch_attempt_count"] == 6
    assert columns["refresh_event_count"] == 1
    assert columns["failure_event_count"] == 2
    assert columns["abandoned_count"] == 2
    assert columns["lease_owner"] is not None


def test_generation_and_fence_only_grow(bench: Bench) -> None:
    seen = [0]
    for _ in range(5):
        seen.append(bench.fetch(need=True, have=seen[-1]))
    assert seen == sorted(set(seen))


def test_the_generation_is_on_the_stores_clock_and_above_what_the_process_has(bench: Bench) -> None:
    row = bench.claim(have=0)
    assert row.now_us is not None
    assert abs(row.fence - row.now_us) < 60_000_000
    bench.advance(LEASE + 1)
    assert bench.claim(have=2**59).fence == 2**59 + 1


def test_fetched_at_is_the_time_of_the_claim(bench: Bench) -> None:
    row = bench.claim()
    assert row.claimed_us == row.now_us


def test_a_poll_sees_a_fetch_run_and_end(bench: Bench) -> None:
    leader, claim = bench.lead()
    with bench.session() as session:
        peeked = session.peek(KEY)
        assert (peeked.generation, peeked.running) == (0, True)
        bench.publish(leader, claim)
        peeked = session.peek(KEY)
        assert (peeked.generation, peeked.running) == (leader.fence, False)


def test_a_poll_sees_that_a_leader_is_gone(bench: Bench) -> None:
    bench.lead()
    bench.advance(LEASE + 1)
    with bench.session() as session:
        assert not session.peek(KEY).running
        assert not session.peek("no such source").running


def test_reading_tells_as_much_as_a_claim_and_changes_nothing(bench: Bench) -> None:
    bench.fetch(force=True)
    before = bench.columns()
    row = bench.read()
    assert bench.columns() == before
    assert (row.verdict, row.claimed_us, row.outcome) == (None, None, "ok")
    assert row.payload == b'{"keys":[]}'
    assert FLOOR - 1 < row.floor_left <= FLOOR
    assert bench.read(have=row.generation).payload is None
    assert bench.read(have=row.generation + 1).refresh_left == 0


def test_reading_a_row_that_is_not_there_gives_nothing_and_makes_none(bench: Bench) -> None:
    read = Read(force=False, need=False, have=0, bad=-1, floor=FLOOR, refresh=REFRESH)
    with bench.session() as session:
        assert session.read(KEY, read) is None
        assert session.read(KEY, read) is None


def test_sources_do_not_share_a_row(bench: Bench) -> None:
    bench.lead()
    with bench.session() as session:
        assert session.claim("another source", claim_of(use_gate=bench.use_gate)).verdict == "leader"


def test_the_negative_control_publishes_without_a_lease(bench: Bench) -> None:
    bench.claim()
    row = bench.read()
    assert row.now_us is not None
    nobody = claim_of(owner=uuid.uuid4())
    for step in range(3):
        fence = row.now_us + step
        changes: dict[str, Any] = {"generation": fence, "coordinated": False}
        with bench.session() as session:
            assert session.publish(KEY, publish_of(replace(row, claimed_us=row.now_us), nobody, **changes))
        assert bench.columns()["generation"] == fence
    assert bench.columns()["refresh_event_count"] == 3


def test_closing_twice_is_harmless(bench: Bench) -> None:
    session = bench.store.open(1.0)
    session.claim(KEY, claim_of())
    session.close()
    session.close()


def test_a_session_that_asks_nothing_costs_nothing(bench: Bench) -> None:
    started = time.monotonic()
    bench.store.open(1.0).close()
    assert time.monotonic() - started < 0.1
