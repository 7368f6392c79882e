"""Waiting for a refresh: how long, how many at once, blocking or not, under asyncio or trio."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .clock import Clock
from .core.order import Gate
from .errors import KeysUnavailable
from .flight import Flight
from .fork import Process, renew_if_forked, renewed_after_fork
from .latch import Latch

T = TypeVar("T")

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
        flight.awaited = True
        self.since = since
        self.until = until
        self.optional = optional

    def last_word(self) -> Gate | None:
        """The gate after a fetch that was made for this very request: another one has nothing to add."""
        ending = self.flight.ending
        if ending is None or not self.flight.forced or self.flight.started_at < self.since:
            return None
        return ending.gate if ending.kind == "refreshed" else None

    def wait(self, clock: Clock) -> None:
        """Block until the flight has ended or the budget has; the next judgement sees which."""
        self.flight.landed.wait(self.until - clock.monotonic())

    async def wait_async(self, clock: Clock) -> None:
        """The same without blocking; being cancelled does not disturb the flight.

        All who waited wake at once, and each has a signature to check: they take turns of the event loop, a
        few in each, so that it serves others in between.
        """
        if not await wait_without_blocking(self.flight.landed, self.until - clock.monotonic()):
            return
        for _ in range(next(self.flight.woken) // WOKEN_IN_A_TURN):
            await _let_others_run()


async def wait_without_blocking(latch: Latch, seconds: float) -> bool:
    """`Latch.wait` for tasks of asyncio and trio. Whoever cancels the task is obeyed, also at the end."""
    trio = _trio_if_it_runs()
    await (_wait_in_asyncio(latch, seconds) if trio is None else _wait_in_trio(trio, latch, seconds))
    return latch.is_set()


async def _wait_in_asyncio(latch: Latch, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    told = loop.create_future()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed over its tasks
            loop.call_soon_threadsafe(told.cancel)

    latch.tell(wake)
    try:
        # Not wait_for(), which up to Python 3.11 swallows a cancellation that meets the end of the wait.
        await asyncio.wait({told}, timeout=max(0.0, seconds))
    finally:
        latch.forget(wake)
        with contextlib.suppress(RuntimeError):  # as above
            told.cancel()


async def _wait_in_trio(trio: Any, latch: Latch, seconds: float) -> None:
    token, event = trio.lowlevel.current_trio_token(), trio.Event()

    def wake() -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(event.set)

    latch.tell(wake)
    try:
        with trio.move_on_after(max(0.0, seconds)):
            await event.wait()
    finally:
        latch.forget(wake)


async def in_a_thread(call: Callable[[], T]) -> T:
    """Run a blocking call in a thread of the event loop's."""
    trio = _trio_if_it_runs()
    if trio is None:
        return await asyncio.to_thread(call)
    result: T = await trio.to_thread.run_sync(call)
    return result


async def _let_others_run() -> None:
    trio = _trio_if_it_runs()
    await (asyncio.sleep(0) if trio is None else trio.lowlevel.checkpoint())


def _trio_if_it_runs() -> Any:
    """The module trio where this task is one of its; whoever runs under it has imported it."""
    trio: Any = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


class WaitingRoom:
    """So many may wait at once: a flood must not take every thread of a server."""

    process: Process

    def __init__(self, places: int) -> None:
        self._places = places
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Forget everybody; after a fork the parent's waiters are not here."""
        self._lock = threading.Lock()  # guards what follows
        self._taken: set[object] = set()

    @property
    def taken(self) -> int:
        """How many wait."""
        return len(self._taken)

    @contextlib.contextmanager
    def place(self, *, optional: bool) -> Iterator[bool]:
        """A place to wait in; without one, False if the wait is optional, else `KeysUnavailable`."""
        renew_if_forked(self)
        mine = object()
        try:
            try:
                with self._lock:
                    admitted = len(self._taken) < self._places
                    if admitted:
                        self._taken.add(mine)
                if not admitted and not optional:
                    raise KeysUnavailable("waiters")
                yield admitted
            finally:
                self._taken.discard(mine)
        finally:
            self._taken.discard(mine)  # again, should an exception have met the first
