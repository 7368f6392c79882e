"""The Celery example: several processes, tasks that carry tokens, keys that rotate and go away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from staging import EXAMPLES, FLOOR, PATIENCE, ROOT, Staged

from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.testing import LoopbackIssuer

FOLDER = EXAMPLES / "celery_worker"
WARNINGS = "error,ignore::UserWarning"  # Celery warns of running as root
ITEMS = [f"item-{number}" for number in range(30)]
READY = "ready."


class StagedWorker(Staged):
    """The example as its README starts it."""

    warnings = WARNINGS

    def is_up(self) -> bool:
        """Whether the worker takes tasks."""
        time.sleep(0.05)
        return READY in self.log


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StagedWorker]:
    queue = str(tmp_path_factory.mktemp("queue"))
    with StagedWorker("celery_worker", environ={"ORDERS_QUEUE": queue}) as running:
        yield running


def orders(environ: dict[str, str], *arguments: str) -> str:
    """What `orders.py` prints, in a process of its own."""
    command = [sys.executable, "-W", "error", "orders.py", *arguments]
    done = subprocess.run(
        command, cwd=FOLDER, env=environ, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_lines_of_the_readme_print_what_it_says(worker: StagedWorker) -> None:
    assert worker.surprises() == []


def test_a_rotation_while_tasks_flow_fails_none_of_them_and_costs_one_fetch(worker: StagedWorker) -> None:
    scope = "orders:read orders:write"
    old = worker.token("ada", scope)
    orders(worker.environ, "read", old)
    time.sleep(FLOOR)  # after the README's rotation
    before = worker.counters()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(orders, worker.environ, "place", old, *ITEMS)
        worker.rotate()
        then = pool.submit(orders, worker.environ, "place", worker.token("ada", scope), *ITEMS)
        printed = first.result() + then.result()
    assert printed.count("'owner': 'ada'") == 2 * len(ITEMS), printed
    assert len(set(re.findall(r"'worker': (\d+)", then.result()))) == 2
    assert worker.counters() == tuple(count + 1 for count in before)


def test_no_token_is_in_the_workers_log(worker: StagedWorker) -> None:
    token = worker.token()
    orders(worker.environ, "read", token)
    orders(worker.environ, "read", f"{token}x")
    assert "orders.read" in worker.log
    assert token.rpartition(".")[2] not in worker.log


def test_a_task_waits_for_keys_that_cannot_be_had_yet(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    dsn = new_database()
    migrate(dsn)
    with LoopbackIssuer() as issuer:
        issuer.down()
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SKELDIR_")},
            **PATIENCE,
            "SKELDIR_JWT_REFRESH_BACKOFF_BASE_SECONDS": "0.2",
            "SKELDIR_JWT_ISSUER": issuer.issuer,
            "SKELDIR_JWT_AUDIENCE": issuer.audience,
            "SKELDIR_JWT_ALLOW_HTTP": "true",
            "SKELDIR_JWT_ALLOW_PRIVATE_HOSTS": "true",
            "SKELDIR_JWT_DATABASE_URL": dsn,
            "SKELDIR_JWT_SEAL_KEYS": "none",
            "DATABASE_URL": dsn,
            "ORDERS_QUEUE": str(tmp_path / "queue"),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": WARNINGS,
        }
        command = ["celery", "--app", "tasks", "worker", "--concurrency", "2", "--loglevel", "info"]
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=FOLDER, env=environ, stdout=output, stderr=output
            )
        try:
            with ThreadPoolExecutor(1) as pool:
                placed = pool.submit(orders, environ, "read", issuer.token())
                deadline = time.monotonic() + 60
                while "Retry in" not in log.read_text(encoding="utf-8"):
                    assert time.monotonic() < deadline
                    assert process.poll() is None
                    time.sleep(0.05)
                issuer.up()
                assert placed.result() == "[]\n"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                process.kill()
                sys.stdout.write(log.read_text(encoding="utf-8"))
