"""Forked workers and ending interpreters; every child is a real process that answers over a pipe."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable

import pytest
from verifying import MakeVerifier, eventually, issuer_of, outage, policy_of, refusal, status_of

from skeldir_jwt_mw import MemoryStore, PostgresStore, Verifier
from skeldir_jwt_mw.fork import _after_fork_in_child
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import LoopbackIssuer
from skeldir_jwt_mw.testing.issuer_process import IssuerProcess

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork"),
    # Python 3.12 warns of forking with threads about, which is what these tests are about.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def in_child(work: Callable[[], str], seconds: float = 20.0) -> str:
    """What `work` returns in a forked child, or its traceback."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = work()
        except BaseException:
            answer = traceback.format_exc()
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    os.set_blocking(reading, False)
    answer = b""
    ends = time.monotonic() + seconds
    while True:
        try:
            piece = os.read(reading, 65_536)
        except BlockingIOError:
            if time.monotonic() > ends:
                os.kill(pid, 9)
                answer += b" and then it hung"
                break
            time.sleep(0.005)
            continue
        if not piece:
            break
        answer += piece
    os.close(reading)
    os.waitpid(pid, 0)
    return answer.decode()


@pytest.fixture
def provider() -> object:
    """A provider in a process of its own, which a fork of this one does not touch."""
    with IssuerProcess() as provider:
        yield provider


def test_a_child_serves_with_the_keys_that_its_parent_had(
    provider: IssuerProcess, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(provider))
    verifier.warm()
    raw = provider.token()
    assert in_child(lambda: verifier.verify(raw).subject) == "user-1"
    assert in_child(lambda: asyncio.run(verifier.averify(raw)).subject) == "user-1"
    assert provider.fetches == 1


@pytest.mark.parametrize("asked", ["verify", "averify"])
def test_a_child_finds_a_new_key_after_a_warm_start(
    asked: str, provider: IssuerProcess, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(provider))
    verifier.warm()
    provider.rotate()
    raw = provider.token()

    def work() -> str:
        token = verifier.verify(raw) if asked == "verify" else asyncio.run(verifier.averify(raw))
        return token.kid or ""

    assert in_child(work) == provider.kids[0]
    assert verifier.verify(raw).kid == provider.kids[0]


def test_a_child_that_is_forked_during_a_refresh_verifies_the_new_key(
    provider: IssuerProcess, make: MakeVerifier, pg_dsn: str
) -> None:
    """The leader is the parent: the child follows its lease and adopts what it publishes."""
    verifier = make(issuer_of(provider), store=PostgresStore(pg_dsn), seal_keys=[b"k" * 32])
    verifier.warm()
    provider.slow(0.6)
    provider.rotate()
    raw = provider.token()

    thread = threading.Thread(target=verifier.verify, args=(raw,))
    thread.start()
    eventually(lambda: provider.fetches == 2)
    assert in_child(lambda: verifier.verify(raw).kid or "") == provider.kids[0]
    thread.join(10)
    assert verifier.verify(raw).kid == provider.kids[0]
    assert provider.fetches == 2


def test_a_child_of_memory_that_is_forked_during_a_refresh_fetches_for_itself(
    provider: IssuerProcess, make: MakeVerifier
) -> None:
    """Its store is its own: a fetch that will never reach it holds it up neither by lease nor by floor."""
    verifier = make(issuer_of(provider), policy=policy_of(wait_budget=10.0, fetch_timeout=10.0, lease=15.0))
    verifier.warm()
    provider.slow(0.4)
    provider.rotate()
    raw = provider.token()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(verifier.averify(raw), 0.1))
    assert status_of(verifier)["refreshing"]
    assert in_child(lambda: verifier.verify(raw).kid or "") == provider.kids[0]
    assert provider.fetches == 3


def test_children_do_not_look_at_the_row_in_the_same_instant(
    provider: IssuerProcess, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(provider))
    verifier.warm()
    checks = {in_child(lambda: f"{status_of(verifier)['next_check']:.3f}") for _ in range(4)}
    assert len(checks) == 4
    assert all(float(check) <= 120 for check in checks)


def test_a_child_of_a_closed_verifier_is_closed(provider: IssuerProcess, make: MakeVerifier) -> None:
    verifier = make(issuer_of(provider))
    verifier.warm()
    known = provider.token()
    verifier.close()
    provider.rotate()
    raw = provider.token()
    assert in_child(lambda: outage(verifier, raw).reason) == "closed"
    assert in_child(lambda: verifier.verify(known).subject) == "user-1"


def test_locks_that_were_held_at_the_fork_are_free_in_the_child(
    provider: IssuerProcess, make: MakeVerifier
) -> None:
    store = MemoryStore()
    verifier = make(issuer_of(provider), store=store, token_cache=5)
    verifier.warm()
    refresher = verifier._roster.served[0].refresher
    raws = [provider.token(), provider.stranger_token()]

    def work() -> str:
        verifier.verify(raws[0])
        verifier.set_issuers([served.issuer for served in verifier._roster.served])
        return refusal(verifier, raws[1])

    held = [
        refresher._lock,
        store._shelf().lock,
        verifier._lifecycle,
        verifier._threads._lock,
        verifier._tasks._lock,
        verifier._pool._lock,
    ]
    for lock in held:
        assert lock.acquire(timeout=1)
    try:
        assert in_child(work) == "unknown_kid"
    finally:
        for lock in held:
            lock.release()


def test_waiters_of_the_parent_take_no_place_in_the_child(
    provider: IssuerProcess, make: MakeVerifier
) -> None:
    verifier: Verifier = make(issuer_of(provider), policy=policy_of(max_waiters=1, floor=0.01))
    verifier.warm()
    provider.rotate()
    raw = provider.token()
    with verifier._threads.place(optional=False):
        assert in_child(lambda: verifier.verify(raw).kid or "") == provider.kids[0]


def test_the_hook_of_a_fork_keeps_the_keys_and_starts_the_rest_anew(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    """Called here, in a process that was not forked, where everything can be looked at."""
    verifier = make(issuer_of(idp), policy=policy_of(check_interval=60, floor=0.001), token_cache=5)
    verifier.verify(idp.token())
    refresher = verifier._roster.served[0].refresher
    keys, lock, bell = refresher.snapshot, refresher._lock, verifier._pool._lock
    checks = set()
    for _ in range(20):
        _after_fork_in_child()
        check = refresher.attention.check_at - refresher._clock.monotonic()
        assert 29 < check <= 60
        assert refresher.attention_at == refresher.attention.check_at
        checks.add(check)
    assert len(checks) == 20
    assert refresher.snapshot is keys
    assert refresher._lock is not lock
    assert verifier._pool._lock is not bell
    assert verifier.verify(idp.token()).subject == "user-1"
    assert idp.fetches == 1
    idp.rotate()
    assert verifier.verify(idp.token()).kid == idp.kids[0]
    verifier.close()
    _after_fork_in_child()
    idp.rotate()
    assert outage(verifier, idp.token()).reason == "closed"


def test_the_hook_of_a_fork_lets_keys_that_never_change_be(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp, source=StaticSource(idp.jwks())))
    _after_fork_in_child()
    assert status_of(verifier)["next_check"] is None
    assert verifier._roster.served[0].refresher.attention_at == float("inf")
    assert verifier.verify(idp.token()).subject == "user-1"


def test_keys_that_expire_soon_are_looked_after_by_then_in_a_child(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(idp), policy=policy_of(refresh_interval=10, check_interval=60, max_stale=20))
    verifier.warm()
    refresher = verifier._roster.served[0].refresher
    assert refresher.snapshot is not None
    _after_fork_in_child()
    assert refresher.attention_at == refresher.snapshot.expires_at < refresher.attention.check_at


ENDING = """
    import sys, threading
    from skeldir_jwt_mw import Issuer, RefreshPolicy, Verifier
    from skeldir_jwt_mw.errors import KeysUnavailable
    url, raw, kind = sys.argv[1:]
    issuer = Issuer(
        url.partition("/.well-known")[0], audience="orders-api", jwks_url=url, allow_http=True,
        allow_private_hosts=True,
    )
    policy = RefreshPolicy(wait_budget=0.3, fetch_timeout=50, lease=60)
    verifier = Verifier(issuer, policy=policy)
    if kind == "close":
        import atexit
        atexit.register(verifier.close)
    try:
        verifier.verify(raw)
    except KeysUnavailable as error:
        print(error.reason)
    if kind == "waiting":
        flight = verifier._roster.served[0].refresher._flight
        threading.Thread(target=flight.landed.wait, args=(60,), daemon=True).start()
    if kind == "exit":
        sys.exit(7)
"""


@pytest.mark.parametrize(("kind", "code"), [("end", 0), ("exit", 7), ("close", 0), ("waiting", 0)])
def test_an_interpreter_ends_with_a_refresh_in_the_air(kind: str, code: int, idp: LoopbackIssuer) -> None:
    idp.hang()
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ENDING), idp.jwks_url, idp.token(), kind],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("running\n", "", code)
    assert time.monotonic() - started < 15


AT_EXIT = """
    import atexit, sys
    from skeldir_jwt_mw import Issuer, Verifier
    from skeldir_jwt_mw.errors import JWTError
    url, raw = sys.argv[1:]
    issuer = Issuer(
        url.partition("/.well-known")[0], audience="orders-api", jwks_url=url, allow_http=True,
        allow_private_hosts=True,
    )
    verifier = Verifier(issuer)

    def late():
        try:
            print(verifier.verify(raw).subject)
        except JWTError as error:
            print(error.code)

    atexit.register(late)
"""


def test_a_first_token_at_exit_is_judged_or_refused_and_does_not_hang(idp: LoopbackIssuer) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(AT_EXIT), idp.jwks_url, idp.token()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.stdout in ("user-1\n", "keys_unavailable\n")
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 0
