"""Performs the effects of a refresh script with blocking calls, in the thread that calls it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, Protocol

from .core.effects import (
    Claim,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    Peek,
    Publish,
    Read,
    Report,
    StoreContended,
    StoreUnavailable,
    Wait,
)
from .core.order import Effect, Ending, Gate, Reply, Settle, Step
from .deadline import DeadlineExceeded, within
from .errors import ConfigurationError
from .sources import Source
from .stores.base import Session, Store

STORE_TIMEOUT = 3.0  # seconds; no statement, with its connect, outlives this
MAX_DOCUMENT_BYTES = 262_144


class Listener(Protocol):
    """Hears what a script has to say before it ends."""

    def report(self, report: Report) -> None:
        """The operator is to be told."""
        ...

    def settle(self, ending: Ending) -> None:
        """For this process the refresh has ended."""
        ...


class Driver:
    """Runs scripts against one source and one store.

    `working` bounds how many refreshes of the process work at once; waiting holds no place. Setting
    `stopping` cuts waits short. No database connection is held during a fetch or a longer wait.
    """

    def __init__(
        self,
        *,
        source: Source,
        source_key: str,
        store: Store,
        working: threading.BoundedSemaphore,
        stopping: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._source_key = source_key
        self._store = store
        self._working = working
        self._stopping = stopping
        self._clock = clock
        # True while a source works, also one that was abandoned at its deadline. Written only by that
        # call's thread.
        self._fetching = False

    def drive(self, script: Step, listener: Listener) -> Ending:
        """Perform the script's effects one by one until it has ended."""
        session: Session | None = None
        self._working.acquire()
        try:
            effect = next(script)
            while True:
                sent = self._clock()
                value: Any = None
                if session is not None and (
                    isinstance(effect, Fetch) or (isinstance(effect, Wait) and effect.release)
                ):
                    session.close()
                    session = None
                match effect:
                    case Wait():
                        self._working.release()
                        try:
                            stopped = self._stopping.wait(effect.seconds)
                        finally:
                            self._working.acquire()
                        if stopped:
                            script.close()
                            return _stopped(self._clock())
                    case Fetch():
                        value = self._fetch(effect)
                    case Report():
                        listener.report(effect)
                    case Settle():
                        listener.settle(effect.ending)
                    case _:
                        session = session or self._store.open(STORE_TIMEOUT)
                        value = self._ask(session, effect)
                        if isinstance(value, Exception):
                            session.close()
                            session = None
                effect = script.send(Reply(value=value, sent=sent, received=self._clock()))
        except StopIteration as stop:
            ending: Ending = stop.value
            return ending
        finally:
            self._working.release()
            if session is not None:
                session.close()

    def _fetch(self, effect: Fetch) -> Fetched | FetchFailed:
        if self._fetching:
            return FetchFailed("the source has not ended its previous fetch")

        def call() -> Fetched:
            self._fetching = True
            try:
                return self._source.fetch(effect.conditional)
            finally:
                self._fetching = False

        try:
            return _as_promised(within(effect.seconds, call))
        except FetchFailed as failure:
            return _as_promised(failure)
        except DeadlineExceeded:
            return FetchFailed("the source did not answer in time")
        except BaseException as error:  # SystemExit too: it is other people's code, in a thread of ours
            return FetchFailed(f"the source raised {type(error).__name__}")  # its message may hold a secret

    def _ask(self, session: Session, effect: Effect) -> Any:
        """One statement; its expected errors are results."""
        try:
            match effect:
                case Claim():
                    return session.claim(self._source_key, effect)
                case Read():
                    return session.read(self._source_key, effect)
                case Peek():
                    return session.peek(self._source_key)
                case Publish():
                    return session.publish(self._source_key, effect)
                case Fail():
                    return session.fail(self._source_key, effect)
                case _:
                    raise AssertionError(effect)
        except (StoreContended, StoreUnavailable, ConfigurationError) as error:
            return error


def _stopped(now: float) -> Ending:
    """Somebody called close(): a lease that is held ends by itself."""
    return Ending(kind="blocked", gate=Gate(until=now, reason="closed"), check_at=float("inf"))


def _as_promised(answer: object) -> Fetched | FetchFailed:
    """A source's answer, or a failure that says how it differs from what `Source` promises."""
    if isinstance(answer, FetchFailed):
        reason, retry_after = getattr(answer, "reason", None), getattr(answer, "retry_after", None)
        usable = isinstance(retry_after, int | float) and math.isfinite(retry_after)
        return FetchFailed(
            reason if isinstance(reason, str) else "the source gave no reason",
            retry_after if usable else None,
        )
    if not isinstance(answer, Fetched):
        return FetchFailed("the source did not return a Fetched")
    document: object = answer.document
    versions: tuple[object, ...] = (answer.etag, answer.last_modified)
    max_age: object = answer.max_age
    if document is not None and not isinstance(document, bytes):
        return FetchFailed("the source returned a document that is not bytes")
    if document is not None and len(document) > MAX_DOCUMENT_BYTES:
        return FetchFailed("the document is larger than 256 KiB")
    if not all(isinstance(version, str | None) for version in versions):
        return FetchFailed("the source returned a validator that is not a string")
    if not isinstance(max_age, int | float | None):
        return FetchFailed("the source returned a max_age that is not a number")
    return answer
