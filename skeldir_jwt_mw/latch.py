"""Something that happens once, and how those who wait for it are told.

There is no lock that an exception could keep. Those of `threading.Event`, `Condition` and futures are taken
and given back by functions in Python, and where a signal's handler raises between two instructions of these,
the lock stays taken for ever: then whoever sets the event hangs, and with it every other thread that asks.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable


class Latch:
    """Happens once. Any thread may set it, ask for it and wait for it.

    Who waits leaves a call and then looks whether it has happened; who sets it says so and then looks for
    calls. So one of them finds the call, and of two who find it only one can take it.
    """

    __slots__ = ("_calls", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._calls: list[Callable[[], object]] = []

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._is_set

    def set(self) -> None:
        """Let it happen, and tell everybody who waits; the second time changes nothing."""
        self._is_set = True
        self._tell()

    def tell(self, call: Callable[[], object]) -> None:
        """Have `call` called once it has happened, by whichever thread; it must neither block nor raise."""
        self._calls.append(call)
        if self._is_set:
            self._tell()

    def forget(self, call: Callable[[], object]) -> None:
        """Nobody waits for this call any more; may be called twice."""
        with contextlib.suppress(ValueError):  # it was called
            self._calls.remove(call)

    def wait(self, seconds: float) -> bool:
        """Block for so long at most; whether it has happened."""
        if not self._is_set and seconds > 0:
            barrier = threading.Lock()  # taken twice by this thread alone, and let go by who tells
            barrier.acquire()
            try:
                self.tell(barrier.release)
                barrier.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
            finally:
                self.forget(barrier.release)
        return self._is_set

    def _tell(self) -> None:
        while self._calls:
            try:
                call = self._calls.pop()
            except IndexError:  # another thread has taken the last
                return
            call()
