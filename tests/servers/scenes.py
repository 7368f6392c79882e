"""What a server goes through: cold start, locked table, outage, rotation, a flood of strangers, its end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
from running import Server, until

from skeldir_jwt_mw.testing import IssuerProcess

AT_ONCE = 8  # requests of the harness
# Nothing here ends by itself while a proof lasts but a request's wait and a failed look.
POLICY: dict[str, float] = {
    "wait_budget": 0.5,
    "fetch_timeout": 40.0,
    "lease": 50.0,
    "floor": 55.0,
    "jitter": 0.0,
    "backoff_base": 0.1,
    "refresh_interval": 600.0,
    "check_interval": 300.0,
}
SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'skeldir_jwt_mw' AND datname = current_database()
    AND (NOT %(waiting)s OR wait_event_type = 'Lock')
"""


def environ_of(provider: IssuerProcess, dsn: str | None, **policy: float) -> dict[str, str]:
    """The environment of a service with a row and a seal key of its own."""
    setup = {
        "issuer": provider.issuer,
        "audience": provider.audience,
        "jwks_url": provider.jwks_url,
        "dsn": dsn,
        "namespace": secrets.token_hex(4),
        "seal_key": secrets.token_hex(32),
        "policy": POLICY | policy,
    }
    return {"SERVICE": json.dumps(setup)}


class Scene:
    """One server, its provider and its database."""

    def __init__(self, server: Server, provider: IssuerProcess, dsn: str | None) -> None:
        self.server = server
        self.provider = provider
        self.dsn = dsn
        self._asking = ThreadPoolExecutor(AT_ONCE)

    @property
    def fetches_each(self) -> int:
        """What one rotation costs the provider: a fetch for the fleet, or one for each process."""
        return 1 if self.dsn is not None else self.server.line.processes

    def close(self) -> None:
        """Ask no more."""
        self._asking.shutdown()

    def ask_later(self, token: str) -> Future[tuple[int, int | None]]:
        """Send a request that nobody waits for yet."""
        return self._asking.submit(self.server.ask, token)

    def ask_everybody(self, token: str, *, may_wait: bool = False) -> None:
        """Have the token let through by every process; it is never refused.

        With `may_wait` a 503 is an answer for the time being.
        """
        served: set[int] = set()

        def ask_some() -> bool:
            for answer in [self.ask_later(token) for _ in range(AT_ONCE)]:
                status, pid = answer.result()
                assert status == 200 or (may_wait and status == 503)
                if pid is not None:
                    served.add(pid)
            return len(served) >= self.server.line.processes

        until(ask_some)
        assert len(served) == self.server.line.processes

    def assert_known_keys_are_served(
        self, known: str, unknown: str, *, is_held_up: Callable[[], object]
    ) -> None:
        """While the refresh that `unknown` asks for is held up, every process lets `known` through.

        The caller holds it up before and after, so no clock has to judge whether anybody waited.
        """

        def hold_one_up() -> bool:
            status, _ = self.server.ask(unknown)
            assert status == 503
            return bool(is_held_up())

        until(hold_one_up)
        waiting = [self.ask_later(unknown) for _ in range(2)]
        self.ask_everybody(known)
        assert {answer.result()[0] for answer in waiting} == {503}

    def assert_no_stranger_gets_in(self, tokens: Sequence[str]) -> None:
        """None of these tokens is let through."""
        answers = [self.ask_later(token) for token in tokens]
        assert {answer.result()[0] for answer in answers} <= {401, 503}


@contextmanager
def locked_table(dsn: str) -> Iterator[None]:
    """Another session holds the table, so that every statement of ours waits."""
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE public.jwt_verification_cache IN ACCESS EXCLUSIVE MODE")
        yield


def sessions_of_ours(dsn: str, *, waiting: bool = False) -> int:
    """How many sessions the library has in the database, or how many of them wait for a lock."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(SESSIONS, {"waiting": waiting}).fetchone()
    assert found is not None
    return int(found[0])


def is_leased(dsn: str) -> bool:
    """Whether the only row has a lease."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT lease_owner FROM public.jwt_verification_cache").fetchall()
    return [owner for (owner,) in found] != [None]
