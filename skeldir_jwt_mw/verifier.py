"""The verifier: from a raw token to a `VerifiedToken`, with the keys that the fleet shares.

The path that every request takes (`_judge`) is a plain function over an immutable snapshot: no lock, no
await, no I/O, the same for sync and async. Only where a key is missing does a request get an `Errand`:
something to wait for, within the wait budget, before it is judged again.
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
from .core.compact import (
    Header,
    MalformedJSON,
    header_segment,
    may_be_issued_after,
    parse_header,
    parse_object,
    split,
)
from .core.issuer import serves_issuer
from .core.keys import Miss
from .core.order import Gate
from .core.seal import Sealer
from .deadline import make_do_without_threads
from .errors import InvalidToken, KeysUnavailable
from .flight import Flight
from .fork import Process, renew_if_forked, renewed_after_fork
from .green import hindrances
from .pool import Pool
from .refresher import Refresher
from .rules import whole_number_of
from .served import Served, Setup
from .settings import parse_environ, require_seal_keys, singleflight_disabled
from .snapshot import MAX_BINDINGS, Snapshot
from .stores import MemoryStore
from .stores.base import Store
from .token import VerifiedToken, verified
from .token_cache import Remembered, TokenCache
from .waiting import MAX_ASYNC_WAITERS, Errand, WaitingRoom, in_a_thread

logger = logging.getLogger("skeldir_jwt_mw")

HARD_MAX_TOKEN_BYTES = 65_536


class Verifier:
    """Verifies bearer tokens (RFC 7519, RFC 6750) of one or several issuers.

    Parameters: `issuers`, one `Issuer` or a sequence; `store`, where the fleet shares keys (left out:
    `MemoryStore`, one process only); `policy`, when keys are fetched; `seal_keys`, byte strings of at least
    32 bytes of which the first seals and all verify, required with a shared store (`()` opts out);
    `token_cache`, how many verified tokens are remembered (0: none); `max_token_bytes`, at most 65536.

    Nothing connects or fetches before the first token, `warm()` or `refresh()`. Thread-safe, usable from
    any number of event loops, and safe to fork. Raises `ConfigurationError`.
    """

    process: Process
    _clock: ClassVar[Clock] = SYSTEM  # a simulation has its own

    def __init__(
        self,
        issuers: Issuer | Sequence[Issuer],
        *,
        store: Store | None = None,
        policy: RefreshPolicy | None = None,
        seal_keys: Sequence[bytes] | None = None,
        token_cache: int = 0,
        max_token_bytes: int = 16_384,
    ) -> None:
        self._policy = RefreshPolicy() if policy is None else policy
        store = MemoryStore() if store is None else store
        clock = self._clock
        self._monotonic, self._wall = clock.monotonic, clock.wall
        self._pool = Pool(clock)
        coordinated = not singleflight_disabled(os.environ)
        if not coordinated:
            logger.warning("claim coordination is switched off: every process fetches for itself")
        self._setup = Setup(
            store=store,
            policy=self._policy,
            sealer=Sealer(require_seal_keys(seal_keys, shared=store.shared)),
            coordinated=coordinated,
            pool=self._pool,
            clock=clock,
        )
        self._max_token_bytes = whole_number_of("max_token_bytes", max_token_bytes, 256, HARD_MAX_TOKEN_BYTES)
        remembered = whole_number_of("token_cache", token_cache, 0, 10_000_000)
        self._cache = TokenCache(remembered) if remembered else None
        self._threads = WaitingRoom(self._policy.max_waiters)
        self._tasks = WaitingRoom(MAX_ASYNC_WAITERS)
        self._told: set[str] = set()  # codes that the operator was told of
        self._lifecycle = threading.Lock()  # one set_issuers at a time
        self._roster = self._setup.roster(issuers, ())
        for hindrance in hindrances():
            logger.warning(hindrance)
        renewed_after_fork(self)
        _verifiers.add(self)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Verifier:
        """A verifier as the `SKELDIR_JWT_…` variables describe it; raises `ConfigurationError`."""
        return parse_environ(environ).verifier()

    # -- verifying -------------------------------------------------------------------------------------

    def verify(self, raw: str | bytes, scopes: Iterable[str] = ()) -> VerifiedToken:
        """Verify signature and claims of a compact JWS and require all of `scopes`.

        Blocks only when its key is not at hand, for at most the policy's `wait_budget`. Raises
        `InvalidToken`, `InsufficientScope` or `KeysUnavailable`, and nothing else.
        """
        try:
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

    def _judge(self, raw: str | bytes, errand: Errand | None) -> VerifiedToken | Errand:
        """The one path of every token; `errand` is what this request has waited for so far."""
        # set_issuers replaces it: what an old issuer verified must not get into the new one
        cache = self._cache
        if cache is not None and (remembered := cache.recall(raw)) is not None:
            return remembered
        now, wall = self._monotonic(), self._wall()
        alone = self._roster.alone
        if alone is not None and now < (gate := alone.refresher.gate).until and gate.reason is None:
            self._refuse_at_the_gate(raw, alone, now)
        signing_input, segment, payload, signature = split(raw, self._max_token_bytes)
        try:
            claims = parse_object(payload)
        except MalformedJSON:
            raise InvalidToken("bad_claims") from None
        served = self._roster.of(claims)
        refresher = served.refresher
        if now >= refresher.attention_at or wall >= refresher.attention_by:
            flight = refresher.attend(now)
            overdue = refresher.attention.is_overdue(now)
            # One budget for all who come meanwhile, or a provider that hangs would slow each of them down.
            if flight and errand is None and now < (until := flight.started_at + self._policy.wait_budget):
                return Errand(flight, since=now, until=until, optional=not overdue)
            if overdue:
                raise KeysUnavailable("overdue", self._policy.fetch_timeout)
        snapshot = refresher.snapshot
        if snapshot is not None and now >= snapshot.expires_at:
            snapshot = None

        binding = None if snapshot is None else snapshot.bindings.get(segment)
        known = binding is not None
        if binding is None:
            header = parse_header(segment)
            served.check_header(header)
            binding = None if snapshot is None else served.bind(header, snapshot)
            if binding is None:
                return self._seek(raw, served, claims, segment, header, snapshot, errand, now)
        if not binding.key.verify(signature, signing_input):
            if binding.header.kid is None:  # it names no key, so another one may have signed it
                return self._seek(raw, served, claims, segment, binding.header, snapshot, errand, now)
            raise InvalidToken("bad_signature")
        accepted = served.check_claims(claims, wall)
        if binding.key_issuer is not None and not serves_issuer(binding.key_issuer, accepted.issuer, claims):
            raise InvalidToken("wrong_issuer", "the key that signed it is published for another issuer")
        assert snapshot is not None
        if not known and len(snapshot.bindings) < MAX_BINDINGS:
            snapshot.bindings[segment] = binding
        if cache is not None:
            leeway = served.issuer.leeway
            entry = Remembered(
                refresher=refresher,
                keys=snapshot.keys,
                accepted=accepted,
                claims=claims,
                header=binding.header.members,
                kid=binding.key.kid,
                starts=accepted.not_before - leeway,
                ends=accepted.expires_at + leeway,
            )
            cache.remember(raw, entry)
        return verified(accepted, claims, binding.header.members, binding.key.kid, snapshot.generation)

    def _refuse_at_the_gate(self, raw: str | bytes, served: Served, now: float) -> None:
        """While the gate is closed after a good refresh, refuse an unknown kid by its header alone.

        Only where the fetch that closed the gate began after the token was issued; see `_seek`.
        """
        snapshot = served.refresher.usable(now)  # read after the gate, which is closed after it is replaced
        if snapshot is None or len(snapshot.keys) == 0:
            return
        segment = header_segment(raw)
        if segment in snapshot.bindings:
            return
        try:
            header = parse_header(segment)
        except InvalidToken:
            return  # the whole token may be something else than one with a bad header: a JWE, for example
        if header.kid is None or snapshot.keys.find(header.kid, header.algorithm) is not Miss.UNKNOWN:
            return
        if segment in snapshot.absent or not may_be_issued_after(
            raw, self._proven_from(snapshot, served, now)
        ):
            raise InvalidToken("unknown_kid")

    def _seek(
        self,
        raw: str | bytes,
        served: Served,
        claims: Mapping[str, Any],
        segment: bytes,
        header: Header,
        snapshot: Snapshot | None,
        errand: Errand | None,
        now: float,
    ) -> VerifiedToken | Errand:
        """No key answers to the token: something to wait for, or the reason why there is nothing.

        A token earns a refresh only when everything that can be judged without its key is right, so
        garbage, expired tokens and other issuers' tokens never cause I/O.
        """
        served.check_claims(claims, self._wall())
        refresher = served.refresher
        last_word = None if errand is None else errand.last_word()
        answer: Flight | Gate | None = last_word
        if answer is None:
            budget_spent = errand is not None and (now >= errand.until or not errand.flight.future.done())
            if budget_spent:
                raise KeysUnavailable("running", self._policy.fetch_timeout)
            force = snapshot is not None
            answer = refresher.demand("unknown_kid" if force else "cold", now, force=force)
        if isinstance(answer, Flight):
            until = now + self._policy.wait_budget if errand is None else errand.until
            return Errand(answer, since=now, until=until, optional=False)
        assert isinstance(answer, Gate)
        latest = refresher.usable(now)
        if latest is not snapshot:  # it was replaced between the look-up and the closing of the gate
            return self._judge(raw, errand)
        if latest is None or answer.reason is not None:
            raise KeysUnavailable(answer.reason or "no_keys", answer.closed_for(now))
        if len(latest.keys) == 0:
            raise KeysUnavailable("no_fitting_key", answer.closed_for(now))
        if last_word is not None:
            latest.note_absent(segment)
        elif (
            segment not in latest.absent
            and header.kid not in latest.retired
            and claims.get("iat", 0) > self._proven_from(latest, served, now)
        ):
            raise KeysUnavailable("older_keys", answer.closed_for(now))
        raise InvalidToken("unknown_kid")

    def _proven_from(self, snapshot: Snapshot, served: Served, now: float) -> float:
        """The latest `iat` (Unix seconds) of tokens of which these keys prove that their key is not there.

        A token may have been issued after the fetch of the keys began, as far as the leeway of clocks tells.
        """
        if served.refresher.static:
            return float("inf")
        return self._wall() - (now - snapshot.adopted.fetched_at) - served.issuer.leeway

    def _tell(self, error: InvalidToken) -> None:
        """Tell the operator why a token was refused, loudly once per code and process; never the caller."""
        if error.code in self._told:
            logger.debug("refused a token: %s", error)
            return
        self._told.add(error.code)
        logger.warning("refused a token: %s%s", error, f" ({error.hint})" if error.hint else "")

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
        """Per issuer: kids, generation, age, next refresh, last error, gate; durations in seconds."""
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
            previous = self._roster.served
            self._roster = self._setup.roster(issuers, previous)
            if self._cache is not None:
                self._cache = TokenCache(self._cache.size)  # a token of a removed issuer is forgotten with it
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

    def renew(self) -> None:
        """Drop what belongs to the threads of a parent process; called after a fork."""
        self._lifecycle = threading.Lock()
        if self._cache is not None:
            self._cache.after_fork()

    def _join(self, until: float) -> None:
        for served in self._roster.served:
            served.refresher.join(until - self._monotonic())


_verifiers: weakref.WeakSet[Verifier] = weakref.WeakSet()

EXIT_PATIENCE = 1.0  # seconds for which an ending process waits to give its leases back


def _at_exit() -> None:
    """A process that ends leaves no lease behind for others to wait out; best effort."""
    make_do_without_threads()
    verifiers = list(_verifiers)
    for verifier in verifiers:
        verifier.close()
    until = SYSTEM.monotonic() + EXIT_PATIENCE
    for verifier in verifiers:
        verifier._join(until)


atexit.register(_at_exit)
