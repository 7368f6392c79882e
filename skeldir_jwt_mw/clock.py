"""The one clock and the one source of chance of a verifier, its refreshers, its waiters and its commands."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from .deadline import monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Three functions without parameters; a simulation has its own.

    `monotonic`: seconds that never step; `wall`: Unix seconds, which tokens are judged by; `draw`: a uniform
    random number in [0, 1).
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    draw: Callable[[], float]


def wall() -> float:
    """Unix seconds; looked up at each call, so that tools which move the time for tests move this one too."""
    return time.time()


# The system's random numbers have no state that a forked child would share with its parent.
SYSTEM = Clock(monotonic=monotonic, wall=wall, draw=random.SystemRandom().random)
