"""Statements that are given up: the server is told, so that none goes on waiting there for nobody."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from skeldir_jwt_mw.deadline import are_threads_over, join_ended, monotonic

CANCEL_SECONDS = 5.0  # for a cancel request to be heard
LAST_PART = 0.1  # of a session's time is for the cancel, so that the statement ends in it by itself …
MOST_OF_LAST_PART = 0.25  # … seconds, at most
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"  # every server answers it with one octet, before anything else


class Cancellations:
    """The cancel requests of one store that have not been heard yet. Any thread may ask and begin."""

    def __init__(self) -> None:
        # With the process of each, since a fork takes the list along but not the threads.
        self._begun: list[tuple[int, threading.Thread]] = []

    def begin(self, cancel: Callable[[float], None]) -> None:
        """Call `cancel` with the seconds that it has, in a thread of its own; what it raises is nobody's."""

        def run() -> None:
            with contextlib.suppress(Exception):
                cancel(CANCEL_SECONDS)

        thread = threading.Thread(target=run, name="skeldir-jwt-cancel", daemon=True)
        thread.start()
        self._begun.append((os.getpid(), thread))

    def under_way(self) -> bool:
        """Whether a statement of this process still waits for its cancel."""
        for begun in tuple(self._begun):
            pid, thread = begun
            if pid == os.getpid() and thread.is_alive():
                return True
            with contextlib.suppress(ValueError):  # another thread has removed it
                self._begun.remove(begun)
        return False


class Watch:
    """What happens to a connection at its deadline: its statement is cancelled, then its socket shut down."""

    def __init__(self) -> None:
        self.running = False  # whether a statement is; written by the session's thread
        self.timed_out = False  # written by the watch's own thread
        self.over = threading.Event()


@contextlib.contextmanager
def watched(
    give_up: float, deadline: float, sock: socket.socket, cancel: Callable[[], None]
) -> Iterator[Watch]:
    """Watch a connection: call `cancel` at `give_up` if a statement runs, shut the socket down at `deadline`.

    Both are times of `monotonic`. The shutdown wakes whoever is blocked on the socket.
    """
    watch = Watch()
    if are_threads_over():
        yield watch
        return

    def end() -> None:
        watch.timed_out = True
        if watch.running:
            with contextlib.suppress(RuntimeError):  # no thread could be started
                cancel()
        if not watch.over.wait(max(0.0, deadline - monotonic())):
            with contextlib.suppress(OSError):  # closed by the other side
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, give_up - monotonic()), end)
    timer.daemon = True
    try:
        try:
            timer.start()  # in here: interrupted, it may have started
            yield watch
        finally:
            watch.over.set()
            timer.cancel()
    finally:
        watch.over.set()  # again, should an exception have met the first
        timer.cancel()
        join_ended(timer)


def cancel_statement(connection: Any, descriptor: int, seconds: float) -> None:
    """Ask the server to cancel what a connection of psycopg 3 or psycopg2 waits for; poolers hand it on.

    `descriptor` is a socket to the same server. libpq knows a request with a time limit from version 17 on.
    The older kind stops the whole process while it waits, so it is sent only to a server that answers. May
    raise.
    """
    if _has_time_limit(connection):
        connection.cancel_safe(timeout=seconds)
        return
    # Of psycopg 3 before the server is asked, since the connection may be closed meanwhile.
    request = connection.pgconn.get_cancel() if hasattr(connection, "pgconn") else connection
    if _answers(descriptor, seconds):
        request.cancel()


def _has_time_limit(connection: Any) -> bool:
    if not hasattr(connection, "cancel_safe"):
        return False
    import psycopg

    return psycopg.capabilities.has_cancel_safe()


def _answers(descriptor: int, seconds: float) -> bool:
    """Whether the server at the other end of a socket takes another connection and says a first word."""
    with socket.socket(fileno=os.dup(descriptor)) as known:
        family, address = known.family, known.getpeername()
    with socket.socket(family, socket.SOCK_STREAM) as asking:
        asking.settimeout(seconds)
        asking.connect(address)
        asking.sendall(SSL_REQUEST)
        return asking.recv(1) in (b"S", b"N")
