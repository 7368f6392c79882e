"""Exceptions where nobody raises any: out of a signal handler, and at any line of a module."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any


class Interrupted(Exception):
    """What a signal handler raises."""


@contextmanager
def interrupting() -> Iterator[Callable[[], None]]:
    """A function that makes this thread, wherever it is, run a handler that raises `Interrupted`."""
    thread = threading.get_ident()

    def handler(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield lambda: signal.pthread_kill(thread, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def failing_at_line(number: int, scene: Callable[[], None], *modules: ModuleType) -> bool:
    """Run the scene with a MemoryError at the modules' line of this number; False if it ended before."""
    files = {module.__file__ for module in modules}
    left = [number]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == -1:
                raise MemoryError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        scene()
    except MemoryError:
        return True
    finally:
        sys.settrace(before)
    return left[0] < 0
