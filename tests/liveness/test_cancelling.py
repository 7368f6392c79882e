"""Tasks that wait for a flight: cancelled at its very end, under asyncio and trio."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest
import trio
import trio.testing
from rig import Rig, token
from scenes import leaves_nothing
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from skeldir_jwt_mw.asgi import JWTMiddleware

with warnings.catch_warnings():  # of what it would rather be built on
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

ROUNDS = 60


def in_the_air(rig: Rig) -> Any:
    """A flight that nobody flies, so that the test says when it lands."""
    refresher = rig.refresher
    with refresher._lock:
        return refresher._board("cold", rig.time.monotonic(), force=False).flight


def land(rig: Rig, flight: Any) -> None:
    rig.refresher.settle(
        flight, rig.refresher._schedule.failed_here(0.0, failures=0, bad=-1, unreadable=False)
    )


@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize("first", ["landing", "cancellation"])
def test_a_cancellation_that_meets_the_end_of_a_flight_wins(first: str, turns: int) -> None:
    async def round_of(rig: Rig) -> bool:
        flight = in_the_air(rig)
        task = asyncio.ensure_future(rig.verifier.averify(token(0)))
        await asyncio.sleep(0)
        acts = [lambda: land(rig, flight), lambda: task.cancel()]
        for act in acts if first == "landing" else reversed(acts):
            act()
            for _ in range(turns if act is acts[0] else 0):
                await asyncio.sleep(0)
        if turns == 2 and task.done() and not task.cancelled():
            task.exception()
            return True  # it had ended before it was cancelled
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelled()

    async def scenario() -> int:
        won = 0
        for _ in range(ROUNDS):
            rig = Rig(wait_budget=30.0)
            won += await round_of(rig)
            assert rig.verifier._tasks.taken == 0
        return won

    assert asyncio.run(scenario()) == ROUNDS


def test_a_task_of_trio_waits_and_is_woken() -> None:
    rig = Rig(wait_budget=30.0)

    async def scenario() -> str | None:
        return (await rig.verifier.averify(token(0))).kid

    assert trio.run(scenario) is not None
    leaves_nothing(rig)


def test_a_task_of_trio_that_is_cancelled_disturbs_no_flight() -> None:
    rig = Rig(wait_budget=30.0)

    async def scenario() -> None:
        flight = in_the_air(rig)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.verifier.averify, token(0))
                await trio.testing.wait_all_tasks_blocked()
                assert rig.verifier._tasks.taken == 1
                scope.cancel()
        assert scope.cancelled_caught
        assert not flight.landed.is_set()
        assert rig.verifier._tasks.taken == 0
        land(rig, flight)

    trio.run(scenario)
    rig.time.move(10.0)
    assert rig.verify()
    leaves_nothing(rig)


def test_tasks_of_trio_that_time_out_leave_nothing_to_call() -> None:
    rig = Rig(wait_budget=0.01)

    async def scenario() -> None:
        flight = in_the_air(rig)
        with pytest.raises(Exception, match="running"):
            await rig.verifier.averify(token(0))
        assert flight.landed._calls == []
        land(rig, flight)

    trio.run(scenario)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_first_token_is_answered_through_the_middleware(backend: Any) -> None:
    rig = Rig(wait_budget=30.0)

    async def hello(request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = JWTMiddleware(Starlette(routes=[Route("/", hello)]), verifier=rig.verifier)
    with TestClient(app, backend=backend) as client:
        answer = client.get("/", headers={"Authorization": f"Bearer {token(0)}"})
        assert (answer.status_code, answer.text) == (200, "hello")
        rig.rotation += 1
        rig.time.move(10.0)
        assert client.get("/", headers={"Authorization": f"Bearer {token(1)}"}).status_code == 200
    leaves_nothing(rig)
