"""When keys at hand have to be compared with the fleet's row, and until when they serve without.

Freshness is the age of what is used, not the time of the last try: only a statement that was answered counts,
from the moment at which it was sent. Time is an argument; whoever holds the refresher's lock may change it.
"""

from __future__ import annotations

from .config import RefreshPolicy
from .core.order import Adopted, Ending

NEVER = float("-inf")
FOR_EVER = float("inf")

IN_THE_AIR = 1.0  # seconds after which a flight in the air is looked at again
CLOCK_GAP = 5.0  # seconds by which the wall clock may leap before keys are taken for that much older


class Attention:
    """What is known of when keys and row were compared; all times are monotonic seconds."""

    def __init__(self, policy: RefreshPolicy, ahead: float) -> None:
        """`ahead` is by how much the wall clock is ahead of the monotonic one, in seconds."""
        self._policy = policy
        self.check_at = NEVER  # the next look
        self.overdue_at = FOR_EVER  # the revocation bound, where nobody is to blame for old keys
        self._compared_at = NEVER
        self._provider_fails = False
        self._unanswered_at = NEVER  # where the last statement was not answered
        self._ahead = ahead
        # Seconds between two looks: more, and one was missed.
        self._longest = max(
            policy.check_interval,
            min(policy.check_interval + policy.fetch_timeout, policy.refresh_interval),
        )

    def missed_a_check(self, now: float) -> bool:
        """Whether there was no look when there had to be one, though the store did not refuse it."""
        longest = self._longest if self._policy.background else 0.0
        return now - max(self._compared_at, self._unanswered_at) > longest

    def is_overdue(self, now: float) -> bool:
        """Whether the keys are past the revocation bound while the store gives answers."""
        return now >= self.overdue_at and now - self._unanswered_at > self._longest

    def due_at(self, adopted: Adopted) -> float:
        """When the fleet's next fetch was due at the latest, whatever a row says that nothing seals."""
        return adopted.fetched_at + self._policy.refresh_interval + self._policy.jitter

    def adopt(self, adopted: Adopted, *, provider_fails: bool | None) -> None:
        """These keys are in use now; while the provider fails, the best that there is has no bound.

        None leaves what is known of the provider as it is.
        """
        policy = self._policy
        if provider_fails is not None:
            self._provider_fails = provider_fails
        bound = self.due_at(adopted) + policy.check_interval + policy.fetch_timeout + policy.lease
        self.overdue_at = FOR_EVER if self._provider_fails else bound

    def ended(self, ending: Ending) -> None:
        """A refresh has ended."""
        self.check_at = ending.check_at
        if ending.compared_at is not None:
            self._compared_at = ending.compared_at
            if ending.unanswered_at is None and ending.check_at < FOR_EVER:
                # An answer that a freeze held up is as old as its question.
                self.check_at = min(ending.check_at, ending.compared_at + self._longest)
        self._unanswered_at = NEVER if ending.unanswered_at is None else ending.unanswered_at

    def gap(self, now: float, wall: float) -> float:
        """Seconds that the monotonic clock did not count since the last look at both, 0 where it did."""
        before, self._ahead = self._ahead, wall - now
        gap = self._ahead - before
        if gap <= CLOCK_GAP:
            return 0.0
        self._compared_at -= gap
        self.overdue_at -= gap
        self.check_at = min(self.check_at, now)
        return gap

    def call_at(self, at: float) -> tuple[float, float]:
        """When a request attends next: in monotonic seconds, and by the wall in case those stand still."""
        at = min(at, self.overdue_at)
        return at, at + self._ahead + CLOCK_GAP


class Strangers:
    """For how long a row is left alone that another service, with other seal keys, has written."""

    def __init__(self, policy: RefreshPolicy) -> None:
        self._policy = policy
        self._seen = 0
        self.until = NEVER  # monotonic seconds

    def seen(self, now: float) -> None:
        """There is such a row; each time it is left alone for twice as long."""
        if now >= self.until:
            pause = self._policy.backoff_base * 2 ** min(self._seen, 20)
            self.until = now + min(self._policy.refresh_interval, pause)
            self._seen += 1

    def forget(self) -> None:
        """The row can be read."""
        self._seen = 0
