"""One refresh in the air, as those who wait for it see it."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import count

from .core.order import Ending


class Flight:
    """One refresh in the air. `future` ends with its `Ending`, never with an exception."""

    __slots__ = ("forced", "future", "idle", "settled", "started_at", "woken")

    def __init__(self, *, started_at: float, forced: bool, idle: bool) -> None:
        self.started_at = started_at  # monotonic seconds
        self.forced = forced  # whatever the schedule says, it asked for a fetch
        self.idle = idle  # a check after a long silence: the first requests wait for it
        self.woken = count()  # numbers the tasks that it wakes
        self.settled = False  # written under the refresher's lock
        self.future: Future[Ending] = Future()
        self.future.set_running_or_notify_cancel()  # so that a cancelled waiter cannot cancel it
