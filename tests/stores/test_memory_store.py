"""What only the memory store has to see to: its clock, and a fork of its process."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from store_bench import KEY, MemoryBench, claim_of

from skeldir_jwt_mw.core.effects import Release
from skeldir_jwt_mw.stores import MemoryStore
from skeldir_jwt_mw.stores.memory import steady_clock


def test_it_is_not_shared() -> None:
    assert not MemoryStore().shared
    assert MemoryStore().namespace == ""


def test_its_clock_starts_at_the_wall_clock_and_is_monotonic() -> None:
    clock = steady_clock()
    assert abs(clock() - time.time()) < 1
    readings = [clock() for _ in range(1000)]
    assert readings == sorted(readings)


def test_many_threads_find_one_leader() -> None:
    bench = MemoryBench()
    barrier = threading.Barrier(16)
    verdicts: list[str | None] = []

    def claim() -> None:
        barrier.wait(10)
        verdicts.append(bench.claim(need=True).verdict)

    threads = [threading.Thread(target=claim) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, verdicts)) == ["leader"] + ["wait"] * 15


def test_a_forked_child_does_not_wait_for_its_parents_leader() -> None:
    """The thread that holds the lease is not in the child, and neither is one that holds the lock."""
    store = MemoryStore()
    session = store.open(1.0)
    assert session.claim(KEY, claim_of(lease=60.0)).verdict == "leader"
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with store._shelf().lock:
        child = context.Process(target=_claim_in_child, args=(store, theirs))
        child.start()
    try:
        assert ours.poll(10)
        assert ours.recv() == ("leader", "abandoned")
    finally:
        child.kill()
        child.join()
        ours.close()
        theirs.close()
    assert session.claim(KEY, claim_of()).verdict == "wait"


def _claim_in_child(store: MemoryStore, connection: Any) -> None:
    row = store.open(1.0).claim(KEY, claim_of())
    connection.send((row.verdict, row.outcome))


def test_a_fork_that_runs_no_hooks_of_python_is_noticed_too() -> None:
    """As uWSGI forks: in C, with the lock held by a thread that is not in the child."""
    store = MemoryStore()
    session = store.open(1.0)
    assert session.claim(KEY, claim_of(lease=60.0, force=True)).verdict == "leader"
    reading, writing = os.pipe()
    with store._shelf().lock:
        child = ctypes.PyDLL(None).fork()
        if child == 0:  # pragma: no cover  # not measured in there
            try:
                row = session.claim(KEY, claim_of(force=True))
                os.write(writing, f"{row.verdict} {row.outcome} {len(store._shelves)}".encode())
            finally:
                os._exit(0)
    os.close(writing)
    try:
        assert select.select([reading], [], [], 10)[0]
        assert os.read(reading, 100) == b"leader abandoned 1"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
    assert session.claim(KEY, claim_of()).verdict == "wait"


def test_threads_that_notice_a_fork_together_share_what_they_find(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.open(1.0).claim(KEY, claim_of(lease=60.0))
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    barrier = threading.Barrier(8)

    def claim(_: int) -> str | None:
        barrier.wait(10)
        return store.open(1.0).claim(KEY, claim_of(need=True)).verdict

    with ThreadPoolExecutor(8) as pool:
        verdicts = sorted(map(str, pool.map(claim, range(8))))
    assert verdicts == ["leader"] + ["wait"] * 7


def test_nothing_foreign_is_called_under_its_lock() -> None:
    held: list[bool] = []

    def clock() -> float:
        held.append(store._shelf().lock.locked() if store is not None else False)
        return 1_790_000_000.0

    store: MemoryStore | None = None
    store = MemoryStore(clock=clock)
    session = store.open(1.0)
    claim = claim_of()
    row = session.claim(KEY, claim)
    session.peek(KEY)
    session.release(KEY, Release(owner=claim.owner, fence=row.fence))
    assert held == [False] * 3
