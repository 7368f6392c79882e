"""What a forked child must not inherit: locks that another thread of the parent held, and its threads' work.

Two mechanisms. Where the interpreter forks, a hook renews everything at once. Where something else does (a
server in C that runs no hooks of Python), whoever takes the slow path compares process ids and renews then.

The same goes for a process whose threads gevent or eventlet has replaced meanwhile: a lock of the system's
that a green thread holds while others run stops all of them, for ever.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import Protocol, TypeAlias

from .green import LATE, Library, library
from .log_lines import tell

logger = logging.getLogger("skeldir_jwt_mw")

Process: TypeAlias = tuple[int, Library | None]
"""The process's id, and whose threads it has."""


class Renewable(Protocol):
    """Something that holds locks or knows of threads; `process` is the one it was renewed in."""

    process: Process

    def renew(self) -> None:
        """Drop what belongs to the parent's threads; the caller then sets `process`."""
        ...


_known: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renewed_after_fork(thing: Renewable) -> None:
    """Have `thing` renewed in every child that the interpreter forks; call once, at the end of `__init__`."""
    thing.process = _this_process()
    _known.add(thing)


def renew_if_forked(thing: Renewable) -> None:
    """Renew `thing` where this process is another one, or has other threads, than it was last renewed in.

    The caller holds no lock.
    """
    here = _this_process()
    if thing.process == here:
        return
    with _turns.setdefault(here, threading.RLock()):  # one thread renews, the others wait for it
        late = here[1] is not None and thing.process[1] is None
        if thing.process != here:
            _renew(thing)
    if late and here not in _told:
        _told.add(here)
        tell(logger.warning, LATE, here[1])


def _renew(thing: Renewable) -> None:
    thing.renew()
    thing.process = _this_process()


def _this_process() -> Process:
    return os.getpid(), library()


# Made in the process that it is for, so that no thread of a parent can have held it.
_turns: dict[Process, threading.RLock] = {}
_told: set[Process] = set()  # those whose operator was told that they were patched too late


def _after_fork_in_child() -> None:
    for thing in list(_known):
        _renew(thing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
