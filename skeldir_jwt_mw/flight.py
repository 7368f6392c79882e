"""One refresh in the air: who flies it, until when that can be believed, and those who wait for it.

What nobody may take on trust
-----------------------------
No state survives without somebody alive who will end it:

- A flight has an owner process and a deadline, which whoever flies it moves on before each step. Whoever
  meets one of another process, or one past its deadline (its thread died, or the process was frozen), ends
  it; of what it brings later only the keys are used. So the request after a fault recovers at once, or at
  the latest when the step that the fault hit has outlived its bound.
- Between a state that is taken and somebody who ends it stands nothing that blocks, calls others' code, logs
  or starts a thread; all that happens outside of every lock.
- Whoever asks may be interrupted by a signal's handler between any two instructions. So locks are the
  system's, taken with `with`, and nothing that requests share is waited for under one (`latch.py`).
- Locks, threads and flights belong to a process. The slow path compares process ids, whether fork hooks ran
  or not.
- Only an answer counts, from when its statement was *sent* (`attention.py`); a look that got none, or one
  that was cut off by a freeze, is no look.
- A clock that stood still (a virtual machine restored from an image) shows in the wall clock, which went on.
"""

from __future__ import annotations

import os
from itertools import count

from .core.effects import Release
from .core.order import Ending
from .latch import Latch

QUEUED = 10.0  # seconds for which a flight is believed to wait for a thread
SLACK = 3.0  # seconds by which a step may outlive its own bound, on a machine that is busy


class Flight:
    """One refresh in the air. Once it has `landed` there is an `ending`."""

    __slots__ = (
        "_endings",
        "adopted",
        "ahead",
        "awaited",
        "deadline",
        "forced",
        "landed",
        "lease",
        "process",
        "settled",
        "started_at",
        "woken",
    )

    def __init__(self, *, started_at: float, forced: bool, ahead: float = float("inf")) -> None:
        self.process = os.getpid()
        self.ahead = ahead  # seconds by which the wall clock was, of the monotonic one, when it began
        self.started_at = started_at  # monotonic seconds
        self.deadline = started_at + QUEUED  # monotonic seconds; moved by the thread that flies it
        self.forced = forced  # whatever the schedule says, it asked for a fetch
        self.adopted = False  # it has brought newer keys; written under the refresher's lock
        self.lease: Release | None = (
            None  # how the lease is given back that it holds; set by whose thread flies it
        )
        self.settled = False  # written under the refresher's lock
        self.awaited = False  # a request waits for it, or has
        self.woken = count()  # numbers the tasks that it wakes
        self.landed = Latch()
        self._endings: list[Ending] = []  # of several the first counts

    def is_lost(self, now: float) -> bool:
        """Whether nobody can be believed to end it any more."""
        return now > self.deadline or self.process != os.getpid()

    def land(self, ending: Ending) -> None:
        """Wake everybody who waits; a second ending changes nothing."""
        self._endings.append(ending)
        self.landed.set()

    @property
    def ending(self) -> Ending | None:
        """How it has ended; None while it is in the air."""
        return self._endings[0] if self._endings else None
