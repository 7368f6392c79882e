"""Deliberately wrong variants of the library: each must turn a scenario red, or that one judges nothing."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import world
from world import SimSession

from skeldir_jwt_mw import attention, course, flight, refresher, served, verification, waiting
from skeldir_jwt_mw.core import adoption, leader, refresh, schedule, seal
from skeldir_jwt_mw.core import row as rows


@dataclass(frozen=True, slots=True)
class Wrong:
    """In `owner.name` the text `old` is replaced by `new`; a `scenario` must notice."""

    what: str
    scenario: str
    owner: Any
    name: str
    old: str
    new: str


@contextmanager
def made_wrong(wrong: Wrong) -> Iterator[None]:
    """Run with the variant."""
    function = inspect.getattr_static(wrong.owner, wrong.name)
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(wrong.old) == 1, f"{wrong.name} has changed: {wrong.old!r} is not in it once"
    module, names = inspect.getmodule(function), {}  # type: ignore[var-annotated]
    text = "from __future__ import annotations\n" + text.replace(wrong.old, wrong.new)
    exec(compile(text, f"<{wrong.name}>", "exec"), module.__dict__, names)
    with patch.object(wrong.owner, wrong.name, names[wrong.name]):
        yield


WRONG = (
    Wrong(
        "a look counts from when its answer arrived",
        "a look that a freeze has cut off is no look",
        course,
        "supervised",
        "answered_at = sent if connected",
        "answered_at = clock() if connected",
    ),
    Wrong(
        "a worker does not look again where a look came late",
        "a look that a freeze has cut off is no look",
        attention.Attention,
        "ended",
        "min(ending.check_at, ending.compared_at + self._longest)",
        "ending.check_at",
    ),
    Wrong(
        "a refresh has no more patience than a request",
        "followers have the key a poll after it was published",
        refresh.Refresh,
        "_coordinated",
        "reply.received - began > MAX_FOLLOWED",
        "reply.received - began > self._policy.wait_budget",
    ),
    Wrong(
        "a row that cannot be read closes the gate without a reason",
        "a row of strangers costs nobody a 401",
        schedule.Schedule,
        "as_the_row_says",
        'None if row.generation == known != order.bad else "row_refused"',
        "None",
    ),
    Wrong(
        "keys that are older than a token say that its key is unknown",
        "made up kids cost nobody a 401",
        verification.Verification,
        "_proven_until",
        "if served.refresher.static:",
        "if True:",
    ),
    Wrong(
        "clocks that have parted make keys younger",
        "a restored machine refuses no good token",
        verification.Verification,
        "_proven_until",
        "min(self._wall() - now, snapshot.ahead)",
        "self._wall() - now",
    ),
    Wrong(
        "a flight has no deadline",
        "a lost thread is ended by who meets its flight",
        flight.Flight,
        "is_lost",
        "now > self.deadline or",
        "",
    ),
    Wrong(
        "whoever leaves keeps the lease",
        "whoever leaves gives the lease back",
        course,
        "supervised",
        "if lease is not None and clock() < lease_end:",
        "if False:",
    ),
    Wrong(
        "trouble of one process is booked on the provider",
        "a process without threads costs the fleet nothing",
        leader.Leader,
        "lead",
        "if isinstance(found, LocalFetchFailed):",
        "if False:",
    ),
    Wrong(
        "a deadline holds whatever the clock says of when it was set",
        "a clock that was set back stalls nobody",
        rows,
        "_counts",
        "set_at <= now + SLACK and",
        "",
    ),
    Wrong(
        "only a busy worker looks at the row in time",
        "rare requests find revoked keys gone",
        attention.Attention,
        "missed_a_check",
        "return now - max(self._compared_at, self._unanswered_at) > longest",
        "return False",
    ),
    Wrong(
        "keys past their schedule are good enough for a cold process",
        "processes of one request find revoked keys gone",
        refresh.Refresh,
        "_coordinated",
        "if row.refresh_left > 0 or went_on:",
        "if True:",
    ),
    Wrong(
        "an older row replaces what was fetched in an outage",
        "keys fetched in an outage are not replaced by older ones",
        adoption.Adoption,
        "judge",
        "trusted is not None and trusted.is_private and",
        "False and",
    ),
    Wrong(
        "a write counts after its lease",
        "a leader that wakes up late books no failure",
        rows.Record,
        "is_held",
        "and self.lease_until > now",
        "",
    ),
    Wrong(
        "a fence proves that one's own publish landed",
        "a publish under a fence that was given twice changes nothing",
        leader,
        "_is_in",
        "(row.generation, row.fetched_us, row.payload) == (",
        "(row.generation, content.fetched_us, content.payload) == (",
    ),
    Wrong(
        "no seal is looked at",
        "forged keys are never used",
        seal.Sealer,
        "inspect",
        "if self._current is None:",
        "if True:",
    ),
    Wrong(
        "new rules bring a new refresher",
        "new rules keep the keys",
        served.Setup,
        "roster",
        "refresher = refreshers.get(key)",
        "refresher = None",
    ),
    Wrong(
        "a process that was frozen looks like any other",
        "frozen processes look before they serve",
        attention.Attention,
        "missed_a_check",
        "longest = self._longest if self._policy.background else 0.0",
        "longest = 1e9",
    ),
    Wrong(
        "a request waits for longer than its budget",
        "followers have the key a poll after it was published",
        waiting.Errand,
        "wait",
        "self.until - clock.monotonic()",
        "self.until - clock.monotonic() + 0.5",
    ),
    Wrong(
        "nobody serves on while the provider fails",
        "an outage of the provider is served through",
        attention.Attention,
        "adopt",
        "FOR_EVER if self._provider_fails else bound",
        "bound",
    ),
    Wrong(
        "a request goes on with keys that were found to be older",
        "a restored machine uses no key past its end",
        verification.Verification,
        "judge",
        "if refresher.snapshot is not snapshot:",
        "if False:",
    ),
    Wrong(
        "keys are older for what a clock did not count before they came",
        "keys that came after a clock stood still are no older for it",
        refresher.Refresher,
        "demand",
        "self._heed_gap(now)",
        "pass",
    ),
    Wrong(
        "the database's clock alone tells the age of keys",
        "a clock that was set forward makes no key old",
        adoption.Adoption,
        "judge",
        "max(fetched_at, trusted.fetched_at)",
        "fetched_at",
    ),
    Wrong(
        "keys never expire",
        "an outage of the provider is served through",
        refresher.Refresher,
        "usable",
        "and now < snapshot.expires_at",
        "",
    ),
    Wrong(
        "a forced fetch obeys no floor",
        "made up kids cost nobody a 401",
        rows,
        "_verdict",
        "if asked.force and row.is_floored(asked.floor, now):",
        "if False:",
    ),
    Wrong(
        "a lease is taken from whoever holds it",
        "a calm fleet fetches once for each rotation",
        rows,
        "_verdict",
        "if leased:",
        "if False:",
    ),
    Wrong(
        "the row is judged as it was read before",
        "a calm fleet fetches once for each rotation",
        SimSession,
        "claim",
        "row: Row = self._change(source_key, rows.claim, claim, missing=Record())",
        "row: Row = looked_at_before(self, source_key, claim)",
    ),
)


def looked_at_before(session: SimSession, source_key: str, claim: Any) -> Any:
    """The obvious claim, which is wrong: read the row, decide, then take the lease."""
    database = session._world.database
    missing = rows.Record()

    def look() -> Any:
        return rows.claim(database.rows.get(source_key, missing), claim, database.now_us)[1]

    looked = database.ask(session._process, claim, look)
    if looked.verdict != "leader":
        return looked

    def take(row: rows.Record, asked: Any, now: int) -> Any:
        row = replace(row, lease_until=0, floor_until=0, backoff_until=0)
        return rows.claim(row, replace(asked, have=row.content.generation, need=True), now)

    return session._change(source_key, take, claim, missing=missing)


world.looked_at_before = looked_at_before  # type: ignore[attr-defined]
