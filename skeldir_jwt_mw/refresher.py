"""Runs the refresh script: one short-lived daemon thread per refresh, one refresh at a time per issuer.

Callers never run a refresh themselves. They read the snapshot without a lock, and where they need newer
keys they wait on a flight's future within their own budget; a caller that gives up or is cancelled changes
nothing for it.
"""

from __future__ import annotations

import logging
import random
import threading
import traceback
import uuid
from collections.abc import Callable, Sequence
from typing import Any

# joserfc asks for it with the first key, and threads that import it side by side could meet it half made.
import cryptography.hazmat.backends.openssl.backend  # noqa: F401

from .config import RefreshPolicy
from .core.effects import Conditional, Report
from .core.order import OPEN_GATE, Ending, Gate, Order, Reason
from .core.refresh import Refresh
from .core.schedule import Schedule
from .core.seal import Sealer
from .deadline import monotonic
from .driver import Driver
from .errors import ConfigurationError
from .flight import Flight
from .snapshot import Snapshot, fixed
from .sources import Source
from .stores.base import Store

logger = logging.getLogger("skeldir_jwt_mw")

MAX_WORKING = 16  # refreshes of one process in claim, fetch or publish at once


class Refresher:
    """Keeps one issuer's snapshot up to date.

    `snapshot`, `attention_at` and `gate` are read by every request without a lock and are written only under
    `_lock`. `attention_at` is when a request must call `attend`, in monotonic seconds.
    """

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
        working: threading.BoundedSemaphore,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self.static = bool(getattr(source, "static", False))  # its keys never change
        self.source_key = source_key
        self.snapshot: Snapshot | None = None
        self.attention_at = float("-inf")
        self.gate: Gate = OPEN_GATE
        self._source = source
        self._store = store
        self._working = working
        self._policy = policy
        self._algorithms = tuple(algorithms)
        self._coordinated = coordinated
        self._clock = clock
        self._random = random.Random()  # noqa: S311  spreads load, guards nothing
        self._script = Refresh(
            source_key=source_key,
            policy=policy,
            sealer=sealer,
            schedule=Schedule(policy=policy, draw=self._random.random),
        )
        self._lock = threading.Lock()  # guards everything below and every write of the fields above
        self._flight: Flight | None = None
        self._stopping = threading.Event()
        self._driver = self._new_driver()
        self._check_at = float("-inf")
        self._looked_at = float("-inf")
        self._bad = -1
        self._store_failures = 0
        self._stranger_until = float("-inf")
        self._strangers = 0
        self._last_error: str | None = None
        self._told: set[str] = set()  # what the operator was told once
        if self.static:
            self._load_static()

    # -- asked by requests -----------------------------------------------------------------------------

    def usable(self, now: float) -> Snapshot | None:
        """The snapshot, unless there is none or it has expired."""
        snapshot = self.snapshot
        return snapshot if snapshot is not None and now < snapshot.expires_at else None

    def attend(self, now: float) -> Flight | None:
        """Look at the row in the background if that is due; returns a flight only if it is worth a wait."""
        with self._lock:
            flight = self._flight
            if flight is not None:
                return flight if flight.idle else None
            if self.usable(now) is None or now < self._check_at or self._stopping.is_set():
                return None  # without usable keys the caller demands a refresh
            idle = now - self._looked_at > self._policy.refresh_interval
            flight = self._start("scheduled", now, force=False, idle=idle)
            return flight if idle else None

    def demand(
        self,
        reason: Reason,
        now: float,
        *,
        force: bool,
        patience: float | None = None,
        heed_gate: bool = True,
    ) -> Flight | Gate:
        """Join the flight in the air or start one; a closed gate is returned instead, without any I/O."""
        gate = self.gate
        if heed_gate and now < gate.until:
            return gate
        with self._lock:
            if self._flight is not None:
                return self._flight
            if self._stopping.is_set():
                return Gate(until=now, reason="closed")
            if heed_gate and now < self.gate.until:
                return self.gate
            return self._start(reason, now, force=force, patience=patience)

    def status(self, now: float) -> dict[str, Any]:
        """What is in use and what comes next, in plain values; durations in seconds."""
        with self._lock:
            snapshot, gate, check_at = self.snapshot, self.gate, self._check_at
            last_error, refreshing = self._last_error, self._flight is not None
        usable = snapshot is not None and now < snapshot.expires_at
        return {
            "ready": usable and snapshot is not None and len(snapshot.keys) > 0,
            "kids": list(snapshot.keys.kids) if snapshot else [],
            "generation": snapshot.generation if snapshot else 0,
            "age": max(0.0, now - snapshot.adopted.fetched_at) if snapshot else None,
            "next_refresh": _left(snapshot.adopted.refresh_at, now) if snapshot else None,
            "next_check": _left(check_at, now),
            "expires": _left(snapshot.expires_at, now) if snapshot else None,
            "last_error": last_error,
            "gate": {"closed_for": _left(gate.until, now), "reason": gate.reason},
            "refreshing": refreshing,
            "source_key": None if self.static else self.source_key,
        }

    # -- life cycle ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Start no more refreshes and let the one in the air end early."""
        self._stopping.set()

    def after_fork(self, working: threading.BoundedSemaphore) -> None:
        """Forget what belonged to the parent's threads; called in the child while it has one thread."""
        self._lock = threading.Lock()
        stopped = self._stopping.is_set()
        self._stopping = threading.Event()
        if stopped:
            self._stopping.set()
        self._working = working
        self._driver = self._new_driver()
        self._flight = None
        self._random.seed()
        if self.snapshot is not None and self.snapshot.expires_at != float("inf"):
            # A fleet of forked children must not look at the row in the same instant.
            spread = self._policy.check_interval * (0.5 + 0.5 * self._random.random())
            self._check_at = min(self._check_at, self._clock()) + spread
            self.attention_at = min(self._check_at, self.snapshot.expires_at)

    def _new_driver(self) -> Driver:
        return Driver(
            source=self._source,
            source_key=self.source_key,
            store=self._store,
            working=self._working,
            stopping=self._stopping,
            clock=self._clock,
        )

    # -- the flight ------------------------------------------------------------------------------------

    def _start(
        self, reason: Reason, now: float, *, force: bool, idle: bool = False, patience: float | None = None
    ) -> Flight:
        """Start a flight; the caller holds `_lock`."""
        snapshot = self.snapshot
        need = self.usable(now) is None
        order = Order(
            owner=uuid.uuid4(),
            reason=reason,
            force=force,
            need=need,
            aged=snapshot is None or now - snapshot.adopted.fetched_at > self._policy.refresh_interval,
            trusted=snapshot.adopted if snapshot else None,
            have=snapshot.generation if snapshot else 0,
            bad=self._bad,
            patience=self._policy.wait_budget if patience is None else patience,
            store_failures=self._store_failures,
            replace_stranger=now >= self._stranger_until,
            coordinated=self._coordinated,
        )
        flight = Flight(started_at=now, forced=force, idle=idle)
        self._flight = flight
        self._looked_at = now
        if snapshot is not None and not need and not idle:
            self.attention_at = snapshot.expires_at  # nobody else needs to look meanwhile
        thread = threading.Thread(
            target=self._fly, args=(flight, order), name="skeldir-jwt-refresh", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            logger.error("no thread could be started to refresh the keys of %s", self.name)
            self._apply(flight, self._crashed())
            flight.future.set_result(self._crashed())
        return flight

    def _fly(self, flight: Flight, order: Order) -> None:
        try:
            ending = self._driver.drive(self._script.run(order), _FlightListener(self, flight))
        except BaseException as error:  # a bug must not leave the waiters or the issuer without an ending
            where = "".join(traceback.format_tb(error.__traceback__))  # its text may hold a secret
            logger.error("the refresh of %s broke off: %s\n%s", self.name, type(error).__name__, where)
            ending = self._crashed()
        self.settle(flight, ending)

    def settle(self, flight: Flight, ending: Ending) -> None:
        """Put an ending to use and wake its waiters; the second ending of a flight changes nothing."""
        with self._lock:
            if flight.settled:
                return
            self._apply(flight, ending)
        flight.future.set_result(ending)  # outside the lock: this wakes everybody who waits

    def _crashed(self) -> Ending:
        now = self._clock()
        gate = Gate(until=now + self._policy.floor, reason="failed")
        return Ending(kind="failed", gate=gate, check_at=now + self._policy.check_interval)

    def _apply(self, flight: Flight, ending: Ending) -> None:
        """Put an ending to use; the caller holds `_lock`."""
        flight.settled = True
        now = self._clock()
        if ending.adopted is not None:
            self.snapshot = Snapshot.after(self.snapshot, ending.adopted, self._algorithms)
            self._last_error = None
            if len(self.snapshot.keys) == 0:
                logger.error("no key of %s fits the algorithms that it is configured for", self.name)
        self.gate = ending.gate
        self._bad = ending.bad
        self._store_failures = self._store_failures + 1 if ending.store_failed else 0
        self._check_at = ending.check_at
        self._looked_at = now
        expires_at = self.snapshot.expires_at if self.snapshot else float("-inf")
        self.attention_at = min(ending.check_at, expires_at)
        if self._flight is flight:
            self._flight = None

    def _load_static(self) -> None:
        document = self._source.fetch(Conditional()).document
        assert document is not None  # a static source always has its document
        self.snapshot = Snapshot.after(None, fixed(document, self._clock()), self._algorithms)
        if len(self.snapshot.keys) == 0:
            allowed = ", ".join(self._algorithms)
            raise ConfigurationError(f"no key of the source of {self.name} is for one of: {allowed}")
        self.attention_at = self._check_at = float("inf")
        self.gate = Gate(until=float("inf"), reason=None)

    # -- what the operator is told ---------------------------------------------------------------------

    def tell(self, report: Report) -> None:
        """Log what a script reports, without flooding the log."""
        match report.event:
            case "refreshed":
                logger.info("fetched the keys of %s (%s)", self.name, report.detail)
            case "forged_row":
                logger.warning("the shared row of %s was tampered with: %s", self.name, report.detail)
            case "stranger_row":
                with self._lock:
                    now = self._clock()
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

    def _tell_once(self, what: str, text: str, report: Report) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning(text, self.name, report.detail)


def _left(until: float, now: float) -> float | None:
    """Seconds left, or None where there is no end to them."""
    return None if until == float("inf") else max(0.0, until - now)


class _FlightListener:
    """Passes what a script says on to the refresher, for the flight that it belongs to."""

    def __init__(self, refresher: Refresher, flight: Flight) -> None:
        self._refresher = refresher
        self._flight = flight

    def report(self, report: Report) -> None:
        self._refresher.tell(report)

    def settle(self, ending: Ending) -> None:
        self._refresher.settle(self._flight, ending)
