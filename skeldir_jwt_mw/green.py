"""Green threads: whether gevent or eventlet has put them in the place of the system's, and what that costs.

A call that blocks in C (libpq's wait for a lock, say) stops all green threads of its system thread, the one
that keeps its deadline among them. Such calls are made in a thread of the system's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, TypeAlias, TypeVar, cast

T = TypeVar("T")
Library: TypeAlias = Literal["gevent", "eventlet"]

MOST_THREADS = 32  # of the system's, for one hub of gevent: those that refresh, and those that cancel
IDLE_SECONDS = 1.0  # after which one of them ends

LATE = (
    "%s has replaced the threads after this process had made its verifier: patch before anything else is"
    " imported (gunicorn: in the configuration file; uWSGI: --gevent-early-monkey-patch)"
)
NOT_PATCHED = (
    "uWSGI runs with gevent, but nothing is patched: a request that waits for keys stops its whole worker;"
    " add --gevent-early-monkey-patch"
)
HALF_PATCHED = (
    "%s has replaced the threads but not the sockets: a fetch of keys stops the whole worker; patch all"
)
NO_THREADS = (
    "uWSGI runs without threads for Python, so no refresh goes on between requests; add --enable-threads"
)


def library() -> Library | None:
    """Which library has replaced the threads of this process, if any."""
    if _is_patched_by_gevent("threading"):
        return "gevent"
    return "eventlet" if _is_patched_by_eventlet("thread") else None


def blocks(driver: ModuleType) -> bool:
    """Whether a statement of `driver` (psycopg or psycopg2) stops every green thread beside it.

    False where threads are the system's. psycopg decides when it is imported, psycopg2 asks for a callback.
    """
    if library() is None:
        return False
    if driver.__name__ == "psycopg":
        waiting: Any = driver.waiting
        return waiting.wait is getattr(waiting, "wait_c", None)
    extensions = getattr(driver, "extensions", None)
    return extensions is None or extensions.get_wait_callback() is None


def unblocked(driver: ModuleType, call: Callable[[], T]) -> T:
    """The result of a call into `driver`, made so that other threads go on, whatever kind they are."""
    return in_a_real_thread(call) if blocks(driver) else call()


def in_a_real_thread(call: Callable[[], T]) -> T:
    """Make a call in a thread of the system's while other green threads go on; here, where there are none."""
    match library():
        case None:
            return call()
        case "gevent":
            result, error = _in_a_thread_of_gevent(lambda: _outcome(call))
        case "eventlet":
            result, error = import_module("eventlet.tpool").execute(_outcome, call)
    if error is not None:
        raise error
    return cast(T, result)


def hindrances() -> list[str]:
    """What the server's settings take from us, each in a sentence that names the remedy."""
    found = []
    green = library()
    uwsgi: Any = sys.modules.get("uwsgi")  # uWSGI puts it there, and nobody else can
    if uwsgi is not None and not getattr(uwsgi, "has_threads", True):
        found.append(NO_THREADS)
    options = getattr(uwsgi, "opt", {})
    if green is None and "gevent" in options and "gevent-monkey-patch" not in options:
        found.append(NOT_PATCHED)
    sockets = _is_patched_by_gevent("socket") if green == "gevent" else _is_patched_by_eventlet("socket")
    if green is not None and not sockets:
        found.append(HALF_PATCHED % green)
    return found


def _outcome(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Result and error as values: gevent prints what is raised in its threads, and it may hold a secret."""
    try:
        return call(), None
    except BaseException as error:  # handed to the green thread, which raises it
        return None, error


def _in_a_thread_of_gevent(call: Callable[[], T]) -> T:
    """In a pool of our own, since gevent's serves the application's name resolution too."""
    hub: Any = sys.modules["gevent"].get_hub()
    pool = getattr(hub, "_skeldir_jwt_threads", None)  # there, so that it goes with the hub
    if pool is None:
        pool = import_module("gevent.threadpool").ThreadPool(MOST_THREADS, hub, IDLE_SECONDS)
        hub._skeldir_jwt_threads = pool
    result: T = pool.apply(call)
    return result


def _is_patched_by_gevent(module: str) -> bool:
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched(module))


def _is_patched_by_eventlet(module: str) -> bool:
    patcher: Any = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched(module))
