"""One refresh of one issuer's keys, as a script that a driver runs.

Theory of operation
-------------------
The keys of an issuer live in one row that a whole fleet shares. A refresh is one attempt of one process to
have newer keys than it has. The script below is a generator: it *yields* effects (claim the row, fetch,
publish, wait) and is *sent* their results, so the same text runs over a real database and under a simulated
clock.

1. Claim. One statement reads the row and, if a fetch is due and nobody holds the lease, takes the lease.
   Its verdict says what must happen:

       leader     the lease is ours: fetch, then publish (or record the failure)
       newer      the row holds a later generation than ours: check its seal and use it
       fresh      nothing is due
       wait       another process fetches: poll until the row changes, then claim again
       floor      a forced fetch happened too recently
       backoff    the provider failed recently; the whole fleet backs off together
       contended  somebody else was faster, or the statement was cut off: claim again

   The row is judged as the claim saw it, never as it was read before: a decision on an earlier read lets
   several processes fetch.

2. Fences. Every lease has a fence above every earlier one. A publish changes the row only for the holder of
   the newest fence, so a process that was stopped and wakes up late cannot overwrite newer keys with older
   ones. The fence becomes the generation of what it published.

3. Forced or scheduled. An unknown `kid` (or refresh()) forces a fetch, at most once per floor. A scheduled
   one neither obeys nor arms the floor, so that it never makes a newly published key wait.

4. The gate. Every ending says until when another attempt is pointless, and whether the last word was a
   successful refresh (then an unknown `kid` is the caller's fault) or not (then it is ours). While the gate
   is closed, unknown kids cost no I/O.

5. Trust. A row is used only after its seal is checked. Validators for a conditional request come from keys
   that this process has itself checked, never from the row: otherwise write access to the row could keep a
   revoked key alive for ever. A row that cannot be read is never fresh: when its own keys come of age, the
   process fetches for itself.

6. Time. Rows answer in remaining seconds. What must not be used too long is counted from before the
   statement was sent, what must not be tried too early from after its answer arrived.

7. Patience. The script has more than a request: it follows another process's fetch until that ends, so that
   the keys are here a poll after they were published, whatever the requests have given up meanwhile. A
   newer row that is itself past its schedule is put to use and not the end: the refresh goes on.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import assert_never

from skeldir_jwt_mw.config import MAX_LEASE, RefreshPolicy
from skeldir_jwt_mw.errors import ConfigurationError

from .adoption import Adoption
from .effects import (
    Claim,
    Peek,
    Report,
    Row,
    StoreContended,
    StoreReadOnly,
    StoreUnavailable,
    Wait,
)
from .leader import Leader
from .order import Adopted, Effect, Ending, Order, Reply, Step, Use
from .schedule import HOLD_CONNECTION, Schedule, provider_fails
from .seal import Sealer

CONTENDED_BEFORE_UNGATED = 2  # then the advisory lock is left out: a stranger may hold its number
CONTENDED_FOR = 5.0  # seconds for which a statement that was cut off is repeated
MAX_REJECTED_ROWS = 3
MAX_FOLLOWED = 2 * MAX_LEASE  # seconds of other processes' fetches, one after the other


class Refresh:
    """The script of one refresh, for one source under one policy."""

    def __init__(self, *, source_key: str, policy: RefreshPolicy, sealer: Sealer, schedule: Schedule) -> None:
        self._policy = policy
        self._schedule = schedule
        self._adoption = Adoption(source_key=source_key, policy=policy, sealer=sealer)
        self._leader = Leader(policy=policy, sealer=sealer, schedule=schedule, adoption=self._adoption)

    def run(self, order: Order) -> Step:
        """Yield effects until the refresh has ended; returns how."""
        return self._coordinated(order) if order.coordinated else self._uncoordinated(order)

    def _coordinated(self, order: Order) -> Step:
        schedule = self._schedule
        contended = rejected = 0
        waited = went_on = False
        unreadable = order.unreadable
        adopted: Adopted | None = None
        began: float | None = None
        while True:
            reply = yield self._claim(order, use_gate=contended < CONTENDED_BEFORE_UNGATED)
            began = reply.sent if began is None else began
            row = reply.value
            if isinstance(row, StoreUnavailable | ConfigurationError):
                return (yield from self._without_store(order, reply))
            if isinstance(row, StoreContended) or row.verdict == "contended":
                contended += 1
                if reply.received - began > CONTENDED_FOR:
                    why = str(row) if isinstance(row, StoreContended) else "other processes keep the row busy"
                    yield Report(event="store_failed", detail=why)
                    return schedule.store_failed(order, reply)
                yield Wait(seconds=schedule.contended_pause(contended), release=True)
                continue
            assert isinstance(row, Row)
            match row.verdict:
                case "leader":
                    return (yield from self._leader.lead(order, row, reply))
                case "fresh" | "floor" | "backoff":
                    unreadable = unreadable and row.generation == order.bad
                    ending = schedule.as_the_row_says(
                        "fresh" if row.verdict == "fresh" else "blocked",
                        order,
                        row,
                        reply,
                        adopted=adopted,
                        waited=waited,
                        unreadable=unreadable,
                    )
                    if unreadable and row.verdict != "backoff":
                        return (yield from self._without_row(order, ending, reply))
                    return ending
                case "wait":
                    if reply.received - began > MAX_FOLLOWED:
                        yield Report(event="store_failed", detail="no process has ended a fetch for minutes")
                        return schedule.still_running(order, row, reply)
                    yield from self._follow(row)
                    waited = True
                case "newer":
                    judged = self._adoption.judge(order, row, reply)
                    if judged == "clock":
                        detail = "the clocks of the database and of this host differ by more than a day"
                        yield Report(event="store_failed", detail=detail)
                        return schedule.store_failed(order, reply)
                    if judged == "older":  # than what this process fetched while the store was away
                        order = replace(order, bad=row.generation)
                    elif isinstance(judged, Adopted):
                        if judged.expires_at > reply.received:
                            if row.refresh_left > 0 or went_on:
                                return schedule.as_the_row_says(
                                    "adopted", order, row, reply, adopted=judged, waited=waited
                                )
                            yield Use(adopted=judged, provider_fails=provider_fails(row))
                            adopted, went_on = judged, True
                            order = replace(order, have=row.generation, trusted=judged, need=False)
                        else:
                            order = replace(order, have=row.generation, need=True)
                    else:
                        rejected += 1
                        order = replace(order, bad=row.generation)
                        if judged == "stranger":
                            unreadable = True
                            detail = "sealed with a key not configured here"
                            yield Report(event="stranger_row", detail=detail)
                            if not order.replace_stranger:
                                ending = schedule.row_refused(order, row, reply)
                                return (yield from self._without_row(order, ending, reply))
                        else:
                            yield Report(event="forged_row", detail="its seal or its content is not good")
                            order = replace(order, force=True, reason="tampered")
                        if rejected > MAX_REJECTED_ROWS:
                            return schedule.row_refused(order, row, reply)
                case _:
                    raise AssertionError(row.verdict)

    def _follow(self, row: Row) -> Generator[Effect, Reply, None]:
        """Poll while another process fetches, until it has ended or its lease has."""
        elapsed = 0.0
        polls = 0
        while elapsed <= row.lease_left:
            pause = self._schedule.poll_pause(polls, elapsed)
            waiting = yield Wait(seconds=pause, release=pause > HOLD_CONNECTION)
            reply = yield Peek()
            polls += 1
            elapsed += reply.received - waiting.sent
            peeked = reply.value
            if isinstance(peeked, StoreContended):
                continue
            if isinstance(peeked, StoreUnavailable | ConfigurationError):
                return  # the next claim meets the same and says so
            if peeked.generation != row.generation or not peeked.running:
                return

    def _without_store(self, order: Order, reply: Reply) -> Step:
        yield Report(event="store_failed", detail=str(reply.value))
        ending = self._schedule.store_failed(order, reply)
        if ending.misconfigured is not None and not isinstance(ending.misconfigured, StoreReadOnly):
            return ending
        match self._policy.on_store_outage:
            case "serve":
                return ending
            case "fetch":
                return (yield from self._for_itself(order, ending))
            case never:
                assert_never(never)

    def _without_row(self, order: Order, ending: Ending, reply: Reply) -> Step:
        """The row is another service's, as its seal says: what this process needs, it fetches for itself."""
        if reply.value.outcome == "running":
            return ending
        return (yield from self._for_itself(order, ending))

    def _for_itself(self, order: Order, ending: Ending) -> Step:
        if not (order.need or order.force or order.aged):
            return ending
        return (yield from self._leader.fetch_locally(order, ending))

    def _uncoordinated(self, order: Order) -> Step:
        """The negative control: ask as everybody does, and fetch whatever the answer is."""
        reply = yield self._claim(order, use_gate=False)
        row = reply.value
        if not isinstance(row, Row) or row.now_us is None:
            why = "the store gave no time" if isinstance(row, Row) else str(row)
            yield Report(event="store_failed", detail=why)
            return self._schedule.store_failed(order, reply)
        fence = max(row.fence + 1, row.now_us)
        claimed = replace(row, fence=fence, claimed_us=row.now_us, lease_left=0.0)
        return (yield from self._leader.lead(order, claimed, reply))

    def _claim(self, order: Order, *, use_gate: bool) -> Claim:
        policy = self._policy
        return Claim(
            owner=order.owner,
            force=order.force,
            need=order.need or order.aged,  # the times in a row are not sealed, those of keys at hand are
            have=order.have,
            bad=order.bad,
            lease=policy.lease,
            floor=policy.floor,
            refresh=policy.refresh_interval + policy.jitter,
            reason=order.reason,
            use_gate=use_gate and policy.strategy == "advisory",
        )
