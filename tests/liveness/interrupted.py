"""Cold verifies in the main thread, each interrupted by a signal whose handler raises, at a random moment.

`python interrupted.py COUNT SEED` goes on until so many were interrupted, and prints how many verifies that
took; it fails with the first issuer that dies.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import random
import signal
import sys
import threading
import time
from types import FrameType

from rig import Rig
from scenes import Outcome, hurried, leaves_nothing, recovers

from skeldir_jwt_mw import KeysUnavailable

LONGEST = 60.0  # seconds for one verify with all that follows; a wedge is shown with every thread's stack


class TimeLimit(Exception):
    """What the handlers of job queues and servers raise."""


def main(count: int, seed: int) -> None:
    chance = random.Random(seed)
    armed = False

    def strike(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise TimeLimit

    signal.signal(signal.SIGALRM, strike)
    typical = took()
    interrupted = played = 0
    while interrupted < count:
        played += 1
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        rig = Rig()
        armed = True
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, typical))
            rig.verify()
        except TimeLimit:
            interrupted += 1
        except KeysUnavailable:
            pass
        finally:
            armed = False
        recovers(rig, Outcome())
        leaves_nothing(rig)
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.write(f"{played}\n")


def took() -> float:
    """Seconds that a cold verify takes here; the longer ones of the first few do not count."""
    times = []
    for _ in range(9):
        began = time.monotonic()
        with contextlib.suppress(KeysUnavailable):
            Rig().verify()
        times.append(time.monotonic() - began)
    return sorted(times)[4]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    threading.excepthook = lambda _: None
    with hurried():
        main(int(sys.argv[1]), int(sys.argv[2]))
