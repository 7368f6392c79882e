"""When keys at hand have to be looked at, to the number: round figures, and time as an argument."""

from __future__ import annotations

from dataclasses import replace

import pytest
from refresh_stage import trusted

from skeldir_jwt_mw.attention import CLOCK_GAP, FOR_EVER, NEVER, Attention, Strangers
from skeldir_jwt_mw.config import RefreshPolicy
from skeldir_jwt_mw.core.order import OPEN_GATE, Ending

POLICY = RefreshPolicy(
    refresh_interval=300, check_interval=80, fetch_timeout=5, floor=8, jitter=4, lease=20, backoff_base=2,
    max_stale=1000,
)  # fmt: skip
LONGEST = 85.0  # seconds between two looks, above which one was missed
NOW = 1000.0


def looked(at: float | None, *, unanswered: float | None = None, policy: RefreshPolicy = POLICY) -> Attention:
    attention = Attention(policy, 0.0)
    ending = Ending(
        kind="fresh", gate=OPEN_GATE, check_at=NOW + 500, compared_at=at, unanswered_at=unanswered
    )
    attention.ended(ending)
    return attention


def test_a_look_was_missed_when_the_longest_pause_has_passed() -> None:
    assert not looked(NOW).missed_a_check(NOW + LONGEST)
    assert looked(NOW).missed_a_check(NOW + LONGEST + 0.001)
    assert looked(None).missed_a_check(NOW)


def test_a_store_that_gave_no_answer_was_looked_at() -> None:
    assert not looked(None, unanswered=NOW).missed_a_check(NOW + LONGEST)
    assert looked(NOW, unanswered=NOW - 500).missed_a_check(NOW + LONGEST + 0.001)
    assert not looked(NOW - 500, unanswered=NOW).missed_a_check(NOW + LONGEST)


def test_without_a_background_every_pause_is_a_look_that_was_missed() -> None:
    alone = replace(POLICY, background=False)
    assert not looked(NOW, policy=alone).missed_a_check(NOW)
    assert looked(NOW, policy=alone).missed_a_check(NOW + 0.5)


def test_a_pause_is_never_longer_than_the_time_between_two_fetches() -> None:
    seldom = replace(POLICY, check_interval=298)
    assert looked(NOW, policy=seldom).missed_a_check(NOW + 300.5)
    rarely = replace(POLICY, check_interval=400)
    assert not looked(NOW, policy=rarely).missed_a_check(NOW + 400)


def test_keys_are_overdue_at_the_bound_while_the_store_answers() -> None:
    attention = looked(NOW)
    attention.adopt(replace(trusted(), fetched_at=NOW), provider_fails=False)
    bound = NOW + 300 + 4 + 80 + 5 + 20
    assert attention.overdue_at == bound
    assert not attention.is_overdue(bound - 0.001)
    assert attention.is_overdue(bound)
    attention.ended(Ending(kind="failed", gate=OPEN_GATE, check_at=bound, unanswered_at=bound))
    assert not attention.is_overdue(bound)
    assert not attention.is_overdue(bound + LONGEST)
    assert attention.is_overdue(bound + LONGEST + 0.001)


@pytest.mark.parametrize("known", [True, False])
def test_while_the_provider_fails_there_is_no_bound(known: bool) -> None:
    attention = looked(NOW)
    adopted = replace(trusted(), fetched_at=NOW)
    attention.adopt(adopted, provider_fails=known)
    assert (attention.overdue_at == FOR_EVER) is known
    attention.adopt(adopted, provider_fails=None)
    assert (attention.overdue_at == FOR_EVER) is known


def test_an_answer_that_a_freeze_held_up_is_as_old_as_its_question() -> None:
    assert looked(NOW - 100).check_at == NOW - 100 + LONGEST
    assert looked(NOW - 100, unanswered=NOW).check_at == NOW + 500
    assert looked(None).check_at == NOW + 500


def test_what_the_clock_did_not_count_is_told_from_five_seconds_on() -> None:
    attention = looked(NOW)
    attention.adopt(replace(trusted(), fetched_at=NOW), provider_fails=False)
    bound = attention.overdue_at
    assert attention.gap(NOW, NOW + CLOCK_GAP) == 0.0
    assert attention.gap(NOW, NOW + CLOCK_GAP + 50) == 50.0
    assert (attention.overdue_at, attention.check_at) == (bound - 50, NOW)
    assert attention.missed_a_check(NOW + LONGEST - 49)
    assert not attention.missed_a_check(NOW + LONGEST - 51)
    assert attention.gap(NOW + 1, NOW + CLOCK_GAP + 51) == 0.0


def test_a_request_attends_at_its_time_by_either_clock() -> None:
    attention = Attention(POLICY, 7000.0)
    assert attention.call_at(NOW) == (NOW, NOW + 7000 + CLOCK_GAP)
    attention.adopt(replace(trusted(), fetched_at=0.0), provider_fails=False)
    assert attention.call_at(NOW) == (409.0, 409.0 + 7000 + CLOCK_GAP)
    assert attention.check_at == NEVER


def test_strangers_are_left_alone_for_twice_as_long_each_time() -> None:
    strangers = Strangers(POLICY)
    assert strangers.until == NEVER
    now = NOW
    for pause in (2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
        strangers.seen(now)
        assert strangers.until == now + pause
        strangers.seen(strangers.until - 0.001)  # in the meantime they count once
        assert strangers.until == now + pause
        now = strangers.until
    strangers.forget()
    strangers.seen(now)
    assert strangers.until == now + 2


def test_the_pause_of_strangers_has_a_largest_number_of_doublings() -> None:
    strangers = Strangers(replace(POLICY, backoff_base=1e-6))
    now, pauses = NOW, []
    for _ in range(23):
        strangers.seen(now)
        pauses.append(strangers.until - now)
        now = strangers.until + 1
    assert pauses[20] == pytest.approx(pauses[21]) == pytest.approx(2.0**20 * 1e-6)
    assert pauses[19] == pytest.approx(pauses[20] / 2)


def test_before_there_was_any_look_one_is_missed_and_nobody_is_known_to_fail() -> None:
    attention = Attention(POLICY, 0.0)
    assert attention.missed_a_check(NOW)
    attention.adopt(replace(trusted(), fetched_at=NOW), provider_fails=None)
    assert attention.overdue_at == NOW + 409


def test_a_verifier_that_was_closed_looks_no_more() -> None:
    attention = Attention(POLICY, 0.0)
    attention.ended(Ending(kind="blocked", gate=OPEN_GATE, check_at=FOR_EVER, compared_at=NOW))
    assert attention.check_at == FOR_EVER
