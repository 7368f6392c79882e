"""The refresh script, driven by hand: every effect is answered by the test, time is an argument."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from refresh_stage import DOCUMENT, NOW_US, OLD_DOCUMENT, POLICY, SEALER, Stage, content, order, row, trusted

from skeldir_jwt_mw.config import RefreshPolicy
from skeldir_jwt_mw.core.effects import (
    Claim,
    Conditional,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    LocalFetchFailed,
    Peek,
    Peeked,
    Publish,
    Read,
    Row,
    StoreContended,
    StoreReadOnly,
    StoreUnavailable,
    Wait,
)
from skeldir_jwt_mw.core.order import Order
from skeldir_jwt_mw.core.refresh import MAX_FOLLOWED
from skeldir_jwt_mw.core.schedule import Schedule
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.testing.tokens import SigningKey


def test_a_leader_fetches_and_publishes_under_its_fence() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT, etag='"new"'), True)
    ending = stage.play(order())
    publish = stage.only(Publish)
    assert stage.kinds() == ["Claim", "Fetch", "Publish"]
    assert publish.content.generation == 9
    assert publish.content.payload == DOCUMENT
    assert publish.coordinated
    assert ending.kind == "refreshed"
    assert ending.adopted is not None
    assert ending.adopted.content == publish.content


def test_what_was_fetched_dates_from_before_the_fetch() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), True)
    ending = stage.play(order())
    publish = stage.only(Publish)
    assert publish.content.fetched_us == NOW_US
    assert ending.adopted is not None
    assert ending.adopted.fetched_at == 0.0
    assert publish.content.expires_us == NOW_US + 21_600 * 1_000_000


def test_a_published_seal_is_good() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), True)
    stage.play(order())
    publish = stage.only(Publish)
    assert SEALER.inspect("source", publish.content, publish.seal) == "good"


def test_a_scheduled_fetch_sends_the_validators_of_its_own_snapshot() -> None:
    forged = content(generation=5, etag='"of the row"')
    stage = Stage(row("leader", forged, generation=5), Fetched(document=None), True)
    stage.play(order())
    assert stage.only(Fetch).conditional == Conditional(etag='"old"')


def test_a_forced_fetch_sends_no_validators_and_asks_for_no_cache() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), True)
    stage.play(order(force=True, reason="unknown_kid"))
    assert stage.only(Fetch).conditional == Conditional(no_cache=True)


def test_not_modified_publishes_the_bytes_of_the_own_snapshot_with_new_times() -> None:
    stage = Stage(row("leader"), Fetched(document=None), True)
    ending = stage.play(order())
    publish = stage.only(Publish)
    assert publish.content.payload == OLD_DOCUMENT
    assert publish.content.etag == '"old"'
    assert publish.content.fetched_us == NOW_US
    assert ending.adopted is not None


@pytest.mark.parametrize("ordered", [order(force=True), order(trusted=None, have=0, need=True)])
def test_not_modified_to_an_unconditional_fetch_is_a_failure(ordered: Order) -> None:
    stage = Stage(row("leader"), Fetched(document=None), 2.0)
    ending = stage.play(ordered)
    assert stage.kinds() == ["Claim", "Fetch", "Fail"]
    assert ending.kind == "failed"


@pytest.mark.parametrize("document", [b"<html>", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AA"}]}'])
def test_r53_a_document_without_a_usable_key_is_a_failure_and_replaces_nothing(document: bytes) -> None:
    stage = Stage(row("leader"), Fetched(document=document), 2.0)
    ending = stage.play(order())
    assert ending.kind == "failed"
    assert ending.adopted is None
    assert stage.kinds() == ["Claim", "Fetch", "Fail"]


def test_a_failure_closes_the_gate_for_the_fleets_backoff() -> None:
    stage = Stage(row("leader"), FetchFailed("status 503", retry_after=30.0), 30.0)
    ending = stage.play(order())
    assert stage.only(Fail).retry_after == 30.0
    assert ending.gate.reason == "failed"
    assert ending.gate.until >= 30.0


def test_a_forced_fetch_closes_the_gate_for_the_floor_as_a_success() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), True)
    ending = stage.play(order(force=True))
    assert ending.gate.reason is None
    assert ending.gate.until >= POLICY.floor


def test_a_scheduled_fetch_leaves_the_gate_open() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), True)
    assert stage.play(order()).gate.until < 0


def test_a_hostile_max_age_neither_shortens_nor_lengthens_without_bounds() -> None:
    for max_age, seconds in ((0.0, 60.0), (120.0, 120.0), (1e9, 300.0), (None, 300.0)):
        stage = Stage(row("leader"), Fetched(document=DOCUMENT, max_age=max_age), True)
        stage.play(order())
        assert stage.only(Publish).next_us == NOW_US + round((seconds + POLICY.jitter / 2) * 1_000_000)


def test_a_newer_row_is_adopted_after_its_seal_was_checked() -> None:
    stage = Stage(row("newer", content(6, DOCUMENT)))
    ending = stage.play(order())
    assert ending.kind == "adopted"
    assert ending.adopted is not None
    assert ending.adopted.content.generation == 6
    assert stage.kinds() == ["Claim"]


def test_a_row_expires_with_its_seal_or_the_own_max_stale_whichever_is_earlier() -> None:
    sealed = Stage(row("newer", content(6, DOCUMENT, expires_us=NOW_US + 7_000_000))).play(order())
    assert sealed.adopted is not None
    assert sealed.adopted.expires_at == pytest.approx(7.0)
    own = Stage(row("newer", content(6, DOCUMENT, expires_us=NOW_US + 10**15))).play(order())
    assert own.adopted is not None
    assert own.adopted.expires_at == pytest.approx(POLICY.max_stale - 10.0)


def test_r55_a_forged_row_is_claimed_over_by_force() -> None:
    stage = Stage(
        row("newer", content(6, DOCUMENT), seal=b"x" * 41), row("leader"), Fetched(document=DOCUMENT), True
    )
    ending = stage.play(order())
    second = stage.effects[1]
    assert isinstance(second, Claim)
    assert (second.bad, second.force, second.reason) == (6, True, "tampered")
    assert [report.event for report in stage.reports] == ["forged_row", "refreshed"]
    assert ending.kind == "refreshed"


@pytest.mark.parametrize(
    "members",
    [
        {"payload": None},
        {"now_us": None},
        {"fetched_us": None},
        {"expires_us": None},
        {"generation": 1 << 61},
    ],
)
def test_r55_a_row_with_a_hole_or_an_absurd_generation_is_never_adopted(members: dict[str, Any]) -> None:
    stage = Stage(row("newer", content(6, DOCUMENT), **members), row("floor", floor_left=3.0))
    ending = stage.play(order())
    assert ending.adopted is None
    assert stage.reports[0].event == "forged_row"


def test_a_strangers_row_is_claimed_over_without_force() -> None:
    stranger = Sealer([b"s" * 32]).seal("source", content(6, DOCUMENT))
    stage = Stage(
        row("newer", content(6, DOCUMENT), seal=stranger), row("leader"), Fetched(document=DOCUMENT), True
    )
    stage.play(order(need=True, trusted=None, have=0))
    second = stage.effects[1]
    assert isinstance(second, Claim)
    assert (second.bad, second.force) == (6, False)


def test_a_strangers_row_is_left_alone_while_the_local_pause_lasts() -> None:
    stranger = Sealer([b"s" * 32]).seal("source", content(6, DOCUMENT))
    stage = Stage(row("newer", content(6, DOCUMENT), seal=stranger))
    ending = stage.play(order(replace_stranger=False))
    assert ending.kind == "blocked"
    assert ending.gate.reason == "row_refused"


def test_an_endless_supply_of_forged_rows_ends_the_refresh() -> None:
    forged = [row("newer", content(6 + n, DOCUMENT), seal=b"x" * 41) for n in range(4)]
    ending = Stage(*forged).play(order())
    assert ending.gate.reason == "row_refused"


def test_an_expired_newer_row_counts_as_none() -> None:
    expired = content(6, DOCUMENT, expires_us=NOW_US - 1)
    stage = Stage(row("newer", expired), row("leader"), Fetched(document=DOCUMENT), True)
    ending = stage.play(order(need=True))
    second = stage.effects[1]
    assert isinstance(second, Claim)
    assert (second.have, second.need) == (6, True)
    assert ending.kind == "refreshed"


def test_a_follower_polls_and_claims_again_once_the_generation_changes() -> None:
    running = Peeked(generation=5, running=True)
    stage = Stage(
        row("wait", outcome="running", lease_left=4.9),
        running,
        running,
        Peeked(generation=6, running=False),
        row("newer", content(6, DOCUMENT)),
    )
    ending = stage.play(order(force=True))
    assert stage.kinds() == ["Claim", "Peek", "Peek", "Peek", "Claim"]
    assert ending.kind == "adopted"
    assert ending.waited


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_a_follower_of_a_fetch_of_250_ms_sends_at_most_six_statements(draw: float) -> None:
    schedule = Schedule(policy=POLICY, draw=lambda: draw)
    elapsed, polls = 0.0, 0
    while elapsed < 0.250:
        elapsed += schedule.poll_pause(polls, elapsed)
        polls += 1
    assert 1 + polls + 1 <= 6


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_a_follower_sends_at_most_sixteen_statements_in_a_wait_budget(draw: float) -> None:
    schedule = Schedule(policy=POLICY, draw=lambda: draw)
    elapsed, polls = 0.0, 0
    while elapsed < POLICY.wait_budget:
        elapsed += schedule.poll_pause(polls, elapsed)
        polls += 1
    assert 1 + polls <= 16


def test_a_follower_polls_until_the_lease_ends_and_then_claims_for_itself() -> None:
    running = Peeked(generation=5, running=True)
    stage = Stage(row("wait", outcome="running", lease_left=0.3), *[running] * 4)
    stage.answers += [row("leader"), Fetched(document=DOCUMENT), True]
    assert stage.play(order(force=True)).kind == "refreshed"
    assert stage.kinds() == ["Claim", *["Peek"] * 4, "Claim", "Fetch", "Publish"]
    assert stage.now >= 0.3


def test_one_who_has_followed_others_for_minutes_looks_again_when_the_lease_ends() -> None:
    another = [row("wait", outcome="running", lease_left=40.0), Peeked(generation=5, running=False)]
    stage = Stage(*another * 400, lag=5.0)
    ending = stage.play_endlessly(order(force=True))
    assert stage.now >= MAX_FOLLOWED
    assert ending.gate.reason == "running"
    assert ending.gate.until >= stage.now + 40.0
    assert ending.check_at == ending.gate.until
    assert [report.event for report in stage.reports] == ["store_failed"]


def test_short_pauses_keep_the_connection_and_long_ones_give_it_back() -> None:
    running = Peeked(generation=5, running=True)
    stage = Stage(
        row("wait", outcome="running", lease_left=4.9),
        *[running] * 8,
        Peeked(generation=6, running=False),
        row("newer", content(6, DOCUMENT)),
    )
    stage.play(order())
    waits = [effect for effect in stage.effects if isinstance(effect, Wait)]
    # A follower of a short fetch makes one connection; one whose leader takes long holds none for most of it.
    assert [wait.release for wait in waits[:4]] == [False] * 4
    assert [wait.release for wait in waits[-2:]] == [True] * 2


def test_contended_claims_leave_the_advisory_lock_out_after_two() -> None:
    stage = Stage(row("contended"), StoreContended(), row("fresh"))
    stage.play(order())
    assert [effect.use_gate for effect in stage.effects if isinstance(effect, Claim)] == [True, True, False]


def test_the_lease_strategy_never_uses_the_advisory_lock() -> None:
    stage = Stage(row("fresh"), policy=RefreshPolicy(strategy="lease"))
    stage.play(order())
    assert stage.only(Claim).use_gate is False


def test_endless_contention_ends_as_a_store_failure() -> None:
    stage = Stage(*[row("contended")] * 200)
    ending = stage.play_endlessly(order())
    assert ending.gate.reason == "store"
    assert ending.unanswered_at is not None
    assert [report.detail for report in stage.reports] == ["other processes keep the row busy"]


def test_a_statement_that_is_cut_off_for_ever_is_told_by_its_reason() -> None:
    stage = Stage(*[StoreContended("the database takes no more connections")] * 200)
    assert stage.play_endlessly(order()).unanswered_at is not None
    assert [report.detail for report in stage.reports] == ["the database takes no more connections"]


def test_a_store_outage_doubles_the_local_gate_up_to_the_floor() -> None:
    spans = []
    for failures in range(4):
        stage = Stage(StoreUnavailable("down"), lag=0.0)
        spans.append(stage.play(order(failures=failures)).gate.until)
    spread = POLICY.floor / 10 / 2
    assert spans == pytest.approx([2 + spread, 4 + spread, 5 + spread, 5 + spread])


def test_a_store_outage_does_not_ask_the_provider() -> None:
    stage = Stage(StoreUnavailable("down"))
    stage.play(order(need=True, trusted=None, have=0, force=True))
    assert stage.kinds() == ["Claim"]


def test_where_the_policy_says_so_a_store_outage_asks_the_provider_under_a_local_floor() -> None:
    policy = RefreshPolicy(on_store_outage="fetch", check_interval=1.0)
    stage = Stage(StoreUnavailable("down"), Fetched(document=DOCUMENT), policy=policy)
    ending = stage.play(order(need=True, trusted=None, have=0))
    assert ending.adopted is not None
    assert ending.adopted.content.generation == 0
    assert ending.gate.until >= policy.floor
    assert ending.check_at >= ending.gate.until  # aged keys obey the local floor too


def test_a_missing_table_is_not_an_outage() -> None:
    policy = RefreshPolicy(on_store_outage="fetch")
    stage = Stage(ConfigurationError("no table"), policy=policy)
    ending = stage.play(order(need=True, trusted=None, have=0))
    assert isinstance(ending.misconfigured, ConfigurationError)
    assert stage.kinds() == ["Claim"]


def test_a_publish_that_changed_nothing_but_landed_earlier_is_a_success() -> None:
    landed = row(None, generation=9, fetched_us=NOW_US, payload=DOCUMENT)
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), False, landed)
    assert stage.play(order()).kind == "refreshed"


@pytest.mark.parametrize("other", [{"payload": b"another's"}, {"fetched_us": NOW_US - 1}])
def test_what_another_published_under_the_same_fence_is_not_taken_for_ones_own(other: dict[str, Any]) -> None:
    standing = row(None, **{"generation": 9, "fetched_us": NOW_US, "payload": DOCUMENT, **other})
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), False, standing)
    assert stage.play(order()).kind == "blocked"


def test_a_publish_that_lost_its_lease_is_discarded_for_what_is_in_the_row() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), False, row(None, content(11, OLD_DOCUMENT)))
    ending = stage.play(order())
    assert stage.kinds() == ["Claim", "Fetch", "Publish", "Read"]
    assert ending.kind == "adopted"
    assert ending.adopted is not None
    assert ending.adopted.content.generation == 11


def test_a_leader_whose_database_goes_away_uses_the_keys_at_once_and_keeps_trying_to_publish() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), StoreContended(), StoreUnavailable("down"), True)
    ending = stage.play(order())
    assert [settled.kind for settled in stage.settled] == ["refreshed"]
    assert ending.adopted is not None
    assert stage.kinds() == ["Claim", "Fetch", "Publish", "Publish", "Publish"]


def test_publishing_is_not_tried_past_the_lease() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), *[StoreUnavailable("down")] * 14)
    ending = stage.play(order())
    assert ending.kind == "refreshed"
    assert stage.now <= POLICY.lease + 0.1


def test_a_leader_that_could_not_record_its_failure_still_ends() -> None:
    stage = Stage(row("leader"), FetchFailed("timeout"), StoreContended(), 2.0)
    ending = stage.play(order())
    assert ending.kind == "failed"
    assert stage.kinds() == ["Claim", "Fetch", "Fail", "Fail"]


@pytest.mark.parametrize(
    ("outcome", "reason"), [("ok", None), ("failed", "failed"), ("abandoned", "abandoned")]
)
def test_a_floor_is_the_callers_fault_only_after_a_successful_refresh(
    outcome: str, reason: str | None
) -> None:
    ending = Stage(row("floor", outcome=outcome, floor_left=3.0)).play(order(force=True))
    assert ending.gate.reason == reason
    assert ending.gate.until >= 3.0


def test_a_running_fetch_leaves_the_gate_open_for_those_who_may_follow_it() -> None:
    newer = row("newer", content(6, DOCUMENT), outcome="running", floor_left=4.0, lease_left=4.0)
    assert Stage(newer).play(order()).gate.until < 0


def test_a_published_private_key_is_reported() -> None:
    key = SigningKey.generate(kid="leaked")
    secret = key.jwk() | {"d": "AAAA"}
    document = json.dumps({"keys": [secret, SigningKey.generate(kid="good").jwk()]}).encode()
    stage = Stage(row("leader"), Fetched(document=document), True)
    stage.play(order())
    assert "private_key" in [report.event for report in stage.reports]


def test_without_coordination_everybody_fetches_and_publishes_unguarded() -> None:
    stage = Stage(row("wait", fence=3, outcome="running"), Fetched(document=DOCUMENT), True)
    ending = stage.play(order(coordinated=False))
    publish = stage.only(Publish)
    assert stage.kinds() == ["Claim", "Fetch", "Publish"]
    assert not publish.coordinated
    assert publish.content.generation == NOW_US
    assert ending.kind == "refreshed"


def test_identical_bytes_are_not_imported_again() -> None:
    ordered = order()
    stage = Stage(row("newer", content(6, OLD_DOCUMENT)))
    ending = stage.play(ordered)
    assert ending.adopted is not None
    assert ordered.trusted is not None
    assert ending.adopted.jwks is ordered.trusted.jwks


def test_a_read_is_what_a_leader_asks_after_losing_its_row() -> None:
    stage = Stage(row("leader"), FetchFailed("timeout"), None, row(None, outcome="running", lease_left=3.0))
    ending = stage.play(replace(order(), force=True))
    assert isinstance(stage.effects[-1], Read)
    assert ending.kind == "blocked"


def test_polls_are_peeks() -> None:
    stage = Stage(
        row("wait", outcome="running", lease_left=4.9), Peeked(generation=5, running=False), row("fresh")
    )
    stage.play(order())
    assert isinstance(stage.only(Peek), Peek)


def test_a_row_whose_seal_is_good_and_whose_document_is_not_counts_as_forged() -> None:
    unusable = row("newer", content(6, b'{"keys": []}'))
    stage = Stage(unusable, row("leader"), Fetched(document=DOCUMENT), True)
    assert stage.play(order()).kind == "refreshed"
    assert [report.event for report in stage.reports] == ["forged_row", "refreshed"]


def test_a_provider_that_fails_during_a_store_outage_is_left_alone_for_the_floor() -> None:
    policy = RefreshPolicy(on_store_outage="fetch")
    stage = Stage(StoreUnavailable("down"), FetchFailed("status 503"), policy=policy)
    ending = stage.play(order(need=True, trusted=None, have=0))
    assert ending.adopted is None
    assert ending.gate.reason == "failed"
    assert ending.gate.until >= policy.floor
    assert ending.check_at >= ending.gate.until
    assert [report.event for report in stage.reports] == ["store_failed", "fetch_failed"]


def test_a_store_outage_asks_nobody_while_the_keys_at_hand_are_young() -> None:
    stage = Stage(StoreUnavailable("down"), policy=RefreshPolicy(on_store_outage="fetch"))
    assert stage.play(order()).kind == "failed"
    assert stage.kinds() == ["Claim"]


@pytest.mark.parametrize(
    "left_behind",
    [
        row(None, content(11, OLD_DOCUMENT), seal=b"forged"),
        row(None, content(11, OLD_DOCUMENT, expires_us=NOW_US)),
        row(None, generation=5),
    ],
    ids=["forged", "expired", "older"],
)
def test_what_is_in_the_row_after_a_lost_lease_is_judged_like_any_row(left_behind: Row) -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), False, left_behind)
    ending = stage.play(order())
    assert ending.kind == "blocked"
    assert ending.adopted is None


def test_a_store_that_goes_away_while_a_lost_lease_is_looked_into_is_an_outage() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), False, StoreUnavailable("down"))
    ending = stage.play(order())
    assert (ending.kind, ending.gate.reason) == ("failed", "store")


def test_a_follower_whose_store_goes_away_claims_again_and_hears_of_it() -> None:
    down = StoreUnavailable("down")
    stage = Stage(row("wait", outcome="running", lease_left=4.9), down, down)
    assert stage.play(order()).gate.reason == "store"
    assert stage.kinds() == ["Claim", "Peek", "Claim"]


def test_a_follower_whose_poll_is_cut_off_polls_again() -> None:
    changed = Peeked(generation=6, running=False)
    stage = Stage(
        row("wait", outcome="running", lease_left=4.9), StoreContended(), changed, row("newer", content(6))
    )
    assert stage.play(order()).kind == "adopted"
    assert stage.kinds() == ["Claim", "Peek", "Peek", "Claim"]


DOWN, BUSY, UNMIGRATED = StoreUnavailable("down"), StoreContended("busy"), ConfigurationError("no table")
LED = (row("leader"), Fetched(document=DOCUMENT))
FOLLOWED = (row("wait", outcome="running", lease_left=4.9), Peeked(generation=5, running=False))


@pytest.mark.parametrize(
    ("answers", "changes", "told"),
    [
        ([DOWN], {}, ("store_failed", "down")),
        ([UNMIGRATED], {}, ("store_failed", "no table")),
        ([BUSY] * 200, {}, ("store_failed", "busy")),
        ([row("contended")] * 200, {}, ("store_failed", "other processes keep the row busy")),
        ([*FOLLOWED, DOWN], {}, ("store_failed", "down")),
        ([*LED, False, DOWN], {}, ("store_failed", "down")),
        ([*LED, False, BUSY], {}, ("store_failed", "busy")),
        ([*LED, False, UNMIGRATED], {}, ("store_failed", "no table")),
        ([*LED, False, None], {}, ("store_failed", "the row is gone")),
        ([*LED, UNMIGRATED], {}, ("store_failed", "new keys were not shared: no table")),
        ([*LED, *[BUSY] * 400], {}, ("store_failed", "new keys were not shared: busy")),
        ([row("leader"), FetchFailed("status 500"), 4.0], {}, ("fetch_failed", "status 500")),
        ([row("leader"), FetchFailed("status 500"), UNMIGRATED], {}, ("fetch_failed", "status 500")),
        ([row("leader"), LocalFetchFailed("no thread")], {}, ("failed_here", "no thread")),
        (
            [row("newer", content(6, DOCUMENT), seal=b"x" * 41), row("floor", floor_left=3.0)],
            {},
            ("forged_row", "its seal or its content is not good"),
        ),
        ([DOWN], {"coordinated": False}, ("store_failed", "down")),
        ([row("wait", now_us=None)], {"coordinated": False}, ("store_failed", "the store gave no time")),
    ],
)
def test_an_ending_without_newer_keys_is_told_once(
    answers: list[object], changes: dict[str, Any], told: tuple[str, str]
) -> None:
    stage = Stage(*answers)
    stage.play_endlessly(order(**changes))
    assert [(report.event, report.detail) for report in stage.reports] == [told]


@pytest.mark.parametrize("answer", [StoreUnavailable("down"), row("wait", now_us=None)])
def test_without_coordination_a_store_that_gives_no_time_is_an_outage(answer: object) -> None:
    stage = Stage(answer)
    assert stage.play(order(coordinated=False)).gate.reason == "store"
    assert stage.kinds() == ["Claim"]


def test_a_claim_that_gives_no_verdict_is_a_fault_of_the_store() -> None:
    with pytest.raises(AssertionError):
        Stage(row(None)).play(order())


STRANGER = Sealer([b"s" * 32]).seal("source", content(6, DOCUMENT))


def test_keys_that_come_of_age_beside_a_row_that_cannot_be_read_are_fetched_for_this_process() -> None:
    unreadable = row("fresh", content(6, DOCUMENT), seal=STRANGER)
    stage = Stage(unreadable, Fetched(document=DOCUMENT))
    ending = stage.play(order(bad=6, unreadable=True, aged=True))
    assert stage.kinds() == ["Claim", "Fetch"]
    assert (ending.kind, ending.unreadable) == ("refreshed", True)
    assert ending.adopted is not None
    assert ending.adopted.is_private
    assert ending.gate.until >= POLICY.floor  # under its own floor


def test_young_keys_beside_a_row_that_cannot_be_read_are_told_of_and_kept() -> None:
    stage = Stage(row("newer", content(6, DOCUMENT), seal=STRANGER), row("fresh", generation=6))
    ending = stage.play(order())
    assert (ending.kind, ending.unreadable, ending.bad) == ("fresh", True, 6)
    assert [report.event for report in stage.reports] == ["stranger_row"]


def test_a_provider_that_the_row_calls_failing_is_not_asked_beside_it() -> None:
    unreadable = row("backoff", generation=6, outcome="failed", backoff_left=3.0)
    stage = Stage(unreadable)
    assert stage.play(order(bad=6, unreadable=True, aged=True)).gate.reason == "failed"
    assert stage.kinds() == ["Claim"]


def test_the_floor_after_a_refresh_that_this_process_could_not_read_is_not_the_callers_fault() -> None:
    stage = Stage(
        row("newer", content(6, DOCUMENT), seal=b"forged" * 8), row("floor", generation=6, floor_left=3.0)
    )
    assert stage.play(order()).gate.reason == "row_refused"


def test_a_newer_row_past_its_schedule_is_used_at_once_and_the_refresh_goes_on() -> None:
    aged = row("newer", content(6, DOCUMENT), refresh_left=0.0)
    stage = Stage(aged, row("leader"), Fetched(document=DOCUMENT), True)
    ending = stage.play(order(need=True, trusted=None, have=0))
    assert [use.adopted.content.generation for use in stage.used] == [6]
    second = stage.effects[1]
    assert isinstance(second, Claim)
    assert (second.have, second.need) == (6, False)
    assert ending.kind == "refreshed"


def test_a_newer_row_past_its_schedule_of_a_failing_provider_is_the_best_there_is() -> None:
    aged = row("newer", content(6, DOCUMENT), refresh_left=0.0, failures=2)
    stage = Stage(aged, row("backoff", generation=6, outcome="failed", backoff_left=9.0))
    ending = stage.play(order(need=True, trusted=None, have=0))
    assert stage.used[0].provider_fails
    assert ending.adopted is not None
    assert (ending.kind, ending.provider_fails) == ("blocked", True)


def test_a_refresh_goes_on_once_however_old_the_rows_are() -> None:
    aged = [row("newer", content(6 + n, DOCUMENT), refresh_left=0.0) for n in range(2)]
    ending = Stage(*aged).play(order())
    assert ending.adopted is not None
    assert ending.adopted.content.generation == 7


def test_keys_at_hand_that_are_past_their_schedule_are_due_whatever_the_row_says_of_its_own() -> None:
    stage = Stage(row("fresh"))
    stage.play(order(aged=True))
    assert stage.only(Claim).need


def test_what_a_process_fetched_for_itself_is_not_replaced_by_an_older_row() -> None:
    own = replace(trusted(fetched_us=0, expires_us=0), fetched_at=-5.0)
    older = row("newer", content(6, DOCUMENT))  # ten seconds old
    stage = Stage(older, row("fresh", generation=6))
    ending = stage.play(order(trusted=own))
    assert (ending.adopted, ending.bad) == (None, 6)
    newer = row("newer", content(6, DOCUMENT, fetched_us=NOW_US - 1_000_000))
    assert Stage(newer).play(order(trusted=own)).adopted is not None


def test_a_failure_of_this_process_hides_no_failing_provider() -> None:
    stage = Stage(row("leader", failures=2), LocalFetchFailed("its last fetch hangs"))
    assert stage.play(order(aged=True)).provider_fails


@pytest.mark.parametrize("store_away", [False, True])
def test_a_failure_of_this_process_is_not_booked_on_the_fleet(store_away: bool) -> None:
    trouble = LocalFetchFailed("this process has no more files")
    answers = [StoreUnavailable("down"), trouble] if store_away else [row("leader"), trouble]
    stage = Stage(*answers, policy=RefreshPolicy(on_store_outage="fetch"))
    ending = stage.play(order(aged=True))
    assert (ending.kind, ending.gate.reason, ending.failed_here) == ("failed", "local", True)
    assert ending.provider_fails is (None if store_away else False)
    assert stage.kinds() == ["Claim", "Fetch"]
    assert stage.reports[-1].event == "failed_here"


def test_a_demoted_primary_is_an_outage_where_the_policy_fetches() -> None:
    stage = Stage(
        StoreReadOnly("read-only"), Fetched(document=DOCUMENT), policy=RefreshPolicy(on_store_outage="fetch")
    )
    assert stage.play(order(need=True, trusted=None, have=0)).adopted is not None


def test_a_leader_whose_followers_hold_every_connection_tries_again_at_once() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT), *[StoreContended("busy")] * 5, True)
    stage.play(order())
    waits = [effect.seconds for effect in stage.effects if isinstance(effect, Wait)]
    assert waits == [0.02] * 5


@pytest.mark.parametrize(
    ("ahead", "wall", "age", "dated"),
    [
        (0.0, 0.0, 0.0, True),
        (1.0, 50.0, 0.0, True),  # as far as clocks may differ
        (30.0, 50.0, 20.0, True),  # the database's clock was set back since, and ours tells
        (30.0, 10.0, 0.0, False),  # it was ahead before
        (30.0, None, 0.0, False),
    ],
)
def test_a_row_that_was_fetched_in_the_future_is_as_old_as_our_clock_tells_or_nobody_knows(
    ahead: float, wall: float | None, age: float, dated: bool
) -> None:
    published = content(9, DOCUMENT, fetched_us=NOW_US + round(ahead * 1_000_000))
    own = None if wall is None else NOW_US / 1_000_000 + wall
    adopted = Stage(row("newer", published)).play(order(wall=own, have=0, trusted=None)).adopted
    assert adopted is not None
    assert (adopted.fetched_at, adopted.dated) == (pytest.approx(-age), dated)


def test_a_row_that_was_fetched_in_the_future_expires_when_our_clock_tells() -> None:
    published = replace(content(9, DOCUMENT, fetched_us=NOW_US + 30_000_000), expires_us=NOW_US + 40_000_000)
    set_back = row("newer", published)
    adopted = Stage(set_back).play(order(wall=NOW_US / 1_000_000 + 35.0, have=0, trusted=None)).adopted
    assert adopted is not None
    assert adopted.expires_at == pytest.approx(5.0)


def test_a_row_under_a_clock_that_is_days_away_is_not_judged_by_it() -> None:
    stage = Stage(row("newer", content(6, DOCUMENT)))
    ending = stage.play(order(wall=NOW_US / 1_000_000 - 100_000.0))
    assert (ending.adopted, ending.gate.reason) == (None, "store")
    assert "clocks" in stage.reports[0].detail
    near = Stage(row("newer", content(6, DOCUMENT)))
    assert near.play(order(wall=NOW_US / 1_000_000 + 80_000.0)).adopted is not None
