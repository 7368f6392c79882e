"""What an operator or a start-up hook asks for: newer keys now, or keys at all.

Each command is a generator that yields flights to wait for and is sent their endings, so that waiting may
block or not; all issuers are asked at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeAlias

from .config import RefreshPolicy
from .core.order import Ending, Gate, Reason
from .deadline import monotonic
from .errors import ConfigurationError, JWTError, KeysUnavailable
from .flight import Flight
from .refresher import Refresher

Command: TypeAlias = Generator[Flight, Ending, None]

ATTEMPTS = 4  # claims of one command: adopting what is newer, following who fetches, claiming again
LONGEST_FLIGHT = 130.0  # seconds; every effect of a flight is bounded, so this guards against the unthinkable


def refresh(refresher: Refresher, policy: RefreshPolicy) -> Command:
    """Have keys that were fetched after this call; raises `KeysUnavailable` when blocked or failed."""
    if refresher.static:
        return
    called_at = monotonic()
    newer_from_flight = False
    for _ in range(ATTEMPTS):
        flight = _ask(refresher, policy, force=True)
        ending = yield flight
        if ending.kind == "refreshed" and flight.started_at >= called_at:
            return
        joined = flight.started_at < called_at
        newer_from_flight |= ending.adopted is not None and (joined or ending.waited)
        if ending.adopted is None:
            if newer_from_flight and ending.kind == "blocked" and ending.gate.reason is None:
                return  # the floor is that of the fetch whose keys are now in use
            if not joined:
                raise _failure(ending)
    if not newer_from_flight:
        raise KeysUnavailable("running")


def warm(refresher: Refresher, policy: RefreshPolicy) -> Command:
    """Have usable keys, without forcing a fetch; raises `KeysUnavailable` when there are none to be had."""
    for _ in range(ATTEMPTS):
        if refresher.usable(monotonic()) is not None:
            return
        ending = yield _ask(refresher, policy, force=False)
        if refresher.usable(monotonic()) is None and ending.gate.until > monotonic():
            raise _failure(ending)
    raise KeysUnavailable("running")


def run(commands: Iterable[Command]) -> None:
    """Run the commands side by side, blocking; afterwards raise what failed first."""
    failures: list[JWTError] = []
    waiting = _first_steps(commands, failures)
    while waiting:
        command, flight = waiting.pop(0)
        try:
            ending: Ending | None = flight.future.result(_longest(flight))
        except FutureTimeout:
            ending = None
        _next_step(command, ending, waiting, failures)
    _raise_first(failures)


async def run_async(commands: Iterable[Command]) -> None:
    """`run` for event loops."""
    failures: list[JWTError] = []
    waiting = _first_steps(commands, failures)
    while waiting:
        command, flight = waiting.pop(0)
        try:
            ended = asyncio.wrap_future(flight.future)
            ending: Ending | None = await asyncio.wait_for(ended, _longest(flight))
        except TimeoutError:
            ending = None
        _next_step(command, ending, waiting, failures)
    _raise_first(failures)


def _ask(refresher: Refresher, policy: RefreshPolicy, *, force: bool) -> Flight:
    patience = policy.lease + policy.wait_budget
    reason: Reason = "manual" if force else "cold"
    answer = refresher.demand(reason, monotonic(), force=force, patience=patience, heed_gate=False)
    if isinstance(answer, Gate):
        raise KeysUnavailable(answer.reason or "no_keys", answer.until - monotonic())
    return answer


def _failure(ending: Ending) -> JWTError:
    if ending.misconfigured is not None:
        return ending.misconfigured
    return KeysUnavailable(ending.gate.reason or "floor", ending.gate.until - monotonic())


def _first_steps(commands: Iterable[Command], failures: list[JWTError]) -> list[tuple[Command, Flight]]:
    waiting: list[tuple[Command, Flight]] = []
    for command in commands:
        try:
            waiting.append((command, next(command)))
        except StopIteration:
            continue
        except JWTError as error:
            failures.append(error)
    return waiting


def _next_step(
    command: Command, ending: Ending | None, waiting: list[tuple[Command, Flight]], failures: list[JWTError]
) -> None:
    if ending is None:
        command.close()
        failures.append(KeysUnavailable("running"))
        return
    try:
        waiting.append((command, command.send(ending)))
    except StopIteration:
        return
    except JWTError as error:
        failures.append(error)


def _longest(flight: Flight) -> float:
    return max(0.0, flight.started_at + LONGEST_FLIGHT - monotonic())


def _raise_first(failures: list[JWTError]) -> None:
    """Raise one of the failures; what an operator has to mend goes first."""
    for failure in failures:
        if isinstance(failure, ConfigurationError):
            raise failure
    for failure in failures:
        raise failure
