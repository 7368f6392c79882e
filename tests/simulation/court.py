"""Judges every verdict and every statement of a world against what is promised.

A bound counts from the event that it is about, or from the end of the last trouble that may excuse it: so in
bad weather little is judged, and as soon as it clears everything is. What nothing excuses is marked as such.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virtual import EPOCH, Process

from skeldir_jwt_mw import RefreshPolicy
from skeldir_jwt_mw.core.effects import Claim, Publish, Release
from skeldir_jwt_mw.core.row import Record
from skeldir_jwt_mw.driver import STORE_TIMEOUT
from skeldir_jwt_mw.pool import MAX_WORKING

if TYPE_CHECKING:
    from world import Token, Worker, World

EVER = -1e9
ROUND = 1.0  # seconds: a few statements there and back, a poll, the last bit of a quick fetch
TRIES = 3  # requests after which a worker that is seldom asked has the key: adopt, fetch, use
LEAP = 5.0  # seconds by which a clock may stand still unnoticed, each time


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a policy promises, in seconds."""

    policy: RefreshPolicy

    @property
    def revocation(self) -> float:
        """For how long at most a key is accepted after the provider has dropped it."""
        policy = self.policy
        return policy.refresh_interval + policy.jitter + policy.check_interval + policy.fetch_timeout

    @property
    def revocation_after_a_crash(self) -> float:
        """The same where a leader has died or was stopped, or the fetch was slow."""
        return self.revocation + self.policy.lease

    @property
    def floor(self) -> float:
        """How long a process may refuse to ask again, its spread with it."""
        return self.policy.floor + min(self.policy.jitter, self.policy.floor / 10)

    @property
    def new_key(self) -> float:
        """When a key is usable in a worker at the latest, after its first token came there."""
        return self.floor + self.policy.lease + self.policy.fetch_timeout + ROUND

    @property
    def recovery(self) -> float:
        """When every worker verifies every good token again, after all trouble has ended."""
        return max(self.new_key, self.policy.lease + self.policy.check_interval) + STORE_TIMEOUT


@dataclass(slots=True)
class Case:
    """A request that has not been answered."""

    worker: Worker
    token: Token
    opened_at: float
    disturbed: float  # until when its process was, as of then
    known: bool  # its key was at hand
    age: float  # of the keys at hand, as the worker takes them for


@dataclass(slots=True)
class Refused:
    """Callers are told to come again; `times` counts those who came when there had been time to do better."""

    since: float
    times: int = 0
    latest: float = EVER

    def again(self, now: float, patience: float) -> int:
        """One more; who comes again only after so long may find keys that have expired meanwhile."""
        if now - self.latest > patience:
            self.since, self.times = now, 0
        if now - self.latest > ROUND:
            self.latest = now
            self.times += 1
        return self.times


class Court:
    """Hears every verdict."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bounds = Bounds(world.policy)
        self.verdicts: Counter[tuple[int, str]] = Counter()
        self.worst: dict[str, float] = {}  # by bound, in seconds
        self.claimed: list[tuple[float, Claim]] = []
        self.forced: list[float] = []  # on the database's clock
        self.fences: set[int] = set()
        self.generations: list[int] = []
        self.judges_all = False  # a 401 for a good token without iat, too
        self._refused: dict[tuple[int, int], Refused] = {}  # by process and key
        self._asleep: dict[int, float] = {}  # seconds that a process's clock has not noticed
        self._hostile = False
        self._gone: set[tuple[int, int]] = set()  # keys that a process has refused, since they were dropped

    def violation(self, text: str) -> None:
        """Something that must never happen has happened."""
        self.world.kernel.complaints.append(f"seed {self.world.seed}, t = {self.world.now:.3f} s: {text}")

    def measured(self, what: str, seconds: float) -> None:
        """Remember the worst that was seen."""
        if seconds > self.worst.get(what, 0.0):
            self.worst[what] = seconds

    # -- verdicts --------------------------------------------------------------------------------------

    def open(self, worker: Worker, token: Token) -> Case:
        """A request begins."""
        return Case(
            worker=worker,
            token=token,
            opened_at=self.world.now,
            disturbed=worker.disturbed_until,
            known=token.number is not None and token.number in worker.knows(),
            age=worker.age(),
        )

    def close(self, case: Case, status: int, code: str) -> None:
        """It is answered: judge the answer."""
        self.verdicts[status, code] += 1
        self._judge_duration(case)
        match status:
            case 200:
                self._judge_acceptance(case)
            case 401:
                self._judge_refusal(case, code)
            case _:
                self._judge_unavailability(case, code)

    def _judge_duration(self, case: Case) -> None:
        if case.worker.disturbed_until > case.opened_at:
            return
        took = self.world.now - case.opened_at
        self.measured("a request waits", took)
        if took > self.world.policy.wait_budget + 1e-3:
            self.violation(f"a request waited {took:.3f} s")

    def _judge_acceptance(self, case: Case) -> None:
        world, token, worker = self.world, case.token, case.worker
        if token.number is None:
            self.violation("a token was accepted that nobody signed")
            return
        self._refused.pop((worker.process.pid, token.number), None)
        dropped_at = world.provider.dropped_at.get(token.number)
        if dropped_at is None:
            return
        pid, policy = worker.process.pid, world.policy
        if (pid, token.number) in self._gone and not self._hostile and not world.database.step:
            self.violation("a process accepted a dropped key again that it had refused")
        late = world.now - dropped_at - self._asleep.get(pid, 0.0)
        if late > policy.max_stale + abs(world.database.step) + ROUND:  # nothing excuses this
            self.violation(f"a key was accepted {late:.1f} s after it was dropped, past max_stale")
        excused = max(
            world.troubled_until(("store", "provider", "leader", "clock", "row"), pid),
            worker.disturbed_until,
        )
        late = world.now - max(dropped_at, excused) - self._asleep.get(pid, 0.0)
        if excused <= dropped_at:
            self.measured("a dropped key is accepted", late)
            # A worker that cannot wait for a look at the row cannot tell whether a leader has died.
            hasty = policy.wait_budget < ROUND
            bound = self.bounds.revocation_after_a_crash if hasty else self.bounds.revocation
            if late > bound + ROUND:
                self.violation(f"a key was accepted {late:.1f} s after it was dropped, in good weather")
        elif late > self.bounds.revocation_after_a_crash + ROUND:
            self.violation(f"a key was accepted {late:.1f} s after it was dropped, long after any trouble")

    def _judge_refusal(self, case: Case, code: str) -> None:
        token = case.token
        if token.number is None:
            return
        provider = self.world.provider
        good = (
            provider.published_at[token.number] <= token.issued_at and token.number not in provider.dropped_at
        )
        if good and (token.has_iat or self.judges_all):  # nothing excuses this
            self.violation(f"a good token was refused with 401 ({code})")
        if provider.dropped_at.get(token.number, case.opened_at) < case.opened_at:
            self._gone.add((case.worker.process.pid, token.number))

    def _judge_unavailability(self, case: Case, reason: str) -> None:
        world, worker, token = self.world, case.worker, case.token
        number = token.number
        if number is None or number in world.provider.dropped_at:
            return
        now, pid = world.now, worker.process.pid
        age = case.age + now - case.opened_at
        fresh = age < min(self.bounds.revocation_after_a_crash, world.policy.max_stale) - ROUND
        if case.known and fresh and reason != "closed":
            # Nothing excuses this, but that the clock may just have been found wrong.
            if worker.disturbed_until == EVER or now > worker.disturbed_until + self.bounds.recovery:
                self.violation(f"503 ({reason}) for a key at hand, {case.age:.1f} s old")
            return
        refused = self._refused.setdefault((pid, number), Refused(since=case.opened_at))
        times = refused.again(now, world.policy.max_stale / 2)
        since = refused.since
        kinds = ("store", "provider", "leader", "clock", "row", "threads")
        excused = max(world.troubled_until(kinds, pid), self._backed_off_until(), worker.disturbed_until)
        lasts = now - max(since, excused)
        if excused <= since:
            if times > TRIES:
                self.measured("a new key is refused with 503", lasts)
            if lasts > self.bounds.new_key and times > TRIES:
                self.violation(f"503 ({reason}) for a new key for {lasts:.1f} s, in good weather")
        elif lasts > self.bounds.recovery and times > TRIES:
            self.violation(f"503 ({reason}) for {lasts:.1f} s after all trouble")

    def _backed_off_until(self) -> float:
        """Until when the fleet leaves the provider alone, or is told to by whoever writes to the row."""
        row = self.world.row
        if row is None:
            return EVER
        now, step = self.world.database.now_us, self.world.database.step
        until = row.backoff_until if row.is_backed_off(now) else EVER
        if self._hostile and row.is_floored(self.world.policy.floor, now):
            until = max(until, row.floor_until)
        return until / 1e6 - EPOCH - step

    # -- what happens to processes and to the row --------------------------------------------------------

    def restored(self, worker: Worker, seconds: float) -> None:
        """The monotonic clock of a worker has stood still; less than a leap is not noticed."""
        if seconds <= LEAP:
            pid = worker.process.pid
            self._asleep[pid] = self._asleep.get(pid, 0.0) + seconds

    def forked(self, parent: Worker, child: Worker) -> None:
        """A child knows what its parent knew, and no more."""
        pid = parent.process.pid
        self._asleep[child.process.pid] = self._asleep.get(pid, 0.0)
        child.disturbed_until = self.world.now

    def rewritten(self, before: Record, after: Record) -> None:
        """Somebody has written to the row: from here on its numbers prove nothing."""
        self._hostile = True
        self.fences.clear()
        self.world.trouble("row", self.world.policy.floor)

    def broke_off(self, process: Process, kind: str, where: str) -> None:
        """A bug has ended a refresh."""
        if process.alive:
            self.violation(f"a refresh broke off: {kind}\n{where}")

    def watch(self, process: Process, asked: Any, before: Record, after: Record, answer: Any) -> None:
        """What must hold after every statement."""
        world = self.world
        now = world.database.now_us
        if isinstance(asked, Claim) and answer.verdict == "leader" and after is not before:
            self._watch_claim(asked, before, after, now)
        generation = after.content.generation
        if generation != before.content.generation and isinstance(asked, Publish):
            if generation < before.content.generation and not self._hostile:
                self.violation("an older generation was published over a newer one")
            self.generations.append(generation)
        if before.lease_owner is not None and after.lease_owner is None:
            if before.lease_until <= now:
                self.violation(f"{type(asked).__name__} counted after the lease had ended")
            if isinstance(asked, Release) and before.fence != asked.fence:
                self.violation("a lease was given back by somebody else")
        if after.backoff_until != before.backoff_until and after.backoff_until > now:
            world.trouble("provider", (after.backoff_until - now) / 1e6)
        leased = after.lease_owner is not None
        ended = after.refresh_event_count + after.failure_event_count + after.abandoned_count
        if not self._hostile and after.fetch_attempt_count != ended + leased:
            self.violation("an attempt is unaccounted for")
        if process.most_threads > 2 * MAX_WORKING:
            self.violation(f"a process had {process.most_threads} threads")

    def _watch_claim(self, claim: Claim, before: Record, after: Record, now: int) -> None:
        if after.fence <= max(self.fences, default=0):
            self.violation("a fence was given twice, or an older one later")
        self.fences.add(after.fence)
        if before.lease_owner is not None and before.is_leased(now):
            self.violation("a lease was taken from its living holder")
        self.claimed.append((self.world.now, claim))
        if claim.force:
            if before.floor_set_at <= now < before.floor_until and not self._hostile:
                self.violation("two forced claims are less than a floor apart")
            self.forced.append(now / 1e6)
