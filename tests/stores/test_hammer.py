"""Sixteen workers without mercy on one row: both kinds of claims, crashes, failures, zombies that publish."""

from __future__ import annotations

import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from store_bench import KEY, PostgresBench, claim_of, fail_of, isolated, publish_of

from skeldir_jwt_mw.core.effects import Claim, Row, StoreContended
from skeldir_jwt_mw.stores.base import Session

WORKERS = 16
SECONDS = 1.5
LEASE, FLOOR = 0.05, 0.02
MICROSECONDS = 1_000_000
SETTINGS = [
    (isolation, use_gate)
    for isolation in ("read committed", "repeatable read", "serializable", "pgbouncer")
    for use_gate in (True, False)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """One lease: when it was taken on the database's clock, and whether its holder's write landed."""

    owner: uuid.UUID
    fence: int
    claimed_us: int
    force: bool
    wrote: bool
    zombie: bool


@dataclass(slots=True)
class Worker:
    """What one thread does until the end, by its own dice."""

    bench: PostgresBench
    ends: float
    dice: random.Random
    led: list[Led] = field(default_factory=list)

    def run(self) -> list[Led]:
        have = 0
        while time.monotonic() < self.ends:
            session = self.bench.store.open(20.0)
            try:
                for _ in range(20):
                    have = self.step(session, have)
            except StoreContended:
                continue
            finally:
                session.close()
        return self.led

    def step(self, session: Session, have: int) -> int:
        claim = claim_of(
            force=self.dice.random() < 0.5,
            have=have,
            lease=LEASE,
            floor=FLOOR,
            refresh=0.01,
            use_gate=self.bench.use_gate,
        )
        row = session.claim(KEY, claim)
        if row.verdict == "newer":
            return row.generation
        if row.verdict == "leader":
            return self.lead(session, row, claim, have)
        time.sleep(self.dice.random() * 0.002)
        return have

    def lead(self, session: Session, row: Row, claim: Claim, have: int) -> int:
        dice = self.dice.random()
        zombie = dice < 0.1
        fails = 0.1 <= dice < 0.2
        time.sleep(LEASE * (0.9 + 0.4 * self.dice.random()) if zombie else 0.002 * self.dice.random())
        if fails:
            write: Any = fail_of(row, claim, backoff_base=0.001, jitter=0.001)
            wrote = self.until_it_answers(session.fail, write) is not None
        else:
            write = publish_of(row, claim, next_us=row.claimed_us)
            wrote = bool(self.until_it_answers(session.publish, write))
        assert row.claimed_us is not None
        self.led.append(
            Led(
                owner=claim.owner,
                fence=row.fence,
                claimed_us=row.claimed_us,
                force=claim.force,
                wrote=wrote,
                zombie=zombie,
            )
        )
        return row.fence if wrote and not fails else have

    def until_it_answers(self, statement: Any, write: Any) -> Any:
        while True:
            try:
                return statement(KEY, write)
            except StoreContended:
                continue


@pytest.mark.parametrize(("isolation", "use_gate"), SETTINGS)
def test_leases_fences_and_floors_hold_under_fire(
    request: pytest.FixtureRequest, isolation: str, use_gate: bool
) -> None:
    if isolation == "pgbouncer":
        dsn = request.getfixturevalue("pooled_dsn")
    else:
        dsn = isolated(request.getfixturevalue("pg_dsn"), isolation)
    bench = PostgresBench(dsn, use_gate=use_gate)
    ends = time.monotonic() + SECONDS
    workers = [Worker(bench, ends, random.Random(number)) for number in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        led = sorted(
            (one for all_ in pool.map(Worker.run, workers) for one in all_), key=lambda one: one.fence
        )

    assert len(led) > 20
    assert any(one.zombie and not one.wrote for one in led)
    assert any(one.force for one in led)
    assert not all(one.force for one in led)

    # Fences are unique and grow with the database's clock.
    assert len({one.fence for one in led}) == len(led)
    times = [one.claimed_us for one in led]
    assert times == sorted(times)

    # Whoever was overtaken had let its lease run out.
    for earlier, later in pairwise(led):
        if not earlier.wrote:
            assert later.claimed_us - earlier.claimed_us >= LEASE * MICROSECONDS

    # Forced claims are a floor apart.
    forced = [one.claimed_us for one in led if one.force]
    assert min(b - a for a, b in pairwise(forced)) >= FLOOR * MICROSECONDS

    # Nothing was lost and nothing counted twice.
    columns = bench.columns()
    leased = columns["lease_owner"] is not None
    ended = columns["refresh_event_count"] + columns["failure_event_count"] + columns["abandoned_count"]
    assert columns["fetch_attempt_count"] == ended + leased == len(led)
    assert columns["refresh_event_count"] + columns["failure_event_count"] == sum(one.wrote for one in led)
