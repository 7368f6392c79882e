"""What the library takes green threads for; tests/servers proves it under gevent and eventlet themselves."""

from __future__ import annotations

import logging
import sys
import threading
from types import SimpleNamespace
from typing import Any

import psycopg
import psycopg2.extensions
import pytest

from skeldir_jwt_mw import Issuer, Verifier, fork, green
from skeldir_jwt_mw.clock import SYSTEM
from skeldir_jwt_mw.pool import Pool
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import SigningKey
from skeldir_jwt_mw.waiting import WaitingRoom


class Patch:
    """Replaces threads, for all that the library can see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(fork, "_told", set())
        for name in ("gevent.monkey", "eventlet.patcher", "uwsgi"):
            monkeypatch.delitem(sys.modules, name, raising=False)

    def gevent(self, *modules: str) -> None:
        """These modules are gevent's."""
        fake = SimpleNamespace(is_module_patched=lambda module: module in modules)
        self._monkeypatch.setitem(sys.modules, "gevent.monkey", fake)

    def eventlet(self, *modules: str) -> None:
        """These modules are eventlet's."""
        fake = SimpleNamespace(is_monkey_patched=lambda module: module in modules)
        self._monkeypatch.setitem(sys.modules, "eventlet.patcher", fake)

    def uwsgi(self, *options: str, has_threads: int = 1) -> None:
        """The process is one of uWSGI's."""
        fake = SimpleNamespace(opt=dict.fromkeys(options, b"1"), has_threads=has_threads)
        self._monkeypatch.setitem(sys.modules, "uwsgi", fake)


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> Patch:
    return Patch(monkeypatch)


def test_threads_are_the_systems_until_a_library_has_replaced_them(patch: Patch) -> None:
    assert green.library() is None
    patch.gevent("socket")
    assert green.library() is None
    patch.gevent("threading", "socket")
    assert green.library() == "gevent"


def test_eventlet_replaces_them_under_another_name(patch: Patch) -> None:
    patch.eventlet("thread")
    assert green.library() == "eventlet"


def test_no_driver_blocks_threads_of_the_systems(patch: Patch) -> None:
    assert not green.blocks(psycopg)
    assert not green.blocks(psycopg2)
    me = threading.get_ident()
    assert green.unblocked(psycopg, threading.get_ident) == me
    assert green.in_a_real_thread(threading.get_ident) == me


def test_psycopg_blocks_green_threads_if_it_was_imported_before_the_patch(
    patch: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch.gevent("threading", "socket", "select")
    waiting: Any = psycopg.waiting
    monkeypatch.setattr(waiting, "wait", waiting.wait_c)
    assert green.blocks(psycopg)
    monkeypatch.setattr(waiting, "wait", waiting.wait_selector)
    assert not green.blocks(psycopg)


def test_psycopg2_blocks_green_threads_unless_it_has_a_callback(
    patch: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch.gevent("threading", "socket", "select")
    assert green.blocks(psycopg2)
    monkeypatch.setattr(psycopg2.extensions, "get_wait_callback", lambda: print)
    assert not green.blocks(psycopg2)


def test_a_driver_that_nobody_knows_counts_as_one_that_blocks(patch: Patch) -> None:
    patch.gevent("threading", "socket")
    driver: Any = SimpleNamespace(__name__="another")
    assert green.blocks(driver)


@pytest.mark.parametrize(
    ("options", "has_threads", "remedy"),
    [
        ((), 0, "--enable-threads"),
        (("gevent",), 1, "--gevent-early-monkey-patch"),
        (("gevent", "gevent-monkey-patch"), 1, None),  # it comes with the worker, and is told then
        (("threads",), 1, None),
    ],
)
def test_what_uwsgi_takes_from_us_is_told_at_the_start(
    options: tuple[str, ...],
    has_threads: int,
    remedy: str | None,
    patch: Patch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    patch.uwsgi(*options, has_threads=has_threads)
    keys = StaticSource({"keys": [SigningKey.generate().jwk()]})
    Verifier([Issuer("https://login.example.com/", audience="orders-api", source=keys)])
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [remedy in text for text in told if remedy] == [True] * (remedy is not None)
    assert len(told) == (remedy is not None)


def test_threads_without_sockets_are_told_at_the_start(patch: Patch) -> None:
    patch.gevent("threading")
    (text,) = green.hindrances()
    assert "patch all" in text
    patch.gevent("threading", "socket")
    assert green.hindrances() == []


def test_what_was_made_before_a_late_patch_is_made_anew_and_told_once(
    patch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    rooms = [WaitingRoom(1), WaitingRoom(1)]
    locks = [room._lock for room in rooms]
    with rooms[0].place(optional=False):
        assert rooms[0]._lock is locks[0]
    patch.gevent("threading", "socket")
    for room, lock in zip(rooms, locks, strict=True):
        with room.place(optional=False):
            assert room._lock is not lock
    (record,) = caplog.records
    assert "patch before anything else is imported" in record.getMessage()


def test_no_thread_is_asked_for_its_life_under_the_lock() -> None:
    """A green one switches to another then, and that may want the lock."""
    pool = Pool(SYSTEM)

    class Thread:
        ident = 1

        def is_alive(self) -> bool:
            assert pool._bell.acquire(blocking=False)
            pool._bell.release()
            return False

    dead: Any = Thread()
    pool._threads[dead] = 0.0
    pool.see_to_it()
    assert dead not in pool._threads


def test_of_threads_that_meet_after_a_fork_without_hooks_one_renews() -> None:
    renewing, go_on = threading.Event(), threading.Event()

    class Thing:
        process = (0, None)
        renewals = 0

        def renew(self) -> None:
            self.renewals += 1
            renewing.set()
            assert go_on.wait(10)

    thing: Any = Thing()
    threads = [threading.Thread(target=fork.renew_if_forked, args=(thing,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert renewing.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert thing.renewals == 1


def test_a_thread_of_before_leaves_a_pool_that_was_renewed() -> None:
    pool = Pool(SYSTEM)

    class Parked:
        slow = False
        waits = threading.Event()

        def advance(self) -> float:
            self.waits.set()
            return SYSTEM.monotonic() + 60

        def is_over(self) -> bool:
            return False

    pool.submit(Parked())
    assert Parked.waits.wait(10)
    bell = pool._bell
    while pool._keeper is None:  # until it waits for the parked course
        threading.Event().wait(0.001)
    (keeper,) = pool._threads
    pool.renew()
    with bell:
        bell.notify_all()
    keeper.join(10)
    assert not keeper.is_alive()
