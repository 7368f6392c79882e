"""One proof's fleet, provider and row, with the evidence that both have left.

Every change of a row is kept by a trigger, in the order in which it was committed. Whatever a proof is about,
what holds always is judged from that record when it ends.
"""

from __future__ import annotations

import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.rows import dict_row

from skeldir_jwt_mw import PostgresStore
from skeldir_jwt_mw.testing.fleet import Fleet, Outcome, WorkerSetup
from skeldir_jwt_mw.testing.issuer_process import IssuerProcess

TABLE = "public.jwt_verification_cache"
FORCED = ("unknown_kid", "manual", "tampered")
PATIENCE = 15.0  # seconds until something that must come about has

# Small enough that a proof need not wait, large enough that a busy machine keeps up.
POLICY: dict[str, Any] = {
    "floor": 0.5,
    "jitter": 0.05,
    "backoff_base": 0.5,
    "backoff_max": 2.0,
    "fetch_timeout": 5.0,
    "lease": 8.0,
    "wait_budget": 12.0,
    "refresh_interval": 100.0,
    "check_interval": 50.0,
    "max_stale": 1000.0,
    "strategy": "advisory",
}

RECORD = f"""
CREATE TABLE record (entry bigserial, now timestamptz DEFAULT clock_timestamp(), changed {TABLE});
CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS
    'BEGIN INSERT INTO record (changed) VALUES (NEW); RETURN NULL; END';
CREATE TRIGGER record AFTER INSERT OR UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION record();
"""


def until(come_about: Callable[[], object], *, within: float = PATIENCE) -> None:
    """Wait until it has come about; an assertion fails where it does not."""
    ends = time.monotonic() + within
    while not come_about():
        assert time.monotonic() < ends, f"it did not come about in {within:g} s"
        time.sleep(0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the row and the provider have counted."""

    attempts: int = 0
    refreshes: int = 0
    failures: int = 0
    abandoned: int = 0
    asked: int = 0  # requests that the provider has seen, by its own counter


class Scene:
    """A crew that is as cold as after a restart, an empty table and a provider with one new key."""

    def __init__(self, *, crew: Fleet, provider: IssuerProcess, dsn: str) -> None:
        self.fleet = crew
        self.provider = provider
        self.dsn = dsn
        self.size = 0
        self.record_is_ours = True  # False once a proof has changed rows itself
        self._setups: list[WorkerSetup] = []
        provider.reset()
        with self.database() as connection:
            connection.execute(f"TRUNCATE {TABLE}, record")

    # -- the fleet -------------------------------------------------------------------------------------

    def setup(self, *, dsn: str | None = None, **changes: Any) -> WorkerSetup:
        """A new service: a namespace and a seal key of its own. Changes of the policy go by name."""
        policy = POLICY | {name: changes.pop(name) for name in POLICY.keys() & changes.keys()}
        return WorkerSetup(
            issuer=self.provider.issuer,
            audience=self.provider.audience,
            jwks_url=self.provider.jwks_url,
            dsn=dsn or self.dsn,
            policy=policy,
            **{"namespace": secrets.token_hex(4), "seal_keys": (secrets.token_bytes(32),), **changes},
        )

    def start(self, size: int, setup: WorkerSetup | None = None, **changes: Any) -> range:
        """Workers 0 to `size` as one cold fleet of one service; returns their numbers."""
        self.fleet.grow(size)
        self.size = size
        self.restart(range(size), setup or self.setup(**changes))
        return range(size)

    def restart(self, workers: Sequence[int], setup: WorkerSetup) -> None:
        """Make these workers cold processes of this set-up."""
        self._setups.append(setup)
        self.fleet.become(setup, workers)

    @property
    def service(self) -> WorkerSetup:
        """The set-up that came last."""
        return self._setups[-1]

    def verify(self, *tokens: str, workers: Sequence[int] | None = None) -> list[Outcome]:
        """All workers that were started (or these) verify the tokens, starting together."""
        return self.fleet.verify(*tokens, workers=range(self.size) if workers is None else workers)

    def warm(self) -> str:
        """Let every worker have the keys, by a fetch that is not forced; returns a good token."""
        token = self.provider.token()
        assert_all_verified(self.verify(token), self.size)
        return token

    def statements(self) -> int:
        """Statements that the workers have sent so far."""
        return self.fleet.statements(range(self.size))

    def statuses(self, workers: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Each worker's status of the provider's keys."""
        answers = self.fleet.ask("status", workers=range(self.size) if workers is None else workers)
        return [answer[self.provider.issuer] for answer in answers]

    # -- evidence --------------------------------------------------------------------------------------

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """A connection of the proof's own, for one transaction."""
        with psycopg.connect(self.dsn, row_factory=dict_row, application_name="proof") as connection:
            yield connection

    def source_key(self, setup: WorkerSetup | None = None) -> str:
        """The key of the row of the service's first issuer."""
        setup = setup or self.service
        return setup.verifier(PostgresStore(setup.dsn, namespace=setup.namespace)).source_keys()[0]

    def row(self, setup: WorkerSetup | None = None) -> dict[str, Any]:
        """The service's row, with the database's time as `now`."""
        statement = f"SELECT clock_timestamp() AS now, c.* FROM {TABLE} c WHERE source_key = %s"
        with self.database() as connection:
            row = connection.execute(statement, [self.source_key(setup)]).fetchone()
        assert row is not None
        return row

    def change(self, assignments: str, *values: Any, setup: WorkerSetup | None = None) -> None:
        """Change the service's row as somebody with write access to the table can."""
        self.record_is_ours = False
        statement = f"UPDATE {TABLE} SET {assignments} WHERE source_key = %s"
        with self.database() as connection:
            connection.execute(statement.encode(), [*values, self.source_key(setup)])

    def counted(self) -> Counted:
        """The row's evidence counters and the provider's own."""
        row = self.row()
        return Counted(
            attempts=row["fetch_attempt_count"],
            refreshes=row["refresh_event_count"],
            failures=row["failure_event_count"],
            abandoned=row["abandoned_count"],
            asked=self.provider.fetches,
        )

    def since(self, before: Counted) -> Counted:
        """What was counted since."""
        now = self.counted()
        return Counted(**{name: getattr(now, name) - getattr(before, name) for name in Counted.__slots__})

    def record(self, setup: WorkerSetup | None = None) -> list[dict[str, Any]]:
        """Every state that the service's row has been in, oldest first."""
        statement = "SELECT entry, (changed).* FROM record WHERE (changed).source_key = %s ORDER BY entry"
        with self.database() as connection:
            return connection.execute(statement, [self.source_key(setup)]).fetchall()

    def claims(self) -> list[dict[str, Any]]:
        """The states of the row that claims have led to, oldest first."""
        record = self.record()
        earlier = [{"fence": 0}, *record]
        return [
            after for before, after in zip(earlier, record, strict=False) if after["fence"] > before["fence"]
        ]

    def connections(self, application_name: str = "skeldir_jwt_mw") -> list[str]:
        """The states of the connections under this name to the fleet's database."""
        statement = (
            "SELECT state FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s AND state IS NOT NULL"
        )
        with self.database() as connection:
            return [row["state"] for row in connection.execute(statement, [application_name])]

    def assert_what_holds_always(self) -> None:
        """Judge the record: what must hold in every fleet, whatever has happened to it."""
        if not self.record_is_ours:
            return
        for setup in self._setups:
            record = self.record(setup)
            for state in record:
                ended = sum(
                    state[f"{name}_count"] for name in ("refresh_event", "failure_event", "abandoned")
                )
                leased = state["lease_owner"] is not None
                assert state["fetch_attempt_count"] == ended + leased, "attempts are not what became of them"
            for before, after in itertools.pairwise(record):
                assert after["generation"] >= before["generation"], "the generation went back"
                assert after["fence"] >= before["fence"], "the fence went back"
                if after["fence"] > before["fence"] and before["lease_owner"] is not None:
                    assert after["claimed_at"] >= before["lease_until"], "two held the lease at once"
            floor = min(float(other.policy["floor"]) for other in self._setups)
            forced = sorted(
                {state["claimed_at"] for state in record if state["last_refresh_reason"] in FORCED}
            )
            for earlier, later in itertools.pairwise(forced):
                assert (later - earlier).total_seconds() >= floor, "forced claims came within a floor"


ONE_FETCH = Counted(attempts=1, refreshes=1, asked=1)


def assert_all_verified(outcomes: Sequence[Outcome], count: int) -> None:
    """Every one of `count` workers accepted its token."""
    assert [outcome for outcome in outcomes if not outcome.verified] == []
    assert len({outcome.worker for outcome in outcomes}) == count


def errors(outcomes: Sequence[Outcome]) -> set[str | None]:
    """What came of the tokens: error codes, and None for those that were accepted."""
    return {outcome.error for outcome in outcomes}


def share(values: Sequence[float], part: float) -> float:
    """The value that this part of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def another_policy(setup: WorkerSetup, **changes: Any) -> WorkerSetup:
    """The same service with another policy."""
    return replace(setup, policy={**setup.policy, **changes})
