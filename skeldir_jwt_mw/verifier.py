"""The verifier: from a raw token to a `VerifiedToken`, with the keys that the fleet shares.

The path that every request takes is `verification.py`; here it waits where its key is missing.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from . import command
from .clock import SYSTEM, Clock
from .config import Issuer, RefreshPolicy
from .core.seal import Sealer
from .course import end_all
from .deadline import make_do_without_threads
from .errors import InvalidToken
from .fork import Process, renew_if_forked, renewed_after_fork
from .green import hindrances
from .log_lines import tell
from .pool import Pool
from .refresher import Refresher
from .rules import whole_number_of
from .served import Roster, Setup, refuse_to_pickle
from .settings import parse_environ, policy_of, require_seal_keys, singleflight_disabled, store_of
from .stores import MemoryStore
from .stores.base import Store
from .token import VerifiedToken
from .token_cache import TokenCache
from .verification import Verification, exact
from .waiting import MAX_ASYNC_WAITERS, Errand, WaitingRoom, in_a_thread

logger = logging.getLogger("skeldir_jwt_mw")

HARD_MAX_TOKEN_BYTES = 65_536


class Verifier:
    """Verifies bearer tokens (RFC 7519, RFC 6750) of one or several issuers.

    `store` is where the fleet shares keys, or a `PostgresStore`'s connection string (None: `MemoryStore`, one
    process only); `policy` tells when keys are fetched; `seal_keys` are of 32 bytes or more (the first seals,
    all verify), or the text of `SKELDIR_JWT_SEAL_KEYS`, and required with a shared store (`()` opts out);
    `token_cache` is how many verified tokens are remembered (0: none), `max_token_bytes` at most 65536.

    Nothing connects or fetches before the first token, `warm()` or `refresh()`. Thread-safe, usable from
    any number of event loops, and safe to fork. Raises `ConfigurationError`.
    """

    process: Process
    _clock: ClassVar[Clock] = SYSTEM  # a simulation has its own

    def __init__(
        self,
        issuers: Issuer | Sequence[Issuer],
        *,
        store: Store | str | None = None,
        policy: RefreshPolicy | None = None,
        seal_keys: Sequence[bytes] | str | None = None,
        token_cache: int = 0,
        max_token_bytes: int = 16_384,
    ) -> None:
        self._policy = policy_of(policy)
        store = MemoryStore() if store is None else store_of("store", store)
        clock = self._clock
        self._monotonic, self._wall = clock.monotonic, clock.wall
        self._pool = Pool(clock)
        if not (coordinated := not singleflight_disabled(os.environ)):
            logger.warning("claim coordination is switched off: every process fetches for itself")
        self._setup = Setup(
            store=store,
            policy=self._policy,
            sealer=Sealer(require_seal_keys(seal_keys, shared=store.shared)),
            coordinated=coordinated,
            pool=self._pool,
            clock=clock,
        )
        longest = whole_number_of("max_token_bytes", max_token_bytes, 256, HARD_MAX_TOKEN_BYTES)
        remembered = whole_number_of("token_cache", token_cache, 0, 10_000_000)
        self._threads = WaitingRoom(self._policy.max_waiters)
        self._tasks = WaitingRoom(MAX_ASYNC_WAITERS)
        self._told: set[str] = set()  # codes that the operator was told of
        self._lifecycle = threading.Lock()  # one set_issuers at a time
        self._verification = Verification(
            roster=self._setup.roster(issuers, ()),
            cache=TokenCache(remembered, self._clock) if remembered else None,
            policy=self._policy,
            clock=clock,
            max_token_bytes=longest,
        )
        self._judge = self._verification.judge
        self._max_token_bytes = longest
        for hindrance in hindrances():
            logger.warning(hindrance)
        renewed_after_fork(self)
        _verifiers.add(self)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Verifier:
        """A verifier as the `SKELDIR_JWT_…` variables describe it; raises `ConfigurationError`."""
        return parse_environ(os.environ if environ is None else environ).verifier()

    __reduce__ = refuse_to_pickle

    # -- verifying -------------------------------------------------------------------------------------

    def verify(self, raw: str | bytes, scopes: Iterable[str] = ()) -> VerifiedToken:
        """Verify signature and claims of a compact JWS and require all of `scopes`.

        Blocks only when its key is not at hand, for at most the policy's `wait_budget`. Raises
        `InvalidToken`, `InsufficientScope` or `KeysUnavailable`, and nothing else.
        """
        try:
            raw = exact(raw)
            verdict = self._judge(raw, None)
            while isinstance(verdict, Errand):
                with self._threads.place(optional=verdict.optional) as admitted:
                    if admitted:
                        verdict.wait(self._clock)
                verdict = self._judge(raw, verdict)
        except InvalidToken as error:
            self._tell(error)
            raise
        if scopes:
            verdict.require(scopes)
        return verdict

    async def averify(self, raw: str | bytes, scopes: Iterable[str] = ()) -> VerifiedToken:
        """`verify` for event loops: never blocks one; cancelling it disturbs no refresh."""
        try:
            raw = exact(raw)
            verdict = self._judge(raw, None)
            while isinstance(verdict, Errand):
                with self._tasks.place(optional=verdict.optional) as admitted:
                    if admitted:
                        await verdict.wait_async(self._clock)
                verdict = self._judge(raw, verdict)
        except InvalidToken as error:
            self._tell(error)
            raise
        if scopes:
            verdict.require(scopes)
        return verdict

    def _tell(self, error: InvalidToken) -> None:
        """Tell the operator why a token was refused, loudly once per code and process; never the caller."""
        if error.code in self._told:
            if logger.isEnabledFor(logging.DEBUG):
                tell(logger.debug, "refused a token: %s", error)
            return
        self._told.add(error.code)
        tell(logger.warning, "refused a token: %s%s", error, f" ({error.hint})" if error.hint else "")

    # -- keys ------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Fetch newer keys of every issuer now, once for the whole fleet; returns when they are in use.

        Obeys the fleet's floor and backoff. Raises `KeysUnavailable` when blocked or failed, and
        `ConfigurationError` when an operator has to act (the table is missing, the database is a replica).
        """
        command.run(self._each(command.refresh), self._clock)
        self._pool.rest()

    async def arefresh(self) -> None:
        """`refresh` for event loops."""
        await command.run_async(self._each(command.refresh), self._clock)

    def warm(self) -> None:
        """Load the keys of every issuer whose keys are not on schedule, without forcing a fetch.

        For start-up hooks. Raises as `refresh` does where an issuer has no keys then. A service that
        should start without its provider catches `KeysUnavailable`
        and lets its readiness probe watch `ready`.
        """
        command.run(self._each(command.warm), self._clock)
        self._pool.rest()

    async def awarm(self) -> None:
        """`warm` for event loops."""
        await command.run_async(self._each(command.warm), self._clock)

    def _each(self, ask: Callable[[Refresher, Clock], command.Command]) -> Iterator[command.Command]:
        return (ask(served.refresher, self._clock) for served in self._roster.served)

    @property
    def issuers(self) -> tuple[Issuer, ...]:
        """The configured issuers."""
        return tuple(served.issuer for served in self._roster.served)

    @property
    def ready(self) -> bool:
        """Whether every issuer has usable keys, from a row that can be read here; no I/O."""
        now = self._monotonic()
        return all(served.refresher.is_ready(now) for served in self._roster.served)

    @property
    def store(self) -> Store:
        """Where the fleet shares the keys."""
        return self._setup.store

    def status(self) -> dict[str, dict[str, Any]]:
        """Per issuer: kids, rejected keys, generation, age, next refresh, last error, gate; in seconds."""
        now = self._monotonic()
        return {served.issuer.issuer: served.refresher.status(now) for served in self._roster.served}

    def source_keys(self) -> list[str]:
        """The keys of the rows that this verifier uses, for `skeldir-jwt migrate --provision`."""
        served = self._roster.served
        return [member.refresher.source_key for member in served if not member.refresher.static]

    # -- life cycle ------------------------------------------------------------------------------------

    def set_issuers(self, issuers: Issuer | Sequence[Issuer]) -> None:
        """Replace the issuers at once; one whose keys come from the same place keeps them.

        Raises `ConfigurationError`, and then nothing has changed. Compiling thousands takes a moment, for
        which event loops have `aset_issuers`.
        """
        renew_if_forked(self)
        with self._lifecycle:
            verification, previous = self._verification, self._roster.served
            verification.roster = self._setup.roster(issuers, previous)
            if verification.cache is not None:  # a token of a removed issuer is forgotten with it
                verification.cache = TokenCache(verification.cache.size, self._clock)
            kept = {id(served.refresher) for served in self._roster.served}
        for served in previous:
            if id(served.refresher) not in kept:
                served.refresher.stop()

    async def aset_issuers(self, issuers: Issuer | Sequence[Issuer]) -> None:
        """`set_issuers` for event loops."""
        await in_a_thread(lambda: self.set_issuers(issuers))

    def close(self) -> None:
        """Start no more refreshes and give the fleet's lease back; keys at hand go on serving.

        Never raises, does not block, may be called twice.
        """
        for served in self._roster.served:
            served.refresher.stop()

    async def aclose(self) -> None:
        """`close` for event loops."""
        self.close()

    @property
    def _roster(self) -> Roster:
        return self._verification.roster

    def renew(self) -> None:
        """Drop what belongs to the threads of a parent process; called after a fork."""
        self._lifecycle = threading.Lock()


_verifiers: weakref.WeakSet[Verifier] = weakref.WeakSet()

EXIT_PATIENCE = 1.0  # seconds for which an ending process waits to give its leases back


def _at_exit() -> None:
    """A process that ends leaves no lease behind for others to wait out; best effort."""
    make_do_without_threads()
    for verifier in list(_verifiers):
        verifier.close()
    end_all(SYSTEM.monotonic() + EXIT_PATIENCE, SYSTEM.monotonic)


atexit.register(_at_exit)
