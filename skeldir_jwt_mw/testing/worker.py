"""One worker process of a fleet: a verifier of its own, and the orders that it takes from its parent."""

from __future__ import annotations

import logging
import os
import pickle
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any

from skeldir_jwt_mw.config import Issuer, RefreshPolicy
from skeldir_jwt_mw.errors import JWTError
from skeldir_jwt_mw.stores import PostgresStore, statements
from skeldir_jwt_mw.stores.base import Session
from skeldir_jwt_mw.stores.connection import DeadlineConnection
from skeldir_jwt_mw.stores.session import Connection, Parameters, StatementSession
from skeldir_jwt_mw.verifier import Verifier

BETWEEN_REQUESTS = 0.001  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """What every worker is made of; it must survive pickling.

    `prepare` is a module-level function that runs in the worker before its first verifier is made. `environ`
    is put into the worker's environment for as long as this set-up is in use. `others` are further issuers.
    """

    issuer: str
    audience: str
    dsn: str
    seal_keys: tuple[bytes, ...]
    jwks_url: str | None = None
    namespace: str = ""
    policy: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    others: tuple[Issuer, ...] = ()

    def verifier(self, store: Any) -> Verifier:
        """The worker's verifier, over the store given."""
        issuer = Issuer(
            self.issuer,
            audience=self.audience,
            jwks_url=self.jwks_url,
            algorithms=("ES256", "RS256"),
            allow_http=True,
            allow_private_hosts=True,
        )
        policy = RefreshPolicy(**self.policy)
        return Verifier([issuer, *self.others], store=store, policy=policy, seal_keys=self.seal_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one `verify` in one worker went: seconds it took, and None or the error's code (and reason)."""

    worker: int
    seconds: float
    error: str | None

    @property
    def verified(self) -> bool:
        """Whether the token was accepted."""
        return self.error is None


class CountingStore(PostgresStore):
    """A PostgresStore that counts the statements that its connections send, by name."""

    def __init__(self, dsn: str, namespace: str) -> None:
        super().__init__(dsn, namespace=namespace)
        self.statements: Counter[str] = Counter()  # changed by refresh threads, one at a time per issuer

    def open(self, seconds: float) -> Session:
        """A session that counts."""
        connection = DeadlineConnection(self._driver, seconds)
        return StatementSession(_CountingConnection(connection, self.statements))


class _CountingConnection:
    def __init__(self, connection: Connection, sent: Counter[str]) -> None:
        self._connection = connection
        self._sent = sent

    def run(self, statement: str, parameters: Parameters, *, creating: bool = False) -> dict[str, Any] | None:
        names = (name for name, text in statements.STATEMENTS.items() if text == statement)
        self._sent[next(names)] += 1
        return self._connection.run(statement, parameters, creating=creating)

    def patience(self) -> float:
        return self._connection.patience()

    def close(self) -> None:
        self._connection.close()


class Worker:
    """A worker and its current verifier."""

    def __init__(self, number: int, setup: WorkerSetup) -> None:
        self.number = number
        self._store, self._verifier = self._made(setup)
        self._environ = setup.environ

    def become(self, setup: WorkerSetup) -> None:
        """Start anew, as a fresh process with this set-up would."""
        self._verifier.close()
        for name in self._environ:
            os.environ.pop(name, None)
        self._store, self._verifier = self._made(setup)
        self._environ = setup.environ

    @staticmethod
    def _made(setup: WorkerSetup) -> tuple[CountingStore, Verifier]:
        os.environ.update(setup.environ)
        store = CountingStore(setup.dsn, setup.namespace)
        return store, setup.verifier(store)

    def verify(self, tokens: Sequence[str], at: float) -> list[Outcome]:
        """Verify the tokens one after the other, the first at an instant of the monotonic clock."""
        time.sleep(max(0.0, at - time.monotonic()))
        return [self.outcome(token) for token in tokens]

    def flood(
        self, good: str, made_up: Sequence[str], seconds: float, pause: float = BETWEEN_REQUESTS
    ) -> tuple[list[Outcome], list[Outcome]]:
        """One good token after every fifty made-up ones, then a pause; the outcomes of either kind."""
        good_outcomes: list[Outcome] = []
        bad_outcomes: list[Outcome] = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            chosen = random.choices(made_up, k=50)  # noqa: S311
            bad_outcomes += [self.outcome(token) for token in chosen]
            good_outcomes.append(self.outcome(good))
            time.sleep(pause)
        return good_outcomes, bad_outcomes

    def endure(self, tokens: Sequence[str], seconds: float) -> list[Outcome]:
        """Verify the tokens over and over without a pause."""
        outcomes: list[Outcome] = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            outcomes += [self.outcome(token) for token in tokens]
        return outcomes

    def fork(self, token: str, children: int, during: bool) -> list[tuple[Outcome, dict[str, int]]]:
        """Let forked children verify a token, and this process too; each with the statements it sent.

        `during` starts a refresh for the token first, so that it is in the air in the instant of the fork.
        """
        parent: list[Outcome] = []
        thread = threading.Thread(target=lambda: parent.append(self.outcome(token)))
        if during:
            thread.start()
            while not any(status["refreshing"] for status in self._verifier.status().values()):
                time.sleep(0.001)
        pipes = [self._forked(token) for _ in range(children)]
        if not during:
            thread.start()
        answers: list[tuple[Outcome, dict[str, int]]] = []
        for pid, pipe in pipes:
            with os.fdopen(pipe, "rb") as file:
                answers.append(pickle.load(file))  # noqa: S301  # our own child wrote it
            os.waitpid(pid, 0)
        thread.join()
        return [(parent[0], dict(self._store.statements)), *answers]

    def _forked(self, token: str) -> tuple[int, int]:
        """A child that verifies the token, and where it will write what came of it."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid != 0:
            os.close(writing)
            return pid, reading
        try:
            self._store.statements.clear()
            outcome = self.outcome(token)
            with os.fdopen(writing, "wb") as file:
                pickle.dump((outcome, dict(self._store.statements)), file)
        finally:
            os._exit(0)

    def statements(self) -> dict[str, int]:
        """The statements sent so far, by name."""
        return dict(self._store.statements)

    def status(self) -> dict[str, dict[str, Any]]:
        """The verifier's."""
        return self._verifier.status()

    def warm(self) -> str | None:
        """The verifier's; an error's code, or None."""
        return _code_of(self._verifier.warm)

    def refresh(self) -> str | None:
        """The verifier's; an error's code, or None."""
        return _code_of(self._verifier.refresh)

    def outcome(self, token: str) -> Outcome:
        """Verify one token."""
        started = time.monotonic()
        error = _code_of(lambda: self._verifier.verify(token))
        return Outcome(worker=self.number, seconds=time.monotonic() - started, error=error)


ORDERS = ("become", "endure", "flood", "fork", "refresh", "statements", "status", "verify", "warm")


def work(number: int, pipe: Pipe, setup: WorkerSetup) -> None:
    """The life of a worker: answer each order under the serial number that it came with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    if setup.prepare is not None:
        setup.prepare()
    logging.getLogger("skeldir_jwt_mw").setLevel(logging.CRITICAL)
    worker = Worker(number, setup)
    pipe.send((0, None))
    while True:
        try:
            serial, order, arguments = pipe.recv()
        except (EOFError, ConnectionResetError):
            os._exit(0)  # the parent is gone or has closed the fleet
        if order not in ORDERS:
            raise ValueError(order)
        pipe.send((serial, getattr(worker, order)(*arguments)))


def _code_of(call: Callable[[], object]) -> str | None:
    """The code of the error that a call raises, with its reason where it has one; None where it does not."""
    try:
        call()
    except JWTError as error:
        reason = getattr(error, "reason", None)
        return f"{error.code}/{reason}" if reason else error.code
    return None
