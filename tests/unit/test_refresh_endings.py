"""Every effect and every ending of the refresh script, whole: nothing in them is there by chance."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from refresh_stage import DOCUMENT, NOW_US, OLD_DOCUMENT, POLICY, SEALER, Stage, content, order, row, trusted

from skeldir_jwt_mw.config import RefreshPolicy
from skeldir_jwt_mw.core.adoption import Adoption
from skeldir_jwt_mw.core.effects import (
    Claim,
    Conditional,
    Content,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    LocalFetchFailed,
    Peek,
    Peeked,
    Publish,
    Read,
    Report,
    Row,
    StoreContended,
    StoreUnavailable,
    Wait,
)
from skeldir_jwt_mw.core.keys import import_jwks
from skeldir_jwt_mw.core.order import OPEN_GATE, Adopted, Ending, Gate, Order, Reply
from skeldir_jwt_mw.core.refresh import CONTENDED_FOR, MAX_FOLLOWED
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.testing.tokens import SigningKey

# On the stage every effect takes 10 ms and every draw is 0.5, and the policy is the default one.
LAG = 0.01
JITTER = 1.5
SPREAD = 0.25
CHECK = 45.0
SECOND = 1_000_000
JWKS = import_jwks(DOCUMENT)


def compared(ending: Ending) -> Ending:
    """The ending with `JWKS` for its keys, which have to be the same: imported twice, they are not equal."""
    assert ending.adopted is not None
    names = [(key.kid, key.thumbprint) for key in ending.adopted.jwks.keys]
    assert names == [(key.kid, key.thumbprint) for key in JWKS.keys]
    return replace(ending, adopted=replace(ending.adopted, jwks=JWKS))


def claim_of(ordered: Order, **changes: Any) -> Claim:
    members = {
        "owner": ordered.owner,
        "force": ordered.force,
        "need": ordered.need,
        "have": ordered.have,
        "bad": ordered.bad,
        "lease": 5.0,
        "floor": 5.0,
        "refresh": 303.0,
        "reason": ordered.reason,
        "use_gate": True,
    }
    return Claim(**{**members, **changes})


def published(**changes: Any) -> Content:
    members: dict[str, Any] = {
        "generation": 9,
        "fetched_us": NOW_US,
        "expires_us": NOW_US + 21_600 * SECOND,
        "etag": '"new"',
        "last_modified": "yesterday",
        "payload": DOCUMENT,
    }
    return Content(**{**members, **changes})


def publish_of(ordered: Order, what: Content, refresh_in: float = 300 + JITTER, **changes: Any) -> Publish:
    members: dict[str, Any] = {
        "owner": ordered.owner,
        "content": what,
        "next_us": NOW_US + round(refresh_in * SECOND),
        "seal": SEALER.seal("source", what),
    }
    return Publish(**{**members, **changes})


FETCHED = Fetched(document=DOCUMENT, etag='"new"', last_modified="yesterday")
# Half of what the lease has beyond the fetch's own timeout is left for writing.
FETCH_SECONDS = 5.0 - 1.0 - LAG


@pytest.mark.parametrize("force", [True, False])
def test_a_leader(force: bool) -> None:
    ordered = order(force=force, reason="unknown_kid" if force else "scheduled")
    stage = Stage(row("leader"), FETCHED, True)
    ending = stage.play(ordered)
    conditional = Conditional(no_cache=True) if force else Conditional(etag='"old"', last_modified=None)
    assert stage.effects == [
        claim_of(ordered),
        Fetch(conditional=conditional, seconds=pytest.approx(FETCH_SECONDS)),
        publish_of(ordered, published()),
    ]
    assert stage.reports == [Report(event="refreshed", detail=ordered.reason)]
    assert compared(ending) == Ending(
        kind="refreshed",
        gate=Gate(until=LAG + 5 + SPREAD, reason=None) if force else OPEN_GATE,
        check_at=2 * LAG + CHECK,
        adopted=Adopted(
            content=published(), jwks=JWKS, fetched_at=0.0, refresh_at=300 + JITTER, expires_at=21_600.0
        ),
        provider_fails=False,
    )


def test_a_leader_that_got_its_lease_by_an_earlier_reply_fetches_within_what_is_left_of_it() -> None:
    stage = Stage(row("leader", lease_left=3.0), FETCHED, True)
    stage.play(order())
    assert stage.only(Fetch).seconds == pytest.approx(3.0 - 1.0 - LAG)


def test_a_leader_without_time_does_not_fetch_for_a_negative_time() -> None:
    stage = Stage(row("leader", lease_left=0.5), FETCHED, True)
    stage.play(order())
    assert stage.only(Fetch).seconds == 0.0


def test_a_leader_that_published_a_private_key_s_document() -> None:
    key = SigningKey.generate(kid="leaked")
    document = json.dumps({"keys": [key.jwk(), {**key.jwk(), "kid": "b", "d": "AAAA"}]}).encode()
    stage = Stage(row("leader"), Fetched(document=document), True)
    stage.play(order())
    assert stage.reports == [
        Report(event="private_key", detail="the provider published a private key; it is not used"),
        Report(event="refreshed", detail="scheduled"),
    ]


FAILURE = FetchFailed("status 503", retry_after=30.0)


def fail_of(ordered: Order, **changes: Any) -> Fail:
    members: dict[str, Any] = {
        "owner": ordered.owner,
        "fence": 9,
        "error": "status 503",
        "retry_after": 30.0,
        "backoff_base": 2.0,
        "backoff_max": 60.0,
        "jitter": JITTER,
    }
    return Fail(**{**members, **changes})


@pytest.mark.parametrize("backoff_left", [30.0, 90.0])
def test_a_leader_whose_fetch_failed(backoff_left: float) -> None:
    ordered = order()
    stage = Stage(row("leader"), FAILURE, backoff_left)
    ending = stage.play(ordered)
    assert stage.effects[2:] == [fail_of(ordered)]
    assert stage.reports == [Report(event="fetch_failed", detail="status 503")]
    closed_until = pytest.approx(3 * LAG + backoff_left + SPREAD)
    gate = Gate(until=closed_until, reason="failed")
    if backoff_left > 60.0:  # a mended row is found before the backoff ends
        gate = Gate(until=pytest.approx(3 * LAG + 60.0), reason="failed", retry_at=closed_until)
    assert ending == Ending(
        kind="failed", gate=gate, check_at=pytest.approx(2 * LAG + CHECK), provider_fails=True
    )


def test_a_failure_that_named_no_time_to_retry_after() -> None:
    ordered = order()
    stage = Stage(row("leader"), FetchFailed("status 503"), 2.0)
    stage.play(ordered)
    assert stage.effects[2:] == [fail_of(ordered, retry_after=0.0)]


UNRECORDED = Ending(
    kind="failed", gate=Gate(until=5.0, reason="failed"), check_at=2 * LAG + CHECK, provider_fails=True
)


def test_a_failure_that_cannot_be_recorded_is_settled_at_once_and_tried_until_the_lease_ends() -> None:
    ordered = order()
    stage = Stage(row("leader"), FAILURE, *[StoreUnavailable("down")] * 50)
    assert stage.play_endlessly(ordered) == UNRECORDED
    assert stage.settled == [UNRECORDED]
    waits = [effect for effect in stage.effects if isinstance(effect, Wait)]
    assert [wait.seconds for wait in waits[:7]] == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    assert all(wait.release for wait in waits)
    assert stage.now < 5.0
    assert stage.now + 0.5 + LAG >= 5.0
    assert {effect for effect in stage.effects if isinstance(effect, Fail)} == {fail_of(ordered)}


def test_a_write_that_an_operator_has_to_permit_is_not_repeated() -> None:
    stage = Stage(row("leader"), FETCHED, ConfigurationError("no privilege"))
    ending = stage.play(order())
    assert ending.kind == "refreshed"
    assert stage.settled == [ending]
    assert not [effect for effect in stage.effects if isinstance(effect, Wait)]


@pytest.mark.parametrize(
    ("second", "told"), [(True, ["refreshed"]), (False, ["refreshed"])], ids=["landed", "lost"]
)
def test_a_publish_that_is_answered_on_its_second_try(second: bool, told: list[str]) -> None:
    stage = Stage(row("leader"), FETCHED, StoreContended(), second)
    ending = stage.play(order())
    assert stage.settled == [ending]
    assert [report.event for report in stage.reports] == told
    assert stage.kinds() == ["Claim", "Fetch", "Publish", "Publish"]


def test_a_publish_that_is_never_answered_is_told_as_that() -> None:
    stage = Stage(row("leader"), FETCHED, *[StoreUnavailable("down")] * 99)
    ending = stage.play_endlessly(order())
    assert ending.kind == "refreshed"
    assert stage.settled == [ending]
    assert stage.reports == [Report(event="store_failed", detail="new keys were not shared: down")]


def test_a_leader_that_lost_its_lease_asks_the_row_as_it_claimed_it() -> None:
    ordered = order(force=True, need=True, have=4, bad=3)
    left = content(11, OLD_DOCUMENT)
    stage = Stage(row("leader"), FETCHED, False, row(None, left))
    ending = stage.play(ordered)
    assert stage.effects[3:] == [Read(force=True, need=True, have=4, bad=3, floor=5.0, refresh=303.0)]
    assert ending.kind == "adopted"
    assert ending.waited
    assert ending.adopted is not None
    assert ending.adopted.content == left
    assert stage.reports == []


@pytest.mark.parametrize(
    ("ordered", "left"),
    [
        (order(), row(None, content(5, OLD_DOCUMENT))),  # what this process has
        (order(bad=11), row(None, content(11, OLD_DOCUMENT))),  # what it has rejected
    ],
)
def test_a_leader_that_lost_its_lease_to_nothing_new(ordered: Order, left: Row) -> None:
    stage = Stage(row("leader"), FETCHED, False, left)
    ending = stage.play(ordered)
    assert (ending.kind, ending.adopted, ending.waited) == ("blocked", None, False)


def test_a_failed_leader_that_lost_its_lease_takes_no_landed_row_for_a_success_of_its_own() -> None:
    stage = Stage(row("leader"), FAILURE, None, row(None, generation=9, outcome="failed"))
    ending = stage.play(order(have=9))
    assert (ending.kind, ending.adopted) == ("blocked", None)


LOCAL = RefreshPolicy(on_store_outage="fetch")
DOWN = StoreUnavailable("down")


@pytest.mark.parametrize(
    ("ordered", "conditional"),
    [
        (order(aged=True), Conditional(etag='"old"')),
        (order(force=True), Conditional(no_cache=True)),
        (order(need=True, trusted=None), Conditional()),
    ],
    ids=["aged", "forced", "needed"],
)
def test_a_fetch_for_this_process_alone(ordered: Order, conditional: Conditional) -> None:
    stage = Stage(DOWN, replace(FETCHED, max_age=100.0), policy=LOCAL)
    ending = stage.play(ordered)
    assert stage.effects == [
        claim_of(ordered, need=ordered.need or ordered.aged),
        Fetch(conditional=conditional, seconds=5.0),
    ]
    assert stage.reports == [Report(event="store_failed", detail="down")]
    local = published(generation=5, fetched_us=0, expires_us=0)
    assert compared(ending) == Ending(
        kind="refreshed",
        gate=Gate(until=pytest.approx(2 * LAG + 5 + SPREAD), reason=None),
        check_at=pytest.approx(2 * LAG + 5 + SPREAD),
        adopted=Adopted(
            content=local, jwks=JWKS, fetched_at=LAG, refresh_at=LAG + 100.0, expires_at=LAG + 21_600
        ),
        compared_at=LAG,
        unanswered_at=0.0,
        provider_fails=False,
        failed_here=True,
    )


def test_a_failed_fetch_for_this_process_alone() -> None:
    policy = RefreshPolicy(on_store_outage="fetch", check_interval=4.0)
    stage = Stage(DOWN, FAILURE, policy=policy)
    closed = pytest.approx(2 * LAG + 5 + SPREAD)
    assert stage.play(order(force=True)) == Ending(
        kind="failed",
        gate=Gate(until=closed, reason="failed"),
        check_at=closed,
        unanswered_at=0.0,
        provider_fails=True,
        failed_here=True,
    )
    assert stage.reports[1:] == [Report(event="fetch_failed", detail="status 503")]


def test_not_modified_for_this_process_alone_keeps_the_bytes_at_hand() -> None:
    stage = Stage(DOWN, Fetched(document=None), policy=LOCAL)
    ending = stage.play(order(aged=True))
    assert ending.adopted is not None
    assert ending.adopted.content == content(5, fetched_us=0, expires_us=0)
    assert ending.adopted.jwks is not None


def test_without_coordination() -> None:
    ordered = order(coordinated=False)
    found = row("wait", fence=NOW_US + 7, claimed_us=NOW_US - SECOND, lease_left=2.0)
    stage = Stage(found, FETCHED, True)
    ending = stage.play(ordered)
    what = published(generation=NOW_US + 8)
    assert stage.effects == [
        claim_of(ordered, use_gate=False),
        Fetch(conditional=Conditional(etag='"old"'), seconds=pytest.approx(FETCH_SECONDS)),
        publish_of(ordered, what, coordinated=False),
    ]
    assert ending.adopted is not None
    assert ending.adopted.content == what


def test_without_coordination_and_with_an_old_fence_the_generation_is_the_clock() -> None:
    stage = Stage(row("wait"), FETCHED, True)
    stage.play(order(coordinated=False))
    assert stage.only(Publish).content.generation == NOW_US


def test_a_follower() -> None:
    running, done = Peeked(generation=5, running=True), Peeked(generation=6, running=False)
    newer = content(6, DOCUMENT, last_modified="yesterday")
    ordered = order(force=True)
    stage = Stage(row("wait", outcome="running", lease_left=4.9), running, done, row("newer", newer))
    ending = stage.play(ordered)
    assert stage.effects == [
        claim_of(ordered),
        Wait(seconds=0.120, release=False),
        Peek(),
        Wait(seconds=0.085, release=False),
        Peek(),
        claim_of(ordered),
    ]
    # Sent after two lags of the polls, the first claim's, and both pauses.
    sent = 3 * LAG + 0.205
    assert compared(ending) == Ending(
        kind="adopted",
        gate=OPEN_GATE,
        check_at=pytest.approx(sent + LAG + CHECK),
        adopted=Adopted(
            content=newer,
            jwks=JWKS,
            fetched_at=pytest.approx(sent - 10),
            refresh_at=pytest.approx(sent + LAG + 100),
            expires_at=pytest.approx(sent + 1000),
        ),
        waited=True,
        provider_fails=False,
    )


def test_a_follower_waits_as_long_as_the_lease_lasts() -> None:
    running = Peeked(generation=5, running=True)
    stage = Stage(row("wait", outcome="running", lease_left=0.2), running, running, row("fresh"))
    stage.play(order())
    waits = [effect.seconds for effect in stage.effects if isinstance(effect, Wait)]
    assert waits == [pytest.approx(0.120), pytest.approx(0.085)]


@pytest.mark.parametrize("generation", [1, (1 << 61) - 1])
def test_the_generations_at_either_end_are_adopted(generation: int) -> None:
    stage = Stage(row("newer", content(generation, DOCUMENT)))
    assert stage.play(order(have=0, trusted=None)).kind == "adopted"


@pytest.mark.parametrize("hole", [{"expires_us": None}, {"fetched_us": None}, {"now_us": None}])
@pytest.mark.parametrize("generation", [6, 1 << 61])
def test_r55_one_hole_is_enough_for_a_row_to_count_as_forged(hole: dict[str, Any], generation: int) -> None:
    stage = Stage(row("newer", content(generation, DOCUMENT), **hole), row("backoff", backoff_left=9.0))
    stage.play(order())
    assert stage.reports == [Report(event="forged_row", detail="its seal or its content is not good")]


@pytest.mark.parametrize(
    "hole",
    [
        {"payload": None},
        {"now_us": None},
        {"fetched_us": None},
        {"expires_us": None},
        {"generation": 0},
        {"generation": -1},
        {"generation": 1 << 61},
        {"payload": b"{}"},
    ],
)
def test_r55_a_row_with_a_hole_is_forged_also_where_none_is_sealed(hole: dict[str, Any]) -> None:
    adoption = Adoption(source_key="source", policy=POLICY, sealer=Sealer([]))
    now = Reply(value=None, sent=0.0, received=0.0)
    assert isinstance(adoption.judge(order(), row("newer", content(6, DOCUMENT)), now), Adopted)
    assert adoption.judge(order(), row("newer", content(6, DOCUMENT), **hole), now) == "forged"


def test_a_row_that_was_fetched_after_now_has_no_age() -> None:
    stage = Stage(row("newer", content(6, DOCUMENT, fetched_us=NOW_US + SECOND // 2)))
    ending = stage.play(order())
    assert ending.adopted is not None
    assert ending.adopted.fetched_at == 0.0


def test_the_content_that_was_adopted_is_the_row_s_own() -> None:
    sealed = content(6, DOCUMENT, last_modified="yesterday", etag=None)
    ending = Stage(row("newer", sealed)).play(order())
    assert ending.adopted is not None
    assert ending.adopted.content == sealed
    assert ending.bad == -1


def test_the_same_bytes_are_the_keys_at_hand() -> None:
    ours = trusted()
    ending = Stage(row("newer", content(6))).play(order(trusted=ours))
    assert ending.adopted is not None
    assert ending.adopted.jwks is ours.jwks


def test_the_default_policy_is_what_these_figures_were_worked_out_for() -> None:
    assert RefreshPolicy() == POLICY


def blocked(until: float, check_at: float, **members: Any) -> Ending:
    gate = Gate(until=pytest.approx(until), reason="failed")
    return Ending(kind="blocked", gate=gate, check_at=pytest.approx(check_at), provider_fails=True, **members)


def test_one_who_finds_nothing_due() -> None:
    assert Stage(row("fresh")).play(order()) == Ending(
        kind="fresh", gate=OPEN_GATE, check_at=LAG + CHECK, provider_fails=False
    )


@pytest.mark.parametrize("verdict", ["floor", "backoff"])
def test_one_who_may_not_fetch(verdict: str) -> None:
    stage = Stage(row(verdict, floor_left=4.0, outcome="failed"))
    assert stage.play(order(force=True)) == blocked(LAG + 4 + SPREAD, LAG + CHECK)


def test_a_follower_whose_leader_failed() -> None:
    done = Peeked(generation=5, running=False)
    stage = Stage(
        row("wait", outcome="running", lease_left=4.9),
        done,
        row("backoff", backoff_left=2.0, outcome="failed"),
    )
    assert stage.play(order()) == blocked(0.12 + 3 * LAG + 2 + SPREAD, 0.12 + 3 * LAG + CHECK, waited=True)


def test_a_claim_that_is_contended_is_repeated_without_a_connection_until_the_patience_ends() -> None:
    stage = Stage(*[row("contended")] * 99)
    stage.now = 100.0
    ending = stage.play_endlessly(order())
    waits = [effect for effect in stage.effects if isinstance(effect, Wait)]
    assert [(wait.seconds, wait.release) for wait in waits][:3] == [(0.04, True), (0.08, True), (0.16, True)]
    assert 105.0 < stage.now < 105.3
    assert ending.unanswered_at is not None
    assert not ending.waited


def test_an_expired_newer_row_is_claimed_over_as_by_one_without_keys() -> None:
    expired = row("newer", content(6, DOCUMENT, expires_us=NOW_US))
    stage = Stage(expired, FETCHED, policy=POLICY)
    stage.answers = [expired, row("backoff", backoff_left=9.0)]
    ordered = order()
    ending = stage.play(ordered)
    assert stage.effects == [claim_of(ordered), claim_of(ordered, have=6, need=True)]
    assert ending.adopted is None


def test_a_stranger_s_row_is_reported() -> None:
    stranger = Sealer([b"s" * 32]).seal("source", content(6, DOCUMENT))
    stage = Stage(row("newer", content(6, DOCUMENT), seal=stranger))
    stage.play(order(replace_stranger=False))
    assert stage.reports == [Report(event="stranger_row", detail="sealed with a key not configured here")]


def test_the_validators_of_a_scheduled_fetch_are_both_of_the_snapshot_s() -> None:
    ours = trusted(last_modified="then")
    stage = Stage(row("leader"), FETCHED, True)
    stage.play(order(trusted=ours))
    assert stage.only(Fetch).conditional == Conditional(etag='"old"', last_modified="then")


@pytest.mark.parametrize(
    ("answer", "etag", "last_modified"),
    [
        (Fetched(document=None), '"old"', "then"),
        (Fetched(document=None, etag='"newer"'), '"newer"', "then"),
        (Fetched(document=None, last_modified="now"), '"old"', "now"),
    ],
)
def test_not_modified_keeps_the_validators_that_the_answer_does_not_replace(
    answer: Fetched, etag: str, last_modified: str
) -> None:
    stage = Stage(row("leader"), answer, True)
    stage.play(order(trusted=trusted(last_modified="then")))
    kept = stage.only(Publish).content
    assert (kept.etag, kept.last_modified, kept.payload) == (etag, last_modified, OLD_DOCUMENT)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Fetched(document=None), "not modified, in answer to an unconditional request"),
        (Fetched(document=b"[]"), "the key set is not a strict JSON object"),
        (Fetched(document=b"{}"), "the key set has no keys array"),
        (Fetched(document=b'{"keys": []}'), "the key set has no usable key"),
        (Fetched(document=b'{"keys": [%s]}' % b",".join([b"{}"] * 65)), "the key set has more than 64 keys"),
        (Fetched(document=b" " * 262_145), "the key set is larger than 256 KiB"),
    ],
)
def test_the_reason_of_a_failure_is_a_fixed_text(answer: Fetched, reason: str) -> None:
    stage = Stage(row("leader"), answer, 2.0)
    stage.play(order(force=True))
    assert stage.only(Fail).error == reason
    assert stage.reports == [Report(event="fetch_failed", detail=reason)]


def test_a_document_may_have_all_of_256_kib() -> None:
    stage = Stage(row("leader"), Fetched(document=DOCUMENT.ljust(262_144)), True)
    assert stage.play(order()).kind == "refreshed"


@pytest.mark.parametrize("written", [True, 3.0])
def test_nothing_is_asked_of_a_row_whose_second_write_was_answered(written: object) -> None:
    answer = FETCHED if written is True else FAILURE
    stage = Stage(row("leader"), answer, StoreContended(), written)
    stage.play(order())
    assert stage.kinds()[-2:] == [stage.kinds()[-1]] * 2


def test_keys_fetched_for_itself_are_not_replaced_by_a_row_of_the_same_moment() -> None:
    at_once = replace(trusted(generation=5, fetched_us=0, expires_us=0), fetched_at=0.0)
    newer = row("newer", content(6, DOCUMENT, fetched_us=NOW_US))
    stage = Stage(newer, row("fresh", generation=6))
    ending = stage.play(order(trusted=at_once))
    assert (ending.kind, ending.adopted, ending.bad) == ("fresh", None, 6)
    assert stage.reports == []  # it is not forged for that


@pytest.mark.parametrize("failure", [FetchFailed("status 503"), LocalFetchFailed("no thread")])
def test_what_is_known_of_the_row_outlasts_a_fetch_that_fails(failure: FetchFailed) -> None:
    answer = None if isinstance(failure, LocalFetchFailed) else 2.0
    stage = Stage(row("leader"), failure, answer)
    ending = stage.play_endlessly(order(bad=4, unreadable=True))
    assert (ending.kind, ending.bad, ending.unreadable) == ("failed", 4, True)


def test_a_fetch_in_the_place_of_a_row_that_cannot_be_read_may_fail() -> None:
    stage = Stage(row("fresh"), FetchFailed("status 503"))
    ending = stage.play(order(need=True, bad=5, unreadable=True))
    assert (ending.kind, ending.provider_fails) == ("failed", True)


def test_nobody_fetches_for_itself_while_another_service_does() -> None:
    stage = Stage(row("fresh", outcome="running"))
    assert stage.play(order(need=True, bad=5, unreadable=True)).kind == "fresh"


def test_a_row_that_is_due_in_an_instant_is_not_due() -> None:
    stage = Stage(row("newer", content(6, DOCUMENT), refresh_left=0.5))
    assert (stage.play(order()).kind, stage.used) == ("adopted", [])


def test_a_row_past_its_schedule_is_used_and_asked_for_by_its_validators() -> None:
    past = row("newer", content(6, DOCUMENT, etag='"six"'), refresh_left=0.0)
    stage = Stage(past, row("leader", generation=6), Fetched(document=None), True)
    ending = stage.play(order())
    assert [use.adopted.content.generation for use in stage.used] == [6]
    assert stage.only(Fetch).conditional == Conditional(etag='"six"')
    assert ending.kind == "refreshed"


def test_others_are_followed_for_minutes_whatever_the_clock_shows() -> None:
    stage = Stage(row("wait", lease_left=5.0), Peeked(generation=6, running=False), row("fresh"))
    stage.now = 10 * MAX_FOLLOWED
    assert stage.play(order()).kind == "fresh"


def test_who_follows_to_no_end_says_so() -> None:
    stage = Stage(*[row("wait", lease_left=-1.0)] * 2, lag=MAX_FOLLOWED)
    ending = stage.play(order())
    assert ending.kind == "blocked"
    assert stage.reports == [Report(event="store_failed", detail="no process has ended a fetch for minutes")]


def test_clocks_that_are_a_day_apart_are_an_outage_of_the_store() -> None:
    stage = Stage(row("newer", content(6, DOCUMENT)))
    stage.play(order(wall=NOW_US / SECOND - 100_000.0))
    detail = "the clocks of the database and of this host differ by more than a day"
    assert stage.reports == [Report(event="store_failed", detail=detail)]


def test_a_statement_is_repeated_for_exactly_as_long_as_is_said() -> None:
    stage = Stage(StoreContended("busy"), row("fresh"), lag=CONTENDED_FOR)
    assert stage.play(order()).kind == "fresh"
    assert stage.reports == []
