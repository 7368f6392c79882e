"""What a forked child must not inherit: locks that another thread of the parent held, and its threads' work.

Two mechanisms. Where the interpreter forks, a hook renews everything at once. Where something else does (a
server in C that runs no hooks of Python), whoever takes the slow path compares process ids and renews then.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """Something that holds locks or knows of threads; `process` is the id of the one it was renewed in."""

    process: int

    def renew(self) -> None:
        """Drop what belongs to the parent's threads; the caller then sets `process`."""
        ...


_known: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renewed_after_fork(thing: Renewable) -> None:
    """Have `thing` renewed in every child that the interpreter forks; call once, at the end of `__init__`."""
    thing.process = os.getpid()
    _known.add(thing)


def renew_if_forked(thing: Renewable) -> None:
    """Renew `thing` where this process is another one than it was last renewed in."""
    if thing.process != os.getpid():
        _renew(thing)


def _renew(thing: Renewable) -> None:
    thing.renew()
    thing.process = os.getpid()


def _after_fork_in_child() -> None:
    for thing in list(_known):
        _renew(thing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
