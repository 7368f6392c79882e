"""The threads that carry a verifier's flights: bounded, whatever hangs and however many issuers want one.

A flight is a `Course`: it is carried on until it waits, and then holds no thread. Threads are started when
there is something to carry and end when there is not; one stays for as long as anybody waits. Some of them
are kept for issuers whose last fetch was quick, so that slow providers, whoever asks for them, never delay
the others.
"""

from __future__ import annotations

import contextlib
import heapq
import threading
from collections import deque
from itertools import count
from typing import Protocol

from .clock import Clock
from .deadline import join_ended, monotonic
from .fork import Process, renew_if_forked, renewed_after_fork

MAX_WORKING = 16  # threads of one process that claim, fetch and publish at once
MAX_SLOW = 12  # of these, for issuers that have not shown to be quick
REST = 0.25  # seconds to wait for threads that may be about to end
STARTING = 5.0  # seconds for which a thread that was started may take to begin


class Course(Protocol):
    """A flight, or whatever else is carried on in steps."""

    slow: bool  # its issuer's last fetch was slow, or there was none yet

    def advance(self) -> float | None:
        """Carry it on until it waits, and return until when (monotonic seconds); None where it has ended.

        Never raises.
        """
        ...

    def is_over(self) -> bool:
        """Whether there is nothing left to carry on."""
        ...


class NoThread(RuntimeError):
    """No thread could be started, and there is none that would take the course."""


class Pool:
    """Carries courses in at most `MAX_WORKING` threads."""

    process: Process

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Forget the parent's threads and what they carried."""
        # Guards all below; held for a few microseconds, never over anything that blocks or calls others.
        # Taken with its own `with`: a condition's is Python code, in which a signal's handler could raise.
        self._lock = threading.Lock()
        self._bell = threading.Condition(self._lock)  # rung when the keeper has something new to look at
        self._ready: deque[Course] = deque()
        self._slow: deque[Course] = deque()  # ready too, for the places that slow ones may take
        self._parked: list[tuple[float, int, Course]] = []  # a heap, by when they go on
        self._numbers = count()
        self._threads: dict[threading.Thread, float] = {}  # and when each was started
        self._leaving: list[threading.Thread] = []  # those that have nothing left to do
        self._carried: dict[threading.Thread, Course] = {}
        self._keeper: threading.Thread | None = None  # who waits for the next parked one

    def submit(self, course: Course) -> None:
        """Have the course carried from its beginning. Raises `NoThread`, and then nobody carries it."""
        renew_if_forked(self)
        with self._lock:
            (self._slow if course.slow else self._ready).append(course)
        if not self._see_to_it():
            with self._lock, contextlib.suppress(ValueError):
                (self._slow if course.slow else self._ready).remove(course)
            raise NoThread

    def hurry(self, course: Course) -> None:
        """Carry the course on now if it waits."""
        renew_if_forked(self)
        with self._lock:
            waiting = [entry for entry in self._parked if entry[2] is course]
            for entry in waiting:
                self._parked.remove(entry)
                heapq.heapify(self._parked)
                self._ready.append(course)
        if waiting:
            self._see_to_it()

    def see_to_it(self) -> None:
        """Start a thread if something waits and nobody is left to carry it."""
        renew_if_forked(self)
        self._see_to_it()

    def rest(self) -> None:
        """Wait a moment until the threads have gone, so that a fork meets none of them; best effort."""
        renew_if_forked(self)
        ends = monotonic() + REST
        with self._lock:
            threads = [*self._threads, *self._leaving]
        for thread in threads:
            join_ended(thread, max(0.0, ends - monotonic()))

    # -- threads -----------------------------------------------------------------------------------------

    def _see_to_it(self) -> bool:
        """Wake or start a thread for what is ready; whether there is one that will come to it."""
        dead = self._dead()
        with self._lock:
            for thread in dead:
                self._threads.pop(thread, None)
                self._carried.pop(thread, None)
            if self._keeper in self._threads:
                self._bell.notify_all()
                return True
            slow = bool(self._slow) and self._carried_slow() < MAX_SLOW
            if not (self._ready or slow or self._parked):
                return True
            if len(self._threads) >= MAX_WORKING:
                return True
            thread = threading.Thread(target=self._work, name="skeldir-jwt-refresh", daemon=True)
            self._threads[thread] = self._clock.monotonic()
        # Outside of the lock: where threads are green, this one may run before start() returns.
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            with self._lock:
                self._threads.pop(thread, None)
                return bool(self._threads)
        except (
            KeyError
        ) as error:  # from Python's own tidying up, where a signal's handler has raised in start()
            raise (error.__context__ or error) from None
        return True

    def _dead(self) -> list[threading.Thread]:
        """Threads that have died. Called outside of the lock: to ask a green one switches to another."""
        now = self._clock.monotonic()
        started = list(self._threads.items())
        for thread in [thread for thread in list(self._leaving) if not thread.is_alive()]:
            with contextlib.suppress(ValueError):  # another thread was faster
                self._leaving.remove(thread)
        return [
            thread
            for thread, at in started
            if not (thread.ident is None and now - at < STARTING) and not thread.is_alive()
        ]

    def _work(self) -> None:
        me = threading.current_thread()
        try:
            while (course := self._next(me)) is not None:
                self._see_to_it()  # more may be ready than this thread can carry
                due = course.advance()
                with self._lock:
                    self._carried.pop(me, None)
                    if due is not None:
                        heapq.heappush(self._parked, (due, next(self._numbers), course))
                        if self._keeper is not None:
                            self._bell.notify_all()  # it may be due earlier than what is waited for
        finally:
            self._carried.pop(me, None)
            self._threads.pop(me, None)

    def _next(self, me: threading.Thread) -> Course | None:
        """The next course to carry; None where this thread is not needed any more, and has left."""
        bell, lock = self._bell, self._lock
        with lock:
            while bell is self._bell:  # or it was renewed under a thread of before, which is of no more use
                course = self._pick()
                if course is not None:
                    self._carried[me] = course
                    return course
                keeper = self._keeper
                if not self._parked or (keeper is not None and keeper is not me and keeper in self._threads):
                    self._threads.pop(me, None)  # here, so that whoever comes next starts another
                    self._leaving.append(me)
                    return None
                self._keeper = me
                try:
                    bell.wait(max(0.0, self._parked[0][0] - self._clock.monotonic()))
                finally:
                    self._keeper = None
        return None

    def _pick(self) -> Course | None:
        if self._parked and self._parked[0][0] <= self._clock.monotonic():
            return heapq.heappop(self._parked)[2]
        while self._ready:
            course = self._ready.popleft()
            if not course.is_over():
                return course
        while self._slow and self._carried_slow() < MAX_SLOW:
            course = self._slow.popleft()
            if not course.is_over():
                return course
        return None

    def _carried_slow(self) -> int:
        return sum(course.slow for thread, course in self._carried.items() if thread in self._threads)
