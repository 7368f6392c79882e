"""The configured issuers, compiled: whose a token is, how it is judged, where its keys come from."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .config import Issuer, RefreshPolicy, distinct_issuers
from .core.claims import Accepted, compile_claims
from .core.compact import Header, compile_header_check
from .core.issuer import IssuerRoutes, compile_key_issuer
from .core.keys import Key, Miss
from .core.seal import Sealer
from .errors import InvalidToken
from .refresher import Refresher
from .snapshot import Binding, Snapshot
from .sources import DiscoverySource, JWKSUrlSource, Source, source_identity
from .stores.base import Store

SOURCE_KEY_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One configured issuer, compiled."""

    issuer: Issuer
    refresher: Refresher
    check_header: Callable[[Header], None]
    check_claims: Callable[[Mapping[str, Any], float], Accepted]

    def bind(self, header: Header, snapshot: Snapshot) -> Binding | None:
        """The one key that answers to a header, None where a refresh may bring it; raises `InvalidToken`."""
        found = snapshot.keys.find(header.kid, header.algorithm)
        match found:
            case Key():
                key_issuer = None if found.issuer is None else compile_key_issuer(found.issuer)
                return Binding(key=found, header=header, key_issuer=key_issuer)
            case Miss.AMBIGUOUS:
                raise InvalidToken("ambiguous_key")
            case Miss.MISMATCH if len(snapshot.keys) > 0:
                raise InvalidToken("algorithm_mismatch")
            case _:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """All configured issuers; a verifier replaces it as a whole, by reference."""

    routes: IssuerRoutes
    served: tuple[Served, ...]
    alone: Served | None  # the only issuer, if there is only one

    def of(self, claims: Mapping[str, Any]) -> Served:
        """The issuer that a token belongs to, by its `iss` and before any key is looked up (R24, R30)."""
        position = self.routes.position(claims)
        if position is None:
            raise self._foreign(claims)
        return self.served[position]

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

    def roster(
        self,
        issuers: Issuer | Sequence[Issuer],
        previous: Sequence[Served],
        working: threading.BoundedSemaphore,
    ) -> Roster:
        """Compile the issuers; those that were there before keep their keys. Raises `ConfigurationError`."""
        configured = distinct_issuers(issuers)
        known = {served.issuer: served for served in previous}
        served = tuple(known.get(issuer) or self._serve(issuer, working) for issuer in configured)
        return Roster(
            routes=IssuerRoutes(tuple(issuer.issuer for issuer in configured)),
            served=served,
            alone=served[0] if len(served) == 1 else None,
        )

    def _serve(self, issuer: Issuer, working: threading.BoundedSemaphore) -> Served:
        source = source_of(issuer, self.policy)
        refresher = Refresher(
            name=issuer.issuer,
            source=source,
            source_key=source_key(issuer, source, self.store.namespace),
            store=self.store,
            policy=self.policy,
            sealer=self.sealer,
            algorithms=issuer.algorithms,
            coordinated=self.coordinated,
            working=working,
        )
        return Served(
            issuer=issuer,
            refresher=refresher,
            check_header=compile_header_check(issuer),
            check_claims=compile_claims(issuer),
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
