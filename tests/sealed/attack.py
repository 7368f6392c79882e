"""A service with a fleet, and somebody who may write anything to the fleet's table but has no seal key."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from skeldir_jwt_mw import InvalidToken, Issuer, JWTError, PostgresStore, RefreshPolicy, Verifier
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

TABLE = "public.jwt_verification_cache"
AUDIENCE = "orders-api"
PATIENCE = 15.0  # seconds until something that must come about has
CHECK_INTERVAL = 0.1
POLICY: dict[str, Any] = {
    "floor": 0.05,
    "jitter": 0.0,
    "backoff_base": 0.05,
    "backoff_max": 0.1,
    "fetch_timeout": 2.0,
    "lease": 3.0,
    "wait_budget": 2.5,
    "refresh_interval": 60.0,
    "check_interval": CHECK_INTERVAL,
    "max_stale": 600.0,
}

ATTACKER = SigningKey.generate(kid="attacker")
AHEAD = "generation = fence + 1000, fence = fence + 1000"
CONTENT = (
    "payload, seal, etag, last_modified, generation, fetched_at, next_refresh_at, expires_at, fence,"
    " lease_owner, claimed_at, lease_until, floor_until, floor_set_at, backoff_until,"
    " backoff_set_at, consecutive_failures"
)


def until(come_about: Callable[[], object], *, within: float = PATIENCE) -> None:
    """Wait until it has come about; an assertion fails where it does not."""
    ends = time.monotonic() + within
    while not come_about():
        assert time.monotonic() < ends, f"it did not come about in {within:g} s"
        time.sleep(0.01)


class Attack:
    """The service's provider and workers, and what the attacker knows and does.

    Two workers run. The provider has replaced its key once: `removed` is a good token of the key that it does
    not publish any more, and the table `kept` holds the rows of that time, well sealed. The attacker has a
    service of their own in the same database, under the same seal key: the row of `theirs` holds their key.
    """

    def __init__(self, dsn: str, idp: LoopbackIssuer, theirs: LoopbackIssuer, **policy: Any) -> None:
        self.dsn = dsn
        self.idp = idp
        self.theirs = theirs
        self.policy = {**POLICY, **policy}
        self.seal_keys: tuple[bytes, ...] = (secrets.token_bytes(32),)
        self._stack = ExitStack()
        self.database: psycopg.Connection[dict[str, Any]] = self._stack.enter_context(
            psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        )
        self.running = [self.worker()]
        (self.source_key,) = self.running[0].source_keys()
        self.removed = idp.token()
        self.running[0].warm()
        self.database.execute(f"CREATE TEMP TABLE kept AS TABLE {TABLE}".encode())
        idp.rotate(keep_previous=False)
        self.running[0].refresh()
        self.running.append(self.worker())
        self.running[1].warm()
        self.good = idp.token()
        until(lambda: self.status_of(self.running[0])["gate"]["closed_for"] == 0)  # of its own refresh
        theirs.serve({"keys": [ATTACKER.jwk()]})
        service = self.worker(theirs)
        service.warm()
        (self.their_source_key,) = service.source_keys()
        self.forged = {
            "the attacker's key under its kid": self._forged(kid=ATTACKER.kid),
            "the attacker's key under ours": self._forged(kid=idp.kids[0]),
            "the attacker's key without kid": self._forged(without=("kid",)),
        }

    def _forged(self, **options: Any) -> str:
        """Right in everything, and signed by the attacker."""
        return self.idp.token(key=ATTACKER, **options)

    def close(self) -> None:
        """Close what was opened, last things first."""
        self._stack.close()

    # -- the service -----------------------------------------------------------------------------------

    def worker(
        self, idp: LoopbackIssuer | None = None, *, namespace: str = "", dsn: str | None = None
    ) -> Verifier:
        """Another worker of the service (or of the attacker's), cold."""
        idp = idp or self.idp
        issuer = Issuer(
            idp.issuer,
            audience=AUDIENCE,
            jwks_url=idp.jwks_url,
            algorithms=("ES256",),
            allow_http=True,
            allow_private_hosts=True,
        )
        store = PostgresStore(dsn or self.dsn, namespace=namespace)
        policy = RefreshPolicy(**self.policy)
        verifier = Verifier([issuer], store=store, policy=policy, seal_keys=self.seal_keys)
        self._stack.callback(verifier.close)
        return verifier

    def status_of(self, worker: Verifier) -> dict[str, Any]:
        """A worker's status of the service's issuer."""
        return worker.status()[self.idp.issuer]

    # -- the attacker ----------------------------------------------------------------------------------

    def row(self) -> dict[str, Any]:
        """The service's row."""
        statement = f"SELECT * FROM {TABLE} WHERE source_key = %s"
        row = self.database.execute(statement.encode(), [self.source_key]).fetchone()
        assert row is not None
        return row

    def write(self, assignments: str, *values: Any) -> None:
        """Change the service's row."""
        statement = f"UPDATE {TABLE} SET {assignments} WHERE source_key = %s"
        assert self.database.execute(statement.encode(), [*values, self.source_key]).rowcount == 1

    def execute(self, statement: str, **values: Any) -> None:
        """Any statement; `%(ours)s` and `%(theirs)s` are the keys of the two rows."""
        keys = {"ours": self.source_key, "theirs": self.their_source_key}
        self.database.execute(statement.encode(), {**keys, **values})

    def copy(self, columns: str, *, source: str = TABLE, of: str) -> None:
        """Copy columns of another row, or of another table's, over the service's row."""
        self.execute(
            f"UPDATE {TABLE} SET ({columns}) = (SELECT {columns} FROM {source} WHERE source_key = %(of)s)"
            " WHERE source_key = %(ours)s",
            of=of,
        )

    @contextmanager
    def another_connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for a thread, or for a transaction that is left open."""
        with psycopg.connect(self.dsn) as connection:
            yield connection

    # -- what must hold --------------------------------------------------------------------------------

    def assert_nothing_forged_gets_in(self, worker: Verifier, *, removed: bool = True) -> None:
        """The worker refuses every forged token, and one of the removed key."""
        forged = {**self.forged, "the removed key": self.removed} if removed else self.forged
        for whose, token in forged.items():
            assert error_of(worker, token) is not None, f"forged with {whose}"

    def assert_known_keys_verify(self, workers: list[Verifier] | None = None) -> None:
        """The workers that run never refuse, and never put off, what a known key has signed."""
        for worker in self.running if workers is None else workers:
            assert error_of(worker, self.good) is None

    def assert_it_recovers(
        self, workers: list[Verifier], *, removed: bool = True, within: float = PATIENCE
    ) -> None:
        """A new key comes into use everywhere, the forged ones nowhere, and then the fleet is at rest."""
        self.idp.rotate()
        new = self.idp.token()
        ends = time.monotonic() + within
        while [error for worker in workers if (error := error_of(worker, new)) is not None]:
            assert time.monotonic() < ends, f"a new key is not in use after {within:g} s"
            for worker in workers:
                self.assert_nothing_forged_gets_in(worker, removed=removed)
            self.assert_known_keys_verify()
            time.sleep(0.01)

        def agreed() -> bool:
            self.assert_known_keys_verify(workers)  # requests are what makes a worker look at the row
            generations = {self.status_of(worker)["generation"] for worker in workers}
            return generations == {self.row()["generation"]}

        until(agreed)
        before = self.idp.fetches
        ends = time.monotonic() + 2.5 * CHECK_INTERVAL
        while time.monotonic() < ends:  # everybody has looked at the row by then
            self.assert_known_keys_verify(workers)
            time.sleep(0.02)
        assert self.idp.fetches == before, "the workers go on fetching"
        for worker in [*workers, self.worker()]:  # and one who has nothing but the row
            assert error_of(worker, new) is None
            assert error_of(worker, self.good) is None
        assert self.idp.fetches == before, "the row that they have left is of no use"
        for worker in workers:
            self.assert_nothing_forged_gets_in(worker)


def error_of(worker: Verifier, token: str) -> str | None:
    """The code of the error with which a token is refused or put off, None where it is accepted."""
    try:
        worker.verify(token)
    except InvalidToken as error:
        return error.code
    except JWTError as error:
        return f"{error.code}/{getattr(error, 'reason', None)}"
    return None


def document(*keys: SigningKey, **members: Any) -> bytes:
    """A JWKS of the public parts."""
    return json.dumps({"keys": [key.jwk() for key in keys], **members}).encode()
