"""A fleet under a virtual clock: the very script that workers run, with everything around it simulated.

One `World` is one seeded run. Its replicas play `core.refresh.Refresh` over one `MemoryStore`, whose clock is
the world's; every effect takes a random time, and a statement is executed at a random instant of it. Replicas
have clocks of their own, crash (what they held is abandoned), fall asleep in mid-effect and wake up as
zombies; statements are cut off before or after they took effect; fetches are slow or fail.

The world checks what must hold at every step, and `verdict` what must hold in the end.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from typing import Any
from uuid import UUID

from skeldir_jwt_mw import MemoryStore, RefreshPolicy
from skeldir_jwt_mw.core.effects import (
    Claim,
    Conditional,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    Peek,
    Publish,
    Read,
    Report,
    StoreContended,
    StoreUnavailable,
    Wait,
)
from skeldir_jwt_mw.core.keys import import_jwks
from skeldir_jwt_mw.core.order import OPEN_GATE, Adopted, Ending, Order, Reply, Settle, Step, Use
from skeldir_jwt_mw.core.refresh import Refresh
from skeldir_jwt_mw.core.row import Record
from skeldir_jwt_mw.core.schedule import Schedule
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.snapshot import Snapshot
from skeldir_jwt_mw.testing import SigningKey

KEY = "source"
SEALER = Sealer([b"k" * 32])
EPOCH = 1_800_000_000.0  # of the database's clock
ALGORITHMS = ("ES256",)
SIGNING = SigningKey.generate("ES256")

import_once = cache(import_jwks)
"""The documents are few and the replicas are many; importing is not what is tried here."""


@cache
def document(rotation: int) -> bytes:
    """The provider's document after so many rotations; every key is the same but for its kid."""
    jwk = SIGNING.jwk()
    return json.dumps(
        {"keys": [{**jwk, "kid": f"key-{number}"} for number in (rotation, rotation - 1)]}
    ).encode()


class Violation(AssertionError):
    """Something that must never happen has happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How much goes wrong, as probabilities per occasion; nothing does after `clears_at` (seconds)."""

    crash: float = 0.0
    sleep: float = 0.0
    cut_off: float = 0.0
    store_down: float = 0.0
    fetch_fails: float = 0.0
    fetch_hangs: float = 0.0
    strangers: float = 0.0  # requests with made-up kids
    clears_at: float = 0.0


CALM = Weather()


@dataclass(slots=True)
class Replica:
    """One worker: what a `Refresher` keeps, and the flight that is in the air."""

    number: int
    offset: float  # of its monotonic clock
    script: Refresh
    snapshot: Snapshot | None = None
    gate: Any = OPEN_GATE
    check_at: float = float("-inf")
    bad: int = -1
    store_failures: int = 0
    flight: Step | None = None
    settled: bool = False
    life: int = 0  # counts crashes: what belongs to an earlier life is void

    def knows(self, rotation: int) -> bool:
        """Whether it has the key of that rotation."""
        return self.snapshot is not None and self.snapshot.adopted.content.payload == document(rotation)


@dataclass(slots=True)
class World:
    """One run. `make_script` and `perform` may be replaced to see that the checks bite."""

    seed: int
    policy: RefreshPolicy
    replicas: int = 50
    weather: Weather = CALM
    make_script: Callable[..., Refresh] = Refresh
    now: float = 0.0
    rotation: int = 1
    fetches: list[float] = field(default_factory=list)
    forced: list[float] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)
    fences: set[int] = field(default_factory=set)
    crashes: int = 0

    _events: list[tuple[float, float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: Any = field(default_factory=count)
    _random: random.Random = field(default_factory=random.Random)
    _store: MemoryStore = field(default_factory=MemoryStore)
    _fleet: list[Replica] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random.seed(self.seed)
        self._store = MemoryStore(clock=lambda: EPOCH + self.now)
        for number in range(self.replicas):
            offset = self._random.uniform(-1e6, 1e6)
            self._fleet.append(Replica(number=number, offset=offset, script=self._new_script()))

    def _new_script(self) -> Refresh:
        return self.make_script(
            source_key=KEY,
            policy=self.policy,
            sealer=SEALER,
            schedule=Schedule(policy=self.policy, draw=self._random.random),
        )

    # -- the run ---------------------------------------------------------------------------------------

    def run(self, until: float) -> None:
        """Let time pass until then."""
        while self._events and self._events[0][0] <= until:
            self.now, _, _, act = heapq.heappop(self._events)
            act()
        self.now = until

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something happen later; what is due at one instant happens in random order."""
        event = (self.now + seconds, self._random.random(), next(self._numbers), act)
        heapq.heappush(self._events, event)

    def start(self, spread: float) -> None:
        """All replicas start within so many seconds and from then on keep asking for the newest key."""
        for replica in self._fleet:
            self.after(self._random.uniform(0, spread), lambda replica=replica: self._keep_asking(replica))

    def rotate(self, spread: float = 0.3) -> None:
        """The provider publishes a new key; tokens of it reach the whole fleet within so many seconds."""
        self.rotation += 1
        for replica in self._fleet:
            self.after(self._random.uniform(0, spread), lambda replica=replica: self._ask(replica))

    def _strikes(self, probability: float) -> bool:
        return self.now < self.weather.clears_at and self._random.random() < probability

    # -- a replica -------------------------------------------------------------------------------------

    def _keep_asking(self, replica: Replica) -> None:
        self._ask(replica)
        self.after(self._random.uniform(0.2, 1.0), lambda: self._keep_asking(replica))

    def _ask(self, replica: Replica) -> None:
        """A request with the newest token, or with one of a stranger."""
        if replica.flight is None:
            clock = self.now + replica.offset
            snapshot = replica.snapshot
            usable = snapshot is not None and clock < snapshot.expires_at
            unknown = self._strikes(self.weather.strangers) or not replica.knows(self.rotation)
            if unknown or not usable:
                if clock >= replica.gate.until:
                    self._take_off(replica, force=usable)
            elif clock >= replica.check_at:
                self._take_off(replica, force=False)

    def _take_off(self, replica: Replica, *, force: bool) -> None:
        clock = self.now + replica.offset
        snapshot = replica.snapshot
        need = snapshot is None or clock >= snapshot.expires_at
        order = Order(
            owner=UUID(int=self._random.getrandbits(128)),
            reason="unknown_kid" if force else "cold" if need else "scheduled",
            force=force,
            need=need,
            aged=False,
            trusted=snapshot.adopted if snapshot else None,
            have=snapshot.generation if snapshot else 0,
            bad=replica.bad,
            unreadable=False,
            failures=replica.store_failures,
            replace_stranger=True,
            coordinated=True,
        )
        replica.flight = replica.script.run(order)
        replica.settled = False
        self._play(replica, lambda flight: next(flight))

    def _play(self, replica: Replica, step: Callable[[Step], Any]) -> None:
        """Resume the flight, then perform what it asks for."""
        flight = replica.flight
        assert flight is not None
        try:
            effect = step(flight)
            while isinstance(effect, Report | Settle | Use):
                if isinstance(effect, Settle):
                    self._land(replica, effect.ending)
                elif isinstance(effect, Use):
                    self._adopt(replica, effect.adopted)
                clock = self.now + replica.offset
                effect = flight.send(Reply(value=None, sent=clock, received=clock))
        except StopIteration as stop:
            replica.flight = None
            self._land(replica, stop.value)
            return
        life, sent = replica.life, self.now + replica.offset
        if self._strikes(self.weather.crash):
            # It dies before, while or after the effect takes place.
            self.after(self._random.uniform(0, 0.3), lambda: self._crash(replica, life))

        def reply(value: Any, seconds: float) -> None:
            if self._strikes(self.weather.sleep):
                seconds += self._random.uniform(0, 3 * self.policy.lease)

            def resume() -> None:
                if replica.life == life:
                    received = self.now + replica.offset
                    answer = Reply(value=value, sent=sent, received=received)
                    self._play(replica, lambda flight: flight.send(answer))

            self.after(seconds, resume)

        self._perform(effect, reply, lambda: replica.life == life)

    def _land(self, replica: Replica, ending: Ending) -> None:
        if replica.settled:
            return
        replica.settled = True
        if ending.adopted is not None:
            self._adopt(replica, ending.adopted)
        replica.gate, replica.check_at, replica.bad = ending.gate, ending.check_at, ending.bad
        replica.store_failures = replica.store_failures + 1 if ending.failed_here else 0

    def _adopt(self, replica: Replica, adopted: Adopted) -> None:
        before = replica.snapshot
        replica.snapshot = Snapshot.after(before, adopted, ALGORITHMS)
        if before is not None and replica.snapshot.generation < before.generation:
            raise Violation("a replica went back to an older generation")
        if adopted.content.generation not in self.fences:
            raise Violation("a replica uses what nobody had the right to publish")

    def _crash(self, replica: Replica, life: int) -> None:
        if replica.life != life or replica.flight is None:
            return
        self.crashes += 1
        replica.flight.close()
        replica.life += 1
        replica.flight = replica.snapshot = None
        replica.gate, replica.check_at, replica.bad = OPEN_GATE, float("-inf"), -1
        replica.offset = self._random.uniform(-1e6, 1e6)

    # -- the world around it ---------------------------------------------------------------------------

    def _perform(self, effect: Any, reply: Callable[[Any, float], None], alive: Callable[[], bool]) -> None:
        match effect:
            case Wait():
                reply(None, effect.seconds)
            case Fetch():
                self._fetch(effect, reply, alive)
            case _:
                self._ask_store(effect, reply, alive)

    def _fetch(self, effect: Fetch, reply: Callable[[Any, float], None], alive: Callable[[], bool]) -> None:
        self.fetches.append(self.now)
        arrives, answers = self._random.uniform(0, 0.1), self._random.uniform(0.01, 0.15)
        if self._strikes(self.weather.fetch_hangs):
            answers = self._random.uniform(0, 2 * self.policy.lease)
        fails = self._strikes(self.weather.fetch_fails)

        def answer() -> None:
            content = document(self.rotation)
            etag = f'"{self.rotation}"'
            if fails:
                reply(FetchFailed("status 503"), answers)
            elif arrives + answers > effect.seconds:
                reply(FetchFailed("the source did not answer in time"), max(0.0, effect.seconds - arrives))
            elif effect.conditional == Conditional(etag=etag):
                reply(Fetched(document=None, etag=etag), answers)
            else:
                reply(Fetched(document=content, etag=etag), answers)

        self.after(arrives, lambda: answer() if alive() else None)

    def _ask_store(self, effect: Any, reply: Callable[[Any, float], None], alive: Callable[[], bool]) -> None:
        there, back = self._random.uniform(0.0005, 0.03), self._random.uniform(0.0005, 0.03)
        if self._strikes(self.weather.store_down):
            reply(StoreUnavailable("down"), there)
        elif self._strikes(self.weather.cut_off):
            if self._random.random() < 0.5:  # the answer is lost, not the statement
                self.after(there, lambda: self._execute(effect))
            reply(StoreContended("cut off"), there + back)
        else:
            # A statement that was sent takes effect even if its sender has died meanwhile.
            self.after(there, lambda: reply(self._execute(effect), back))

    def _execute(self, effect: Any) -> Any:
        session = self._store.open(1.0)
        before = self._store.record(KEY) or Record()
        match effect:
            case Claim():
                value: Any = session.claim(KEY, effect)
            case Read():
                value = session.read(KEY, effect)
            case Peek():
                return session.peek(KEY)
            case Publish():
                value = session.publish(KEY, effect)
            case Fail():
                value = session.fail(KEY, effect)
            case _:
                value = self._execute_unknown(effect)
        self._watch(effect, before)
        return value

    def _execute_unknown(self, effect: Any) -> Any:
        """Effects of scripts that are wrong on purpose."""
        return effect.execute(self._store, KEY)

    def _watch(self, effect: Any, before: Record) -> None:
        """What must hold after every statement."""
        row = self._store.record(KEY)
        if row is None:
            return
        if row.fetch_attempt_count > before.fetch_attempt_count:
            if row.fence <= max(self.fences, default=0):
                raise Violation("a fence was given twice, or an older one later")
            self.fences.add(row.fence)
            if before.lease_owner is not None and EPOCH + self.now < before.lease_until / 1e6 - 1e-6:
                raise Violation("a lease was taken from its living holder")
            claim = getattr(effect, "claim", effect)
            if claim.force:
                if self.forced and self.now - self.forced[-1] < self.policy.floor - 1e-5:
                    raise Violation("two forced claims are less than a floor apart")
                self.forced.append(self.now)
        if row.content.generation != before.content.generation:
            if row.content.generation < before.content.generation:
                raise Violation("an older generation was published over a newer one")
            self.generations.append(row.content.generation)
        leased = row.lease_owner is not None
        ended = row.refresh_event_count + row.failure_event_count + row.abandoned_count
        if row.fetch_attempt_count != ended + leased:
            raise Violation("an attempt is unaccounted for")

    # -- evidence --------------------------------------------------------------------------------------

    @property
    def row(self) -> Record:
        """The row as it is."""
        row = self._store.record(KEY)
        assert row is not None
        return row

    def ignorant(self) -> list[int]:
        """The replicas that do not have the newest key."""
        return [replica.number for replica in self._fleet if not replica.knows(self.rotation)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeUnseen:
    """Takes the lease without looking: right or wrong was decided on an earlier look."""

    claim: Claim

    def execute(self, store: MemoryStore, key: str) -> Any:
        """Make the row look as the earlier look may have shown it, then claim it."""
        rows = store._shelf().rows
        row = rows.get(key, Record())
        rows[key] = replace(row, lease_until=0, floor_until=0, backoff_until=0)
        return store.open(1.0).claim(key, replace(self.claim, have=row.content.generation, need=True))


class NaiveRefresh(Refresh):
    """The obvious script, which is wrong: read the row, decide, then take the lease."""

    def run(self, order: Order) -> Step:
        """As `Refresh.run`, with every claim taken apart into a look and a deed."""
        script = super().run(order)
        effect = next(script)
        while True:
            if isinstance(effect, Claim):
                reply = yield from self._look_and_take(effect)
            else:
                reply = yield effect
            try:
                effect = script.send(reply)
            except StopIteration as stop:
                ending: Ending = stop.value
                return ending

    def _look_and_take(self, claim: Claim) -> Any:
        looked = yield Read(
            force=claim.force,
            need=claim.need,
            have=claim.have,
            bad=claim.bad,
            floor=claim.floor,
            refresh=claim.refresh,
        )
        row = looked.value
        if isinstance(row, Exception):
            return looked
        if row is not None:
            if row.generation > claim.have:
                return replace(looked, value=replace(row, verdict="newer"))
            if row.lease_left > 0:
                return replace(looked, value=replace(row, verdict="wait"))
            if row.backoff_left > 0:
                return replace(looked, value=replace(row, verdict="backoff"))
            if claim.force and row.floor_left > 0:
                return replace(looked, value=replace(row, verdict="floor"))
            if not claim.force and not claim.need and row.refresh_left > 0:
                return replace(looked, value=replace(row, verdict="fresh"))
        return (yield TakeUnseen(claim=claim))
