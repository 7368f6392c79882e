"""The row as a pure function, at the edges that the comparison with the SQL meets only by chance."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from skeldir_jwt_mw.core import row as rows
from skeldir_jwt_mw.core.effects import Claim, Content, Publish
from skeldir_jwt_mw.core.row import CLOCKS_AGREE_WITHIN, LAST_SANE, MICROSECONDS, Record

NOW = 1_800_000_000 * MICROSECONDS
OURS = UUID(int=1)
CONTENT = Content(
    generation=7, fetched_us=NOW, expires_us=NOW + 1, etag=None, last_modified=None, payload=b"{}"
)


def record(**changes: object) -> Record:
    return replace(Record(content=CONTENT, next_refresh_at=float("inf"), fence=7), **changes)  # type: ignore[arg-type]


def claim(refresh: float) -> Claim:
    return Claim(
        owner=OURS, force=False, need=False, have=7, bad=-1, lease=5.0, floor=5.0, refresh=refresh,
        reason="scheduled", use_gate=True,
    )  # fmt: skip


def test_a_schedule_has_passed_when_its_last_microsecond_has() -> None:
    assert record().is_past_its_schedule(claim(300.0), NOW + 300 * MICROSECONDS)
    assert not record().is_past_its_schedule(claim(300.0), NOW + 300 * MICROSECONDS - 1)


@pytest.mark.parametrize(
    ("time", "told"), [(LAST_SANE, LAST_SANE), (LAST_SANE + 1, None), (0, 0), (-1, None), (None, None)]
)
def test_a_time_beyond_every_clock_is_not_told(time: float | None, told: int | None) -> None:
    assert rows._sane(time) == told


def test_a_text_is_told_as_it_stands_but_for_what_moves_the_cursor() -> None:
    assert rows.plain("a\\b") == "a\\b"
    assert rows.plain("a\x1bb") == "a\\x1bb"


def test_half_of_a_character_counts_as_one_octet() -> None:
    assert rows._within("\ud800", 1) == "\ud800"
    assert rows._within("\ud800", 0) is None


def test_whoever_publishes_without_a_lease_leaves_its_own_fence_behind() -> None:
    published = Publish(
        owner=OURS, content=replace(CONTENT, generation=9), next_us=NOW, seal=b"s", coordinated=False
    )
    after, _ = rows.publish(record(), published, NOW)
    assert (after.content.generation, after.fence) == (9, 9)


@pytest.mark.parametrize(
    ("apart", "agree"), [(0.0, True), (CLOCKS_AGREE_WITHIN, True), (CLOCKS_AGREE_WITHIN + 1, False)]
)
@pytest.mark.parametrize("side", [1, -1])
def test_clocks_agree_up_to_a_day_apart(apart: float, agree: bool, side: int) -> None:
    assert rows.clocks_agree(NOW, NOW / MICROSECONDS + side * apart) is agree
