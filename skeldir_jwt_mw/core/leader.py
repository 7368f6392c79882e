"""The leader's part of a refresh: fetch, then write down what came of it under the fence."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from skeldir_jwt_mw.config import RefreshPolicy
from skeldir_jwt_mw.errors import ConfigurationError

from .adoption import MICROSECONDS, Adoption, imported
from .effects import (
    Conditional,
    Content,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    LocalFetchFailed,
    Publish,
    Read,
    Report,
    Row,
    StoreContended,
    StoreUnavailable,
    Wait,
)
from .keys import ImportedJWKS, UnusableDocument
from .order import Adopted, Effect, Ending, Gate, Order, Reply, Settle, Step
from .schedule import CONTENDED_PAUSE, Schedule, provider_fails
from .seal import Sealer

REWRITE_PAUSE_MAX = 0.5  # seconds between two tries to write to a store that does not answer
NOT_WRITTEN = (StoreContended, StoreUnavailable, ConfigurationError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """What the holder of the lease does."""

    policy: RefreshPolicy
    sealer: Sealer
    schedule: Schedule
    adoption: Adoption

    def lead(self, order: Order, row: Row, claimed: Reply) -> Step:
        """Fetch and publish, or record the failure so that the whole fleet backs off."""
        lease_end = claimed.sent + (row.lease_left or self.policy.lease)
        margin = (self.policy.lease - self.policy.fetch_timeout) / 2
        fetch = Fetch(
            conditional=_conditional(order), seconds=max(0.0, lease_end - margin - claimed.received)
        )
        fetched = yield fetch
        found = _document(order, fetch.conditional, fetched.value)
        if isinstance(found, LocalFetchFailed):  # whoever flies this gives the lease back
            yield Report(event="failed_here", detail=found.reason)
            ending = self.schedule.failed_here(
                fetched.received, failures=order.failures, bad=order.bad, unreadable=order.unreadable
            )
            return replace(ending, provider_fails=provider_fails(row))  # as the others have found
        if isinstance(found, FetchFailed):
            yield Report(event="fetch_failed", detail=found.reason)
            return (yield from self._record_failure(order, row, found, fetched, lease_end))
        content, jwks = found
        assert row.claimed_us is not None  # a won claim has set it to the database's now
        content = replace(
            content,
            generation=row.fence,
            fetched_us=row.claimed_us,
            expires_us=row.claimed_us + round(self.policy.max_stale * MICROSECONDS),
        )
        if jwks.private_members:
            yield Report(event="private_key", detail="the provider published a private key; it is not used")
        refresh_in = self.schedule.interval(fetched.value.max_age) + self.schedule.jitter()
        publish = Publish(
            owner=order.owner,
            content=content,
            next_us=row.claimed_us + round(refresh_in * MICROSECONDS),
            seal=self.sealer.seal(self.adoption.source_key, content),
            coordinated=order.coordinated,
        )
        # A forced fetch has armed the floor, in the row and hence here; a scheduled one has not.
        floor_end = claimed.received + self.policy.floor + self.schedule.spread()
        ending = Ending(
            kind="refreshed",
            gate=Gate(until=floor_end if order.force else float("-inf"), reason=None),
            check_at=self.schedule.next_check(fetched.received),
            adopted=Adopted(
                content=content,
                jwks=jwks,
                fetched_at=claimed.sent,
                refresh_at=claimed.sent + refresh_in,
                expires_at=claimed.sent + self.policy.max_stale,
            ),
            provider_fails=False,
        )
        reply = yield publish
        if isinstance(reply.value, NOT_WRITTEN):
            yield Settle(ending=ending)  # the keys are good: this process need not wait for the database
            if not (yield from self._repeat(publish, lease_end, reply)):
                yield Report(event="store_failed", detail=f"new keys were not shared: {reply.value}")
                return ending
        elif reply.value is False:
            return (yield from self._after_lost_lease(order, ending))
        yield Report(event="refreshed", detail=order.reason)
        return ending

    def fetch_locally(self, order: Order, ending: Ending) -> Step:
        """Fetch for this process alone: the store is away, or its row is not for this process to read."""
        conditional = _conditional(order)
        fetched = yield Fetch(conditional=conditional, seconds=self.policy.lease)
        found = _document(order, conditional, fetched.value)
        closed_until = fetched.received + self.policy.floor + self.schedule.spread()
        check_at = max(closed_until, ending.check_at)  # aged keys obey the floor too
        if isinstance(found, FetchFailed):
            here = isinstance(found, LocalFetchFailed)
            yield Report(event="failed_here" if here else "fetch_failed", detail=found.reason)
            return replace(
                ending,
                kind="failed",
                gate=Gate(until=closed_until, reason="local" if here else "failed"),
                check_at=check_at,
                provider_fails=None if here else True,
            )
        content, jwks = found
        adopted = Adopted(
            # Below every row that is published from now on; no time of the database's clock belongs to it.
            content=replace(content, generation=order.have, fetched_us=0, expires_us=0),
            jwks=jwks,
            fetched_at=fetched.sent,
            refresh_at=fetched.sent + self.schedule.interval(fetched.value.max_age),
            expires_at=fetched.sent + self.policy.max_stale,
        )
        return replace(
            ending,
            kind="refreshed",
            adopted=adopted,
            gate=Gate(until=closed_until, reason=None),
            check_at=check_at,
            compared_at=fetched.sent,
            provider_fails=False,
        )

    def _record_failure(
        self, order: Order, row: Row, failure: FetchFailed, fetched: Reply, lease_end: float
    ) -> Step:
        fail = Fail(
            owner=order.owner,
            fence=row.fence,
            error=failure.reason,
            retry_after=failure.retry_after or 0.0,
            backoff_base=self.policy.backoff_base,
            backoff_max=self.policy.backoff_max,
            jitter=self.schedule.jitter(),
        )
        unrecorded = Ending(
            kind="failed",
            gate=Gate(until=max(lease_end, fetched.received), reason="failed"),
            check_at=self.schedule.next_check(fetched.received),
            bad=order.bad,
            unreadable=order.unreadable,
            provider_fails=True,
        )
        reply = yield fail
        if isinstance(reply.value, NOT_WRITTEN):
            yield Settle(ending=unrecorded)
            yield from self._repeat(fail, lease_end, reply)
            return unrecorded
        if reply.value is None:
            return (yield from self._after_lost_lease(order, unrecorded))
        return replace(unrecorded, gate=self.schedule.gate(reply.received, reply.value, "failed"))

    def _repeat(
        self, effect: Publish | Fail, lease_end: float, reply: Reply
    ) -> Generator[Effect, Reply, bool]:
        """Try to write until the lease ends; whether the store has answered.

        Where connections are scarce the followers hold them, all waiting for this very write: then the next
        try comes at once, and the pauses never grow.
        """
        pause = CONTENDED_PAUSE
        while reply.received + pause < lease_end and not isinstance(reply.value, ConfigurationError):
            yield Wait(seconds=pause, release=True)
            reply = yield effect
            if not isinstance(reply.value, NOT_WRITTEN):
                return True
            if not isinstance(reply.value, StoreContended):
                pause = min(pause * 2, REWRITE_PAUSE_MAX)
        return False

    def _after_lost_lease(self, order: Order, ending: Ending) -> Step:
        """A write changed nothing: an earlier try of it landed, or somebody else holds the row now.

        What landed is told by all that was written: where the row was replaced by an older one, and the
        database's clock is slow, somebody else's publish may bear the same fence.
        """
        reply = yield Read(
            force=order.force,
            need=order.need,
            have=order.have,
            bad=order.bad,
            floor=self.policy.floor,
            refresh=self.policy.refresh_interval + self.policy.jitter,
        )
        row = reply.value
        if not isinstance(row, Row):
            yield Report(event="store_failed", detail="the row is gone" if row is None else str(row))
            return self.schedule.store_failed(order, reply)
        if ending.adopted is not None and _is_in(row, ending.adopted.content):
            return ending
        if row.generation > order.have and row.generation != order.bad:
            judged = self.adoption.judge(order, row, reply)
            if isinstance(judged, Adopted) and judged.expires_at > reply.received:
                return self.schedule.as_the_row_says(
                    "adopted", order, row, reply, adopted=judged, waited=True
                )
        return self.schedule.as_the_row_says("blocked", order, row, reply)


def _is_in(row: Row, content: Content) -> bool:
    return (row.generation, row.fetched_us, row.payload) == (
        content.generation,
        content.fetched_us,
        content.payload,
    )


def _conditional(order: Order) -> Conditional:
    """Validators only of what this process has itself checked; none, and no cache on the way, when forced."""
    if order.force:
        return Conditional(no_cache=True)
    if order.trusted is None:
        return Conditional()
    content = order.trusted.content
    return Conditional(etag=content.etag, last_modified=content.last_modified)


def _document(
    order: Order, conditional: Conditional, answer: Fetched | FetchFailed
) -> tuple[Content, ImportedJWKS] | FetchFailed:
    """What a source's answer means: content without times, with its keys, or a failure."""
    if isinstance(answer, FetchFailed):
        return answer
    if answer.document is None:
        if order.trusted is None or not (conditional.etag or conditional.last_modified):
            return FetchFailed("not modified, in answer to an unconditional request")
        kept = order.trusted.content
        content = replace(
            kept,
            etag=answer.etag or kept.etag,
            last_modified=answer.last_modified or kept.last_modified,
        )
        return content, order.trusted.jwks
    try:
        jwks = imported(order, answer.document)
    except UnusableDocument as error:
        return FetchFailed(str(error))
    content = Content(
        generation=0,
        fetched_us=0,
        expires_us=0,
        etag=answer.etag,
        last_modified=answer.last_modified,
        payload=answer.document,
    )
    return content, jwks
