"""A verifier with everything around it that a fault may leave behind, on a clock that can be moved."""

from __future__ import annotations

import collections
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, ClassVar

if "SKELDIR_JWT_TEST_MUTATION" in os.environ:  # also in the processes that are started here
    sys.path.append(str(Path(__file__).resolve().parents[1] / "fleet"))
    import mutations

    mutations.prepare()

from skeldir_jwt_mw import Issuer, MemoryStore, RefreshPolicy, Verifier
from skeldir_jwt_mw.clock import Clock
from skeldir_jwt_mw.core.effects import FetchFailed
from skeldir_jwt_mw.deadline import monotonic
from skeldir_jwt_mw.refresher import Refresher
from skeldir_jwt_mw.sources import CallableSource
from skeldir_jwt_mw.testing import LoopbackIssuer

PATIENCE = 20.0  # seconds of real time after which a thread that has not ended counts as one that never will
POLICY: dict[str, Any] = {"jitter": 0.0, "wait_budget": 0.15, "fetch_timeout": 0.5, "lease": 1.0}
OURS = "skeldir-jwt"


class Time:
    """The time of one rig; it goes on by itself and can be moved."""

    def __init__(self) -> None:
        self._moved = 0.0
        self.stood_still = 0.0  # seconds that the wall clock counted and the monotonic one did not

    def move(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        self._moved += seconds

    def monotonic(self) -> float:
        return monotonic() + self._moved

    def wall(self) -> float:
        return time.time() + self.stood_still

    def store(self) -> float:
        return time.time() + self._moved


class CountingStore(MemoryStore):
    """Counts the sessions that are open; `trouble` is asked before each call of one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.opened: list[Any] = []
        self.trouble: Callable[[str], None] = lambda _: None

    def open(self, seconds: float) -> Any:
        session = CountedSession(super().open(seconds), self)
        self.opened.append(session)
        return session

    @property
    def held(self) -> int:
        """Sessions that were used and not closed."""
        return sum(session.used and not session.closed for session in self.opened)


class CountedSession:
    """A session that tells of its use."""

    def __init__(self, session: Any, store: CountingStore) -> None:
        self._session = session
        self._store = store
        self.used = self.closed = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._session, name)

        def counted(*arguments: Any) -> Any:
            self.used = True
            self._store.trouble(name)
            return call(*arguments)

        return counted

    def close(self) -> None:
        self.closed = True
        self._session.close()


@cache
def provider() -> LoopbackIssuer:
    """Makes keys and tokens; its server is started by those who ask it over HTTP."""
    return LoopbackIssuer()


_kids: list[str] = []  # by how often the provider had rotated


def _kid(number: int) -> str:
    while len(_kids) <= number:
        _kids.append(provider().rotate(keep_previous=False))
    return _kids[number]


@cache
def token(number: int) -> str:
    """A token of the provider's key after so many rotations."""
    return provider().token(kid=_kid(number), expires_in=3600)


@cache
def document(number: int) -> dict[str, Any]:
    """The provider's document after so many rotations."""
    return {"keys": [provider().key(kid=_kid(number)).jwk()]}


class Rig:
    """A verifier of one issuer over a store of its own. `rotation` says which key the provider publishes."""

    def __init__(self, *, store: Any = None, source: Any = None, **policy: Any) -> None:
        self.time = Time()
        self.store = CountingStore(self.time.store) if store is None else store
        self.rotation = 0
        self.fails = False
        self.hook: Callable[[], None] = lambda: None  # called in every fetch
        self.policy = RefreshPolicy(**{**POLICY, **policy})
        self.source = source or CallableSource(self._fetch, identity="liveness")
        self.verifier = self.another()

    def another(self) -> Verifier:
        """A further verifier of the same fleet."""
        its_clock = Clock(monotonic=self.time.monotonic, wall=self.time.wall, draw=lambda: 0.5)

        class MovableVerifier(Verifier):
            _clock: ClassVar[Clock] = its_clock

        issuer = Issuer(provider().issuer, audience="orders-api", source=self.source)
        return MovableVerifier(issuer, store=self.store, policy=self.policy, token_cache=8)

    def _fetch(self) -> dict[str, Any]:
        self.hook()
        if self.fails:
            raise FetchFailed("the provider is down")
        return document(self.rotation)

    @property
    def refresher(self) -> Refresher:
        return self.verifier._roster.served[0].refresher

    def verify(self) -> str | None:
        """Verify a token of the key that the provider publishes now."""
        return self.verifier.verify(token(self.rotation)).kid

    def row(self) -> Any:
        return self.store.record(self.refresher.source_key)

    def is_leased(self) -> bool:
        """Whether some process has the right to fetch, or has left with it."""
        row = self.row()
        return row is not None and row.lease_owner is not None


# -- what must not be left behind ------------------------------------------------------------------------


def threads() -> list[threading.Thread]:
    """The package's threads that have begun and not ended.

    `is_alive` is not asked: interrupted by a signal's handler, it takes a thread for dead that is not.
    """
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith(OURS) and thread._started.is_set()  # type: ignore[attr-defined]
    ]


def quiet(seconds: float = PATIENCE) -> None:
    """Wait until no thread of the package's is left; a failure where one stays."""
    ends = time.monotonic() + seconds
    while left := threads():
        assert time.monotonic() < ends, f"threads that never end: {left}"
        time.sleep(0.0005)


def free_the_unbegun() -> None:
    """Let go of threads that Python's own `start` has left stuck, interrupted by a signal's handler.

    They hold nothing of the package's, but other tests would count them.
    """
    for thread in list(threading._limbo):  # type: ignore[attr-defined]
        if thread.name.startswith(OURS):
            thread.name = "never began"
            beginning = thread._started._cond._lock
            if thread.ident is not None and beginning.locked():
                beginning.release()


def held_locks(*roots: object) -> list[str]:
    """The locks in reach of these objects that somebody holds."""
    return [path for path, lock in locks_in_reach(*roots) if "unlocked" not in repr(lock)]


LOCKS = (type(threading.Lock()), type(threading.RLock()))
CONTAINERS = (dict, list, tuple, set, frozenset, collections.deque)
OPAQUE = (type, ModuleType, FunctionType, threading.Thread)


def locks_in_reach(*roots: object) -> Iterator[tuple[str, Any]]:
    """Every lock that belongs to these objects or to what they hold."""
    seen: set[int] = set()
    left: list[tuple[str, object]] = [(type(root).__name__, root) for root in roots]
    while left:
        path, thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, LOCKS):
            yield path, thing
        elif isinstance(thing, MethodType):
            left.append((path, thing.__self__))
        elif isinstance(thing, CONTAINERS):
            left += [(path, held) for held in gc.get_referents(thing)]
        elif isinstance(thing, OPAQUE):
            continue
        else:
            module = type(thing).__module__
            if module.startswith(("skeldir_jwt_mw", "threading", "concurrent", "rig")):
                left += [(f"{path}.{name}", value) for name, value in _members(thing)]


def _members(thing: object) -> Iterator[tuple[str, object]]:
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield name, getattr(thing, name)
