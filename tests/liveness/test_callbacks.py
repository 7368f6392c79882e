"""Other people's code that a refresh calls: it may ask the verifier, raise or block, and harms no request."""

from __future__ import annotations

import ast
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import PACKAGE
from rig import PATIENCE, Rig, quiet, token
from scenes import SCENES, Outcome, Scene, hurried, leaves_nothing, recovers

from skeldir_jwt_mw import JWTError

logger = logging.getLogger("skeldir_jwt_mw")


class Handler(logging.Handler):
    """A handler of the log that does as it is told."""

    def __init__(self, act: Callable[[logging.LogRecord], object]) -> None:
        super().__init__(logging.DEBUG)
        self._act = act
        self.seen = 0

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the handler's lock: what is tried here is the package's."""
        self.seen += 1
        self._act(record)
        return True


@pytest.fixture
def listening() -> Iterator[Callable[[Callable[[logging.LogRecord], object]], Handler]]:
    level, propagates = logger.level, logger.propagate
    added: list[Handler] = []

    def listen(act: Callable[[logging.LogRecord], object]) -> Handler:
        handler = Handler(act)
        logger.addHandler(handler)
        added.append(handler)
        return handler

    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    with hurried():
        yield listen
    for handler in added:
        logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagates


def play(scene: Scene, rig: Rig) -> None:
    scene.prepare(rig)
    with contextlib.suppress(JWTError):
        scene.act(rig)
    quiet()
    rig.store.trouble = lambda _: None
    rig.fails = False


class HandlerFails(Exception):
    """What a handler of the log raises."""


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_log_handler_may_ask_for_status_and_verify(
    scene: Scene, listening: Callable[[Callable[[logging.LogRecord], object]], Handler]
) -> None:
    rig = Rig(**scene.policy)
    asking = threading.local()

    def ask(record: logging.LogRecord) -> None:
        if getattr(asking, "already", False):
            return
        asking.already = True
        try:
            assert rig.verifier.status()
            with pytest.raises(JWTError):
                rig.verifier.verify("no.token.here")
            if rig.verifier.ready:
                rig.verifier.verify(token(0))
        except JWTError:  # the key was rotated away
            pass
        finally:
            asking.already = False

    listening(ask)
    play(scene, rig)
    recovers(rig, Outcome())
    leaves_nothing(rig)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_log_handler_may_raise(
    scene: Scene, listening: Callable[[Callable[[logging.LogRecord], object]], Handler]
) -> None:
    def fail(record: logging.LogRecord) -> None:
        raise HandlerFails

    rig = Rig(**scene.policy)
    handler = listening(fail)
    play(scene, rig)
    logger.removeHandler(handler)
    recovers(rig, Outcome())
    leaves_nothing(rig)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_log_handler_that_raises_costs_no_request_its_answer(
    listening: Callable[[Callable[[logging.LogRecord], object]], Handler],
) -> None:
    def fail(record: logging.LogRecord) -> None:
        raise HandlerFails

    rig = Rig(wait_budget=PATIENCE)
    handler = listening(fail)
    found = None
    with contextlib.suppress(JWTError):
        found = rig.verify()
    assert found is not None
    assert handler.seen
    leaves_nothing(rig)


def test_a_log_handler_that_blocks_keeps_no_request_waiting_that_needs_no_refresh(
    listening: Callable[[Callable[[logging.LogRecord], object]], Handler],
) -> None:
    rig = Rig()
    rig.verifier.warm()
    rig.time.move(rig.policy.refresh_interval + 1)
    blocked, go_on = threading.Event(), threading.Event()

    def block(record: logging.LogRecord) -> None:
        blocked.set()
        go_on.wait(PATIENCE)

    listening(block)
    rig.fails = True
    try:
        assert rig.verify()
        assert blocked.wait(PATIENCE)
        rig.time.move(1.5)  # the flight is looked at again by who comes now
        for _ in range(5):
            assert rig.verify()
            assert rig.verifier.status()
            assert rig.verifier.ready
        rig.verifier.close()
        assert not go_on.is_set()
    finally:
        go_on.set()
    leaves_nothing(rig)


# -- the source of the package ----------------------------------------------------------------------------

LOCKS = {"_lock", "_lifecycle", "lock", "_bell"}
FOREIGN = {
    *("start", "fetch", "open", "submit", "hurry", "land", "settle", "tell", "join", "call", "wait"),
    *("_take_off", "result", "log", "debug", "info", "warning", "error", "exception", "perform", "sleep"),
}
ALLOWED = {
    "bell.wait",  # gives the lock back while it waits
    "self._stopping.is_set",
}
# Held while something is made that no request waits for, since it is made before the first one.
MAKING = {"django/conf.py"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def calls_under_locks(path: Path) -> Iterator[str]:
    """The calls that a module makes in `with` blocks of locks, through functions of its own as well."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, Function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and any(_is_lock(item.context_expr) for item in node.items):
            yield from _calls(node.body, functions, set())


def _is_lock(expression: ast.expr) -> bool:
    return (
        isinstance(expression, ast.Attribute | ast.Name)
        and ast.unparse(expression).rpartition(".")[2] in LOCKS
    )


def _calls(body: list[ast.stmt], functions: dict[str, Function], seen: set[str]) -> Iterator[str]:
    for statement in body:
        for node in ast.walk(statement):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            yield called
            owner, _, name = called.rpartition(".")
            if owner in ("", "self", "cls") and name in functions and name not in seen:
                yield from _calls(functions[name].body, functions, seen | {name})


MODULES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "testing" not in path.parts and str(path.relative_to(PACKAGE)) not in MAKING
]


def test_nothing_that_may_block_or_switch_is_called_under_a_lock() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}: {call}"
        for path in MODULES
        for call in calls_under_locks(path)
        if call not in ALLOWED
        and (
            call.rpartition(".")[2] in FOREIGN
            or call.startswith(("logger.", "self._reports.", "self._source."))
        )
    }
    assert found == set()


def test_the_locks_of_the_package_are_found_in_its_source() -> None:
    under = {str(path.relative_to(PACKAGE)) for path in MODULES if any(calls_under_locks(path))}
    assert under >= {"pool.py", "refresher.py", "waiting.py", "stores/memory.py", "verifier.py"}


@pytest.mark.parametrize("call", ["logger.info('x')", "thread.start()", "self.tell()", "flight.land(ending)"])
def test_a_call_under_a_lock_would_be_found(call: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    lines = ["class C:", " def a(self):", "  with self._lock:", "   self.b()", " def b(self):", f"  {call}"]
    module.write_text("\n".join(lines))
    name = call.partition("(")[0]
    assert name in set(calls_under_locks(module))


def test_locks_are_taken_by_a_with_of_the_interpreters_own() -> None:
    """A condition's `with` is Python code, in which a signal's handler may raise and leave the lock taken."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.With) and any("_bell" in ast.unparse(item) for item in node.items))
        or (isinstance(node, ast.Attribute) and node.attr == "acquire" and path.name != "latch.py")
    ]
    assert found == []
