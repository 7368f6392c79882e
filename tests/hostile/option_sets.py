"""How the service is configured that the hostile corpus meets: each option by itself, and all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crafting import AUDIENCE, ISSUER, TENANT
from judging import Judges

from skeldir_jwt_mw import Issuer
from skeldir_jwt_mw.sources import Source

TEMPLATE = ISSUER.replace(TENANT, "{tid}")
IGNORED = ("jku", "jwk", "x5c", "x5u", "zip")
REMEMBERED = 10_000  # more than the corpus has, so that nothing is forgotten
# Neighbours with the same keys, for another audience: where a token goes to one of them, that is told.
NEIGHBOURS = (ISSUER.rstrip("/"), ISSUER + "x", "https://evil.example/", "urn:another")
NEIGHBOURS_AUDIENCE = "billing-api"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSet:
    """Options of the corpus's issuer, the issuers beside it, and what they change in the verdicts."""

    options: Mapping[str, Any] = field(default_factory=dict)
    neighbours: tuple[str, ...] = ()
    members: Mapping[str, Any] = field(default_factory=dict)  # added to every key of the set
    codes: frozenset[str] = frozenset()  # with which a hostile token may be refused besides
    locks_out: frozenset[str] = frozenset()  # with which an oddity is refused, as it should be

    def issuers(self, source: Source) -> Sequence[Issuer]:
        """The issuers of the service; the one of the corpus stands last."""
        own = {"issuer": ISSUER, "audience": AUDIENCE, **self.options}
        beside = {**self.options, "audience": NEIGHBOURS_AUDIENCE}
        return [
            Issuer(**{**given, "source": source})
            for given in (*({**beside, "issuer": name} for name in self.neighbours), own)
        ]

    @property
    def ignores_headers(self) -> bool:
        """Whether a header with a key in it, or with `zip`, may be good."""
        return "ignored_headers" in self.options

    def judges(self, *, token_cache: int = REMEMBERED) -> Judges:
        """Verifiers with these options."""
        return Judges(self.issuers, self.members, token_cache=token_cache)


OF_A_NEIGHBOUR = frozenset({"wrong_audience", "wrong_issuer", "unknown_kid"})
PINS: Mapping[str, Any] = {"claims": {"tid": (TENANT, "other"), "/tid": TENANT}, "required_claims": ("/exp",)}
NARROW: Mapping[str, Any] = {"token_types": ("at+jwt",)}
UNTYPED = frozenset({"wrong_type"})
UNSIGNED = frozenset({"bad_signature"})  # instead of a header that is not ignored

OPTION_SETS: Mapping[str, OptionSet] = {
    "the defaults": OptionSet(),
    "several issuers": OptionSet(neighbours=NEIGHBOURS, codes=OF_A_NEIGHBOUR),
    "a template": OptionSet(options={"issuer": TEMPLATE, "tenant_claim": "tid"}),
    "templates among others": OptionSet(
        options={"issuer": TEMPLATE, "tenant_claim": "tid"}, neighbours=NEIGHBOURS, codes=OF_A_NEIGHBOUR
    ),
    "an issuer beside its template": OptionSet(
        options={"tenant_claim": "tid"}, neighbours=(TEMPLATE,), codes=OF_A_NEIGHBOUR
    ),
    "a tenant": OptionSet(options={"tenant_claim": "/tid"}),
    "pins": OptionSet(options=PINS),
    "keys of one issuer": OptionSet(members={"issuer": ISSUER}),
    "keys of a template": OptionSet(members={"issuer": ISSUER.replace(TENANT, "{tenantid}")}),
    "headers that are ignored": OptionSet(options={"ignored_headers": IGNORED}, codes=UNSIGNED),
    "one type of tokens": OptionSet(options=NARROW, codes=UNTYPED, locks_out=UNTYPED),
    "scopes by pointers": OptionSet(options={"scope_claims": ("/scope", "/scp", "scope")}),
    "everything": OptionSet(
        options={
            **PINS,
            **NARROW,
            "issuer": TEMPLATE,
            "tenant_claim": "tid",
            "ignored_headers": IGNORED,
            "scope_claims": ("/scope", "/scp"),
        },
        neighbours=NEIGHBOURS,
        members={"issuer": ISSUER.replace(TENANT, "{tenantid}")},
        codes=OF_A_NEIGHBOUR | UNTYPED | UNSIGNED,
        locks_out=UNTYPED,
    ),
}
