"""The configured issuers, compiled: whose a token is, how it is judged, where its keys come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .clock import Clock
from .config import Issuer, RefreshPolicy, distinct_issuers
from .core.claims import Accepted, compile_claims
from .core.compact import MAX_CLAIMED, Header, compile_header_check, max_header_bytes, parse_header
from .core.issuer import IssuerRoutes, compile_key_issuer
from .core.keys import Key, Miss
from .core.seal import Sealer
from .errors import InvalidToken
from .pool import Pool
from .refresher import Refresher
from .snapshot import Binding, Snapshot
from .sources import DiscoverySource, JWKSUrlSource, Source, source_identity
from .stores.base import Store

SOURCE_KEY_FORMAT = 1
TOO_MUCH = "its issuer cannot be told without reading more than is read before a signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One configured issuer, compiled."""

    issuer: Issuer
    refresher: Refresher
    max_header_bytes: int  # decoded
    check_header: Callable[[Header], None]
    check_claims: Callable[[Mapping[str, Any], float], Accepted]

    def header(self, segment: bytes, parsed: Header | None = None) -> Header:
        """The header of a token of this issuer, `parsed` or from its segment; raises `InvalidToken`."""
        header = parse_header(segment, self.max_header_bytes) if parsed is None else parsed
        self.check_header(header)
        return header

    def bind(
        self,
        header: Header,
        snapshot: Snapshot,
        signature: bytes,
        signing_input: bytes,
        tried: Key | None = None,
    ) -> Binding | Miss:
        """The key that has signed a token with this header, or why there is none that a refresh may bring.

        A token that names its key was signed by that one or is refused; one that names none was signed by any
        of the few that fit it, but for the one that was `tried` before. Raises `InvalidToken`.
        """
        found = snapshot.keys.find(header.kid, header.algorithm, header.certificates)
        if isinstance(found, Miss):
            if found is Miss.AMBIGUOUS:
                raise InvalidToken("ambiguous_key")
            return found
        for key in found.keys:
            if key is not tried and key.verify(signature, signing_input):
                key_issuer = None if key.issuer is None else compile_key_issuer(key.issuer)
                return Binding(
                    key=key,
                    named=found.named,
                    header=header,
                    check_header=self.check_header,
                    key_issuer=key_issuer,
                )
        if found.named:
            raise InvalidToken("bad_signature")
        return Miss.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """All configured issuers; a verifier replaces it as a whole, by reference."""

    routes: IssuerRoutes
    served: tuple[Served, ...]
    alone: Served | None  # the only issuer, if there is only one

    def claimed_by(self, claimed: Sequence[str]) -> Served | None:
        """The only issuer among those that a payload names, whoever of them is the token's; else None."""
        if len(claimed) > MAX_CLAIMED:
            return None
        positions = {self.routes.position({"iss": iss}) for iss in claimed}
        named = [self.served[position] for position in positions if position is not None]
        return named[0] if len(named) == 1 else None

    def of(self, claims: Mapping[str, Any]) -> Served:
        """The issuer that a token belongs to, by its `iss` and before any key is looked up (R24, R30)."""
        position = self.routes.position(claims)
        if position is None:
            raise self._foreign(claims)
        return self.served[position]

    def refusal(self, claimed: Sequence[str]) -> InvalidToken:
        """Why a token is refused whose payload is not read and names these issuers, not just one of ours."""
        if len(claimed) > 1:
            return InvalidToken("bad_claims", TOO_MUCH)
        return self._foreign({"iss": claimed[0]} if claimed else {})

    def _foreign(self, claims: Mapping[str, Any]) -> InvalidToken:
        """The refusal of a token of none of the issuers, with the hint that the nearest one gives."""
        nearest = self.routes.nearest(claims)
        if nearest is not None:
            try:
                self.served[nearest].check_claims(claims, 0.0)
            except InvalidToken as error:
                if error.code == "wrong_issuer":
                    return error
        return InvalidToken("wrong_issuer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all issuers of a verifier share."""

    store: Store
    policy: RefreshPolicy
    sealer: Sealer
    coordinated: bool
    pool: Pool
    clock: Clock

    def roster(self, issuers: Issuer | Sequence[Issuer], previous: Sequence[Served]) -> Roster:
        """Compile the issuers. Raises `ConfigurationError`, and then nothing has changed.

        An issuer that was there before keeps its keys, gate and flight: what makes it the same is its row and
        not its rules, which are compiled anew.
        """
        configured = distinct_issuers(issuers)
        known = {served.issuer: served for served in previous}
        refreshers = {served.refresher.source_key: served.refresher for served in previous}
        sources: dict[str, Source] = {}
        members = []
        for issuer in configured:
            served = known.get(issuer)
            if served is None:
                source = source_of(issuer, self.policy)
                key = source_key(issuer, source, self.store.namespace)
                refresher = refreshers.get(key)
                if refresher is None or refresher.static or getattr(source, "static", False):
                    refresher = self._refresher(issuer, source, key)
                else:
                    sources[key] = source
                served = Served(
                    issuer=issuer,
                    refresher=refresher,
                    max_header_bytes=max_header_bytes(issuer.ignored_headers),
                    check_header=compile_header_check(issuer),
                    check_claims=compile_claims(issuer),
                )
            members.append(served)
        for served in members:
            if (source_now := sources.get(served.refresher.source_key)) is not None:
                served.refresher.serve(source_now, served.issuer.algorithms)
        return Roster(
            routes=IssuerRoutes(tuple(issuer.issuer for issuer in configured)),
            served=tuple(members),
            alone=members[0] if len(members) == 1 else None,
        )

    def _refresher(self, issuer: Issuer, source: Source, key: str) -> Refresher:
        return Refresher(
            name=issuer.issuer,
            source=source,
            source_key=key,
            store=self.store,
            policy=self.policy,
            sealer=self.sealer,
            algorithms=issuer.algorithms,
            coordinated=self.coordinated,
            pool=self.pool,
            clock=self.clock,
        )


def refuse_to_pickle(_verifier: object) -> NoReturn:
    """Raise the `TypeError` that says how processes come to their verifiers."""
    raise TypeError(
        "a Verifier belongs to one process, with its threads, locks and connections, and cannot be pickled or"
        " copied: make it in each process, where a module is imported or in the initializer of a pool"
    )


def source_key(issuer: Issuer, source: Source, namespace: str) -> str:
    """The key of the row that is shared by all who ask this source for this issuer's keys, in hex."""
    identity = [
        SOURCE_KEY_FORMAT,
        namespace,
        issuer.issuer,
        source_identity(source),
        issuer.allow_http,
        issuer.allow_private_hosts,
    ]
    canonical = json.dumps(identity, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def source_of(issuer: Issuer, policy: RefreshPolicy, **reach: Any) -> Source:
    """Where an issuer's keys originate: its own source, its JWKS URL, or what discovery finds.

    `reach` are further options of the source that is made: `ca_file`, `proxy`.
    """
    if issuer.source is not None:
        return issuer.source
    kind = DiscoverySource if issuer.jwks_url is None else JWKSUrlSource
    return kind(
        issuer.issuer if issuer.jwks_url is None else issuer.jwks_url,
        timeout=policy.fetch_timeout,
        allow_http=issuer.allow_http,
        allow_private_hosts=issuer.allow_private_hosts,
        **reach,
    )
