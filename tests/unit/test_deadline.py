"""Calls with a deadline: what they return, and that they leave nothing behind however they end."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from interruption import Interrupted, failing_at_line, interrupting

from skeldir_jwt_mw import deadline
from skeldir_jwt_mw.deadline import DeadlineExceeded, Occupied, Purpose, join_ended, shut_down_after, within

LONG = 60.0  # seconds that no test waits


class Hanging:
    """A call that goes on until it is let go; the thread that runs it is known once it has begun."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> str:
        self.thread = threading.current_thread()
        self.begun.set()
        assert self.let_go.wait(LONG)
        return "late"

    def end(self) -> None:
        self.let_go.set()
        assert self.thread is not None
        self.thread.join(LONG)


def threads_of_calls() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "skeldir-jwt-call"]


def timers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_a_call_that_ends_in_time_is_answered_and_its_thread_has_gone() -> None:
    ran_in: list[threading.Thread] = []

    def call() -> str:
        ran_in.append(threading.current_thread())
        return "answer"

    assert within(LONG, call) == "answer"
    assert not ran_in[0].is_alive()
    assert ran_in[0] not in threading.enumerate()


def test_what_a_call_raises_is_raised_as_it_is() -> None:
    for error in (ValueError("x"), SystemExit(3), KeyboardInterrupt()):

        def call(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)) as raised:
            within(LONG, call)
        assert raised.value is error
    assert threads_of_calls() == []


def test_a_call_that_does_not_end_in_time_is_left_and_its_late_result_discarded() -> None:
    hanging, discarded = Hanging(), []
    with pytest.raises(DeadlineExceeded):
        within(0.0, hanging, discard=discarded.append)
    left = threads_of_calls()
    hanging.let_go.set()
    for thread in left:
        thread.join(LONG)
    assert discarded == (["late"] if hanging.begun.is_set() else [])  # one that had not begun never does


def leave_behind(run: Callable[..., Any], **options: Any) -> Hanging:
    """A call that has begun, and whose caller a signal handler's exception took away."""
    hanging = Hanging()
    with interrupting() as interrupt:

        def call() -> str:
            interrupt()
            return hanging()

        with pytest.raises(Interrupted):
            run(LONG, call, **options)
    assert hanging.begun.wait(LONG)
    return hanging


def test_a_signal_handler_that_raises_leaves_the_call_and_its_result_is_discarded() -> None:
    discarded: list[str] = []
    hanging = leave_behind(within, discard=discarded.append)
    hanging.end()
    assert discarded == ["late"]


def test_a_thread_that_cannot_be_started_is_told_and_leaves_the_purpose_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    purpose = Purpose()
    with monkeypatch.context() as patch:

        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", start)
        for run in (within, purpose.within):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                run(LONG, lambda: None)
        with pytest.raises(RuntimeError), shut_down_after(LONG, None):
            pass
    assert purpose.within(LONG, lambda: "free") == "free"


# -- purposes --------------------------------------------------------------------------------------------


def test_a_purpose_refuses_a_call_while_an_earlier_one_hangs_and_not_when_it_has_ended() -> None:
    purpose = Purpose()
    assert purpose.within(LONG, lambda: 1) == 1
    hanging = leave_behind(purpose.within)
    for _ in range(50):
        with pytest.raises(Occupied):
            purpose.within(LONG, lambda: 2)
    assert threads_of_calls() == [hanging.thread]
    hanging.end()
    assert purpose.within(LONG, lambda: 3) == 3


def test_a_purpose_has_one_call_at_a_time_unless_they_may_run_side_by_side() -> None:
    for side_by_side in (False, True):
        purpose = Purpose(side_by_side=side_by_side)
        first = Hanging()
        caller = threading.Thread(target=purpose.within, args=(LONG, first))
        caller.start()
        assert first.begun.wait(LONG)
        if side_by_side:
            assert purpose.within(LONG, lambda: "beside") == "beside"
        else:
            with pytest.raises(Occupied):
                purpose.within(LONG, lambda: "beside")
        first.end()
        caller.join(LONG)


def test_calls_left_behind_count_for_the_purpose_that_theirs_is_part_of() -> None:
    whole = Purpose(most=2, side_by_side=True)
    parts = [Purpose(part_of=whole) for _ in range(3)]
    hanging = [leave_behind(part.within) for part in parts[:2]]
    with pytest.raises(Occupied):
        parts[2].within(LONG, lambda: None)
    hanging[0].end()
    assert parts[2].within(LONG, lambda: "free") == "free"
    with pytest.raises(Occupied):
        parts[1].within(LONG, lambda: None)
    hanging[1].end()
    assert parts[1].within(LONG, lambda: "free") == "free"


def test_of_many_callers_at_once_a_purpose_lets_one_through() -> None:
    purpose, hanging, refused = Purpose(), Hanging(), []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait(LONG)
        try:
            purpose.within(LONG, hanging)
        except Occupied:
            refused.append(1)
            if len(refused) == 7:
                hanging.let_go.set()

    callers = [threading.Thread(target=ask) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(LONG)
    assert len(refused) == 7


@pytest.mark.parametrize("hooks", ["with hooks", "without hooks"])
def test_a_call_that_hangs_in_the_parent_does_not_occupy_a_child(
    hooks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the fork runs no hooks of Python's, which then believes that all threads go on."""
    purpose = Purpose()
    hanging = leave_behind(purpose.within)
    before = os.getpid()
    if hooks == "without hooks":
        monkeypatch.setattr(os, "getpid", lambda: before + 1)
        assert purpose.within(LONG, lambda: "free") == "free"
    else:
        assert in_a_child(lambda: purpose.within(LONG, lambda: "free") == "free")
    monkeypatch.undo()
    hanging.end()


def in_a_child(question: Callable[[], bool]) -> bool:
    """The answer of a forked child."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if question() else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


# -- the watchdog ----------------------------------------------------------------------------------------


def test_the_watchdog_has_gone_when_its_context_has_ended() -> None:
    left, right = socket.socketpair()
    with left, right:
        for error in (None, ValueError, Interrupted, KeyboardInterrupt):
            try:
                with shut_down_after(LONG, left) as timed_out:
                    (timer,) = timers()
                    if error is not None:
                        raise error
            except (ValueError, Interrupted, KeyboardInterrupt):
                pass
            assert not timer.is_alive()
            assert not timed_out()


def test_the_watchdog_wakes_who_is_blocked_on_the_socket() -> None:
    left, right = socket.socketpair()
    with left, right, shut_down_after(0.01, left) as timed_out:
        assert left.recv(1) == b""
        assert timed_out()


FORK_AFTER = """if True:
    import os, socket, sys, warnings
    warnings.simplefilter("always")
    from skeldir_jwt_mw.deadline import shut_down_after, within
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # so that a thread's end can be held up
    left, right = socket.socketpair()
    for _ in range(300):
        with shut_down_after(60, left):
            within(60, lambda: None)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    left.close(), right.close()
"""


def test_a_fork_right_after_meets_no_thread_of_ours() -> None:
    """Python 3.12 and later count the threads of the system, and warn."""
    done = subprocess.run(
        [sys.executable, "-c", FORK_AFTER], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_thread_that_was_never_started_need_not_be_waited_for() -> None:
    join_ended(threading.Thread())


# -- an exception at any line ----------------------------------------------------------------------------


def test_an_exception_at_any_line_leaves_no_thread_no_socket_and_no_purpose_occupied() -> None:
    purpose = Purpose()
    made: list[socket.socket] = []

    def call() -> socket.socket:
        made.append(socket.socket())
        return made[-1]

    def scene() -> None:
        left, right = socket.socketpair()
        with left, right, shut_down_after(LONG, left):
            within(LONG, call, discard=socket.socket.close).close()
            purpose.within(LONG, call, discard=socket.socket.close).close()

    met = 0
    while failing_at_line(met, scene, deadline):
        met += 1
        for thread in [*timers(), *threads_of_calls()]:
            thread.join(LONG)  # at its end: it has been told to
            assert not thread.is_alive()
        assert purpose.within(LONG, lambda: "free") == "free"
        gc.collect()
        assert all(sock.fileno() == -1 for sock in made)
    assert met > 60
