"""When what happens next, to the number: a policy of round figures, and a draw that is not the middle."""

from __future__ import annotations

from typing import Any

import pytest
from refresh_stage import order, row, trusted

from skeldir_jwt_mw.config import RefreshPolicy
from skeldir_jwt_mw.core.order import OPEN_GATE, Ending, Gate, Reply
from skeldir_jwt_mw.core.schedule import HOLD_CONNECTION, Schedule
from skeldir_jwt_mw.errors import ConfigurationError

DRAW = 0.25
POLICY = RefreshPolicy(
    refresh_interval=300, check_interval=80, floor=8, jitter=4, backoff_base=2, max_stale=1000
)
SCHEDULE = Schedule(policy=POLICY, draw=lambda: DRAW)
NOW = 1000.0  # when the answer was received
NEXT_CHECK = NOW + 80 * 0.625
SPREAD = 0.2  # a quarter of a tenth of the floor, which is less than the jitter


def reply(value: object = None) -> Reply:
    return Reply(value=value, sent=NOW - 1, received=NOW)


def test_the_random_parts() -> None:
    assert SCHEDULE.jitter() == 1.0
    assert SCHEDULE.spread() == SPREAD
    assert Schedule(policy=RefreshPolicy(jitter=0.1), draw=lambda: DRAW).spread() == 0.025
    assert SCHEDULE.next_check(NOW) == NEXT_CHECK


@pytest.mark.parametrize(
    ("max_age", "seconds"),
    [(None, 300.0), (0.0, 60.0), (59.0, 60.0), (60.0, 60.0), (120.0, 120.0), (300.0, 300.0), (1e9, 300.0)],
)
def test_a_max_age_only_shortens_the_interval_and_not_below_a_minute(
    max_age: float | None, seconds: float
) -> None:
    assert SCHEDULE.interval(max_age) == seconds


def test_an_interval_below_a_minute_is_kept_whatever_the_max_age() -> None:
    short = Schedule(policy=RefreshPolicy(refresh_interval=20), draw=lambda: DRAW)
    assert [short.interval(max_age) for max_age in (None, 0.0, 10.0, 90.0)] == [20.0] * 4


@pytest.mark.parametrize(
    ("polls", "elapsed", "seconds"),
    [
        (0, 0.0, 0.120),
        (1, 0.12, 0.085),
        (2, 0.205, 0.045),
        (3, 0.25, 0.050),
        (4, 0.0, 0.055),
        (4, 0.1, 0.055),
        (4, 0.3, 0.090),
        (9, 0.5, 0.150),
        (9, 0.83, 0.249),
        (9, 0.9, 0.250),
        (99, 100.0, 0.250),
    ],
)
def test_polls_come_when_a_short_fetch_ends_and_then_ever_more_slowly(
    polls: int, elapsed: float, seconds: float
) -> None:
    assert SCHEDULE.poll_pause(polls, elapsed) == pytest.approx(seconds * 0.94)
    latest = Schedule(policy=POLICY, draw=lambda: 1.0)
    assert latest.poll_pause(polls, elapsed) == pytest.approx(seconds * 1.12)


def test_a_connection_is_kept_over_the_first_pause_however_long_it_is_drawn() -> None:
    assert Schedule(policy=POLICY, draw=lambda: 1.0).poll_pause(0, 0.0) <= HOLD_CONNECTION


@pytest.mark.parametrize(("times", "seconds"), [(1, 0.040), (2, 0.080), (3, 0.160), (4, 0.250), (40, 0.250)])
def test_a_statement_that_was_cut_off_is_repeated_after_a_doubling_pause(times: int, seconds: float) -> None:
    assert SCHEDULE.contended_pause(times) == pytest.approx(seconds * 0.75)


def ending(**members: Any) -> Ending:
    usual = {"kind": "fresh", "gate": OPEN_GATE, "check_at": NEXT_CHECK, "bad": 3, "provider_fails": False}
    return Ending(**{**usual, **members})


CLOSED_FOR_FLOOR = Gate(until=NOW + 6 + SPREAD, reason=None)


@pytest.mark.parametrize(
    ("kind", "members", "expected"),
    [
        ("fresh", {}, ending()),
        ("fresh", {"refresh_left": 0.0}, ending()),  # another process will see to it
        ("fresh", {"floor_left": 6.0}, ending(gate=CLOSED_FOR_FLOOR)),
        ("fresh", {"floor_left": 0.5}, ending(gate=Gate(until=NOW + 0.5 + SPREAD, reason=None))),
        ("blocked", {"floor_left": 6.0}, ending(kind="blocked", gate=CLOSED_FOR_FLOOR)),
        (
            "blocked",
            {"floor_left": 6.0, "outcome": "failed"},
            ending(kind="blocked", gate=Gate(until=NOW + 6 + SPREAD, reason="failed"), provider_fails=True),
        ),
        (
            "blocked",
            {"floor_left": 6.0, "outcome": "abandoned"},
            ending(
                kind="blocked", gate=Gate(until=NOW + 6 + SPREAD, reason="abandoned"), provider_fails=True
            ),
        ),
        ("blocked", {"floor_left": 6.0, "outcome": "running"}, ending(kind="blocked")),
        (
            "blocked",
            {"floor_left": 6.0, "backoff_left": 90.0, "outcome": "failed"},
            ending(
                kind="blocked",
                gate=Gate(until=NOW + 80, reason="failed", retry_at=NOW + 90 + SPREAD),
                provider_fails=True,
            ),
        ),
        (
            "blocked",
            {"backoff_left": 0.5, "outcome": "failed"},
            ending(kind="blocked", gate=Gate(until=NOW + 0.5 + SPREAD, reason="failed"), provider_fails=True),
        ),
        ("adopted", {"refresh_left": 1.0}, ending(kind="adopted")),
        ("adopted", {"refresh_left": 0.0}, ending(kind="adopted")),
        ("adopted", {"floor_left": 6.0}, ending(kind="adopted", gate=CLOSED_FOR_FLOOR)),
        (
            "adopted",
            {"refresh_left": 0.0, "backoff_left": 0.5, "outcome": "failed"},
            ending(
                kind="adopted",
                gate=Gate(until=NOW + 0.5 + SPREAD, reason="failed"),
                provider_fails=True,
            ),
        ),
        ("adopted", {"refresh_left": 0.0, "outcome": "running"}, ending(kind="adopted")),
        ("adopted", {"outcome": "failed"}, ending(kind="adopted", provider_fails=True)),
        ("adopted", {"failures": 1, "outcome": "running"}, ending(kind="adopted", provider_fails=True)),
        (
            "adopted",
            {"refresh_left": 0.0, "backoff_left": 7.0, "outcome": "failed"},
            ending(
                kind="adopted",
                gate=Gate(until=NOW + 7 + SPREAD, reason="failed"),
                provider_fails=True,
            ),
        ),
    ],
)
def test_an_ending_by_the_row(kind: Any, members: dict[str, Any], expected: Ending) -> None:
    told = SCHEDULE.as_the_row_says(kind, order(bad=3), row("fresh", **members), reply())
    assert told == expected


def test_an_ending_keeps_what_was_adopted_and_whether_a_fetch_was_followed() -> None:
    keys = trusted()
    told = SCHEDULE.as_the_row_says("adopted", order(), row("newer"), reply(), adopted=keys, waited=True)
    assert told == ending(kind="adopted", adopted=keys, waited=True, bad=-1)


def test_the_ending_of_one_who_could_not_wait_for_another_s_fetch() -> None:
    told = SCHEDULE.still_running(order(bad=3), row("wait", lease_left=4.0), reply())
    until = NOW + 4 + SPREAD
    expected = ending(kind="blocked", gate=Gate(until=until, reason="running"), check_at=until, waited=True)
    assert told == expected


@pytest.mark.parametrize(
    ("members", "closed_for"),
    [({}, 2.0), ({"floor_left": 6.0}, 6.0), ({"floor_left": 6.0, "backoff_left": 9.0}, 9.0)],
)
def test_the_ending_of_one_whose_row_cannot_be_trusted(members: dict[str, Any], closed_for: float) -> None:
    told = SCHEDULE.row_refused(order(bad=3), row("newer", **members), reply())
    gate = Gate(until=NOW + closed_for + SPREAD, reason="row_refused")
    assert told == ending(kind="blocked", gate=gate, unreadable=True)


@pytest.mark.parametrize(("failures", "closed_for"), [(0, 2.0), (1, 4.0), (2, 8.0), (3, 8.0), (5000, 8.0)])
def test_the_ending_of_one_whose_store_gave_no_answer(failures: int, closed_for: float) -> None:
    told = SCHEDULE.store_failed(order(bad=3, failures=failures), reply())
    gate = Gate(until=NOW + closed_for + SPREAD, reason="store")
    looked = min(80.0, 2.0 * 2.0 ** min(failures, 20))
    expected = ending(
        kind="failed",
        gate=gate,
        check_at=NOW + looked + SPREAD,
        unanswered_at=reply().sent,
        provider_fails=None,
        failed_here=True,
    )
    assert told == expected


def test_the_pauses_after_a_store_gave_no_answer_double_twenty_times() -> None:
    patient = RefreshPolicy(
        floor=50_000, check_interval=50_000, refresh_interval=60_000, max_stale=90_000, backoff_base=0.01
    )
    schedule = Schedule(policy=patient, draw=lambda: 0.0)
    for failures in (20, 21, 5000):
        until = schedule.store_failed(order(failures=failures), reply()).gate.until
        assert until == NOW + 0.01 * 2**20


def test_what_an_operator_has_to_mend_is_kept() -> None:
    error = ConfigurationError("no table")
    assert SCHEDULE.store_failed(order(), reply(error)).misconfigured is error


@pytest.mark.parametrize(
    ("until", "retry_at", "seconds"),
    [
        (NOW + 5, float("-inf"), 5.0),
        (NOW + 5, NOW + 9, 9.0),
        (NOW + 9, NOW + 5, 9.0),
        (NOW - 1, NOW - 2, 0.0),
        (NOW + 0.5, NOW + 0.25, 0.5),
    ],
)
def test_a_gate_says_when_it_is_worth_coming_again(until: float, retry_at: float, seconds: float) -> None:
    assert Gate(until=until, reason="store", retry_at=retry_at).closed_for(NOW) == seconds


@pytest.mark.parametrize(
    ("failures", "doubled"), [(0, 2.0), (1, 4.0), (2, 8.0), (3, 16.0), (20, 80.0), (21, 80.0), (10**6, 80.0)]
)
def test_what_fails_here_is_tried_again_after_a_pause_that_doubles(failures: int, doubled: float) -> None:
    assert SCHEDULE.failed_here(NOW, failures=failures, bad=7, unreadable=True) == Ending(
        kind="failed",
        gate=Gate(until=NOW + min(doubled, 8.0) + SPREAD, reason="local"),
        check_at=NOW + doubled + SPREAD,
        bad=7,
        unreadable=True,
        failed_here=True,
    )


def test_a_pause_has_a_largest_number_of_doublings() -> None:
    tiny = RefreshPolicy(backoff_base=1e-6, floor=8, check_interval=80)
    schedule = Schedule(policy=tiny, draw=lambda: 0.0)
    pauses = {
        n: schedule.failed_here(NOW, failures=n, bad=-1, unreadable=False).check_at for n in (19, 20, 21)
    }
    assert pauses[19] < pauses[20] == pauses[21]


@pytest.mark.parametrize("unreadable", [True, False])
def test_what_is_known_of_the_row_outlasts_a_store_that_fails_and_a_fetch_that_goes_on(
    unreadable: bool,
) -> None:
    ordered = order(unreadable=unreadable, bad=4)
    for ending in (
        SCHEDULE.store_failed(ordered, reply()),
        SCHEDULE.still_running(ordered, row("wait", lease_left=3.0), reply()),
    ):
        assert (ending.unreadable, ending.bad) == (unreadable, 4)


def test_a_gate_that_ends_with_the_next_look_is_one_gate() -> None:
    schedule = Schedule(policy=POLICY, draw=lambda: 0.0)
    assert schedule.gate(NOW, 80.0, "failed") == Gate(until=NOW + 80.0, reason="failed")


def test_a_gate_behind_keys_that_were_just_adopted_tells_that_an_absent_one_is_absent() -> None:
    adopted = trusted(generation=6)
    ending = SCHEDULE.as_the_row_says(
        "adopted", order(have=5), row("newer", generation=6, floor_left=4.0), reply(), adopted=adopted
    )
    assert ending.gate == Gate(until=NOW + 4.0 + SPREAD, reason=None)
