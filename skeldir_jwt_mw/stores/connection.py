"""A connection of any driver, none of whose calls outlives its deadline."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from types import ModuleType
from typing import Any, Protocol

from skeldir_jwt_mw.core.effects import StoreContended, StoreUnavailable
from skeldir_jwt_mw.deadline import DeadlineExceeded, Occupied, Purpose, monotonic
from skeldir_jwt_mw.green import unblocked

from .cancel import LAST_PART, MOST_OF_LAST_PART, Cancellations, Watch, watched
from .session import Parameters
from .sqlstate import CANCELLING, TOO_SLOW, failed_statement

APPLICATION_NAME = "skeldir_jwt_mw"
# Asked for in the startup packet, which goes before any default and reaches through poolers. Text in another
# encoding would come back as bytes, or not at all.
REQUIRED = {"client_encoding": "UTF8"}
MIN_CONNECT_TIMEOUT = 2  # seconds; libpq knows no less
LEAST_SECONDS = 0.001  # a statement is not worth sending with less than this left


class Driver(Protocol):
    """How connections of one kind are made and asked; deadlines are no concern of it."""

    connects: Purpose  # one hanging attempt at a time
    cancellations: Cancellations

    @property
    def module(self) -> ModuleType:
        """psycopg or psycopg2, for what its waits mean to green threads."""
        ...

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What a statement may raise."""
        ...

    def connect(self, timeout: int) -> Any:
        """A connection on which every statement is its own transaction, with libpq's `connect_timeout`.

        May be called in a thread of its own. Raises `StoreContended`, `StoreUnavailable` or
        `ConfigurationError`.
        """
        ...

    def socket_of(self, connection: Any) -> int:
        """The file descriptor of its socket."""
        ...

    def first_row(self, connection: Any, statement: str, parameters: Parameters) -> dict[str, Any] | None:
        """Run the statement; the first row of its result by column, or None."""
        ...

    def cancel(self, connection: Any, seconds: float) -> None:
        """Ask the server to cancel the statement that runs; takes no longer than that, may raise."""
        ...

    def hindrance(self) -> str:
        """What keeps a connection from being made, in words for an operator, while one hangs."""
        ...

    def is_lost(self, connection: Any) -> bool:
        """Whether the driver has found the connection gone."""
        ...

    def close(self, connection: Any) -> None:
        """Close it; may raise."""
        ...


class DeadlineConnection:
    """A connection that is made when it is first needed and whose statement is cancelled at its deadline.

    Every statement is its own transaction, and none is prepared, so that a pooler in transaction mode may
    hand each to another server connection. One thread uses it.
    """

    def __init__(self, driver: Driver, seconds: float) -> None:
        self._driver = driver
        self._deadline = monotonic() + seconds
        self._give_up = self._deadline - min(seconds * LAST_PART, MOST_OF_LAST_PART)
        self._connection: Any = None
        self._open = contextlib.ExitStack()  # what goes with the connection
        self._watch = Watch()

    def run(self, statement: str, parameters: Parameters, *, creating: bool = False) -> dict[str, Any] | None:
        """The first row of the result by column, or None; see `stores.session.Connection`."""
        connection, watch = self._connected(), self._watch
        watch.running = True
        try:
            return unblocked(
                self._driver.module, lambda: self._driver.first_row(connection, statement, parameters)
            )
        except self._driver.errors as error:
            lost = self._driver.is_lost(connection)
            self.close()
            if watch.timed_out:
                raise StoreUnavailable(TOO_SLOW) from None
            raise failed_statement(error, lost=lost, creating=creating) from None
        finally:
            watch.running = False

    def patience(self) -> float:
        """Seconds that the next statement has; connects first, where there is no connection yet."""
        self._connected()
        return self._left()

    def close(self) -> None:
        """Close at once; never raises, may be called twice."""
        self._connection = None
        self._open.close()

    def _left(self) -> float:
        left = self._give_up - monotonic()
        if left < LEAST_SECONDS:
            self.close()
            raise StoreUnavailable(TOO_SLOW)
        return left

    def _connected(self) -> Any:
        left = self._left()
        if self._connection is None:
            if self._driver.cancellations.under_way():
                raise StoreContended(CANCELLING)
            timeout = max(MIN_CONNECT_TIMEOUT, math.ceil(left))  # so that a thread left behind ends
            try:
                # In a thread that can be left behind: name resolution and a silent server have no deadline.
                connection = self._driver.connects.within(
                    left,
                    lambda: unblocked(self._driver.module, lambda: self._driver.connect(timeout)),
                    discard=self._discard,
                )
            except (DeadlineExceeded, Occupied):
                raise StoreUnavailable(self._driver.hindrance()) from None
            self._open.callback(self._discard, connection)
            # Under a file descriptor of our own: libpq may close its own at any time.
            descriptor = os.dup(self._driver.socket_of(connection))
            sock = self._open.enter_context(socket.socket(fileno=descriptor))
            self._watch = self._open.enter_context(
                watched(self._give_up, self._deadline, sock, lambda: self._cancel(connection))
            )
            self._connection = connection
        return self._connection

    def _cancel(self, connection: Any) -> None:
        self._driver.cancellations.begin(
            lambda seconds: unblocked(self._driver.module, lambda: self._driver.cancel(connection, seconds))
        )

    def _discard(self, connection: Any) -> None:
        with contextlib.suppress(Exception):
            self._driver.close(connection)
