"""The one path of every token, from raw to verified: no lock, no await, no I/O, the same for sync and async.

The order bounds what a token can cost before its signature was found good: framing, header, key and
signature, and only then the payload. Where there are several issuers, the `iss` decides whose keys are asked;
it is taken from a single pass over the payload, and judged like all of it once the signature is good.

Only where a key is missing does a request get an `Errand`: something to wait for, within the wait budget,
before its token is judged again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .clock import Clock
from .config import RefreshPolicy
from .core.compact import (
    Compact,
    Header,
    MalformedJSON,
    claimed_issuers,
    decode_segment,
    exactly,
    header_segment,
    may_be_issued_after,
    parse_brief,
    parse_header,
    parse_object,
    payload_segment,
    split,
    too_large,
)
from .core.issuer import serves_issuer
from .core.keys import Miss
from .core.order import Gate
from .errors import InvalidToken, KeysUnavailable
from .flight import Flight
from .served import Roster, Served
from .snapshot import MAX_BINDINGS, Snapshot
from .token import VerifiedToken, verified
from .token_cache import Remembered, TokenCache
from .waiting import Errand

SHORT = 1024  # bytes of a token that is cheaply decoded twice

Claims = Mapping[str, Any]
ReadClaims = TypeVar("ReadClaims", Claims, Claims | None)


def exact(raw: object) -> str | bytes:
    """The token as an exact str or bytes, whatever a subclass makes of itself; raises `InvalidToken`.

    Made once, at the door: what comes after may tell types and values apart by identity.
    """
    if (made := exactly(raw)) is None:
        raise InvalidToken("malformed", "the token is neither str nor bytes")
    return made


class Verification:
    """Judges tokens by the keys at hand. `roster` and `cache` are replaced by reference, never changed."""

    def __init__(
        self,
        *,
        roster: Roster,
        cache: TokenCache | None,
        policy: RefreshPolicy,
        clock: Clock,
        max_token_bytes: int,
    ) -> None:
        self.roster = roster
        self.cache = cache
        self._policy = policy
        self._monotonic, self._wall = clock.monotonic, clock.wall
        self._max_token_bytes = max_token_bytes

    def judge(self, raw: str | bytes, errand: Errand | None) -> VerifiedToken | Errand:
        """A verdict on an `exact` token; `errand` is what its request has waited for so far."""
        if len(raw) > self._max_token_bytes:  # before anything is made of it, be it a digest
            raise too_large(self._max_token_bytes)
        # set_issuers replaces it: what an old issuer verified must not get into the new one
        cache = self.cache
        if cache is not None and (remembered := cache.recall(raw)) is not None:
            return remembered
        now, wall = self._monotonic(), self._wall()
        served, claims = self.roster.alone, None
        if served is not None and len(raw) <= SHORT:
            parsed = self._refuse_at_the_gate(raw, None, served, now)
            parts = split(raw, self._max_token_bytes)
        else:
            parts = split(raw, self._max_token_bytes)
            if served is None:
                served, claims = self._served_by(parts[2])
            parsed = self._refuse_at_the_gate(raw, parts, served, now)
        signing_input, segment, payload, signature = parts
        refresher = served.refresher
        snapshot = refresher.snapshot
        if snapshot is not None and now >= snapshot.expires_at:
            snapshot = None

        binding = None if snapshot is None else snapshot.bindings.get(segment)
        if binding is not None and binding.check_header is not served.check_header:
            binding = None  # the issuer's rules were replaced, or a request wrote it under the old ones
        known = binding is not None and binding.key.verify(signature, signing_input)
        if binding is None or not known:
            if binding is not None and binding.named:
                raise InvalidToken("bad_signature")
            header = served.header(segment, parsed) if binding is None else binding.header
            tried = None if binding is None else binding.key
            found = (
                Miss.UNKNOWN
                if snapshot is None
                else served.bind(header, snapshot, signature, signing_input, tried)
            )
            if isinstance(found, Miss):
                return self._seek(raw, served, parts, claims, header, found, snapshot, errand, now)
            binding = found
        if claims is None:
            claims = _claims_in(payload, parse_object)
        accepted = served.check_claims(claims, wall)
        if binding.key_issuer is not None and not serves_issuer(binding.key_issuer, accepted.issuer, claims):
            raise InvalidToken("wrong_issuer", "the key that signed it is published for another issuer")
        assert snapshot is not None
        if now >= refresher.attention_at or wall >= refresher.attention_by:
            flight = refresher.attend(now)
            if refresher.snapshot is not snapshot:  # its clock has stood still: the keys are older, or gone
                return self.judge(raw, errand)
            overdue = refresher.attention.is_overdue(now)
            # One budget for all who come meanwhile, or a provider that hangs would slow each of them down.
            if flight and errand is None and now < (until := flight.started_at + self._policy.wait_budget):
                return Errand(flight, since=now, until=until, optional=not overdue)
            if overdue:
                raise KeysUnavailable("overdue", self._policy.fetch_timeout)
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

    def _served_by(self, payload: bytes) -> tuple[Served, Claims | None]:
        """The issuer that a token belongs to, by its `iss` and before any key is looked up (R24, R30).

        With the claims, where they had to be read to tell. What is wrong about this choice is refused for its
        signature or its claims. Raises `InvalidToken`.
        """
        roster, claimed = self.roster, claimed_issuers(payload)
        served = roster.claimed_by(claimed)
        if served is not None:
            return served, None
        claims = _claims_in(payload, parse_brief)
        if claims is None:
            raise roster.refusal(claimed)
        return roster.of(claims), claims

    def _refuse_at_the_gate(
        self, raw: str | bytes, parts: Compact | None, served: Served, now: float
    ) -> Header | None:
        """While the gate is closed after a good refresh, refuse an unknown kid by its header alone.

        Only where the fetch that closed the gate began after the token was issued; see `_proven_until`.
        `parts` are the token's, where it was split already; the header is returned where it was read.
        """
        gate = served.refresher.gate
        if now >= gate.until or gate.reason is not None:
            return None
        snapshot = served.refresher.usable(now)  # read after the gate, which is closed after it is replaced
        if snapshot is None or len(snapshot.keys) == 0:
            return None
        segment = header_segment(raw)
        if segment in snapshot.bindings:
            return None
        try:
            header = parse_header(segment)
            if header.kid is None or snapshot.keys.find(header.kid, header.algorithm) is not Miss.UNKNOWN:
                return header
            payload = decode_segment(payload_segment(raw)) if parts is None else parts[2]
            absent = not may_be_issued_after(payload, self._proven_until(snapshot, served, segment, now))
        except InvalidToken:
            return None  # the token may be something else than one with a bad header: a JWE, for example
        if absent:
            raise InvalidToken("unknown_kid")
        return header

    def _seek(
        self,
        raw: str | bytes,
        served: Served,
        parts: Compact,
        claims: Claims | None,
        header: Header,
        miss: Miss,
        snapshot: Snapshot | None,
        errand: Errand | None,
        now: float,
    ) -> VerifiedToken | Errand:
        """No key answers to the token: something to wait for, or the reason why there is nothing.

        A token earns a refresh only when everything that can be judged without its key is right, so
        garbage, expired tokens and other issuers' tokens cause no I/O. Of what would take long to
        read, only the issuer is looked at before its key is there.
        """
        if claims is None:
            claims = _claims_in(parts[2], parse_brief)
        if claims is not None:
            served.check_claims(claims, self._wall())
        elif self.roster.claimed_by(claimed := claimed_issuers(parts[2])) is not served:
            raise self.roster.refusal(claimed)
        refresher = served.refresher
        last_word = None if errand is None else errand.last_word()
        answer: Flight | Gate | None = last_word
        if answer is None:
            budget_spent = errand is not None and (now >= errand.until or not errand.flight.landed.is_set())
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
            return self.judge(raw, errand)
        if latest is None or answer.reason is not None:
            raise KeysUnavailable(answer.reason or "no_keys", answer.closed_for(now))
        if len(latest.keys) == 0:
            raise KeysUnavailable("no_fitting_key", answer.closed_for(now))
        if miss is not Miss.UNKNOWN:
            raise latest.keys.refusal(header, miss)
        segment = parts[1]
        if errand is not None and last_word is not None:
            if claims is not None:
                asked = self._wall() - (now - errand.since)
                latest.note_absent(segment, min(claims.get("iat", 0), asked))
        elif header.kid not in latest.retired and _is_issued_after(
            parts[2], claims, self._proven_until(latest, served, segment, now)
        ):
            raise KeysUnavailable("older_keys", answer.closed_for(now))
        raise InvalidToken("unknown_kid")

    def _proven_until(self, snapshot: Snapshot, served: Served, segment: bytes, now: float) -> float:
        """The latest `iat` (Unix seconds) of tokens with this header whose key these keys prove not to exist.

        A token may have been issued after the fetch of the keys began, as far as the leeway of clocks tells.
        Where the clocks have parted since, by a wall clock that was set or by a monotonic one that stood
        still, the earlier reading counts.
        """
        if served.refresher.static:
            return float("inf")
        ahead = min(self._wall() - now, snapshot.ahead)
        begun = snapshot.adopted.fetched_at + ahead - served.issuer.leeway
        if not snapshot.adopted.dated:
            begun = float("-inf")
        return max(begun, snapshot.absent.get(segment, begun))


def _claims_in(payload: bytes, parse: Callable[[bytes], ReadClaims]) -> ReadClaims:
    try:
        return parse(payload)
    except MalformedJSON as error:
        raise InvalidToken("bad_claims", error.hint) from None


def _is_issued_after(payload: bytes, claims: Claims | None, moment: float) -> bool:
    if claims is None:  # too long to be read
        return may_be_issued_after(payload, moment)
    return bool(claims.get("iat", 0) > moment)
