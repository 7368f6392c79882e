"""A flight on its way: the script by its rules, what performs it, and whom it tells."""

from __future__ import annotations

import os
import traceback
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from .core.effects import Fetch, Release, Report, Wait
from .core.order import Ending, Step, Use
from .driver import Performer, seconds_of, supervised
from .flight import SLACK, Flight
from .latch import Latch

QUICK_FETCH = 1.0  # seconds; issuers whose last fetch took longer must not delay others


class Owner(Protocol):
    """Whose flight it is: the refresher."""

    quick: bool  # whether the last fetch was

    def stop(self) -> None:
        """Begin nothing more, and end the flight early."""
        ...

    def report(self, report: Report) -> None:
        """The operator is to be told."""
        ...

    def use(self, flight: Flight, use: Use) -> None:
        """Keys are to be used while the flight goes on."""
        ...

    def settle(self, flight: Flight, ending: Ending) -> None:
        """For this process the flight has ended; a second ending changes nothing."""
        ...

    def break_off(self, flight: Flight, error: str, where: str) -> None:
        """A bug has ended the flight: the class of the error, and its traceback without its text."""
        ...


class Course:
    """Carries one flight on, whichever thread has a step for it; see `pool.Course`."""

    def __init__(
        self,
        owner: Owner,
        flight: Flight,
        script: Step,
        performer: Performer,
        *,
        stopped: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.flight = flight
        self.slow = not owner.quick
        self._owner = owner
        self._performer = performer
        self._clock = clock
        self._rules = supervised(script, self, stopped=stopped, clock=clock)
        self._begun = self._waits = False
        self._ending: Ending | None = None  # until it is put to use
        self.done = Latch()  # nothing more will be performed
        _courses.add(self)

    def is_over(self) -> bool:
        """Whether somebody has ended the flight before it began."""
        return self.flight.settled and not self._begun

    def advance(self) -> float | None:
        """Carry the flight on until it waits, or to its end."""
        self._waits = False
        try:
            try:
                return self._go_on()
            finally:
                self._end()
        finally:
            self._end()  # again, should an exception have met the first

    def _go_on(self) -> float | None:
        try:
            value: Any = None
            while True:
                act = self._rules.send(value) if self._begun else next(self._rules)
                self._begun = True
                now = self._clock()
                self.flight.deadline = now + seconds_of(act) + SLACK
                if isinstance(act, Wait) and act.release:
                    self._waits = True
                    return now + act.seconds
                value = self._performer.perform(act)
                if isinstance(act, Fetch):
                    self._owner.quick = self._clock() - now <= QUICK_FETCH
        except StopIteration as stop:
            self._ending = stop.value
        except BaseException as error:  # a bug must not leave the waiters or the issuer without an ending
            where = "".join(traceback.format_tb(error.__traceback__))
            self._owner.break_off(self.flight, type(error).__name__, where)
        return None

    def _end(self) -> None:
        """Leave nothing open, unless the flight waits; whatever a handler of the log has raised."""
        if self._waits:
            return
        try:
            self._performer.hang_up()
        finally:
            self.done.set()
            if self._ending is not None:
                self._owner.settle(self.flight, self._ending)
                self._ending = None

    # -- what the script has to say ----------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """See `Owner`."""
        self._owner.report(report)

    def use(self, use: Use) -> None:
        """See `Owner`."""
        self._owner.use(self.flight, use)

    def settle(self, ending: Ending) -> None:
        """See `Owner`."""
        self._owner.settle(self.flight, ending)

    def holds(self, lease: Release | None) -> None:
        """The flight holds the fleet's lease, or does no longer."""
        self.flight.lease = lease


# Also those whose verifier is gone, or whose flight counts as lost: they may hold a lease.
_courses: weakref.WeakSet[Course] = weakref.WeakSet()


def end_all(until: float, clock: Callable[[], float]) -> None:
    """Have every flight of this process end early and give its lease back, and wait for that until then."""
    under_way = [
        course
        for course in list(_courses)
        if course.flight.process == os.getpid() and not course.done.is_set()
    ]
    for course in under_way:
        course._owner.stop()
    for course in under_way:
        course.done.wait(until - clock())
