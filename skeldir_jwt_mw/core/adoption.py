"""Whether a row may be trusted, and what it is worth to this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skeldir_jwt_mw.config import RefreshPolicy

from .effects import Content, Row
from .keys import ImportedJWKS, UnusableDocument, import_jwks
from .order import Adopted, Order, Reply
from .row import SLACK, clocks_agree
from .seal import Sealer

MICROSECONDS = 1_000_000
GENERATION_LIMIT = 1 << 61  # such a row is restarted by the next claim and never adopted


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Judges rows: the seal first, then the document under it (R55)."""

    source_key: str
    policy: RefreshPolicy
    sealer: Sealer

    def judge(
        self, order: Order, row: Row, reply: Reply
    ) -> Adopted | Literal["stranger", "forged", "older", "clock"]:
        """The row's content with its keys, or why it is not to be used.

        It expires with the sealed expiry or this process's own `max_stale`, whichever is earlier. Of keys
        that this process fetched for itself and those of a row, those are newer whose fetch began later.
        """
        if (
            row.payload is None
            or row.now_us is None
            or row.fetched_us is None
            or row.expires_us is None
            or not 0 < row.generation < GENERATION_LIMIT
        ):
            return "forged"
        if order.wall is not None and not clocks_agree(row.now_us, order.wall):
            return "clock"  # its age, and so its expiry, cannot be judged
        content = Content(
            generation=row.generation,
            fetched_us=row.fetched_us,
            expires_us=row.expires_us,
            etag=row.etag,
            last_modified=row.last_modified,
            payload=row.payload,
        )
        finding = self.sealer.inspect(self.source_key, content, row.seal)
        if finding != "good":
            return finding
        try:
            jwks = imported(order, row.payload)
        except UnusableDocument:
            return "forged"
        now_us = row.now_us
        if order.wall is not None and row.fetched_us > now_us + SLACK:
            now_us = round(order.wall * MICROSECONDS)  # the database's clock was set back since; ours knows
        age = max(0.0, (now_us - row.fetched_us) / MICROSECONDS)
        left = min((row.expires_us - now_us) / MICROSECONDS, self.policy.max_stale - age)
        trusted, fetched_at = order.trusted, reply.sent - age
        if trusted is not None and trusted.is_private and fetched_at <= trusted.fetched_at:
            return "older"
        if trusted is not None and row.generation > trusted.content.generation:
            fetched_at = max(fetched_at, trusted.fetched_at)  # whatever the database's clock was set to since
        return Adopted(
            content=content,
            jwks=jwks,
            fetched_at=fetched_at,
            refresh_at=reply.received + row.refresh_left,
            expires_at=reply.sent + left,
            dated=row.fetched_us <= now_us + SLACK,
        )


def imported(order: Order, document: bytes) -> ImportedJWKS:
    """The keys of a document; the ones at hand if it is the same document. Raises `UnusableDocument`."""
    if order.trusted is not None and order.trusted.content.payload == document:
        return order.trusted.jwks
    return import_jwks(document)
