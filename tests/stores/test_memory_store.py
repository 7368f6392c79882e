"""What only the memory store has to see to: its clock, and a fork of its process."""

from __future__ import annotations

import multiprocessing
import threading
import time
from typing import Any

from store_bench import KEY, MemoryBench, claim_of

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
