"""A fleet of real worker processes, each with a verifier of its own, for proofs and demonstrations.

Workers are spawned (never forked), told what to do over pipes, and start together at a common instant of
the machine's monotonic clock. They end when their parent does, for then their pipe ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from .worker import CountingStore, Outcome, WorkerSetup, work

__all__ = ["CountingStore", "Fleet", "Outcome", "WorkerSetup"]

HEAD_START = 0.05  # seconds between the order and the common instant, so that every worker has read it
SPAWN_PATIENCE = 120.0  # seconds for a worker to come up, on a machine that is busy with many of them


class Fleet:
    """`size` worker processes, as a context manager."""

    def __init__(self, size: int, setup: WorkerSetup) -> None:
        self.size = 0
        self._wanted = size
        self._setup = setup
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[Any, Connection]] = []
        self._serial = 0  # of the last order; an answer carries its order's
        self._verifying: dict[int, int] = {}  # worker -> serial of its `start_verify`

    def __enter__(self) -> Self:
        self.grow(self._wanted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, connection in self._workers:
            _end(process, connection)

    def grow(self, size: int) -> None:
        """Spawn workers until there are so many; those that died are replaced."""
        spawned = []
        for number in range(max(size, self.size)):
            if number < self.size and self.is_alive(number):
                continue
            ours, theirs = self._context.Pipe()
            process = self._context.Process(
                target=work, args=(number, theirs, self._setup), name=f"fleet-{number}", daemon=True
            )
            process.start()
            theirs.close()
            if number < self.size:
                _end(*self._workers[number])
                self._workers[number] = (process, ours)
            else:
                self._workers.append((process, ours))
                self.size += 1
            spawned.append(number)
        for number in spawned:
            self._answer(number, 0, SPAWN_PATIENCE)

    def become(self, setup: WorkerSetup, workers: Sequence[int] | None = None) -> None:
        """Give the workers (left out: all) new verifiers of this set-up, as cold as after a restart."""
        self.ask("become", setup, workers=workers)

    def pids(self) -> list[int]:
        """The process ids of the workers, in their order."""
        return [process.pid for process, _ in self._workers]

    def is_alive(self, worker: int) -> bool:
        """Whether a worker still runs."""
        return bool(self._workers[worker][0].is_alive())

    def signal(self, worker: int, number: signal.Signals) -> None:
        """Send a signal to one worker."""
        os.kill(self.pids()[worker], number)

    def verify(
        self, *tokens: str, workers: Sequence[int] | None = None, timeout: float = 60.0
    ) -> list[Outcome]:
        """Let the workers (left out: all) verify the tokens one after the other, all starting together."""
        chosen = self._chosen(workers)
        self.start_verify(*tokens, workers=chosen)
        return self.collect(workers=chosen, timeout=timeout)

    def start_verify(self, *tokens: str, workers: Sequence[int] | None = None) -> None:
        """`verify` without waiting for the outcomes; `collect` gets them."""
        at = time.monotonic() + HEAD_START
        for worker in self._chosen(workers):
            self._verifying[worker] = self._order(worker, "verify", tokens, at)

    def collect(self, *, workers: Sequence[int] | None = None, timeout: float = 60.0) -> list[Outcome]:
        """The outcomes of `start_verify`; a worker that died has none."""
        ends = time.monotonic() + timeout
        pending = {self._workers[worker][1]: worker for worker in self._chosen(workers)}
        outcomes: list[Outcome] = []
        while pending:
            ready = wait(list(pending), max(0.0, ends - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{len(pending)} workers gave no outcome in {timeout:g} s")
            for connection in ready:
                assert isinstance(connection, Connection)
                try:
                    serial, answer = connection.recv()
                except (EOFError, ConnectionResetError):
                    del pending[connection]  # the worker was killed, which some proofs are about
                    continue
                if serial == self._verifying[pending[connection]]:
                    del pending[connection]
                    outcomes += answer
        return outcomes

    def ask(
        self, order: str, *arguments: Any, workers: Sequence[int] | None = None, timeout: float = 60.0
    ) -> list[Any]:
        """The workers' answers to one of a `Worker`'s methods (`status`, `flood`, …), in their order."""
        serials = {worker: self._order(worker, order, *arguments) for worker in self._chosen(workers)}
        return [self._answer(worker, serial, timeout) for worker, serial in serials.items()]

    def statements(self, workers: Sequence[int] | None = None) -> int:
        """Statements that the workers have sent so far, all in all."""
        return sum(sum(counts.values()) for counts in self.ask("statements", workers=workers))

    def _chosen(self, workers: Sequence[int] | None) -> Sequence[int]:
        return range(self.size) if workers is None else workers

    def _order(self, worker: int, order: str, *arguments: Any) -> int:
        self._serial += 1
        self._workers[worker][1].send((self._serial, order, arguments))
        return self._serial

    def _answer(self, worker: int, serial: int, timeout: float) -> Any:
        """The answer to an order; answers to earlier ones that nobody has waited for are dropped."""
        connection = self._workers[worker][1]
        ends = time.monotonic() + timeout
        while connection.poll(max(0.0, ends - time.monotonic())):
            answered, answer = connection.recv()
            if answered == serial:
                return answer
        raise TimeoutError(f"worker {worker} gave no answer in {timeout:g} s")


def _end(process: Any, connection: Connection) -> None:
    connection.close()
    process.join(0.2)
    if process.is_alive():
        process.kill()
    process.join(10)
