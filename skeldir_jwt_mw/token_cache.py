"""Remembers verified tokens, for services that see the same token many times.

The key is the SHA-256 of the whole token, never the token, so a memory dump holds no credential. An entry
is bound to the key set that verified it: when the issuer's document changes, the token is verified anew.
Times are looked at on every hit; scopes are the caller's to check, hit or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from .clock import Clock
from .core.claims import Accepted
from .core.keys import KeySet
from .refresher import Refresher
from .token import VerifiedToken, verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a token said, and what verified it. `starts` and `ends` are Unix seconds, leeway included."""

    refresher: Refresher
    keys: KeySet
    accepted: Accepted
    claims: Mapping[str, Any]
    header: Mapping[str, Any]
    kid: str | None
    starts: float
    ends: float


class TokenCache:
    """At most `size` verified tokens, give or take one per thread; the oldest goes first.

    There is no lock: each change is one step, and who is overtaken in between gives up.
    """

    def __init__(self, size: int, clock: Clock) -> None:
        self.size = size
        self._monotonic, self._wall = clock.monotonic, clock.wall
        self._entries: dict[bytes, Remembered] = {}

    def recall(self, raw: str | bytes) -> VerifiedToken | None:
        """The remembered token, if the key set that verified it is still in use and its times still hold."""
        entry = self._entries.get(_digest(raw))
        if entry is None:
            return None
        refresher, wall = entry.refresher, self._wall()
        snapshot = refresher.snapshot
        if (
            snapshot is None
            or snapshot.keys is not entry.keys
            or self._monotonic() >= refresher.attention_at  # the full path looks at what is due …
            or wall >= refresher.attention_by  # … also where that clock stood still
            or not entry.starts <= wall < entry.ends
        ):
            return None
        return verified(entry.accepted, entry.claims, entry.header, entry.kid, snapshot.generation)

    def remember(self, raw: str | bytes, entry: Remembered) -> None:
        """Remember a token that has just been verified in full."""
        digest = _digest(raw)
        self._entries.pop(digest, None)
        try:
            while len(self._entries) >= self.size:
                self._entries.pop(next(iter(self._entries)), None)
        except (RuntimeError, StopIteration):  # another thread has changed it meanwhile
            return  # it is verified anew next time
        self._entries[digest] = entry


def _digest(raw: str | bytes) -> bytes:
    """The digest of an exact str or bytes. Nothing else has one, or all of it would share a token's entry."""
    if type(raw) is str:
        return sha256(raw.encode("utf-8", "surrogatepass")).digest()
    if type(raw) is bytes:
        return sha256(raw).digest()
    raise TypeError("a token is looked up as an exact str or bytes")
