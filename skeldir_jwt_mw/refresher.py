"""Keeps one issuer's snapshot up to date: one refresh at a time, carried by threads of the verifier's pool.

Callers never run a refresh themselves. They read the snapshot without a lock, and where they need newer
keys they wait on a flight's future within their own budget; a caller that gives up or is cancelled changes
nothing for it.

What nobody may take on trust
-----------------------------
No state survives without somebody alive who will end it:

- A flight has an owner process and a deadline (`flight.py`). Whoever meets a lost one ends it, so the request
  after a fault recovers at once, or at the latest when the step that the fault hit has outlived its bound.
- Between a state that is taken and somebody who ends it stands nothing that blocks, calls others' code, logs
  or starts a thread; all that happens outside of every lock.
- Locks, threads and flights belong to a process. The slow path compares process ids, whether fork hooks ran
  or not.
- Only an answer counts. `_compared_at` is when a statement was *sent* that was answered; a look that got no
  answer, or one that was cut off by a freeze, is no look.
- A clock that stood still (a virtual machine restored from an image) shows in the wall clock, which went on.
"""

from __future__ import annotations

import logging
import threading
import traceback
import uuid
from collections.abc import Sequence
from typing import Any

# joserfc asks for it with the first key, and threads that import it side by side could meet it half made.
import cryptography.hazmat.backends.openssl.backend  # noqa: F401

from .clock import Clock
from .config import RefreshPolicy
from .core.effects import Conditional, Fetch, Release, Report, Wait
from .core.order import OPEN_GATE, Adopted, Ending, Gate, Order, Reason, Use
from .core.refresh import Refresh
from .core.schedule import Schedule
from .core.seal import Sealer
from .deadline import Purpose
from .driver import Performer, seconds_of, supervised
from .errors import ConfigurationError
from .flight import SLACK, Flight
from .fork import renew_if_forked, renewed_after_fork
from .pool import NoThread, Pool
from .snapshot import Snapshot, fixed
from .sources import Source
from .stores.base import Store

logger = logging.getLogger("skeldir_jwt_mw")

ATTENTION = 1.0  # seconds after which a flight in the air is looked at again
SLOW_FETCH = 1.0  # seconds; issuers whose last fetch took longer must not delay others
CLOCK_GAP = 5.0  # seconds by which the wall clock may leap before keys are taken for that much older

Note = tuple[int, str, tuple[object, ...]]  # a line for the log: level, text, arguments


class Refresher:
    """Keeps one issuer's snapshot up to date.

    `snapshot`, `attention_at`, `attention_by` and `gate` are read by every request without a lock and are
    written only under `_lock`. `attention_at` is when a request must call `attend`, in monotonic seconds;
    `attention_by` the same on the wall clock, for the case that the other one stood still.
    """

    process: int

    def __init__(
        self,
        *,
        name: str,
        source: Source,
        source_key: str,
        store: Store,
        policy: RefreshPolicy,
        sealer: Sealer,
        algorithms: Sequence[str],
        coordinated: bool,
        pool: Pool,
        clock: Clock,
    ) -> None:
        self.name = name
        self.static = bool(getattr(source, "static", False))  # its keys never change
        self.source_key = source_key
        self.snapshot: Snapshot | None = None
        self.attention_at = self.attention_by = float("-inf")
        self.gate: Gate = OPEN_GATE
        self.source = source
        self._store = store
        self._pool = pool
        self._policy = policy
        self._algorithms = tuple(algorithms)
        self._coordinated = coordinated
        self._clock = clock
        self._schedule = Schedule(policy=policy, draw=clock.draw)
        self._script = Refresh(source_key=source_key, policy=policy, sealer=sealer, schedule=self._schedule)
        # Seconds between two looks at the row: more, and one was missed.
        self._longest_silence = max(
            policy.check_interval,
            min(policy.check_interval + policy.fetch_timeout, policy.refresh_interval),
        )
        self._lock = threading.Lock()  # guards everything below and every write of the fields above
        self._fetching = Purpose()
        self._stopping = threading.Event()
        self._flight: Flight | None = None
        self._course: _Course | None = None  # of the latest flight
        self._giving_back: _GivingBack | None = None
        self._check_at = float("-inf")
        self._compared_at = float("-inf")  # keys and row; before the statement was sent
        self._unanswered_at = float("-inf")  # before the last statement without an answer, if it was the last
        self._overdue_at = float("inf")  # the revocation bound, where it counts
        self._clocks_apart = self._wall_ahead()
        self._bad = -1
        self._unreadable = False
        self._failures = 0
        self._slow = True  # until a fetch was quick
        self._stranger_until = float("-inf")
        self._strangers = 0
        self._last_error: str | None = None
        self._told: set[str] = set()  # what the operator was told once
        if self.static:
            self._load_static()
        renewed_after_fork(self)

    # -- asked by requests -----------------------------------------------------------------------------

    def usable(self, now: float) -> Snapshot | None:
        """The snapshot, unless there is none or it has expired."""
        snapshot = self.snapshot
        return snapshot if snapshot is not None and now < snapshot.expires_at else None

    def attend(self, now: float) -> Flight | None:
        """Look at the row where that is due; the flight is returned to a request that should wait for it.

        That is the first request after a silence, so that a check was missed. Past the revocation bound it is
        every request, until there was an answer.
        """
        begun: _Course | None = None
        self._end_what_is_lost(now)
        with self._lock:
            self._notice_a_gap(now)
            if self._flight is None:
                if self.usable(now) is None or now < self._check_at or self._stopping.is_set():
                    self._rearm(self._check_at)  # without usable keys the caller demands a refresh
                    return None
                begun = self._board("scheduled", now, force=False)
            flight = self._flight
            self._rearm(now + ATTENTION)
            waits = self._missed_a_check(now) and (begun is not None or now >= self._overdue_at)
        if begun is not None:
            self._take_off(begun)
        return flight if waits else None

    def is_overdue(self, now: float) -> bool:
        """Whether the keys at hand are past the revocation bound while the store gives answers."""
        return now >= self._overdue_at and now - self._unanswered_at > self._longest_silence

    def demand(self, reason: Reason, now: float, *, force: bool, heed_gate: bool = True) -> Flight | Gate:
        """Join the flight in the air or start one; a closed gate is returned instead, without any I/O."""
        gate = self.gate
        if heed_gate and now < gate.until:
            return gate
        self._end_what_is_lost(now)
        with self._lock:
            if self._flight is not None:
                return self._flight
            if self._stopping.is_set():
                return Gate(until=now, reason="closed")
            if heed_gate and now < self.gate.until:
                return self.gate
            begun = self._board(reason, now, force=force)
        self._take_off(begun)
        return begun.flight

    def status(self, now: float) -> dict[str, Any]:
        """What is in use and what comes next, in plain values; durations in seconds."""
        renew_if_forked(self)
        with self._lock:
            snapshot, gate, check_at = self.snapshot, self.gate, self._check_at
            last_error, refreshing, readable = (
                self._last_error,
                self._flight is not None,
                not self._unreadable,
            )
        return {
            "ready": self.is_ready(now),
            "kids": list(snapshot.keys.kids) if snapshot else [],
            "generation": snapshot.generation if snapshot else 0,
            "age": max(0.0, now - snapshot.adopted.fetched_at) if snapshot else None,
            "next_refresh": _left(snapshot.adopted.refresh_at, now) if snapshot else None,
            "next_check": _left(check_at, now),
            "expires": _left(snapshot.expires_at, now) if snapshot else None,
            "last_error": last_error,
            "row_readable": readable,
            "gate": {"closed_for": _left(gate.until, now), "reason": gate.reason},
            "refreshing": refreshing,
            "source_key": None if self.static else self.source_key,
        }

    def is_ready(self, now: float) -> bool:
        """Whether there are usable keys, and the fleet's row is not hidden from this process; no I/O."""
        snapshot = self.usable(now)
        return snapshot is not None and len(snapshot.keys) > 0 and not self._unreadable

    # -- life cycle ------------------------------------------------------------------------------------

    def serve(self, source: Source, algorithms: Sequence[str]) -> None:
        """Take a source of the same identity, and other algorithms; keys, gate and flight stay."""
        with self._lock:
            self.source = source
            if self._algorithms != tuple(algorithms):
                self._algorithms = tuple(algorithms)
                if self.snapshot is not None:
                    self.snapshot = self.snapshot.for_algorithms(self._algorithms)

    def stop(self) -> None:
        """Start no more refreshes, let the one in the air end early, and give the fleet's lease back."""
        self._stopping.set()
        course = self._course
        if course is None:
            return
        self._pool.hurry(course)
        lease = course.flight.lease
        if lease is not None and self._giving_back is None:
            giving_back = _GivingBack(course.performer(), lease)
            try:
                self._pool.submit(giving_back)
            except NoThread:  # then the lease ends by itself
                return
            self._giving_back = giving_back

    def join(self, seconds: float) -> None:
        """Wait so long for the lease of a stopped refresher to be given back."""
        if self._giving_back is not None:
            self._giving_back.done.wait(seconds)

    def renew(self) -> None:
        """Forget what belonged to the parent's threads; in the child of a fork."""
        self._lock = threading.Lock()
        stopped = self._stopping.is_set()
        self._stopping = threading.Event()
        if stopped:
            self._stopping.set()
        self._fetching = Purpose()
        self._flight = self._course = self._giving_back = None
        if self.snapshot is not None and self.snapshot.expires_at != float("inf"):
            # A fleet of forked children must not look at the row in the same instant.
            spread = self._policy.check_interval * (0.5 + 0.5 * self._clock.draw())
            self._check_at = min(self._check_at, self._clock.monotonic()) + spread
            self._rearm(self._check_at)

    # -- the flight ------------------------------------------------------------------------------------

    def _board(self, reason: Reason, now: float, *, force: bool) -> _Course:
        """Make a flight; the caller holds `_lock`, and lets it take off outside."""
        snapshot = self.snapshot
        order = Order(
            owner=uuid.uuid4(),
            reason=reason,
            force=force,
            need=self.usable(now) is None,
            aged=snapshot is None or now > self._due_at(snapshot.adopted),
            trusted=snapshot.adopted if snapshot else None,
            have=snapshot.generation if snapshot else 0,
            bad=self._bad,
            unreadable=self._unreadable,
            failures=self._failures,
            replace_stranger=now >= self._stranger_until,
            coordinated=self._coordinated,
        )
        flight = Flight(started_at=now, forced=force)
        course = _Course(self, flight, order, slow=self._slow)
        self._flight, self._course = flight, course
        return course

    def _take_off(self, course: _Course) -> None:
        try:
            self._pool.submit(course)
        except NoThread:
            logger.error("no thread could be started to refresh the keys of %s", self.name)
            self.settle(course.flight, self._broken_off(course.order))
        except BaseException:  # a signal's handler raised, or memory is out: nobody will fly it
            self.settle(course.flight, self._broken_off(course.order))
            raise

    def _end_what_is_lost(self, now: float) -> None:
        """End a flight that nobody can be believed to end, and renew what a fork has left behind."""
        renew_if_forked(self)
        flight = self._flight
        if flight is None:
            return
        if not flight.is_lost(now):
            self._pool.see_to_it()
            return
        with self._lock:
            flight.settled = True
            if self._flight is flight:
                self._flight = None
                self._check_at = now
        flight.land(Ending(kind="failed", gate=Gate(until=now, reason="lost"), check_at=now))
        logger.info("a refresh of the keys of %s was lost with its thread, or by a freeze", self.name)

    def settle(self, flight: Flight, ending: Ending) -> None:
        """Put an ending to use and wake its waiters; the second ending of a flight changes nothing."""
        notes: list[Note] = []
        try:
            with self._lock:
                first, flight.settled = not flight.settled, True
                if self._flight is flight:
                    self._flight = None
                if first:
                    self._apply(flight, ending, notes)
                elif ending.adopted is not None:
                    self._adopt(flight, ending.adopted, notes)  # a lost flight found its way home
        finally:
            flight.land(ending)  # outside the lock: this wakes everybody who waits
        for level, text, arguments in notes:
            logger.log(level, text, *arguments)

    def use(self, flight: Flight, use: Use) -> None:
        """Put keys to use whose refresh goes on."""
        notes: list[Note] = []
        with self._lock:
            self._adopt(flight, use.adopted, notes)
            self._overdue_at = float("inf") if use.provider_fails else self._bound_of(use.adopted)
            self._rearm(self._clock.monotonic() + ATTENTION)
        for level, text, arguments in notes:
            logger.log(level, text, *arguments)

    def _broken_off(self, order: Order) -> Ending:
        return self._schedule.failed_here(order, self._clock.monotonic())

    def _apply(self, flight: Flight, ending: Ending, notes: list[Note]) -> None:
        """Put an ending to use; the caller holds `_lock`."""
        if ending.adopted is not None:
            self._adopt(flight, ending.adopted, notes)
        self.gate = ending.gate
        self._bad = ending.bad
        self._unreadable = ending.unreadable
        if not ending.unreadable:
            self._strangers = 0
        self._failures = self._failures + 1 if ending.failed_here else 0
        self._check_at = ending.check_at
        if ending.compared_at is not None:
            self._compared_at = ending.compared_at
        self._unanswered_at = float("-inf") if ending.unanswered_at is None else ending.unanswered_at
        if ending.provider_fails:
            self._overdue_at = float("inf")
        elif self.snapshot is not None:
            self._overdue_at = self._bound_of(self.snapshot.adopted)
        self._rearm(ending.check_at)

    def _adopt(self, flight: Flight, adopted: Adopted, notes: list[Note]) -> None:
        """Replace the snapshot; the caller holds `_lock`."""
        before = self.snapshot
        self.snapshot = Snapshot.after(before, adopted, self._algorithms)
        flight.adopted = True
        self._last_error = None
        if before is not None and before.keys is self.snapshot.keys:
            return
        if len(self.snapshot.keys) == 0:
            notes.append(
                (logging.ERROR, "no key of %s fits the algorithms that it is configured for", (self.name,))
            )

    def _due_at(self, adopted: Adopted) -> float:
        """When the fleet's next fetch was due at the latest, whatever a row says that nothing seals."""
        return adopted.fetched_at + self._policy.refresh_interval + self._policy.jitter

    def _bound_of(self, adopted: Adopted) -> float:
        """When a key that the provider has dropped since is to be refused, though a leader has died."""
        policy = self._policy
        return self._due_at(adopted) + policy.check_interval + policy.fetch_timeout + policy.lease

    def _missed_a_check(self, now: float) -> bool:
        """Whether keys and row were not compared when they had to be, though the store did not refuse it."""
        longest = self._longest_silence if self._policy.background else 0.0
        return now - max(self._compared_at, self._unanswered_at) > longest

    def _rearm(self, attention_at: float) -> None:
        """Say when a request has to call `attend` next; the caller holds `_lock`."""
        expires_at = self.snapshot.expires_at if self.snapshot else float("-inf")
        self.attention_at = min(attention_at, expires_at, self._overdue_at)
        self.attention_by = self.attention_at + self._clocks_apart + CLOCK_GAP

    def _wall_ahead(self) -> float:
        return self._clock.wall() - self._clock.monotonic()

    def _notice_a_gap(self, now: float) -> None:
        """Take keys for older where the wall clock went on and ours did not; the caller holds `_lock`."""
        before, self._clocks_apart = self._clocks_apart, self._wall_ahead()
        gap = self._clocks_apart - before
        if gap <= CLOCK_GAP or self.snapshot is None or self.static:
            return
        self.snapshot = self.snapshot.aged(gap)
        self._compared_at -= gap
        self._overdue_at -= gap
        self._check_at = min(self._check_at, now)

    def _load_static(self) -> None:
        document = self.source.fetch(Conditional()).document
        assert document is not None  # a static source always has its document
        self.snapshot = Snapshot.after(None, fixed(document, self._clock.monotonic()), self._algorithms)
        if len(self.snapshot.keys) == 0:
            allowed = ", ".join(self._algorithms)
            raise ConfigurationError(f"no key of the source of {self.name} is for one of: {allowed}")
        self.attention_at = self.attention_by = self._check_at = float("inf")
        self.gate = Gate(until=float("inf"), reason=None)

    # -- what the operator is told ---------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """Log what a script reports, without flooding the log."""
        match report.event:
            case "refreshed":
                logger.info("fetched the keys of %s (%s)", self.name, report.detail)
            case "forged_row":
                logger.warning("the shared row of %s was tampered with: %s", self.name, report.detail)
            case "stranger_row":
                with self._lock:
                    now = self._clock.monotonic()
                    self._last_error = f"the shared row is {report.detail}"
                    if now >= self._stranger_until:
                        pause = self._policy.backoff_base * 2 ** min(self._strangers, 20)
                        self._stranger_until = now + min(self._policy.refresh_interval, pause)
                        self._strangers += 1
                self._tell_once(
                    "stranger",
                    "the shared row of %s is not ours: %s (two services? give each a namespace)",
                    report,
                )
            case "private_key":
                self._tell_once("private", "about the keys of %s: %s; tell the provider", report)
            case "fetch_failed":
                self._last_error = report.detail
                logger.warning("fetching the keys of %s failed: %s", self.name, report.detail)
            case "store_failed":
                self._last_error = report.detail
                logger.warning("the store of %s gave no answer: %s", self.name, report.detail)
            case "failed_here":
                self._last_error = report.detail
                logger.error("the keys of %s could not be fetched from here: %s", self.name, report.detail)

    def _tell_once(self, what: str, text: str, report: Report) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning(text, self.name, report.detail)


def _left(until: float, now: float) -> float | None:
    """Seconds left, or None where there is no end to them."""
    return None if until == float("inf") else max(0.0, until - now)


class _Course:
    """A flight on its way: the script by its rules, what performs it, and whom it tells."""

    def __init__(self, refresher: Refresher, flight: Flight, order: Order, *, slow: bool) -> None:
        self.flight = flight
        self.order = order
        self.slow = slow
        self._refresher = refresher
        self._performer = self.performer()
        self._clock = refresher._clock.monotonic
        self._rules = supervised(
            refresher._script.run(order), self, stopped=refresher._stopping.is_set, clock=self._clock
        )
        self._begun = False

    def performer(self) -> Performer:
        """One more performer of this refresher's acts."""
        refresher = self._refresher
        return Performer(
            source=refresher.source,
            source_key=refresher.source_key,
            store=refresher._store,
            fetching=refresher._fetching,
            stopping=refresher._stopping,
        )

    def is_over(self) -> bool:
        """Whether somebody has ended the flight already; an early ending does not end the work."""
        return self.flight.settled and not self._begun

    def advance(self) -> float | None:
        """Carry the flight on until it waits, or to its end; see `pool.Course`."""
        flight, ending = self.flight, None
        try:
            value: Any = None
            while True:
                act = self._rules.send(value) if self._begun else next(self._rules)
                self._begun = True
                now = self._clock()
                flight.deadline = now + seconds_of(act) + SLACK
                if isinstance(act, Wait) and act.release:
                    return now + act.seconds
                value = self._performer.perform(act)
                if isinstance(act, Fetch):
                    self._refresher._slow = self._clock() - now > SLOW_FETCH
        except StopIteration as stop:
            ending = stop.value
        except BaseException as error:  # a bug must not leave the waiters or the issuer without an ending
            where = "".join(traceback.format_tb(error.__traceback__))  # its text may hold a secret
            name = self._refresher.name
            logger.error("the refresh of %s broke off: %s\n%s", name, type(error).__name__, where)
        try:
            self._performer.hang_up()
        finally:
            if ending is None:
                ending = self._refresher._broken_off(self.order)
            self._refresher.settle(flight, ending)
        return None

    # -- what the script has to say ----------------------------------------------------------------------

    def report(self, report: Report) -> None:
        self._refresher.report(report)

    def use(self, use: Use) -> None:
        self._refresher.use(self.flight, use)

    def settle(self, ending: Ending) -> None:
        self._refresher.settle(self.flight, ending)

    def holds(self, lease: Release | None) -> None:
        self.flight.lease = lease


class _GivingBack:
    """Gives the lease of a flight back that was stopped, while its own thread may still be fetching."""

    slow = False

    def __init__(self, performer: Performer, lease: Release) -> None:
        self.done = threading.Event()
        self._performer = performer
        self._lease = lease

    def is_over(self) -> bool:
        return self.done.is_set()

    def advance(self) -> float | None:
        try:
            self._performer.perform(self._lease)
            self._performer.hang_up()
        except Exception as error:  # best effort: the lease ends by itself
            logger.debug("a lease was not given back: %s", type(error).__name__)
        finally:
            self.done.set()
        return None
