"""Waiting for a refresh: how long, how many at once, blocking or not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout

from .core.order import Gate
from .deadline import monotonic
from .errors import KeysUnavailable
from .flight import Flight

WOKEN_IN_A_TURN = 32  # some 3 ms of signatures
MAX_ASYNC_WAITERS = 4096  # tasks hold no thread, so only memory bounds them


class Errand:
    """What one request waits for before its token is judged again.

    It was begun at `since`; `until` is when the request's wait budget ends, over all flights that it waits
    for (monotonic seconds). `optional` is a wait that the request can do without, since its key is at hand.
    """

    __slots__ = ("flight", "optional", "since", "until")

    def __init__(self, flight: Flight, *, since: float, until: float, optional: bool) -> None:
        self.flight = flight
        self.since = since
        self.until = until
        self.optional = optional

    def last_word(self) -> Gate | None:
        """The gate after a fetch that was made for this very request: another one has nothing to add."""
        if not self.flight.forced or self.flight.started_at < self.since or not self.flight.future.done():
            return None
        ending = self.flight.future.result()
        return ending.gate if ending.kind == "refreshed" else None

    def wait(self) -> None:
        """Block until the flight has ended or the budget has."""
        with contextlib.suppress(FutureTimeout):  # the next judgement sees that it has not ended
            self.flight.future.result(max(0.0, self.until - monotonic()))

    async def wait_async(self) -> None:
        """The same without blocking; being cancelled does not disturb the flight.

        All who waited wake at once, and each has a signature to check: they take turns of the event loop, a
        few in each, so that it serves others in between.
        """
        ended = asyncio.wrap_future(self.flight.future)
        try:
            await asyncio.wait_for(ended, max(0.0, self.until - monotonic()))
        except TimeoutError:
            return
        for _ in range(next(self.flight.woken) // WOKEN_IN_A_TURN):
            await asyncio.sleep(0)


class WaitingRoom:
    """So many may wait at once: a flood must not take every thread of a server."""

    def __init__(self, places: int) -> None:
        self._places = places
        self.reset()

    def reset(self) -> None:
        """Forget everybody; after a fork the parent's waiters are not here."""
        self._lock = threading.Lock()  # guards the count
        self._taken = 0

    @contextlib.contextmanager
    def place(self, *, optional: bool) -> Iterator[bool]:
        """A place to wait in; without one, False if the wait is optional, else `KeysUnavailable`."""
        with self._lock:
            admitted = self._taken < self._places
            self._taken += admitted
        if not admitted and not optional:
            raise KeysUnavailable("waiters")
        try:
            yield admitted
        finally:
            with self._lock:
                self._taken -= admitted
