"""Fifty replicas, hundreds of runs, every interleaving that chance comes up with."""

from __future__ import annotations

import pytest
import simulator
from simulator import CALM, NaiveRefresh, Violation, Weather, World

from skeldir_jwt_mw import RefreshPolicy
from skeldir_jwt_mw.core import adoption
from skeldir_jwt_mw.core import row as rows
from skeldir_jwt_mw.core.row import Record

SEEDS = 180  # of each kind of run
BATCH = 15
POLICY = RefreshPolicy()
# The floor is longer than the first backoffs: a failed fetch must not open the way for the next forced one.
HASTY = RefreshPolicy(
    refresh_interval=9.0,
    check_interval=3.0,
    floor=4.0,
    jitter=0.5,
    backoff_base=0.5,
    backoff_max=4.0,
    lease=2.5,
    fetch_timeout=1.5,
)
STORM = Weather(
    crash=0.04,
    sleep=0.04,
    cut_off=0.05,
    store_down=0.01,
    fetch_fails=0.3,
    fetch_hangs=0.3,
    strangers=0.05,
    clears_at=25.0,
)
batches = pytest.mark.parametrize("first", range(0, SEEDS, BATCH))


@pytest.fixture(autouse=True)
def imports_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "import_jwks", simulator.import_once)


def calm(seed: int, **options: object) -> World:
    """A cold start and two rotations, each longer than a floor after the one before."""
    world = World(seed=seed, policy=POLICY, weather=CALM, **options)  # type: ignore[arg-type]
    world.start(spread=0.5)
    world.run(until=4.0)
    for end in (12.0, 20.0):
        world.rotate()
        world.run(until=end)
    return world


def stormy(seed: int) -> World:
    """Everything goes wrong for a while, with rotations in the midst of it; then it clears up."""
    world = World(seed=seed, policy=HASTY, weather=STORM, replicas=25 if seed % 2 else 50)
    world.start(spread=2.0)
    for end in (5.0, 11.0, 12.0, 21.0):
        world.run(until=end)
        world.rotate()
    world.run(until=50.0)
    return world


@batches
def test_a_calm_fleet_fetches_once_for_the_start_and_once_for_each_rotation(first: int) -> None:
    for seed in range(first, first + BATCH):
        world = calm(seed)
        row = world.row
        assert len(world.fetches) == 3, seed
        assert (row.fetch_attempt_count, row.refresh_event_count) == (3, 3), seed
        assert (row.failure_event_count, row.abandoned_count) == (0, 0), seed
        assert len(world.forced) == 2, seed
        assert world.ignorant() == [], seed


@batches
def test_a_fleet_in_a_storm_breaks_no_rule_and_finds_every_key_in_the_end(first: int) -> None:
    for seed in range(first, first + BATCH):
        world = stormy(seed)
        row = world.row
        assert world.ignorant() == [], seed
        assert len(world.fetches) <= row.fetch_attempt_count, seed
        assert row.refresh_event_count == len(world.generations), seed
        assert world.generations == sorted(set(world.generations)), seed


def test_the_storm_is_one() -> None:
    """What is drawn from has happened: else the runs above prove nothing."""
    worlds = [stormy(seed) for seed in range(12)]
    assert sum(world.crashes for world in worlds) > 20
    assert sum(world.row.abandoned_count for world in worlds) > 5
    assert sum(world.row.failure_event_count for world in worlds) > 5
    assert sum(len(world.forced) for world in worlds) > 10


def test_the_same_seed_is_the_same_run() -> None:
    one, other = stormy(7), stormy(7)
    assert one.fetches == other.fetches
    assert one.row.content == other.row.content


def test_deciding_on_a_row_that_was_read_before_lets_several_fetch() -> None:
    violations = 0
    for seed in range(10):
        try:
            world = calm(seed, make_script=NaiveRefresh)
        except Violation:
            violations += 1
        else:
            violations += len(world.fetches) > 3
    assert violations == 10


def test_without_the_fence_guard_a_zombie_overwrites_newer_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Record, "is_held", lambda *_: True)
    assert any(_breaks(seed) for seed in range(10))


def test_without_the_floor_forced_claims_come_too_close(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = rows._verdict
    monkeypatch.setattr(rows, "_verdict", lambda *given: "leader" if (it := judge(*given)) == "floor" else it)
    assert any(_breaks(seed) for seed in range(10))


def test_without_the_lease_its_holder_is_robbed(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = rows._verdict
    monkeypatch.setattr(rows, "_verdict", lambda *given: "leader" if (it := judge(*given)) == "wait" else it)
    assert all(_breaks(seed) for seed in range(5))


def _breaks(seed: int) -> bool:
    try:
        stormy(seed)
    except Violation:
        return True
    return False
