"""What an operator or a start-up hook asks for: newer keys now, or keys at all.

Each command is a generator that yields flights to wait for and is sent their endings, so that waiting may
block or not; all issuers are asked at once.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from typing import TypeAlias

from .clock import Clock
from .core.order import Ending, Gate, Reason
from .errors import ConfigurationError, JWTError, KeysUnavailable
from .flight import Flight
from .log_lines import tell
from .refresher import Refresher
from .waiting import wait_without_blocking

logger = logging.getLogger("skeldir_jwt_mw")

Command: TypeAlias = Generator[Flight, Ending, None]

ATTEMPTS = 4  # claims of one command: adopting what is newer, following who fetches, claiming again
LONGEST_FLIGHT = 190.0  # seconds; others' fetches are followed for two minutes, then comes one of our own


def refresh(refresher: Refresher, clock: Clock) -> Command:
    """Have keys that were fetched after this call; raises `KeysUnavailable` when blocked or failed."""
    if refresher.static:
        return
    called_at = clock.monotonic()
    newer_from_flight = False
    for _ in range(ATTEMPTS):
        flight = _ask(refresher, clock, force=True)
        ending = yield flight
        if ending.kind == "refreshed" and flight.started_at >= called_at:
            return
        joined = flight.started_at < called_at
        newer_from_flight |= flight.adopted and (joined or ending.waited)
        if not flight.adopted:
            if newer_from_flight and ending.kind == "blocked" and ending.gate.reason is None:
                return  # the floor is that of the fetch whose keys are now in use
            if not joined:
                raise _failure(ending, clock)
    if not newer_from_flight:
        raise KeysUnavailable("running")


def warm(refresher: Refresher, clock: Clock) -> Command:
    """Have usable keys that are on schedule, without forcing a fetch.

    Raises `KeysUnavailable` when there are none to be had. Keys past their schedule that cannot be renewed
    are good enough to start with, and the log says why they are what there is.
    """
    for _ in range(ATTEMPTS):
        now = clock.monotonic()
        snapshot = refresher.usable(now)
        if snapshot is not None and now < snapshot.adopted.refresh_at:
            return
        try:
            ending = yield _ask(refresher, clock, force=False)
            now = clock.monotonic()
            if ending.kind in ("blocked", "failed") and ending.gate.until > now:
                raise _failure(ending, clock)
        except KeysUnavailable as error:
            snapshot = refresher.usable(now)
            if snapshot is None:
                raise
            if now >= snapshot.adopted.refresh_at:
                tell(
                    logger.warning,
                    "the keys of %s are past their schedule (%s)",
                    refresher.name,
                    error.reason,
                )
            return
    if refresher.usable(clock.monotonic()) is None:
        raise KeysUnavailable("running")


def run(commands: Iterable[Command], clock: Clock) -> None:
    """Run the commands side by side, blocking; afterwards raise what failed first."""
    failures: list[JWTError] = []
    waiting = _first_steps(commands, failures)
    while waiting:
        command, flight = waiting.pop(0)
        flight.landed.wait(_longest(flight, clock))
        _next_step(command, flight.ending, waiting, failures)
    _raise_first(failures)


async def run_async(commands: Iterable[Command], clock: Clock) -> None:
    """`run` for event loops."""
    failures: list[JWTError] = []
    waiting = _first_steps(commands, failures)
    while waiting:
        command, flight = waiting.pop(0)
        await wait_without_blocking(flight.landed, _longest(flight, clock))
        _next_step(command, flight.ending, waiting, failures)
    _raise_first(failures)


def _ask(refresher: Refresher, clock: Clock, *, force: bool) -> Flight:
    now = clock.monotonic()
    reason: Reason = "manual" if force else "cold"
    answer = refresher.demand(reason, now, force=force, heed_gate=False)
    if isinstance(answer, Gate):
        raise KeysUnavailable(answer.reason or "no_keys", answer.closed_for(now))
    return answer


def _failure(ending: Ending, clock: Clock) -> JWTError:
    if ending.misconfigured is not None:
        return ending.misconfigured
    return KeysUnavailable(ending.gate.reason or "floor", ending.gate.closed_for(clock.monotonic()))


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


def _longest(flight: Flight, clock: Clock) -> float:
    return flight.started_at + LONGEST_FLIGHT - clock.monotonic()


def _raise_first(failures: list[JWTError]) -> None:
    """Raise one of the failures; what an operator has to mend goes first."""
    for failure in failures:
        if isinstance(failure, ConfigurationError):
            raise failure
    for failure in failures:
        raise failure
