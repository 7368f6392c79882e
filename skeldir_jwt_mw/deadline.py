"""Deadlines for calls that have none of their own: name resolution, drivers, other people's code."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

# CLOCK_BOOTTIME goes on while the machine sleeps, so a laptop or a paused VM does not wake up with stale
# keys.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def monotonic() -> float:
    """Seconds on a clock that never steps and, where the platform has one, counts suspended time too."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class DeadlineExceeded(Exception):
    """The call did not end in time."""


def within(seconds: float, call: Callable[[], T], *, discard: Callable[[T], None] = lambda _: None) -> T:
    """Run `call` in a daemon thread and return its result, or raise `DeadlineExceeded` after `seconds`.

    The thread is then abandoned, not stopped: should it end after all, its result goes to `discard`. An
    exception of `call` is raised here as it is.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()
    lock = threading.Lock()  # guards `abandoned`: either we take the result or the thread discards it
    abandoned = False

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # handed to the caller's thread, which raises it
            errors.append(error)
        else:
            with lock:
                if not abandoned:
                    results.append(result)
            if not results:
                discard(result)
        finally:
            done.set()

    threading.Thread(target=run, name="skeldir-jwt-call", daemon=True).start()
    done.wait(max(0.0, seconds))
    with lock:
        abandoned = True
    if results:
        return results[0]
    if errors:
        raise errors[0]
    raise DeadlineExceeded


@contextlib.contextmanager
def shut_down_after(seconds: float, sock: Any) -> Iterator[Callable[[], bool]]:
    """Shut the socket down for reading and writing after `seconds`, which wakes whoever is blocked on it.

    `sock` is a `socket.socket` (or an `ssl.SSLSocket`). Yields a function that tells whether the time was up.
    """
    fired = threading.Event()

    def shut_down() -> None:
        fired.set()
        with contextlib.suppress(OSError):  # already closed by the other side
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, seconds), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield fired.is_set
    finally:
        timer.cancel()
