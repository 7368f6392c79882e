"""Flies refresh scripts: the rules of a flight, and the blocking calls that it is made of.

`supervised` holds the rules, as a generator, so that they are the same under a simulated clock: no connection
is held during a fetch or a longer wait, whoever leaves with the fleet's lease gives it back, and a verifier
that is closed begins nothing. `Performer.perform` is the one thing that blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from .core.effects import (
    Claim,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    LocalFetchFailed,
    Peek,
    Publish,
    Read,
    Release,
    Report,
    Row,
    StoreContended,
    StoreUnavailable,
    Wait,
)
from .core.order import Ending, Gate, Reply, Settle, Step, Use
from .core.row import MAX_VALIDATOR
from .deadline import DeadlineExceeded, GivenUp, Occupied, Purpose
from .errors import ConfigurationError
from .latch import Latch
from .sources import Source
from .sources.local import own_trouble
from .stores.base import Session, Store

STORE_TIMEOUT = 3.0  # seconds; no statement, with its connect, outlives this
MAX_DOCUMENT_BYTES = 262_144


class Listener(Protocol):
    """Hears what a script has to say before it ends."""

    def report(self, report: Report) -> None:
        """The operator is to be told."""
        ...

    def use(self, use: Use) -> None:
        """Keys are to be used at once."""
        ...

    def settle(self, ending: Ending) -> None:
        """For this process the refresh has ended."""
        ...

    def holds(self, lease: Release | None) -> None:
        """The fleet's lease was taken (and how it is given back), or is held no longer."""
        ...


@dataclass(frozen=True, slots=True)
class HangUp:
    """Give the database connection back."""


Act: TypeAlias = Claim | Read | Peek | Fetch | Publish | Fail | Release | Wait | HangUp
"""What a performer does; `seconds_of` bounds each."""


def seconds_of(act: Act) -> float:
    """The longest that an act takes by its own bounds."""
    return act.seconds if isinstance(act, Fetch | Wait) else STORE_TIMEOUT


def supervised(
    script: Step, listener: Listener, *, stopped: Callable[[], bool], clock: Callable[[], float]
) -> Generator[Act, Any, Ending]:
    """Run a script by the rules: yields what is to be performed, is sent its result, returns the ending."""
    lease: Release | None = None
    lease_end = 0.0
    answered_at: float | None = None  # before the last statement that was answered
    connected = False
    broken: BaseException | None = None
    ending = _stopped(clock())
    try:
        effect = next(script)
        while not (stopped() and isinstance(effect, Claim | Peek | Fetch | Wait)):
            sent = clock()
            value: Any = None
            match effect:
                case Report():
                    listener.report(effect)
                case Use():
                    listener.use(effect)
                case Settle():
                    listener.settle(_compared(effect.ending, answered_at))
                case _:
                    if connected and (
                        isinstance(effect, Fetch) or (isinstance(effect, Wait) and effect.release)
                    ):
                        yield HangUp()
                        connected = False
                        sent = clock()
                    value = yield effect
                    if not isinstance(effect, Fetch | Wait):
                        connected = not isinstance(value, Exception)
                        answered_at = sent if connected else answered_at
                    if isinstance(effect, Fetch) and stopped() and not isinstance(value, Fetched):
                        break
            if isinstance(effect, Claim) and isinstance(value, Row) and value.verdict == "leader":
                lease = Release(owner=effect.owner, fence=value.fence)
                lease_end = sent + (value.lease_left or effect.lease)
                listener.holds(lease)
            elif isinstance(effect, Publish | Fail) and not isinstance(value, Exception):
                lease = None
                listener.holds(None)
            effect = script.send(Reply(value=value, sent=sent, received=clock()))
        ending = _stopped(clock())
        script.close()
    except StopIteration as stop:
        ending = stop.value
    except GeneratorExit:
        raise
    except BaseException as error:  # raised below, once the lease is given back
        broken = error
    if lease is not None and clock() < lease_end:
        connected = not isinstance((yield lease), Exception)
    if connected:
        yield HangUp()
    listener.holds(None)
    if broken is not None:
        raise broken
    return _compared(ending, answered_at)


class Performer:
    """Performs the acts of one flight with blocking calls, in the thread that calls it.

    `fetching` admits one fetch of the source at a time, one that was abandoned at its deadline included.
    Setting `stopping` cuts waits short.
    """

    def __init__(
        self,
        *,
        source: Source,
        source_key: str,
        store: Store,
        fetching: Purpose,
        stopping: Latch,
    ) -> None:
        self._source = source
        self._source_key = source_key
        self._store = store
        self._fetching = fetching
        self._stopping = stopping
        self._session: Session | None = None

    def perform(self, act: Act) -> Any:
        """The result of an act; expected errors of the store and of the source are results."""
        match act:
            case Wait():
                return self._stopping.wait(act.seconds)
            case Fetch():
                return self._fetch(act)
            case HangUp():
                return self.hang_up()
            case _:
                if self._session is None:
                    self._session = self._store.open(STORE_TIMEOUT)
                value = self._ask(self._session, act)
                if isinstance(value, Exception):
                    self.hang_up()
                return value

    def hang_up(self) -> None:
        """Give the connection back, if there is one; may be called twice."""
        session = self._session
        if session is not None:
            session.close()
            self._session = None  # not before: an exception would leave it open

    def _fetch(self, fetch: Fetch) -> Fetched | FetchFailed:
        try:
            return _as_promised(
                self._fetching.within(
                    fetch.seconds,
                    lambda: self._source.fetch(fetch.conditional),
                    given_up=self._stopping.is_set,
                )
            )
        except FetchFailed as failure:
            return _as_promised(failure)
        except DeadlineExceeded:
            return FetchFailed("the source did not answer in time")
        except Occupied:
            # The others of the fleet may have none that hangs, and can ask.
            return LocalFetchFailed("the source has not ended its previous fetch")
        except GivenUp:
            return FetchFailed("the verifier was closed")
        except BaseException as error:  # SystemExit too: it is other people's code, in a thread of ours
            # The message of anything else may hold a secret.
            return own_trouble(error) or FetchFailed(f"the source raised {type(error).__name__}")

    def _ask(self, session: Session, act: Act) -> Any:
        """One statement; its expected errors are results."""
        try:
            match act:
                case Claim():
                    return session.claim(self._source_key, act)
                case Read():
                    return session.read(self._source_key, act)
                case Peek():
                    return session.peek(self._source_key)
                case Publish():
                    return session.publish(self._source_key, act)
                case Fail():
                    return session.fail(self._source_key, act)
                case Release():
                    return session.release(self._source_key, act)
                case _:
                    raise AssertionError(act)
        except (StoreContended, StoreUnavailable, ConfigurationError) as error:
            return error
        except Exception as error:
            trouble = own_trouble(error)
            if trouble is None:
                raise
            return StoreUnavailable(trouble.reason)


def _compared(ending: Ending, answered_at: float | None) -> Ending:
    """The ending, with the last moment as of which keys at hand and row are known to have been compared."""
    if answered_at is None or (ending.compared_at is not None and ending.compared_at >= answered_at):
        return ending
    return replace(ending, compared_at=answered_at)


def _stopped(now: float) -> Ending:
    """Somebody called close()."""
    return Ending(kind="blocked", gate=Gate(until=now, reason="closed"), check_at=float("inf"))


def _as_promised(answer: object) -> Fetched | FetchFailed:
    """A source's answer, or a failure that says how it differs from what `Source` promises."""
    if isinstance(answer, FetchFailed):
        reason, retry_after = getattr(answer, "reason", None), getattr(answer, "retry_after", None)
        usable = isinstance(retry_after, int | float) and math.isfinite(retry_after)
        kind = LocalFetchFailed if isinstance(answer, LocalFetchFailed) else FetchFailed
        return kind(
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
    if any(len(str(version).encode("utf-8", "replace")) > MAX_VALIDATOR for version in versions):
        answer = replace(answer, etag=None, last_modified=None)  # the row takes none so long
    if not isinstance(max_age, int | float | None):
        return FetchFailed("the source returned a max_age that is not a number")
    return answer
