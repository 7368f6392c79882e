"""An exception at every line of the slow path: the issuer lives on, and nothing is left behind.

The lines are found out by running the scenes. `SKELDIR_JWT_TEST_FAULTS=all` strikes every line of every scene
with every kind of exception; without it each line is struck once, by the first scene that gets there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import cache

import pytest
from faults import ASKING, Place
from scenes import SCENES, Scene, discovered, hurried, struck

ALL = os.environ.get("SKELDIR_JWT_TEST_FAULTS") == "all"
FAULTS = (MemoryError, RecursionError, KeyboardInterrupt, SystemExit) if ALL else (MemoryError,)
SIGNALS = (TimeoutError, KeyboardInterrupt, SystemExit) if ALL else (TimeoutError,)  # what handlers raise

# Rooms of pure functions: an exception in one line of them is one in any other.
PURE = {
    f"core/{name}.py" for name in ("claims", "compact", "issuer", "jwk", "keys", "signature", "strict_json")
}
ATTEMPTS = 3  # threads take turns as they like, so that a run may not get to a place
UNMET = 0.5  # the share of places that no attempt may reach

# A flight cannot be without these, so the scenes must get there.
MATTERING = {
    "command.py": "refresh warm run _ask _first_steps _next_step",
    "core/leader.py": "Leader.lead Leader._record_failure Leader._repeat Leader.fetch_locally",
    "core/refresh.py": "Refresh._coordinated Refresh._follow Refresh._without_store",
    "course.py": "Course.advance Course.settle Course.use Course.holds",
    "deadline.py": "_Call._run _Call.result _Call.leave Purpose.within Purpose._admit",
    "driver.py": "supervised Performer.perform Performer.hang_up Performer._fetch Performer._ask",
    "flight.py": "Flight.__init__ Flight.land Flight.is_lost",
    "latch.py": "Latch.set Latch.tell Latch.forget Latch.wait Latch._tell",
    "pool.py": "Pool.submit Pool.hurry Pool.see_to_it Pool.rest Pool._see_to_it Pool._work Pool._next"
    " Pool._pick",
    "refresher.py": "Refresher.attend Refresher.demand Refresher._board Refresher._take_off Refresher.settle"
    " Refresher.use Refresher.break_off Refresher.stop Refresher.join Refresher._end_what_is_lost"
    " Refresher._fail_here Refresher._apply Refresher._adopt Refresher._rearm",
    "stores/memory.py": "MemorySession.claim MemorySession.publish MemorySession.fail MemorySession.release",
    "waiting.py": "WaitingRoom.place Errand.wait Errand.wait_async Errand.last_word wait_without_blocking",
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_hurry_and_silent() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # thousands of lines about what is meant to go wrong
    with hurried():
        yield
    logging.disable(logging.NOTSET)


@cache
def places_of(scene: Scene, *, signals: bool) -> frozenset[Place]:
    """What the scene reaches, in one of three runs: threads take turns as they like."""
    found = {place for _ in range(3) for place in discovered(scene, signals=signals)}
    return frozenset(place for place in found if not signals or place.role == ASKING)


def places_to_strike(scene: Scene, *, signals: bool) -> list[Place]:
    """Those of the scene that none before it reaches."""
    places = places_of(scene, signals=signals)
    if not ALL:
        for earlier in SCENES[: SCENES.index(scene)]:
            places -= places_of(earlier, signals=signals)
        if signals:  # those of a line are struck by the other test, with another exception
            places = frozenset(
                place for place in places if place.event != "line" or place.where.startswith("/")
            )
        functions = {(place.where, place.function): place for place in sorted(places, reverse=True)}
        places = frozenset(place for place in places if place.where not in PURE) | frozenset(
            functions.values()
        )
    return sorted(places)


def strike(scene: Scene, kinds: tuple[type[BaseException], ...], *, signals: bool) -> None:
    failures: list[str] = []
    unmet = tried = 0
    for place in places_to_strike(scene, signals=signals):
        for kind in kinds:
            tried += 1
            try:
                unmet += not any(struck(scene, place, kind, signals=signals).struck for _ in range(ATTEMPTS))
            except AssertionError as failure:
                failures.append(f"{kind.__name__} at {place}: {failure}")
    assert not failures, "\n".join(failures)
    # Of the few places that some scenes leave to be struck, one may be met by chance alone.
    assert unmet <= max(1, UNMET * tried), f"{unmet} of {tried} places were not reached again"


@pytest.mark.timeout(3600 if ALL else 180)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_an_issuer_survives_an_exception_at_any_line_of_its_slow_path(scene: Scene) -> None:
    strike(scene, FAULTS, signals=False)


@pytest.mark.timeout(3600 if ALL else 180)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_an_issuer_survives_a_signal_handler_that_raises_anywhere_in_the_request(scene: Scene) -> None:
    """Also where a function of the standard library has taken a lock and not returned yet."""
    strike(scene, SIGNALS, signals=True)


def test_the_scenes_get_to_every_function_that_a_flight_is_made_of() -> None:
    reached = {(place.where, place.function) for scene in SCENES for place in places_of(scene, signals=False)}
    missing = [
        f"{where} {function}"
        for where, functions in MATTERING.items()
        for function in functions.split()
        if (where, function) not in reached
    ]
    assert missing == []


def test_the_scenes_get_to_the_threads_of_flights_and_of_fetches() -> None:
    roles = {place.role for scene in SCENES for place in places_of(scene, signals=False)}
    assert roles >= {ASKING, "skeldir-jwt-refresh", "skeldir-jwt-call"}
