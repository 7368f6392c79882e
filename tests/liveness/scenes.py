"""What happens to a verifier while a fault strikes, how it has to recover, and what it may leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock
from uuid import uuid4

from faults import ASKING, Place, watching
from rig import PATIENCE, Rig, free_the_unbegun, held_locks, quiet, threads, token

from skeldir_jwt_mw import KeysUnavailable, MemoryStore
from skeldir_jwt_mw.core import refresh, schedule
from skeldir_jwt_mw.core.effects import Claim, Content, Publish, StoreUnavailable
from skeldir_jwt_mw.errors import JWTError
from skeldir_jwt_mw.flight import QUEUED, SLACK

Script = Callable[[Rig], object]

LONGEST = 60.0  # seconds for a recovery: what a fault costs and, on a busy machine, a few failures after it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """`prepare` is played without faults, `act` with them; both by the thread that asks."""

    name: str
    act: Script
    prepare: Script = lambda rig: None
    policy: dict[str, Any] = field(default_factory=dict)


def _warm(rig: Rig) -> None:
    rig.verifier.warm()
    rig.verify()
    rig.time.move(rig.policy.floor + 1)


def _rotated(rig: Rig) -> None:
    _warm(rig)
    rig.rotation += 1


def _due_for_a_look(rig: Rig) -> None:
    _warm(rig)
    rig.time.move(rig.policy.check_interval - rig.policy.floor)


def _due_for_a_fetch(rig: Rig) -> None:
    _warm(rig)
    rig.time.move(rig.policy.refresh_interval + 1)


def _missed_a_look(rig: Rig) -> None:
    _warm(rig)
    rig.time.move(2 * rig.policy.check_interval)


def _provider_down(rig: Rig) -> None:
    rig.fails = True


def _store_down(*calls: str) -> Script:
    def prepare(rig: Rig) -> None:
        if "claim" not in calls:
            _rotated(rig)

        def trouble(call: str) -> None:
            if call in calls:
                rig.time.move(0.3)  # some tries fit into a lease
                raise StoreUnavailable("down")

        rig.store.trouble = trouble

    return prepare


def _fetched_elsewhere(rig: Rig) -> None:
    """Another process has the lease, and publishes when it is polled for the second time."""
    _rotated(rig)
    key, snapshot = rig.refresher.source_key, rig.refresher.snapshot
    assert snapshot is not None
    session = MemoryStore.open(rig.store, 3.0)
    claim = Claim(
        owner=uuid4(), force=True, need=False, have=snapshot.generation, bad=-1, lease=1.0, floor=5.0,
        refresh=300.0, reason="unknown_kid", use_gate=True,
    )  # fmt: skip
    polls = 0
    document = rig.source.fetch(mock.Mock()).document

    def trouble(call: str) -> None:
        nonlocal polls
        polls += call == "peek"
        if polls == 2:
            polls += 1
            publish()

    def publish() -> None:
        fetched = row.claimed_us
        content = Content(
            generation=row.fence, fetched_us=fetched, expires_us=fetched + 10**10, etag=None,
            last_modified=None, payload=document,
        )  # fmt: skip
        seal = rig.verifier._setup.sealer.seal(key, content)
        session.publish(
            key,
            Publish(
                owner=claim.owner, content=content, next_us=fetched + 3 * 10**8, seal=seal, coordinated=True
            ),
        )
        session.close()

    row = session.claim(key, claim)
    assert row.verdict == "leader"
    rig.store.trouble = trouble


def _closed_in_the_air(rig: Rig) -> None:
    """A fetch hangs until nobody waits for it any more."""
    over = False
    rig.hook = lambda: _until(lambda: over)
    try:
        rig.refresher.demand("cold", rig.time.monotonic(), force=False)
        _until(lambda: rig.is_leased() or not threads())
        rig.verifier.close()
        rig.refresher.join(PATIENCE)
    finally:
        over = True
        rig.hook = lambda: None


def _joined(rig: Rig) -> None:
    """Another request's flight is in the air, and lands when this one waits for it."""
    over = False
    rig.hook = lambda: _until(lambda: over or rig.verifier._threads.taken > 0)
    try:
        rig.refresher.demand("cold", rig.time.monotonic(), force=False)
        rig.verify()
    finally:
        over = True
        rig.hook = lambda: None


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < ends:
        time.sleep(0.001)


def _newer_but_due(rig: Rig) -> None:
    """Another process has published newer keys, which are themselves past their schedule by now."""
    _rotated(rig)
    elsewhere = rig.another()
    elsewhere.refresh()
    elsewhere.close()
    rig.time.move(rig.policy.refresh_interval + 1)


def _asked_by_a_task(rig: Rig) -> None:
    asyncio.run(rig.verifier.averify(token(rig.rotation)))


def _lost(rig: Rig) -> None:
    """A flight is in the air that nobody flies, for longer than that can be believed."""
    refresher = rig.refresher
    with refresher._lock:
        refresher._board("cold", rig.time.monotonic(), force=False)
    rig.time.move(QUEUED + 1)


def _bug(rig: Rig) -> None:
    def trouble(call: str) -> None:
        raise ZeroDivisionError

    rig.store.trouble = trouble


def _without_threads(rig: Rig) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with mock.patch.object(threading.Thread, "start", refuse):
        rig.verify()


def _replaced(rig: Rig) -> None:
    rig.verifier.set_issuers(rig.verifier.issuers)


SCENES = (
    Scene(name="cold", act=Rig.verify),
    Scene(name="cold, by a task", act=_asked_by_a_task),
    Scene(name="rotation, leading", prepare=_rotated, act=Rig.verify),
    Scene(name="rotation, following", prepare=_fetched_elsewhere, act=Rig.verify),
    Scene(name="look", prepare=_due_for_a_look, act=Rig.verify),
    Scene(name="look that was missed", prepare=_missed_a_look, act=Rig.verify),
    Scene(name="fetch by schedule", prepare=_due_for_a_fetch, act=Rig.verify),
    Scene(name="provider down", prepare=_provider_down, act=Rig.verify),
    Scene(name="store down", prepare=_store_down("claim"), act=Rig.verify),
    Scene(
        name="store down, on its own",
        prepare=_store_down("claim"),
        act=Rig.verify,
        policy={"on_store_outage": "fetch"},
    ),
    Scene(name="store takes no writes", prepare=_store_down("publish"), act=Rig.verify),
    Scene(name="warm", act=lambda rig: rig.verifier.warm()),
    Scene(name="refresh", prepare=_rotated, act=lambda rig: rig.verifier.refresh()),
    Scene(name="closed in the air", act=_closed_in_the_air),
    Scene(name="joined", act=_joined),
    Scene(name="newer, but due", prepare=_newer_but_due, act=Rig.verify),
    Scene(name="lost", prepare=_lost, act=Rig.verify),
    Scene(name="broken off by a bug", prepare=_bug, act=Rig.verify),
    Scene(name="no thread", act=_without_threads),
    Scene(name="issuers replaced", prepare=_warm, act=_replaced),
)


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Poll and try again within milliseconds, with a connection held over the first pause alone."""
    with (
        mock.patch.object(schedule, "POLL_PAUSES", (0.002, 0.006)),
        mock.patch.object(schedule, "HOLD_CONNECTION", 0.004),
        mock.patch.object(refresh, "HOLD_CONNECTION", 0.004),
        mock.patch("skeldir_jwt_mw.core.leader.CONTENDED_PAUSE", 0.002),
        mock.patch("skeldir_jwt_mw.core.leader.REWRITE_PAUSE_MAX", 0.004),
        mock.patch("skeldir_jwt_mw.pool.REST", 0.01),
    ):
        yield


def discovered(scene: Scene, *, signals: bool = False) -> dict[Place, int]:
    """The places that the scene reaches, and how often."""
    places: dict[Place, int] = {}

    def visit(place: Place) -> None:
        places[place] = places.get(place, 0) + 1

    rig = Rig(**scene.policy)
    scene.prepare(rig)
    quiet()
    with watching(visit, signals=signals) as no_more_here:
        with contextlib.suppress(JWTError):
            scene.act(rig)
        no_more_here()
        quiet()
    rig.verifier.close()
    return places


@dataclass(slots=True)
class Outcome:
    """What came of one fault."""

    struck: bool = False
    raised: str | None = None  # by the scene
    moved: float = 0.0  # seconds until the verifier had recovered
    tries: int = 0


def struck(scene: Scene, where: Place, error: type[BaseException], *, signals: bool = False) -> Outcome:
    """Play the scene with an exception at a place; fails where the verifier does not recover."""
    outcome = Outcome()
    rig = Rig(**scene.policy)
    scene.prepare(rig)
    quiet()

    def visit(place: Place) -> None:
        if place == where and not outcome.struck:
            outcome.struck = True
            raise error("struck")

    deaths: list[Any] = []
    with (
        mock.patch.object(threading, "excepthook", deaths.append),
        watching(visit, signals=signals) as no_more_here,
    ):
        try:
            scene.act(rig)
            no_more_here()
        except JWTError as refused:
            outcome.raised = type(refused).__name__
        except error as raised:
            outcome.raised = type(raised).__name__
        no_more_here()
        quiet()
    assert {death.exc_type for death in deaths} <= {error}, deaths
    deaths.clear()
    if where.role != ASKING:
        assert outcome.raised != error.__name__, "a fault in another thread reached the request"
    rig.store.trouble = lambda _: None
    rig.fails = False
    recovers(rig, outcome)
    leaves_nothing(rig)
    if signals:
        free_the_unbegun()
        quiet()
    return outcome


def leaves_nothing(rig: Rig) -> None:
    """Fails where a thread, a lock, a place, a session or a lease has nobody who will end it."""
    quiet()
    assert not threads()
    locks = held_locks(rig.verifier, rig.store)
    assert not locks, f"held for ever: {locks}"
    verifier = rig.verifier
    if verifier._threads.taken or verifier._tasks.taken:
        gc.collect()  # what an exception's traceback has kept
    assert (verifier._threads.taken, verifier._tasks.taken) == (0, 0), "a waiter's place was not given back"
    assert rig.store.held == 0, "a session was not closed"
    row = rig.row()
    leased = 0.0 if row is None or row.lease_owner is None else row.lease_until / 1e6 - rig.time.store()
    assert leased <= rig.policy.lease, "a lease has no end"


def recovers(rig: Rig, outcome: Outcome) -> None:
    """Ask until there is an answer, and let time pass as the answers say."""
    closed = rig.refresher._stopping.is_set()
    if closed:  # then its successor has to recover
        rig.verifier = rig.another()
    while True:
        outcome.tries += 1
        flight = rig.refresher._flight
        if flight is not None:  # nobody flies it: there is no thread
            left = flight.deadline - rig.time.monotonic()
            assert left <= max(QUEUED, rig.policy.lease + SLACK), "a flight is believed in for too long"
            _move(rig, outcome, max(0.0, left) + 0.1)
        try:
            assert rig.verify() is not None
            return
        except KeysUnavailable as refused:
            row = rig.row()
            left = 0.0
            if row is not None and row.lease_owner is not None:
                left = row.lease_until / 1e6 - rig.time.store()
                assert left <= rig.policy.lease, "a lease lasts for too long"
            gate = rig.refresher.gate.closed_for(rig.time.monotonic())
            _move(rig, outcome, max(left, gate, 0.0) + 0.1)
            if outcome.tries > 8 or outcome.moved > LONGEST:
                raise AssertionError(f"dead after {outcome.moved:.0f} s: {refused}") from None
        quiet()


def _move(rig: Rig, outcome: Outcome, seconds: float) -> None:
    outcome.moved += seconds
    rig.time.move(seconds)
