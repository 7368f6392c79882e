"""What requests read: an immutable key set with its times and generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .core.compact import Header
from .core.effects import Conditional, Content
from .core.issuer import IssuerTemplate
from .core.keys import Key, KeySet, import_jwks
from .core.order import Adopted
from .errors import ConfigurationError
from .sources import Source

MAX_BINDINGS = 256  # remembered headers per snapshot; an issuer uses a handful
MAX_ABSENT = 64  # headers known to name no key of the snapshot
MAX_RETIRED = 256  # key ids that are remembered as gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A header that was checked, with the one key that answers to it."""

    key: Key
    named: bool  # by the header; else another key may have signed the next token with the same one
    header: Header
    check_header: Callable[[Header], None]  # the rules that let the header pass
    key_issuer: IssuerTemplate | str | None  # the issuer that the key is published for, where its JWK says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An immutable key set with its times and generation; replaced as a whole, by reference."""

    adopted: Adopted
    keys: KeySet
    generation: int
    expires_at: float  # monotonic seconds
    # Base64 header segment -> binding. Filled only after a good signature, so that nobody can fill it with
    # rubbish; a lost race between two writers costs one repeated look-up.
    bindings: dict[bytes, Binding]
    # Base64 header segments that named no key in a fetch which began after a token with them was seen, and up
    # to when such a token was issued (Unix seconds).
    absent: dict[bytes, float]
    retired: frozenset[str] = frozenset()  # key ids of earlier documents that are not in this one
    # Seconds by which the wall clock was ahead of the monotonic one when these keys came.
    ahead: float = float("inf")

    @classmethod
    def for_ever(cls, source: Source, algorithms: Sequence[str], name: str, now: float) -> Snapshot:
        """The snapshot of a static source, which never expires; raises `ConfigurationError`."""
        document = source.fetch(Conditional()).document
        assert document is not None  # a static source always has its document
        snapshot = cls.after(None, fixed(document, now), algorithms)
        if len(snapshot.keys) == 0:
            allowed = ", ".join(algorithms)
            raise ConfigurationError(f"no key of the source of {name} is for one of: {allowed}")
        return snapshot

    def note_absent(self, segment: bytes, issued_at: float) -> None:
        """Remember that a fetch made for a token with this header, issued then, did not bring its key."""
        if segment in self.absent or len(self.absent) < MAX_ABSENT:
            self.absent[segment] = max(issued_at, self.absent.get(segment, 0.0))

    def aged(self, seconds: float) -> Snapshot:
        """The same keys, older by what a clock that stood still did not count."""
        adopted = replace(
            self.adopted,
            fetched_at=self.adopted.fetched_at - seconds,
            refresh_at=self.adopted.refresh_at - seconds,
            expires_at=self.adopted.expires_at - seconds,
        )
        return replace(
            self, adopted=adopted, expires_at=self.expires_at - seconds, ahead=self.ahead + seconds
        )

    def for_algorithms(self, algorithms: Sequence[str]) -> Snapshot:
        """The same document, for tokens of other algorithms."""
        keys = self.adopted.jwks.for_algorithms(algorithms)
        return replace(self, keys=keys, bindings={}, absent={})

    @classmethod
    def after(cls, old: Snapshot | None, adopted: Adopted, algorithms: Sequence[str]) -> Snapshot:
        """The snapshot that what was adopted makes of the old one; an older generation changes nothing."""
        generation = adopted.content.generation
        expires_at = adopted.expires_at
        if old is not None and generation < old.generation:
            return old
        if old is not None and adopted.jwks is old.adopted.jwks:
            # Identical bytes only extend times, and within one published generation not even those.
            if generation == old.generation and adopted.content.fetched_us > 0:
                expires_at = min(expires_at, old.expires_at)
            return replace(old, adopted=adopted, generation=generation, expires_at=expires_at)
        keys = adopted.jwks.for_algorithms(algorithms)
        retired: frozenset[str] = frozenset()
        if old is not None:
            gone = old.adopted.jwks.known - adopted.jwks.known
            retired = gone | (old.retired - adopted.jwks.known)
            retired = retired if len(retired) <= MAX_RETIRED else gone
        return cls(
            adopted=adopted,
            keys=keys,
            generation=generation,
            expires_at=expires_at,
            bindings={},
            absent={},
            retired=retired,
        )


def fixed(document: bytes, now: float) -> Adopted:
    """A document that never changes and never expires; raises `UnusableDocument`."""
    forever = float("inf")
    content = Content(
        generation=0, fetched_us=0, expires_us=0, etag=None, last_modified=None, payload=document
    )
    return Adopted(
        content=content,
        jwks=import_jwks(document),
        fetched_at=now,
        refresh_at=forever,
        expires_at=forever,
    )


def described(snapshot: Snapshot | None, now: float) -> dict[str, Any]:
    """What an operator is shown of a snapshot, in plain values; durations in seconds."""
    return {
        "kids": list(snapshot.keys.kids) if snapshot else [],
        "generation": snapshot.generation if snapshot else 0,
        "age": max(0.0, now - snapshot.adopted.fetched_at) if snapshot else None,
        "next_refresh": seconds_left(snapshot.adopted.refresh_at, now) if snapshot else None,
        "expires": seconds_left(snapshot.expires_at, now) if snapshot else None,
    }


def seconds_left(until: float, now: float) -> float | None:
    """Seconds left, or None where there is no end to them."""
    return None if until == float("inf") else max(0.0, until - now)
