"""Exceptions at any place of the running code: which places there are is found out by running it.

A place is where an exception can arise: before a line, at the entry of a function, at its return. In the
thread that asks, the standard library's waiting and locking count as well, since a signal's handler raises
there as anywhere.
"""

from __future__ import annotations

import concurrent.futures._base
import contextlib
import dis
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import skeldir_jwt_mw

PACKAGE = Path(skeldir_jwt_mw.__file__).parent
TEST_KIT = PACKAGE / "testing"
WAITING = tuple(str(module.__file__) for module in (threading, contextlib, concurrent.futures._base))

# Of these the interpreter reports a return also where they only pause.
SUSPENDING = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

ASKING = "asking"  # the role of the thread that runs the scene


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an exception may arise."""

    role: str  # of the thread
    where: str  # the module's path, from the package on
    function: str
    event: str  # "line", "call" or "return"
    line: int

    def __str__(self) -> str:
        return f"{self.where}:{self.line} {self.function} ({self.event}, {self.role})"


Visit = Callable[[Place], None]
"""Is told of every place as it is reached, and may raise there."""


@contextlib.contextmanager
def watching(visit: Visit, *, signals: bool = False) -> Iterator[Callable[[], None]]:
    """Have every place told to `visit`, in this thread and in those that it starts.

    `signals` adds the entries and returns of functions and the standard library, for this thread alone.
    Yields a function that ends it for this thread.
    """
    asking = threading.get_ident()

    def seen(frame: FrameType, event: str, _: Any) -> Any:
        where = _name_of(frame.f_code)
        if where is None:
            return None
        here = threading.get_ident() == asking
        if where.startswith("/") and not (signals and here):
            return None
        if here:
            role = ASKING
        else:
            role = threading.current_thread().name.partition("_")[0]
            if not role.startswith("skeldir-jwt"):
                role = "other"
        if event == "line":
            if _cannot_fail(frame):
                return seen
        elif not (signals and here) or event == "exception" or frame.f_code.co_flags & SUSPENDING:
            return seen
        if where.startswith("/"):
            for_whom = _for_whom(frame)
            if for_whom is None:
                return seen
            where = f"{where} for {for_whom}"
        visit(Place(role, where, frame.f_code.co_qualname, event, frame.f_lineno))
        return seen

    def in_threads(frame: FrameType, event: str, argument: Any) -> Any:
        return seen(frame, event, argument)

    before = sys.gettrace()
    threading.settrace(in_threads)
    _trace_here(seen)
    try:
        yield lambda: _trace_here(before)
    finally:
        _trace_here(before)
        threading.settrace(before)  # type: ignore[arg-type]


def _trace_here(function: Any) -> None:
    """Have this thread traced, or no longer; Python refuses it while another thread asks for the same."""
    while True:
        try:
            sys.settrace(function)
        except RuntimeError:
            continue
        return


def _for_whom(frame: FrameType) -> str | None:
    """Which line of the package has come to call the standard library, if any has."""
    caller = frame.f_back
    while caller is not None:
        name = _name_of(caller.f_code)
        if name is not None and not name.startswith("/"):
            return f"{name}:{caller.f_lineno}"
        caller = caller.f_back
    return None


@cache
def _name_of(code: CodeType) -> str | None:
    """The module of a function that is watched; the standard library's begin with a stroke."""
    if code.co_filename in WAITING:
        return "/" + Path(code.co_filename).name
    path = Path(code.co_filename)
    if not path.is_relative_to(PACKAGE) or path.is_relative_to(TEST_KIT) or code.co_name == "<module>":
        return None
    return str(path.relative_to(PACKAGE))


def _cannot_fail(frame: FrameType) -> bool:
    """Whether no exception can arise here: nothing is allocated, no signal is looked at.

    That is a line of nothing (`try:`), and the end of a `with` block, which the interpreter books on the line
    of its beginning, up to the call of `__exit__`.
    """
    entries, nothings = _landmarks(frame.f_code)
    entered = entries.get(frame.f_lineno)
    return frame.f_lasti in nothings or (entered is not None and frame.f_lasti > entered)


@cache
def _landmarks(code: CodeType) -> tuple[dict[int, int], set[int]]:
    """Where each `with` of a function calls `__enter__`, by its line; and where nothing is done."""
    entries: dict[int, int] = {}
    nothings: set[int] = set()
    for instruction in dis.get_instructions(code):
        positions = instruction.positions
        entering = instruction.opname in ("BEFORE_WITH", "BEFORE_ASYNC_WITH") or (
            instruction.opname == "LOAD_SPECIAL" and "enter" in instruction.argrepr
        )
        if entering and positions is not None and positions.lineno is not None:
            entries.setdefault(positions.lineno, instruction.offset)
        if instruction.opname == "NOP":
            nothings.add(instruction.offset)
    return entries, nothings
