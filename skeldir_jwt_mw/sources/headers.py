"""Request headers that the operator gives: fixed ones, or a function that every fetch asks for them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from skeldir_jwt_mw.core.effects import FetchFailed, LocalFetchFailed
from skeldir_jwt_mw.deadline import DeadlineExceeded, Occupied, Purpose
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.rules import refuse

from .local import own_trouble

Headers: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+\Z")  # RFC 9110 §5.6.2
_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
# fmt: off
_OUR_HEADERS = frozenset((
    "accept-encoding", "cache-control", "connection", "content-length", "expect", "host", "if-modified-since",
    "if-none-match", "range", "te", "transfer-encoding", "upgrade",
))
# fmt: on


def usable(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, if a fetch may send them. Raises `ConfigurationError`, which shows no value."""
    if not isinstance(headers, Mapping):
        raise ConfigurationError(
            f"headers must be a mapping of names to values, or a function that returns one, "
            f"not {type(headers).__name__}"
        )
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.match(name):
            raise ConfigurationError("headers must have names that RFC 9110 §5.1 allows")
        if name.lower() in _OUR_HEADERS:
            refuse("headers", name, "is set by the fetch itself and cannot be given")
        if not isinstance(value, str) or not _FIELD_VALUE.match(value):
            raise ConfigurationError(f"headers ({name!r}) must have a value of printable ASCII")
    return dict(headers)


class GivenHeaders:
    """What `headers` of a source stands for. Raises `ConfigurationError` for what can never be sent.

    A function is called in a thread of its own, once for every fetch that sends headers, and abandoned at
    its deadline; it is not called again before that call has ended.
    """

    def __init__(self, given: Headers | None) -> None:
        self._fixed: dict[str, str] = {}
        self._ask: Callable[[], Mapping[str, str]] | None = None
        self._calls = Purpose()
        if callable(given):
            if inspect.iscoroutinefunction(given):
                raise ConfigurationError("headers must be an ordinary function, not a coroutine function")
            self._ask = given
        else:
            self._fixed = usable({} if given is None else given)

    def now(self, seconds: float) -> dict[str, str]:
        """The headers for one fetch; a function has so many seconds to return them.

        Raises `LocalFetchFailed`, which shows of an exception the class alone, and of headers no value.
        """
        if self._ask is None:
            return self._fixed
        try:
            return self._calls.within(seconds, self._asked)
        except FetchFailed:
            raise
        except Occupied:
            reason = "the function for headers has not ended its previous call"
        except DeadlineExceeded:
            reason = "the function for headers did not answer in time"
        except (RuntimeError, MemoryError) as error:  # of the thread, since the function's own are told below
            trouble = own_trouble(error)
            if trouble is None:
                raise
            raise trouble from None
        raise LocalFetchFailed(reason)

    def _asked(self) -> dict[str, str]:
        assert self._ask is not None
        try:
            given = self._ask()
        except FetchFailed:
            raise
        except BaseException as error:  # other people's code; the message may hold a secret
            raise LocalFetchFailed(f"the function for headers raised {type(error).__name__}") from None
        try:
            return usable(given)
        except ConfigurationError as error:
            raise LocalFetchFailed(
                f"the function for headers returned what cannot be sent: {error}"
            ) from None
