"""A leader that is killed, stopped or cut off from its database costs nobody a key, and no fetch in vain."""

from __future__ import annotations

import signal
from datetime import timedelta

from scene import Counted, Scene, assert_all_verified, errors, until

from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

LEADER = 0


def let_it_lead(scene: Scene, token: str) -> None:
    """Give the token to the leader alone, and return once the provider has its request."""
    asked = scene.provider.fetches
    scene.fleet.start_verify(token, workers=[LEADER])
    until(lambda: scene.provider.fetches == asked + 1)


def writes_of_the_leader(scene: Scene) -> int:
    """How often it has tried to end its lease."""
    [sent] = scene.fleet.ask("statements", workers=[LEADER])
    return int(sent.get("publish", 0) + sent.get("fail", 0))


def test_a_killed_leader_is_taken_over_when_its_lease_ends(scene: Scene) -> None:
    lease = 1.5
    scene.start(6, lease=lease, fetch_timeout=1.0, floor=0.5)
    others = range(1, 6)
    scene.warm()
    scene.provider.hang()
    scene.provider.rotate()
    token = scene.provider.token()
    before = scene.counted()
    let_it_lead(scene, token)
    scene.fleet.start_verify(token, workers=others)
    scene.fleet.signal(LEADER, signal.SIGKILL)
    scene.provider.up()
    assert_all_verified(scene.fleet.collect(workers=others), len(others))
    assert scene.since(before) == Counted(attempts=2, refreshes=1, abandoned=1, asked=2)
    first, second = scene.claims()[-2:]
    gap = second["claimed_at"] - first["claimed_at"]
    assert timedelta(seconds=lease) <= gap < timedelta(seconds=lease + 2)


def test_a_killed_leader_is_our_fault_until_its_floor_has_ended(scene: Scene) -> None:
    lease, floor = 1.0, 3.0
    scene.start(4, lease=lease, fetch_timeout=0.8, floor=floor)
    others = range(1, 4)
    known = scene.warm()
    scene.provider.hang()
    scene.provider.rotate()
    token = scene.provider.token()
    let_it_lead(scene, token)
    scene.fleet.signal(LEADER, signal.SIGKILL)
    scene.provider.up()
    before = scene.counted()
    until(lambda: scene.row()["now"] > scene.row()["lease_until"])
    # The token may be good, so nobody is refused for it: 503 and not 401.
    for _ in range(3):
        assert errors(scene.verify(token, workers=others)) == {"keys_unavailable/abandoned"}
        assert errors(scene.verify(known, workers=others)) == {None}
    assert scene.row()["now"] < scene.row()["floor_until"], "the machine was too slow for this proof"
    until(lambda: errors(scene.verify(token, workers=others)) == {None})
    assert scene.since(before) == Counted(attempts=1, refreshes=1, abandoned=1, asked=1)
    first, second = scene.claims()[-2:]
    assert second["claimed_at"] - first["claimed_at"] >= timedelta(seconds=floor)


def test_a_leader_that_was_stopped_wakes_up_and_changes_nothing(scene: Scene) -> None:
    scene.start(4, lease=1.2, fetch_timeout=1.0, floor=0.5)
    others = range(1, 4)
    scene.warm()
    scene.provider.hang()
    scene.provider.rotate()
    earlier = scene.provider.token()
    wrote = writes_of_the_leader(scene)
    let_it_lead(scene, earlier)
    scene.fleet.signal(LEADER, signal.SIGSTOP)
    # Meanwhile the keys rotate again, and the others get on with it.
    scene.provider.rotate()
    newest = scene.provider.token()
    scene.provider.up()
    until(lambda: errors(scene.verify(newest, workers=others)) == {None})
    row = scene.row()

    scene.fleet.signal(LEADER, signal.SIGCONT)
    assert_all_verified(scene.fleet.collect(workers=[LEADER]), 1)
    assert writes_of_the_leader(scene) == wrote + 1  # in vain:
    assert {**scene.row(), "now": None} == {**row, "now": None}
    assert_all_verified(scene.verify(earlier, newest), 4)
    assert scene.row()["abandoned_count"] == 1


def test_an_immediate_restart_in_mid_fetch_elects_no_second_leader(
    breakable_scene: Scene, breakable: EmbeddedPostgres
) -> None:
    scene = breakable_scene
    scene.start(5, lease=20.0, fetch_timeout=10.0, wait_budget=15.0)
    scene.warm()
    scene.provider.hang()
    scene.provider.rotate()
    token = scene.provider.token()
    before = scene.counted()
    let_it_lead(scene, token)
    scene.fleet.start_verify(token, workers=range(1, 5))
    breakable.restart("immediate")
    scene.provider.up()
    assert_all_verified(scene.fleet.collect(workers=[LEADER]), 1)
    # Who asks while nothing listens is told so; nobody takes that for a reason to fetch.
    assert errors(scene.fleet.collect(workers=range(1, 5))) <= {None, "keys_unavailable/store"}
    until(lambda: errors(scene.verify(token)) == {None})
    assert scene.since(before) == Counted(attempts=1, refreshes=1, asked=1)


def test_a_leader_whose_database_restarts_serves_at_once_and_publishes_when_it_is_back(
    breakable_scene: Scene, breakable: EmbeddedPostgres
) -> None:
    scene = breakable_scene
    scene.start(3, lease=30.0, fetch_timeout=10.0)
    scene.warm()
    scene.provider.hang()
    scene.provider.rotate()
    token = scene.provider.token()
    before = scene.counted()
    let_it_lead(scene, token)
    breakable.stop_server()
    scene.provider.up()
    try:
        assert_all_verified(scene.fleet.collect(workers=[LEADER]), 1)
    finally:
        breakable.start_server()
    until(lambda: scene.since(before) == Counted(attempts=1, refreshes=1, asked=1))
    assert_all_verified(scene.verify(token), 3)
    assert scene.since(before) == Counted(attempts=1, refreshes=1, asked=1)


def test_a_refresh_that_runs_past_the_budget_is_our_fault(scene: Scene) -> None:
    scene.start(4, wait_budget=1.0, lease=6.0, fetch_timeout=5.5)
    known = scene.warm()
    scene.provider.hang()
    scene.provider.rotate()
    token = scene.provider.token()
    before = scene.counted()
    for _ in range(2):
        assert errors(scene.verify(token)) == {"keys_unavailable/running"}
        assert errors(scene.verify(known)) == {None}
    assert scene.since(before) == Counted(attempts=1, asked=1)
    scene.provider.up()
    until(lambda: errors(scene.verify(token)) == {None})
    assert scene.since(before) == Counted(attempts=1, refreshes=1, asked=1)
