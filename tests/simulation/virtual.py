"""Virtual time: the library's own threads, locks and clocks over greenlets and a heap of events.

Everything of `skeldir_jwt_mw` runs as it is. Where it starts a thread, takes a lock or asks what time it is,
it meets the stand-ins of this module instead of the system's: a thread is a greenlet, to wait is to let the
next event happen, and a process is a number with clocks of its own that may stop, step or end. Nothing is
ever as late as a real machine makes it, and the same seed is the same run.
"""

from __future__ import annotations

import heapq
import random
import threading as real
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest.mock import patch

from greenlet import GreenletExit, getcurrent, greenlet

from skeldir_jwt_mw import course, deadline, flight, fork, latch, pool, refresher, verifier, waiting

EPOCH = 1_800_000_000.0  # what every right clock of a world shows at its beginning


_PIDS = count(10_000_001)  # never that of a real process, nor of one of another world


class Violation(AssertionError):
    """Something that must never happen has happened."""


class Process:
    """A process of the operating system: clocks of its own, and whether it runs."""

    def __init__(self, kernel: Kernel, *, skew: float = 0.0) -> None:
        self.kernel = kernel
        self.pid = next(kernel.pids)
        self.offset = kernel.random.uniform(-1e6, 1e6)  # of its monotonic clock
        self.skew = skew  # of its wall clock
        self.alive = True
        self.frozen = False
        self.no_threads = False  # the system gives it no more
        self.no_calls = False  # no more for calls with a deadline, as fetches are
        self.lost_threads = False  # those that it starts never begin
        self.threads: set[Thread] = set()
        self.most_threads = 0
        self._deferred: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        return self.kernel.now + self.offset

    def wall(self) -> float:
        return EPOCH + self.kernel.now + self.skew

    def freeze(self) -> None:
        """Nothing of it moves; its clocks go on."""
        self.frozen = True

    def thaw(self, *, lost: float = 0.0) -> None:
        """It goes on, where it is alive; of the time that passed its monotonic clock has lost so much."""
        self.offset -= lost
        self.frozen = False
        deferred, self._deferred = self._deferred, []
        for act in deferred:
            self.kernel.after(0.0, act)

    def lose_threads(self) -> None:
        """All of its threads are gone, and none of them has come to an end."""
        self.kernel.forget(self)
        for thread in self.threads:
            thread.lose()
        self.threads.clear()

    def end(self) -> None:
        """Nothing of it ever moves again."""
        self.alive = False
        self.kernel.bury(self)

    def held_back(self, act: Callable[[], None]) -> bool:
        """Whether an act has to wait for the process, or will never happen."""
        if not self.alive:
            return True
        if self.frozen:
            self._deferred.append(act)
        return self.frozen


class _Task:
    """A greenlet, whose it is, and what it waits for: each wait has a number of its own."""

    __slots__ = ("greenlet", "locks", "process", "thread", "waits")

    def __init__(self, process: Process, thread: Thread | None) -> None:
        self.process = process
        self.thread = thread
        self.waits = 0
        self.locks = 0


class Kernel:
    """Virtual time, and who runs in it."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.pids = _PIDS
        self.running: _Task | None = None
        self.complaints: list[str] = []  # what threads did that no thread may; to raise would end only them
        self._events: list[tuple[float, float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._hub = getcurrent()
        self._tasks: dict[greenlet, _Task] = {}

    # -- events ----------------------------------------------------------------------------------------

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something happen later; what is due at one instant happens in random order."""
        heapq.heappush(self._events, (self.now + seconds, self.random.random(), next(self._numbers), act))

    def run(self, until: float) -> None:
        """Let time pass until then."""
        self._hub = getcurrent()
        while self._events and self._events[0][0] <= until:
            self.now, _, _, act = heapq.heappop(self._events)
            act()
            if self.complaints:
                raise Violation(self.complaints[0])
        self.now = until
        if self.complaints:
            raise Violation(self.complaints[0])

    # -- tasks -----------------------------------------------------------------------------------------

    def spawn(self, process: Process, call: Callable[[], None], thread: Thread | None = None) -> None:
        """Run `call` in the process, as soon as that moves."""
        task = _Task(process, thread)

        def begin() -> None:
            if process.held_back(begin):
                return
            task.greenlet = greenlet(call, parent=self._hub)
            self._tasks[task.greenlet] = task
            self._switch(task, None)

        begin()

    def _switch(self, task: _Task, value: object) -> None:
        before, self.running = self.running, task
        try:
            if value is GreenletExit:
                task.greenlet.throw(GreenletExit)
            elif task.waits:
                task.greenlet.switch(value)
            else:
                task.greenlet.switch()
        finally:
            self.running = before
            if task.greenlet.dead:
                self._tasks.pop(task.greenlet, None)

    @property
    def task(self) -> _Task:
        """Whoever runs now."""
        task = self.running
        assert task is not None, "only processes wait"
        return task

    @property
    def process(self) -> Process:
        """The process that runs now."""
        return self.task.process

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until somebody wakes this task, or so long by its own clock; whether it was woken."""
        task = self.task
        if not task.process.alive:
            raise GreenletExit
        if task.locks:
            self.complaints.append("a thread waits under a lock")
        task.waits += 1
        number = task.waits
        if seconds is not None:
            self._time_out(task, number, task.process.monotonic() + max(0.0, seconds))
        woken: bool = self._hub.switch()
        if not task.process.alive:
            raise GreenletExit
        return woken

    def _time_out(self, task: _Task, number: int, due: float) -> None:
        def ring() -> None:
            if task.waits != number or task.process.held_back(ring):
                return
            if due - task.process.monotonic() > 1e-7:  # its clock has stood still meanwhile
                self._time_out(task, number, due)
            else:
                task.waits += 1
                self._switch(task, False)

        self.after(max(0.0, due - task.process.monotonic()), ring)

    def wake(self, task: _Task, number: int) -> bool:
        """Wake a task from the wait of that number; False where that is over."""
        if task.waits != number or not task.process.alive:
            return False
        task.waits += 1
        number = task.waits

        def go_on() -> None:
            if task.waits == number and not task.process.held_back(go_on):
                task.waits += 1
                self._switch(task, True)

        self.after(0.0, go_on)
        return True

    def elsewhere(self, there: float, act: Callable[[], Any], back: float) -> Any:
        """Have something done by another machine, which goes on whatever becomes of who asked."""
        task, number, answers = self.task, self.task.waits + 1, []

        def arrive() -> None:
            answers.append(act())
            self.after(back, lambda: self.wake(task, number))

        self.after(there, arrive)
        self.wait()
        return answers[0]

    def bury(self, process: Process) -> None:
        """End the greenlets of a process that is no more; nothing that they still try has an effect."""
        for task in [task for task in self._tasks.values() if task.process is process]:
            if task is not self.running and not task.greenlet.dead:
                task.waits += 1
                self._hub_of(task)
        process.threads.clear()

    def forget(self, process: Process) -> None:
        """Never go on with what a process's threads have begun."""
        for task in self._tasks.values():
            if task.process is process and task.thread is not None:
                task.waits += 1

    def _hub_of(self, task: _Task) -> None:
        task.greenlet.parent = getcurrent()
        self._switch(task, GreenletExit)

    def close(self) -> None:
        """End everything."""
        self._events.clear()
        for process in {task.process for task in self._tasks.values()}:
            process.end()


class Thread:
    """`threading.Thread`, as far as it is used."""

    kernel: Kernel

    def __init__(self, *, target: Callable[[], None], name: str = "", daemon: bool = True) -> None:
        self.ident: int | None = None
        self.native_id = None
        self._target = target
        self._ended = Event()
        self._begun = False
        self._calls = name == "skeldir-jwt-call"
        self._process = self.kernel.process

    def start(self) -> None:
        process = self._process
        if process.no_threads or (process.no_calls and self._calls):
            raise RuntimeError("can't start new thread")
        if process.lost_threads:
            return
        self._begun = True
        process.threads.add(self)
        process.most_threads = max(process.most_threads, len(process.threads))
        self.kernel.after(
            self.kernel.random.uniform(0, 0.001), lambda: self.kernel.spawn(process, self._run, self)
        )

    def _run(self) -> None:
        self.ident = id(self)
        try:
            self._target()
        finally:
            self._process.threads.discard(self)
            self._ended.set()

    def lose(self) -> None:
        self._begun = False

    def is_alive(self) -> bool:
        return self._begun and not self._ended.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait(timeout)


class Lock:
    """`threading.Lock`; to wait under one that was taken by `with` is a violation."""

    kernel: Kernel

    def __init__(self) -> None:
        self._locked = False
        self._waiters: list[tuple[_Task, int]] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not self._locked:
            self._locked = True
            return True
        if not blocking:
            return False
        task = self.kernel.task
        self._waiters.append((task, task.waits + 1))
        return self.kernel.wait(None if timeout < 0 else timeout)

    def release(self) -> None:
        while self._waiters:
            if self.kernel.wake(*self._waiters.pop(0)):
                return  # it is handed over, still locked
        self._locked = False

    def __enter__(self) -> bool:
        taken = self.acquire()
        self.kernel.task.locks += 1
        return taken

    def __exit__(self, *_: object) -> None:
        self.kernel.task.locks -= 1
        self.release()


class Condition:
    """`threading.Condition` over a lock that was taken by `with`."""

    kernel: Kernel

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._waiters: list[tuple[_Task, int]] = []

    def wait(self, timeout: float | None = None) -> bool:
        task = self.kernel.task
        self._waiters.append((task, task.waits + 1))
        self._lock.__exit__()
        try:
            return self.kernel.wait(timeout)
        finally:
            if task.process.alive:
                self._lock.__enter__()
            else:
                task.locks += 1  # what its end takes off again

    def notify_all(self) -> None:
        waiters, self._waiters = self._waiters, []
        for task, number in waiters:
            self.kernel.wake(task, number)


class Event:
    """`threading.Event`."""

    kernel: Kernel

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[tuple[_Task, int]] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        waiters, self._waiters = self._waiters, []
        for task, number in waiters:
            self.kernel.wake(task, number)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            task = self.kernel.task
            self._waiters.append((task, task.waits + 1))
            self.kernel.wait(timeout)
        return self._is_set


class _Threading:
    """What the library imports as `threading`."""

    TIMEOUT_MAX = real.TIMEOUT_MAX

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        bound = {"kernel": kernel}
        self.Thread: Any = type("Thread", (Thread,), bound)
        self.Lock: Any = type("Lock", (Lock,), bound)
        self.Condition: Any = type("Condition", (Condition,), bound)
        self.Event: Any = type("Event", (Event,), bound)
        Thread.kernel = Event.kernel = kernel  # a thread makes an event of its own

    def current_thread(self) -> Thread | None:
        return self._kernel.task.thread


class _System:
    """What the library imports as `os`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def getpid(self) -> int:
        return self._kernel.process.pid


@contextmanager
def installed(kernel: Kernel) -> Iterator[None]:
    """Let the library run in the kernel's time and threads."""
    threading, system = _Threading(kernel), _System(kernel)
    patches = [
        *(
            patch.object(room, "threading", threading)
            for room in (deadline, latch, pool, refresher, verifier)
        ),
        patch.object(waiting, "threading", threading),
        *(patch.object(room, "os", system) for room in (course, deadline, flight, fork)),
        *(patch.object(room, "monotonic", lambda: kernel.process.monotonic()) for room in (deadline, pool)),
    ]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        try:
            kernel.close()
        finally:
            for each in patches:
                each.stop()
