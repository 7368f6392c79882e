"""Deadlines for calls that have none of their own: name resolution, drivers, other people's code."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# CLOCK_BOOTTIME goes on while the machine sleeps, so a laptop or a paused VM does not wake up with stale
# keys.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)

GLANCE = 0.05  # seconds between two looks at whether a result is still wanted
JOIN_SECONDS = 1.0  # for a thread that has nothing left to do
_GLANCES = 100  # at the system's list of threads, 100 us apart

# In Python 3.12 `join` returns a moment before the system's thread has gone, and a fork counts those.
_JOIN_IS_EARLY = (3, 12) <= sys.version_info < (3, 13) and sys.platform == "linux"


def monotonic() -> float:
    """Seconds on a clock that never steps and, where the platform has one, counts suspended time too."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class DeadlineExceeded(Exception):
    """The call did not end in time."""


class Occupied(Exception):
    """Earlier calls of the same purpose have not ended, so this one was not begun."""

    def __init__(self, purpose: Purpose) -> None:
        super().__init__()
        self.purpose = purpose


class GivenUp(Exception):
    """Whoever waited for the call does not want its result any more."""


class _Ending:
    """Whether the interpreter is ending, and starts no threads any more (Python 3.12 and later)."""

    now = False


def make_do_without_threads() -> None:
    """From here on calls are made in the thread that asks, without a deadline of ours; for the very end."""
    _Ending.now = True


def are_threads_over() -> bool:
    """Whether `make_do_without_threads` was called."""
    return _Ending.now


def join_ended(thread: threading.Thread, seconds: float = JOIN_SECONDS) -> None:
    """Wait until a thread that is at its end has gone for the system too, so that a fork meets none of ours.

    Python 3.12 and later warn about a fork beside threads. Takes no longer than `seconds`.
    """
    with contextlib.suppress(RuntimeError):  # it has not been started
        thread.join(seconds)
    if _JOIN_IS_EARLY and thread.native_id not in (None, threading.get_native_id()):
        for _ in range(_GLANCES):
            if not os.path.exists(f"/proc/self/task/{thread.native_id}"):
                return
            time.sleep(0.0001)


class _Life:
    """How long a call runs: until its thread has ended, or in a forked child not at all."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.thread = threading.Thread(target=run, name="skeldir-jwt-call", daemon=True)
        self.abandoned = False  # written by who waits for the call
        self.over = False  # written by the thread, and by who waits where there is no thread
        self._pid = os.getpid()

    def goes_on(self) -> bool:
        if self.over or self._pid != os.getpid():
            return False
        return self.thread.ident is None or self.thread.is_alive()


class _Call(Generic[T]):
    """A call in a thread of its own, and whose its result is. There is no lock that an exception could keep.

    Who waits marks the call as abandoned and then looks for a result; the thread leaves its result and then
    looks for that mark. So one of them finds both, and of two who find them only one can take the result.
    """

    def __init__(self, call: Callable[[], T], discard: Callable[[T], None]) -> None:
        self.life = _Life(self._run)
        self._call = call
        self._discard = discard
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._done = threading.Event()

    def _run(self) -> None:
        try:
            if self.life.abandoned:
                return
            try:
                self._results.append(self._call())
            except BaseException as error:  # handed to the caller's thread, which raises it
                self._errors.append(error)
            self._discard_unawaited()
        finally:
            self.life.over = True
            self._done.set()

    def _discard_unawaited(self) -> None:
        if not self.life.abandoned:
            return
        try:
            result = self._results.pop()
        except IndexError:  # there is none, or the other thread was faster
            return
        self._discard(result)

    def result(self, seconds: float, given_up: Callable[[], bool] | None = None) -> T:
        """Begin, and wait so long. Whatever is raised here or in a signal handler, nothing is left behind."""
        if _Ending.now:
            return self._call()
        try:
            self.life.thread.start()
            if self._ended_within(max(0.0, seconds), given_up):
                join_ended(self.life.thread)
                if self._errors:
                    raise self._errors.pop()
                if self._results:
                    return self._results[0]
            raise DeadlineExceeded
        except BaseException:
            self.leave()
            raise

    def _ended_within(self, seconds: float, given_up: Callable[[], bool] | None) -> bool:
        if given_up is None:
            return self._done.wait(seconds)
        ends = monotonic() + seconds
        while not self._done.wait(min(GLANCE, max(0.0, ends - monotonic()))):
            if given_up():
                raise GivenUp
            if monotonic() >= ends:
                return False
        return True

    def leave(self) -> None:
        """Nobody waits any more; may be called twice."""
        self.life.abandoned = True
        if self.life.thread.ident is None:  # could not be started; if it begins after all, it ends at once
            self.life.over = True
        self._discard_unawaited()


def _forget(_: object) -> None:
    """A result that needs no closing."""


def within(seconds: float, call: Callable[[], T], *, discard: Callable[[T], None] = _forget) -> T:
    """Run `call` in a daemon thread and return its result, or raise `DeadlineExceeded` after `seconds`.

    The thread is then abandoned, not stopped: should it end after all, its result goes to `discard`. An
    exception of `call` is raised here as it is. A thread that ended in time has gone when this returns; one
    that cannot be started is a RuntimeError. Nothing bounds the number of abandoned threads: see `Purpose`.
    """
    return _Call(call, discard).result(seconds)


class Purpose:
    """Runs the calls of one purpose within deadlines, and bounds how many threads they leave behind.

    `most` calls run at once, an abandoned one until it ends by itself; one more is refused with `Occupied`.
    With `side_by_side` only abandoned calls count, so that any number of callers go on while none hangs.
    A call also counts for the purpose that this one is `part_of`. Safe to use from threads, and after a fork,
    where the parent's calls do not go on.
    """

    def __init__(self, *, most: int = 1, side_by_side: bool = False, part_of: Purpose | None = None) -> None:
        self._most = most
        self._side_by_side = side_by_side
        self._part_of = part_of
        # Any thread appends, and removes what does not go on; there is no lock that could stay held.
        self._lives: list[_Life] = []

    def within(
        self,
        seconds: float,
        call: Callable[[], T],
        *,
        discard: Callable[[T], None] = _forget,
        given_up: Callable[[], bool] | None = None,
    ) -> T:
        """As the function of this name; raises `Occupied` where it does not begin.

        `given_up` is asked twenty times a second; once it is true, the wait ends with `GivenUp`.
        """
        mine = _Call(call, discard)
        try:
            try:
                self._admit(mine.life)
                return mine.result(seconds, given_up)
            except BaseException:
                mine.leave()
                raise
        except BaseException:
            mine.leave()  # again, should an exception have met the first
            raise

    def _admit(self, life: _Life) -> None:
        """Of calls that begin together those go first that are first in the list."""
        if self._part_of is not None:
            self._part_of._admit(life)
        self._lives.append(life)
        before_mine = 0
        for other in tuple(self._lives):
            if other is life:
                break
            if not other.goes_on():
                with contextlib.suppress(ValueError):  # another thread has removed it
                    self._lives.remove(other)
            elif other.abandoned or not self._side_by_side:
                before_mine += 1
        if before_mine >= self._most:
            raise Occupied(self)


@contextlib.contextmanager
def shut_down_after(seconds: float, sock: Any) -> Iterator[Callable[[], bool]]:
    """Shut the socket down for reading and writing after `seconds`, which wakes whoever is blocked on it.

    `sock` is a `socket.socket` (or an `ssl.SSLSocket`). Yields a function that tells whether the time was up.
    The thread that keeps the time has gone when the context ends, however it ends.
    """
    fired = threading.Event()

    def shut_down() -> None:
        fired.set()
        with contextlib.suppress(OSError):  # already closed by the other side
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, seconds), shut_down)
    timer.daemon = True
    try:
        try:
            timer.start()  # in here: interrupted, it may have started
            yield fired.is_set
        finally:
            timer.cancel()
    finally:
        timer.cancel()  # again, should an exception have met the first
        join_ended(timer)
