"""A fleet, its database, its provider and its callers, under virtual time.

A `Worker` is a process with a real `Verifier`; `Database` answers its statements with the functions that
every store means the same by (`core.row`); `Provider` publishes keys. Any of them can be slow, hang, fail,
lie, stop or die, when a scenario says so. What a caller is told goes before the `Court` (`court.py`).

A signature is here the mark of the key that made it: to check one costs nothing, and all that a verifier
makes of a token is as it is.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha512
from typing import Any
from unittest.mock import patch

from court import Court
from virtual import EPOCH, Kernel, Process, Violation, installed

from skeldir_jwt_mw import Issuer, KeysUnavailable, RefreshPolicy, Verifier
from skeldir_jwt_mw import verifier as verifier_room
from skeldir_jwt_mw.clock import Clock
from skeldir_jwt_mw.core import adoption, keys
from skeldir_jwt_mw.core import row as rows
from skeldir_jwt_mw.core.effects import (
    Claim,
    Conditional,
    Fail,
    Fetched,
    FetchFailed,
    Peeked,
    Publish,
    Read,
    Release,
    Row,
    StoreContended,
    StoreReadOnly,
    StoreUnavailable,
)
from skeldir_jwt_mw.core.keys import ImportedJWKS, import_jwks
from skeldir_jwt_mw.core.row import Record, microseconds
from skeldir_jwt_mw.course import end_all
from skeldir_jwt_mw.driver import STORE_TIMEOUT
from skeldir_jwt_mw.errors import ConfigurationError, InvalidToken
from skeldir_jwt_mw.refresher import Refresher
from skeldir_jwt_mw.reports import Reports
from skeldir_jwt_mw.testing import SigningKey

ISSUER = "https://login.example.com/"
AUDIENCE = "orders-api"
SEAL_KEY, STRANGERS_KEY = b"k" * 32, b"s" * 32
SIGNING = tuple(SigningKey.generate("ES256", kid=f"key-{number}") for number in range(40))
FORGERS = 39  # the key of somebody who would like to be the provider
LIFETIME = 100_000  # seconds; here no token expires by itself


def b64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def mark_of(public_key: Any) -> bytes:
    """The signature that stands for a key, as long as one of ES256."""
    numbers = public_key.public_numbers()
    return sha512(b"%d %d" % (numbers.x, numbers.y)).digest()


MARKS = tuple(b64url(mark_of(key.private.public_key())) for key in SIGNING)


def bound_to_mark(algorithm: str, public_key: Any) -> Callable[[bytes, bytes], bool]:
    """`core.signature.bind` for signatures that are marks."""
    mark = mark_of(public_key)
    return lambda signature, _: signature == mark


@cache
def imported_once(document: bytes) -> ImportedJWKS:
    """The documents are few and the workers are many; importing is not what is tried here."""
    return import_jwks(document)


@cache
def document_of(numbers: tuple[int, ...]) -> bytes:
    """The provider's document with these keys."""
    return json.dumps({"keys": [SIGNING[number].jwk() for number in numbers]}).encode()


@cache
def numbers_in(document: bytes) -> frozenset[int]:
    """The keys in a document."""
    return frozenset(int(jwk["kid"].removeprefix("key-")) for jwk in json.loads(document)["keys"])


@dataclass(frozen=True, slots=True)
class Token:
    """A token of this world; `number` is the key that signed it, None where nobody did."""

    raw: str
    number: int | None
    issued_at: float  # when, by the world's clock
    has_iat: bool


class Provider:
    """Publishes keys. `mode` is how it answers: ok, slow, hangs, fails, limits (429)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.mode = "ok"
        self.latency = (0.01, 0.15)
        self.retry_after = 0.0
        self.max_age: float | None = None
        self.newest = 1
        self.keys: tuple[int, ...] = (0, 1)
        self.published_at = {0: -1e9, 1: -1e9}
        self.dropped_at: dict[int, float] = {}
        self.answers = 0

    def rotate(self, *, keep: int = 2) -> None:
        """Publish a new key, and keep so many in all."""
        self.newest += 1
        self.published_at[self.newest] = self._world.now
        kept = (*self.keys, self.newest)
        for number in kept[:-keep]:
            self.dropped_at[number] = self._world.now
        self.keys = kept[-keep:]

    def drop(self, number: int) -> None:
        """Revoke a key."""
        if number in self.keys and len(self.keys) > 1:
            self.keys = tuple(key for key in self.keys if key != number)
            self.dropped_at[number] = self._world.now

    def fetch(self, conditional: Conditional) -> Fetched:
        """Answer one request."""
        world = self._world
        draw, wait = world.random.uniform, world.kernel.wait
        self.answers += 1
        mode = self.mode
        if mode == "hangs":
            hangs = draw(5.0, 70.0)
            world.trouble("provider", hangs)
            wait(hangs)
            raise FetchFailed("nothing came")
        if mode in ("fails", "limits"):
            wait(draw(0.01, 0.1))
            world.trouble("provider", 0.0)
            raise FetchFailed("status 503", self.retry_after if mode == "limits" else None)
        seconds = draw(0.5, 2.5) if mode == "slow" else draw(*self.latency)
        if seconds > 0.5:
            world.trouble("provider", seconds)
        numbers = world.kernel.elsewhere(draw(0.002, 0.02), lambda: self.keys, seconds)
        etag = f'"{"-".join(map(str, numbers))}"'
        if conditional.etag == etag:
            return Fetched(document=None, etag=etag, max_age=self.max_age)
        return Fetched(document=document_of(numbers), etag=etag, max_age=self.max_age)


class Database:
    """One table in memory. `mode` is how it answers a process, or all of them.

    ok, slow, cut (connections are lost), down (refused), dark (no answer), locked (by others), demoted.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: dict[str, Record] = {}
        self.mode = "ok"
        self.modes: dict[int, str] = {}  # by process id
        self.delays: dict[int, float] = {}  # seconds more on the way there, by process id
        self.step = 0.0  # seconds by which its clock was set forward
        self.statements = 0
        self.claims = 0

    @property
    def now_us(self) -> int:
        """Its clock."""
        return microseconds(EPOCH + self._world.now + self.step)

    def ask(self, process: Process, asked: Any, execute: Callable[[], Any]) -> Any:
        """Carry a statement there, execute it, and carry its answer back."""
        world = self._world
        draw, wait = world.random.uniform, world.kernel.wait
        mode = self.modes.get(process.pid, self.mode)
        there, back = draw(0.0005, 0.02) + self.delays.get(process.pid, 0.0), draw(0.0005, 0.02)
        if mode == "slow":
            there, back = draw(0.05, 1.2), draw(0.05, 1.2)
            world.trouble("store", there + back, process.pid)
        self.statements += 1
        ends = world.now + STORE_TIMEOUT
        while (mode := self.modes.get(process.pid, self.mode)) in ("locked", "dark"):
            world.trouble("store", 0.0, process.pid)
            if mode == "locked" and isinstance(asked, Read | type(None)):
                break  # what only reads does not wait
            if world.now >= ends:
                raise StoreUnavailable("no answer in time")
            wait(min(0.25, max(0.001, ends - world.now)))
        if mode == "down":
            wait(there)
            world.trouble("store", 0.0, process.pid)
            raise StoreUnavailable("refused")
        if mode == "demoted" and not isinstance(asked, Read | type(None)):
            wait(there)
            world.trouble("store", 0.0, process.pid)
            raise StoreReadOnly("the database is a replica")
        if mode == "cut" and world.random.random() < 0.6:
            world.trouble("store", 0.0, process.pid)
            reaches = world.random.random() < 0.5
            world.kernel.elsewhere(there, execute if reaches else lambda: None, back)
            raise StoreContended("cut off")
        return world.kernel.elsewhere(there, execute, back)


class SimStore:
    """The store of one worker."""

    shared = True
    namespace = ""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self.connected = 0

    def open(self, seconds: float) -> SimSession:
        return SimSession(self._world, self._world.kernel.process)


class SimSession:
    """The statements of a worker, by the functions that every store means the same by."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def claim(self, source_key: str, claim: Claim) -> Row:
        row: Row = self._change(source_key, rows.claim, claim, missing=Record())
        return row

    def read(self, source_key: str, read: Read) -> Row | None:
        def execute() -> Row | None:
            row = self._world.database.rows.get(source_key)
            return None if row is None else rows.read(row, read, self._world.database.now_us)

        row: Row | None = self._world.database.ask(self._process, read, execute)
        return row

    def peek(self, source_key: str) -> Peeked:
        database = self._world.database
        peeked: Peeked = database.ask(
            self._process,
            None,
            lambda: rows.peek(database.rows.get(source_key, Record()), database.now_us),
        )
        return peeked

    def publish(self, source_key: str, publish: Publish) -> bool:
        return bool(self._change(source_key, rows.publish, publish))

    def fail(self, source_key: str, fail: Fail) -> float | None:
        backoff: float | None = self._change(source_key, rows.fail, fail)
        return backoff

    def release(self, source_key: str, release: Release) -> bool:
        return bool(self._change(source_key, rows.release, release))

    def close(self) -> None:
        """Nothing to give back."""

    def _change(self, source_key: str, change: Any, asked: Any, *, missing: Record | None = None) -> Any:
        world, process = self._world, self._process

        def execute() -> Any:
            database = world.database
            before = database.rows.get(source_key, missing)
            if before is None:
                return None
            after, answer = change(before, asked, database.now_us)
            database.rows[source_key] = after
            world.court.watch(process, asked, before, after, answer)
            return answer

        return world.database.ask(process, asked, execute)


class SimVerifier(Verifier):
    """A verifier with the clocks of its process."""

    def __init__(self, clock: Clock, *given: Any, **options: Any) -> None:
        self._clock = clock  # type: ignore[misc]
        super().__init__(*given, **options)
        verifier_room._verifiers.discard(self)  # the interpreter that ends is not its own


class Worker:
    """A process of the fleet, with a verifier."""

    def __init__(self, world: World, *, seal_keys: tuple[bytes, ...] = (SEAL_KEY,)) -> None:
        self.world = world
        self.process = Process(world.kernel, skew=world.random.uniform(-world.skew, world.skew))
        self._seal_keys = seal_keys
        self.verifier: SimVerifier | None = None
        self.disturbed_until = -1e9  # frozen, or restored, or its threads were taken
        world.fleet.append(self)

    @property
    def refresher(self) -> Refresher:
        assert self.verifier is not None
        return self.verifier._roster.served[0].refresher

    def knows(self) -> frozenset[int]:
        """The keys that it has in use."""
        if self.verifier is None:
            return frozenset()
        snapshot = self.refresher.usable(self.process.monotonic())
        return frozenset() if snapshot is None else numbers_in(snapshot.adopted.content.payload)

    def age(self) -> float:
        """How old it takes its keys for, in seconds."""
        snapshot = self.refresher.snapshot
        return float("inf") if snapshot is None else self.process.monotonic() - snapshot.adopted.fetched_at

    def do(self, act: Callable[[], None]) -> None:
        """Have a thread of the process do something."""
        self.world.kernel.spawn(self.process, act)

    def start(self) -> None:
        """Make the verifier; inside of the process."""
        world = self.world
        process = self.process
        self.verifier = SimVerifier(
            Clock(monotonic=process.monotonic, wall=process.wall, draw=world.random.random),
            world.issuer(),
            store=SimStore(world, process),
            policy=world.policy,
            seal_keys=self._seal_keys,
            token_cache=world.token_cache,
        )

    def ask(self, token: Token) -> None:
        """One request, in a thread of its own."""
        self.do(lambda: self.request(token))

    def request(self, token: Token) -> bool:
        """One request, in the thread that runs; whether its token was accepted."""
        world = self.world
        if self.verifier is None:
            self.start()
        assert self.verifier is not None
        case = world.court.open(self, token)
        try:
            self.verifier.verify(token.raw)
        except InvalidToken as error:
            world.court.close(case, 401, error.code)
        except KeysUnavailable as error:
            world.court.close(case, 503, error.reason)
        except Exception as error:
            raise Violation(f"verify raised {type(error).__name__}: {error}") from error
        else:
            world.court.close(case, 200, "")
            return True
        return False

    def warm(self) -> None:
        """Start and load the keys, in the thread that runs."""
        if self.verifier is None:
            self.start()
        assert self.verifier is not None
        try:
            self.verifier.warm()
        except (KeysUnavailable, ConfigurationError):
            return

    def exit(self) -> None:
        """End as an interpreter does, in the thread that runs: give the lease back, wait a second at most."""
        if self.verifier is not None:
            self.verifier.close()
            monotonic = self.process.monotonic
            end_all(monotonic() + verifier_room.EXIT_PATIENCE, monotonic)
        self.process.end()

    def crash(self) -> None:
        """End at once; what it held is left behind."""
        self.world.trouble("leader", self.world.policy.lease)
        self.process.end()

    def freeze(self, seconds: float, *, restored: bool = False) -> None:
        """Stop it for so long; `restored`: as a virtual machine whose monotonic clock stood still."""
        if self.process.frozen or not self.process.alive:
            return
        world = self.world
        world.trouble("leader", world.policy.lease)
        self.process.freeze()
        self.disturbed_until = world.now + seconds

        def thaw() -> None:
            world.trouble("leader", world.policy.lease)
            if restored:
                world.court.restored(self, seconds)
            self.process.thaw(lost=seconds if restored else 0.0)

        world.kernel.after(seconds, thaw)

    def fork(self) -> Worker:
        """A child as C makes it: all state as it is, no hook runs, and of the threads there is none."""
        child = Worker(self.world, seal_keys=self._seal_keys)
        child.process.offset, child.process.skew = self.process.offset, self.process.skew
        if self.verifier is not None:
            child.verifier = _forked(self.verifier, child.process)
        self.world.court.forked(self, child)
        return child


def _forked(parent: SimVerifier, process: Process) -> SimVerifier:
    """The memory of a verifier in a child; what is immutable is shared, as it may be."""
    clock = replace(parent._clock, monotonic=process.monotonic, wall=process.wall)
    child = _twin(parent)
    child._clock = clock  # type: ignore[misc]
    child._monotonic, child._wall = clock.monotonic, clock.wall
    child._pool = _twin(parent._pool)
    child._pool._clock = clock
    child._threads, child._tasks = _twin(parent._threads), _twin(parent._tasks)
    child._setup = replace(parent._setup, pool=child._pool, clock=clock)
    verification = _twin(parent._verification)
    verification._monotonic, verification._wall = clock.monotonic, clock.wall
    if parent._verification.cache is not None:
        cache = _twin(parent._verification.cache)
        cache._monotonic, cache._wall = clock.monotonic, clock.wall
        cache._entries = {}  # they belong to the parent's refresher: an empty cache is the same but slower
        verification.cache = cache
    served = []
    for member in parent._roster.served:
        refresher = _twin(member.refresher)
        refresher._clock, refresher._pool = clock, child._pool
        refresher._schedule = replace(refresher._schedule, draw=clock.draw)
        refresher.attention = _twin(refresher.attention)
        refresher._strangers = _twin(refresher._strangers)
        refresher._stopping = copy.copy(refresher._stopping)
        if refresher._flight is not None:
            flight = refresher._flight = copy.copy(refresher._flight)
            flight.landed, flight._endings = copy.copy(flight.landed), list(flight._endings)
            flight.landed._calls = []
        if refresher.snapshot is not None:
            bindings, absent = dict(refresher.snapshot.bindings), dict(refresher.snapshot.absent)
            refresher.snapshot = replace(refresher.snapshot, bindings=bindings, absent=absent)
        served.append(replace(member, refresher=refresher))
    roster = parent._roster
    verification.roster = replace(roster, served=tuple(served), alone=served[0] if roster.alone else None)
    child._verification = verification
    child._judge = verification.judge
    return child


def _twin(thing: Any) -> Any:
    twin = object.__new__(type(thing))
    twin.__dict__.update(thing.__dict__)
    return twin


class World:
    """One run."""

    def __init__(
        self,
        seed: int,
        policy: RefreshPolicy,
        *,
        leeway: float = 30.0,
        skew: float = 0.0,
        token_cache: int = 0,
    ) -> None:
        self.seed = seed
        self.kernel = Kernel(seed)
        self.random = self.kernel.random
        self.policy = policy
        self.leeway = leeway
        self.skew = skew
        self.token_cache = token_cache
        self.provider = Provider(self)
        self.database = Database(self)
        self.fleet: list[Worker] = []
        self.court = Court(self)
        self.excusable = True  # whether trouble excuses anything; where it must not, a scenario says so
        self._troubles: dict[tuple[str, int | None], float] = {}

    @property
    def now(self) -> float:
        """Seconds since the beginning, by a clock that is right."""
        return self.kernel.now

    def issuer(self, leeway: float | None = None) -> Issuer:
        """The one issuer of this world."""
        return Issuer(
            ISSUER,
            audience=AUDIENCE,
            algorithms=("ES256",),
            leeway=self.leeway if leeway is None else leeway,
            source=_Source(self.provider),
        )

    @property
    def row(self) -> Record | None:
        """The row of the one source."""
        return next(iter(self.database.rows.values()), None)

    def change_row(self, change: Callable[[Record], Record]) -> None:
        """Write to the table as somebody does who may, but should not."""
        for key, row in self.database.rows.items():
            self.database.rows[key] = change(row)
            self.court.rewritten(row, self.database.rows[key])

    # -- tokens ----------------------------------------------------------------------------------------

    def token(self, number: int | None = None, *, kid: str | None = None, iat: bool = True) -> Token:
        """A token that is issued now, of the newest key or another; with a `kid`, one that nobody signed."""
        if kid is None:
            number = self.provider.newest if number is None else number
            kid, mark = f"key-{number}", MARKS[number]
            number = None if number == FORGERS else number
        else:
            mark = MARKS[0]
        now = EPOCH + self.now
        issued = f'"iat":{now!r},' if iat else ""
        payload = f'{{"iss":"{ISSUER}","aud":"{AUDIENCE}",{issued}"exp":{now + LIFETIME:.0f}}}'
        raw = f"{header_of(kid)}.{b64url(payload.encode())}.{mark}"
        return Token(raw=raw, number=number, issued_at=self.now, has_iat=iat)

    # -- trouble ---------------------------------------------------------------------------------------

    def trouble(self, kind: str, seconds: float, pid: int | None = None) -> None:
        """Something has struck, and may be felt for so long."""
        if not self.excusable:
            return
        until = self.now + seconds
        key = (kind, pid)
        if until > self._troubles.get(key, -1e9):
            self._troubles[key] = until

    def troubled_until(self, kinds: tuple[str, ...], pid: int) -> float:
        """When the last trouble ended that may excuse what this process does."""
        found = self._troubles.get
        return max(max(found((kind, None), -1e9), found((kind, pid), -1e9)) for kind in kinds)

    # -- the run ---------------------------------------------------------------------------------------

    def every(self, seconds: Callable[[], float], act: Callable[[], bool | None]) -> None:
        """Do something again and again, until it returns False."""

        def again() -> None:
            if act() is not False:
                self.kernel.after(seconds(), again)

        self.kernel.after(seconds(), again)

    def run(self, until: float) -> None:
        """Let time pass until then."""
        self.kernel.run(until)


@cache
def header_of(kid: str) -> str:
    return b64url(json.dumps({"alg": "ES256", "kid": kid, "typ": "JWT"}).encode())


class _Source:
    """The provider as a source; every worker makes one, of the same name."""

    identity = "provider"

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def fetch(self, conditional: Conditional) -> Fetched:
        return self._provider.fetch(conditional)


@contextmanager
def playing(world: World) -> Iterator[World]:
    """Run the library in this world."""

    def broken_off(_: Reports, kind: str, where: str) -> None:
        world.court.broke_off(world.kernel.process, kind, where)

    with (
        patch.object(keys, "bind", bound_to_mark),
        patch.object(Reports, "broken_off", broken_off),
        patch.object(adoption, "import_jwks", imported_once),
        installed(world.kernel),
    ):
        yield world
