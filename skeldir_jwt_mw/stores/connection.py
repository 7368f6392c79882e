"""A connection of any driver, none of whose calls outlives its deadline."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol

from skeldir_jwt_mw.core.effects import StoreUnavailable
from skeldir_jwt_mw.deadline import DeadlineExceeded, monotonic, shut_down_after, within

from .session import Parameters
from .sqlstate import TOO_SLOW, failed_statement

APPLICATION_NAME = "skeldir_jwt_mw"
MIN_CONNECT_TIMEOUT = 2  # seconds; libpq knows no less
LEAST_SECONDS = 0.001  # a statement is not worth sending with less than this left


class Driver(Protocol):
    """How connections of one kind are made and asked; deadlines are no concern of it."""

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

    def is_lost(self, connection: Any) -> bool:
        """Whether the driver has found the connection gone."""
        ...

    def close(self, connection: Any) -> None:
        """Close it; may raise."""
        ...


class DeadlineConnection:
    """A connection that is made when it is first needed and is shut down at its deadline.

    Every statement is its own transaction, and none is prepared, so that a pooler in transaction mode may
    hand each to another server connection. One thread uses it.
    """

    def __init__(self, driver: Driver, seconds: float) -> None:
        self._driver = driver
        self._deadline = monotonic() + seconds
        self._connection: Any = None
        self._open = contextlib.ExitStack()  # what goes with the connection
        self._timed_out: Callable[[], bool] = bool  # never, before there is a connection

    def run(self, statement: str, parameters: Parameters, *, creating: bool = False) -> dict[str, Any] | None:
        """The first row of the result by column, or None; see `stores.session.Connection`."""
        connection = self._connected(self._left())
        try:
            return self._driver.first_row(connection, statement, parameters)
        except self._driver.errors as error:
            timed_out, lost = self._timed_out(), self._driver.is_lost(connection)
            self.close()
            if timed_out:
                raise StoreUnavailable(TOO_SLOW) from None
            raise failed_statement(_sqlstate_of(error), lost=lost, creating=creating) from None

    def patience(self) -> float:
        """Seconds that the next statement has; connects first, where there is no connection yet."""
        self._connected(self._left())
        return self._left()

    def close(self) -> None:
        """Close at once; never raises, may be called twice."""
        self._connection = None
        self._open.close()

    def _left(self) -> float:
        left = self._deadline - monotonic()
        if left < LEAST_SECONDS:
            self.close()
            raise StoreUnavailable(TOO_SLOW)
        return left

    def _connected(self, left: float) -> Any:
        if self._connection is None:
            timeout = max(MIN_CONNECT_TIMEOUT, math.ceil(left))  # so that a thread left behind ends
            try:
                # In a thread that can be left behind: name resolution and a silent server have no deadline.
                connection = within(left, lambda: self._driver.connect(timeout), discard=self._discard)
            except DeadlineExceeded:
                raise StoreUnavailable(TOO_SLOW) from None
            # Under a file descriptor of our own: libpq may close its own at any time.
            descriptor = os.dup(self._driver.socket_of(connection))
            sock = self._open.enter_context(socket.socket(fileno=descriptor))
            self._open.callback(self._discard, connection)
            self._timed_out = self._open.enter_context(shut_down_after(self._deadline - monotonic(), sock))
            self._connection = connection
        return self._connection

    def _discard(self, connection: Any) -> None:
        with contextlib.suppress(Exception):
            self._driver.close(connection)


def _sqlstate_of(error: Exception) -> str | None:
    """PostgreSQL's code for what happened, under the name that psycopg 3 or psycopg2 gives it."""
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
