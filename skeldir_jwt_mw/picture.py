"""What a fleet shares right now, as the commands that diagnose see it: read, and nothing else.

Looking claims no lease, asks no provider and writes nothing, whatever is found. So a look with wrong
settings, or from a host that cannot reach the provider, costs the fleet nothing; and where keys are not to
be had by reading, that is what it says.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from .config import Issuer, RefreshPolicy
from .core.adoption import Adoption
from .core.effects import (
    Conditional,
    Fetched,
    FetchFailed,
    Read,
    Row,
    StoreContended,
    StoreUnavailable,
)
from .core.keys import KeySet
from .core.order import Adopted, Order, Reply
from .deadline import monotonic
from .driver import STORE_TIMEOUT
from .errors import JWTError, KeysUnavailable
from .served import Served
from .stores.base import Session
from .token import VerifiedToken
from .verifier import Verifier

ATTEMPTS = 3  # at a statement that was cut off

NOT_SHARED = "no shared store: each process keeps its keys to itself"
NO_ROW = "no row for these settings: nobody has asked for its keys yet"
NO_KEYS = "the row holds no keys yet: no fetch has succeeded"
STRANGER = "the row is sealed with a key that is not configured here"
FORGED = "the row's seal or content is not good: something else wrote it"
EXPIRED = "the keys in the row have expired"
NONE_FITS = "no key in the row is for one of the configured algorithms"

logger = logging.getLogger("skeldir_jwt_mw")


class KeysAway(JWTError):
    """There are no keys to be had by reading alone; the text says why, and for which issuer."""

    code = "keys_away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One issuer's row as it was found."""

    served: Served
    row: Row | None
    adopted: Adopted | None  # what is in the row, if it may be trusted; also after it has expired
    keys: KeySet | None  # those of it that fit the issuer's algorithms
    trouble: str | None  # why there are no usable keys; one of the texts above or the store's
    at: float  # monotonic seconds

    @property
    def away(self) -> bool:
        """Whether keys are not to be had by reading; False also where there are some, but none that fits."""
        return self.trouble not in (None, NONE_FITS)

    def status(self) -> dict[str, Any]:
        """What is in the row, in plain values; durations in seconds."""
        row, adopted = self.row, self.adopted
        return {
            "ready": self.trouble is None,
            "trouble": self.trouble,
            "kids": list(self.keys.kids) if self.keys is not None else [],
            "rejected_keys": self.keys.left_out if self.keys is not None else [],
            "generation": row.generation if row else 0,
            "age": max(0.0, self.at - adopted.fetched_at) if adopted else None,
            "next_refresh": row.refresh_left if row else None,
            "expires": max(0.0, adopted.expires_at - self.at) if adopted else None,
            "last_error": row.last_error if row else None,
            "last_refresh_reason": row.last_refresh_reason if row else None,
            "gate": _gate(row),
            "refreshing": row is not None and row.outcome == "running",
            "source_key": self.served.refresher.source_key,
        }


def statuses(verifier: Verifier, found: Iterable[Picture]) -> dict[str, dict[str, Any]]:
    """What was found, per issuer; of keys that never change, what this process has."""
    by_issuer = {picture.served.issuer.issuer: picture.status() for picture in found}
    return {issuer: by_issuer.get(issuer, known) for issuer, known in verifier.status().items()}


def look(verifier: Verifier) -> list[Picture]:
    """Read the row of every issuer whose keys are shared. Raises `ConfigurationError`.

    That is where an operator has to act: there is no table, or no privilege to read it. A store that gives
    no answer is part of the picture.
    """
    shared = [served for served in verifier._roster.served if not served.refresher.static]
    if not verifier.store.shared:
        return [_without_row(served, NOT_SHARED) for served in shared]
    found: list[Picture] = []
    trouble: str | None = None
    for served in shared:
        if trouble is None:
            try:
                found.append(_look_at(verifier, served))
                continue
            except (StoreContended, StoreUnavailable) as error:
                trouble = str(error)  # the others are not worth another wait
        found.append(_without_row(served, trouble))
    return found


def require_keys(found: Iterable[Picture]) -> None:
    """Raise `KeysAway` where an issuer's keys are not to be had."""
    away = [f"{picture.served.issuer.issuer}: {picture.trouble}" for picture in found if picture.away]
    if away:
        raise KeysAway("; ".join(away))


def issuer_of(verifier: Verifier, claims: Mapping[str, Any]) -> Issuer | None:
    """The configured issuer that unverified claims are of, or are nearest to; None where nothing is near."""
    roster = verifier._roster
    if roster.alone is not None:
        return roster.alone.issuer
    position = roster.routes.position(claims)
    position = roster.routes.nearest(claims) if position is None else position
    return None if position is None else roster.served[position].issuer


def verify(
    verifier: Verifier, found: Iterable[Picture], raw: str | bytes, scopes: Iterable[str] = ()
) -> VerifiedToken:
    """Verify a token with the keys that were found.

    Raises `InvalidToken` and `InsufficientScope` as `Verifier.verify` does, `KeysAway` where the keys that
    it takes were not found.
    """
    pictures = {picture.served.issuer: picture for picture in found}
    issuers = [
        served.issuer if served.refresher.static else _with_source(served.issuer, pictures[served.issuer])
        for served in verifier._roster.served
    ]
    with _silence():
        reader = Verifier(issuers, policy=RefreshPolicy(), max_token_bytes=verifier._max_token_bytes)
        try:
            return reader.verify(raw, scopes)
        except KeysUnavailable:
            require_keys(pictures.values())
            raise KeysAway(NONE_FITS) from None
        finally:
            reader.close()


def _look_at(verifier: Verifier, served: Served) -> Picture:
    policy = verifier._setup.policy
    read = Read(
        force=False,
        need=False,
        have=0,
        bad=-1,
        floor=policy.floor + policy.jitter,
        refresh=policy.refresh_interval + policy.jitter,
    )
    session = verifier.store.open(STORE_TIMEOUT)
    try:
        sent = monotonic()
        row = _read(session, served.refresher.source_key, read)
        reply = Reply(value=row, sent=sent, received=monotonic())
    finally:
        session.close()
    if row is None:
        return _without_row(served, NO_ROW)
    adoption = Adoption(source_key=served.refresher.source_key, policy=policy, sealer=verifier._setup.sealer)
    judged = adoption.judge(_nothing_known(), row, reply)
    if isinstance(judged, str):
        trouble = NO_KEYS if row.generation == 0 else STRANGER if judged == "stranger" else FORGED
        return Picture(served=served, row=row, adopted=None, keys=None, trouble=trouble, at=reply.received)
    keys = judged.jwks.for_algorithms(served.issuer.algorithms)
    expired = judged.expires_at <= reply.received
    return Picture(
        served=served,
        row=row,
        adopted=judged,
        keys=keys,
        trouble=EXPIRED if expired else None if len(keys) else NONE_FITS,
        at=reply.received,
    )


def _read(session: Session, source_key: str, read: Read) -> Row | None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return session.read(source_key, read)
        except StoreContended:
            if attempt == ATTEMPTS:
                raise
    return None


def _nothing_known() -> Order:
    """What a process knows that has seen no row before; none of it asks for anything."""
    return Order(
        owner=uuid.UUID(int=0),
        reason="manual",
        force=False,
        need=False,
        aged=False,
        trusted=None,
        have=0,
        bad=-1,
        unreadable=False,
        failures=0,
        replace_stranger=False,
        coordinated=True,
    )


def _without_row(served: Served, trouble: str) -> Picture:
    return Picture(served=served, row=None, adopted=None, keys=None, trouble=trouble, at=monotonic())


def _gate(row: Row | None) -> Mapping[str, Any]:
    """For how long the row answers an unknown key id without a fetch, and why."""
    if row is None:
        return {"closed_for": 0.0, "reason": None}
    waits = {"failed": row.backoff_left, "running": row.lease_left, None: row.floor_left}
    reason = max(waits, key=lambda name: waits[name])
    return {"closed_for": waits[reason], "reason": reason if waits[reason] > 0 else None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A source that has what was in a row, or nothing."""

    document: bytes | None
    identity: str = "row"

    @property
    def static(self) -> bool:
        return self.document is not None

    def fetch(self, conditional: Conditional) -> Fetched:  # noqa: ARG002  # nothing to compare with
        if self.document is None:
            raise FetchFailed("the row has no keys")
        return Fetched(document=self.document)


def _with_source(issuer: Issuer, picture: Picture) -> Issuer:
    """The issuer with what was found in place of its provider."""
    found = picture.adopted if picture.trouble is None else None
    options = {field.name: getattr(issuer, field.name) for field in fields(issuer)}
    options |= {"jwks_url": None, "source": _Found(document=found.content.payload if found else None)}
    return Issuer(**options)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let nothing be logged meanwhile: what there is to say is the caller's to say."""

    def nothing(record: logging.LogRecord) -> bool:  # noqa: ARG001  # no record passes
        return False

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)
