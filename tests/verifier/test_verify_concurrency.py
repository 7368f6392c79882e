"""Many requests at once in one process: one fetch, no blocked loop, nobody delayed who need not be."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from verifying import MakeVerifier, eventually, issuer_of, outage, policy_of, settle, status_of

from skeldir_jwt_mw import Issuer, JWTError, KeysUnavailable, MemoryStore, VerifiedToken, Verifier
from skeldir_jwt_mw.sources import CallableSource
from skeldir_jwt_mw.testing import LoopbackIssuer

PATIENT = policy_of(wait_budget=10.0, fetch_timeout=10.0, lease=15.0)


def in_threads(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Results or errors of `number` threads that start together."""
    results: list[Any] = [None] * number
    barrier = threading.Barrier(number)

    def run(position: int) -> None:
        barrier.wait(30)
        try:
            results[position] = work(position)
        except Exception as error:
            results[position] = error

    threads = [threading.Thread(target=run, args=(position,)) for position in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_500_tasks_with_a_new_kid_cause_one_fetch_and_never_block_the_loop(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    shares: list[float] = []
    for _ in range(6):  # since others use the machine too, the best of a few counts
        verifier = make(issuer_of(idp), policy=PATIENT)
        verifier.warm()
        idp.reset()
        idp.rotate()
        tokens = [idp.token(sub=f"user-{number}") for number in range(500)]
        verified, longest = asyncio.run(verified_by_a_free_loop(verifier, tokens, idp))
        assert [token.subject for token in verified] == [f"user-{number}" for number in range(500)]
        assert {token.kid for token in verified} == {idp.kids[0]}
        assert idp.fetches == 1
        before = time.thread_time()
        for raw in tokens:
            verifier.verify(raw)
        shares.append(longest / (time.thread_time() - before))
        if shares[-1] < 1 / 3:
            return
    raise AssertionError(f"the loop was blocked every time, by these shares of the work: {shares}")


async def verified_by_a_free_loop(
    verifier: Verifier, tokens: list[str], idp: LoopbackIssuer
) -> tuple[list[VerifiedToken], float]:
    """All tokens, while the provider waits for this very loop; and the most that it computed in one turn.

    Who waits in the loop's thread would wait until the fetch is given up. What is computed there is counted
    in seconds of CPU, since on a busy machine a loop is late that nothing blocks.
    """
    turns: list[float] = []

    async def take_turns() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - before)

    idp.hang()
    ticker = asyncio.create_task(take_turns())
    tasks = []
    for raw in tokens:
        tasks.append(asyncio.create_task(verifier.averify(raw)))
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in tasks)
    idp.up()
    verified = await asyncio.gather(*tasks)
    ticker.cancel()
    return verified, max(turns)


def test_64_threads_with_a_new_kid_cause_one_fetch(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=PATIENT)
    verifier.warm()
    idp.rotate()
    idp.slow(0.2)
    tokens = [idp.token(sub=f"user-{number}") for number in range(64)]
    verified = in_threads(64, lambda number: verifier.verify(tokens[number]))
    assert [token.subject for token in verified] == [f"user-{number}" for number in range(64)]
    assert idp.fetches == 2


def test_a_cold_start_of_many_threads_and_tasks_is_one_fetch(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=PATIENT)
    idp.slow(0.1)
    raw = idp.token()

    async def gathered() -> list[VerifiedToken]:
        return await asyncio.gather(*(verifier.averify(raw) for _ in range(10)))

    def work(number: int) -> Any:
        return verifier.verify(raw) if number % 2 else asyncio.run(gathered())

    results = in_threads(16, work)
    assert not [result for result in results if isinstance(result, Exception)]
    assert idp.fetches == 1


def test_who_finds_no_place_to_wait_is_told_at_once(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    policy = policy_of(max_waiters=4, wait_budget=8.0, fetch_timeout=10.0, lease=15.0)
    verifier = make(issuer_of(idp), policy=policy)
    verifier.warm()
    known = idp.token()
    idp.rotate()
    idp.hang()
    raw = idp.token()
    threads = [threading.Thread(target=verifier.verify, args=(raw,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: verifier._threads.taken == 4)
    for _ in range(10):
        started = time.monotonic()
        error = outage(verifier, raw)
        assert time.monotonic() - started < 2.0
        assert (error.reason, error.retry_after) == ("waiters", 1.0)
    assert verifier.verify(known).subject == "user-1"  # who needs not wait needs no place
    idp.up()
    for thread in threads:
        thread.join(30)
    assert verifier._threads.taken == 0
    assert verifier.verify(raw).kid == idp.kids[0]


def test_tasks_take_no_threads_place(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    policy = policy_of(max_waiters=1, wait_budget=8.0, fetch_timeout=10.0, lease=15.0)
    verifier = make(issuer_of(idp), policy=policy)
    idp.slow(0.2)
    raw = idp.token()

    async def gathered() -> list[VerifiedToken]:
        return await asyncio.gather(*(verifier.averify(raw) for _ in range(100)))

    assert len(asyncio.run(gathered())) == 100


def test_a_cancelled_task_does_not_cancel_the_refresh(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=PATIENT)
    idp.slow(0.3)
    raw = idp.token()

    async def run() -> VerifiedToken:
        impatient = [asyncio.create_task(verifier.averify(raw)) for _ in range(3)]
        patient = asyncio.create_task(verifier.averify(raw))
        await asyncio.sleep(0.1)
        for task in impatient:
            task.cancel()
        for outcome in await asyncio.gather(*impatient, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError)
        return await patient

    assert asyncio.run(run()).subject == "user-1"
    assert idp.fetches == 1
    assert verifier._tasks.taken == 0


def test_when_all_are_cancelled_the_refresh_still_ends(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=PATIENT)
    idp.slow(0.2)

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(verifier.averify(idp.token()), 0.05)

    asyncio.run(run())  # and the loop is closed while the fetch goes on
    eventually(lambda: verifier.ready)
    assert asyncio.run(verifier.averify(idp.token())).subject == "user-1"
    assert idp.fetches == 1


def test_several_loops_one_after_the_other_and_side_by_side(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=PATIENT)
    for _ in range(3):
        idp.rotate()
        asyncio.run(verifier.averify(idp.token(kid=idp.kids[-1])))
    settle(verifier)
    idp.slow(0.2)
    time.sleep(0.01)
    results = in_threads(8, lambda _: asyncio.run(verifier.averify(idp.token(kid=idp.kids[-1]))))
    assert {result.subject for result in results} == {"user-1"}


def test_a_loop_that_is_closed_in_mid_refresh_harms_no_other(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = make(issuer_of(idp), policy=PATIENT)
    idp.slow(0.3)
    raw = idp.token()
    loop = asyncio.new_event_loop()
    task = loop.create_task(verifier.averify(raw))
    loop.run_until_complete(asyncio.sleep(0.05))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    assert asyncio.run(verifier.averify(raw)).subject == "user-1"
    assert verifier.verify(raw).subject == "user-1"
    assert idp.fetches == 1
    assert "concurrent.futures" not in {record.name for record in caplog.records}


def test_a_loop_that_dies_with_its_waiters_harms_no_other(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody cancels the task: the loop is closed over it, and the refresh's end finds a dead loop."""
    verifier = make(issuer_of(idp), policy=PATIENT)
    idp.slow(0.3)
    raw = idp.token()
    loop = asyncio.new_event_loop()
    errand = verifier.averify(raw)
    task = loop.create_task(errand)
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    assert verifier.verify(raw).subject == "user-1"
    assert asyncio.run(verifier.averify(raw)).subject == "user-1"
    assert idp.fetches == 1
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    errand.close()


def test_a_known_key_never_waits_while_the_provider_hangs(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    policy = policy_of(refresh_interval=0.4, check_interval=0.1, floor=0.1, wait_budget=0.4, lease=60.0)
    verifier = make(issuer_of(idp), policy=policy)
    raw = idp.token()
    verifier.verify(raw)

    def median(number: int = 400) -> float:
        times = []
        for _ in range(number):
            started = time.perf_counter()
            verifier.verify(raw)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    quiet = median()
    idp.hang()
    eventually(lambda: verifier.verify(raw) is not None and status_of(verifier)["refreshing"])
    stuck = [threading.Thread(target=outage, args=(verifier, idp.stranger_token())) for _ in range(4)]
    for thread in stuck:
        thread.start()
    hanging = median()
    assert status_of(verifier)["refreshing"]
    for thread in stuck:
        thread.join(30)
    idp.up()
    assert hanging < 3 * quiet + 0.0005


def test_twenty_hanging_providers_do_not_block_the_21st(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    released = threading.Event()

    def hanging() -> bytes:
        released.wait(30)
        return b""

    issuers = [issuer_of(idp)] + [
        issuer_of(
            idp,
            issuer=f"https://hanging-{number}.example.com/",
            source=CallableSource(hanging, identity=f"hanging-{number}"),
        )
        for number in range(20)
    ]
    verifier = make(issuers, policy=policy_of(wait_budget=0.2))
    raw = idp.token()
    verifier.verify(raw)
    lost = [idp.token(iss=f"https://hanging-{number}.example.com/") for number in range(20)]
    results = in_threads(20, lambda number: verifier.verify(lost[number]))
    try:
        assert [result.reason for result in results] == ["running"] * 20
        started = time.monotonic()
        for _ in range(20):
            assert verifier.verify(raw).subject == "user-1"
        assert time.monotonic() - started < 0.5
        assert outage(verifier, lost[0]).reason == "running"
    finally:
        released.set()
    assert sum(status["refreshing"] for status in verifier.status().values()) >= 1


def test_twenty_fetches_of_others_that_are_followed_take_no_slot(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    released = threading.Event()

    def hanging() -> bytes:
        released.wait(30)
        return b""

    def issuer(number: int) -> Issuer:
        source = CallableSource(hanging, identity=f"hanging-{number}")
        return issuer_of(idp, issuer=f"https://hanging-{number}.example.com/", source=source)

    store = MemoryStore()
    policy = policy_of(wait_budget=0.1, fetch_timeout=20.0, lease=25.0)
    tokens = [idp.token(iss=f"https://hanging-{number}.example.com/") for number in range(20)]
    for first in (0, 10):
        leaders = make([issuer(number) for number in range(first, first + 10)], store=store, policy=policy)
        in_threads(10, lambda number, leaders=leaders, first=first: leaders.verify(tokens[first + number]))
    policy = policy_of(wait_budget=5.0, fetch_timeout=20.0, lease=25.0)
    follower = make([issuer_of(idp), *map(issuer, range(20))], store=store, policy=policy)
    threads = [threading.Thread(target=_verify_or_fail, args=(follower, token)) for token in tokens]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)  # all have claimed, and wait
        assert sum(status["refreshing"] for status in follower.status().values()) == 20
        started = time.monotonic()
        assert follower.verify(idp.token()).subject == "user-1"
        assert time.monotonic() - started < 2.0
    finally:
        follower.close()
        released.set()
    for thread in threads:
        thread.join(30)


def _verify_or_fail(verifier: Verifier, raw: str) -> None:
    with contextlib.suppress(JWTError):
        verifier.verify(raw)


def test_threads_do_not_accumulate(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(floor=0.001, backoff_base=0.001, backoff_max=0.001))
    verifier.warm()
    settle(verifier)

    def ours() -> int:
        return sum(thread.name.startswith("skeldir") for thread in threading.enumerate())

    for number in range(40):
        if number == 20:
            idp.down()
        with pytest.raises(JWTError):
            verifier.verify(idp.stranger_token())
    eventually(lambda: ours() == 0)


def test_no_more_than_a_bounded_number_of_refreshes_works_at_once(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    working = 0
    most = 0
    lock = threading.Lock()

    def slow() -> Any:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.1)
        with lock:
            working -= 1
        return idp.jwks()

    issuers = [
        issuer_of(
            idp,
            issuer=f"https://{number}.example.com/",
            source=CallableSource(slow, identity=f"slow-{number}"),
        )
        for number in range(40)
    ]
    verifier: Verifier = make(issuers)
    verifier.warm()
    assert verifier.ready
    assert 8 <= most <= 16


def test_a_deaf_loop_is_told_unavailable_and_not_kept(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(wait_budget=0.1))
    idp.hang()

    async def run() -> list[Any]:
        return await asyncio.gather(
            *(verifier.averify(idp.token()) for _ in range(50)), return_exceptions=True
        )

    started = time.monotonic()
    outcomes = asyncio.run(run())
    assert time.monotonic() - started < 2.0
    assert all(isinstance(outcome, KeysUnavailable) for outcome in outcomes)
    assert verifier._tasks.taken == 0
    idp.up()
