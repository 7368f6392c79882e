"""What a verifier is told: `Issuer` and `RefreshPolicy`, both judged in full when they are made.

Pure: nothing is fetched or resolved here. Every mistake is a `ConfigurationError` that names the setting, its
value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from .core.issuer import IssuerTemplate
from .core.pointer import first_member
from .errors import ConfigurationError
from .rules import (
    ClaimValue,
    algorithms_of,
    audience_of,
    claim_name,
    flag,
    members_of,
    no_document,
    pins_of,
    refuse,
    seconds_of,
    shown,
    suggestion,
    text_of,
    token_types_of,
    url_of,
    within_reach,
)

if TYPE_CHECKING:
    from .sources import Source

Strategy = Literal["advisory", "lease"]
OnStoreOutage = Literal["serve", "fetch"]

DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
IGNORABLE_HEADERS = ("jku", "jwk", "x5c", "x5u", "zip")
NO_PINS = ("iss", "exp", "iat", "nbf")  # whatever their value, they do not tell one service's tokens apart

MAX_LEEWAY = 120.0  # seconds
MAX_LEASE = 60.0  # seconds; the horizon beyond which every reader of a row takes a lease for damage
MAX_BACKOFF = 3600.0  # seconds; the longest that a provider's own Retry-After is honoured, too


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Issuer:
    """An issuer of tokens, and everything that a token of it has to fulfil. Immutable, comparable, picklable.

    `issuer` is what `iss` must equal. With neither `jwks_url` nor `source` it is an https URL, from which the
    key set is discovered (OpenID Connect Discovery, RFC 8414); with one of them it is an opaque string.
    It may hold one `{claim}` as a whole path segment, to be filled from the token's own claim.

    - `audience`: a string or a sequence; one match suffices; None admits a token without `aud`.
    - `algorithms`: names out of `ALGORITHMS`; the first that fits a JWK without `alg` becomes its own.
    - `leeway`: seconds by which clocks may differ, 0 to 120.
    - `token_types`: accepted values of `typ`, None for a token without it.
    - `claims`: claim names to required values, each one value or several.
    - `required_claims`: names that must be present besides `iss` and `exp`.
    - `scope_claims`: where scopes stand; `tenant_claim`: where the tenant must stand.
    - `ignored_headers`: which of `jku`, `jwk`, `x5c`, `x5u`, `zip` are ignored instead of refused.
    - `allow_http` is for development, `allow_private_hosts` for a provider inside your network.

    A claim name that starts with "/" is a JSON Pointer (RFC 6901). Raises `ConfigurationError`.
    """

    issuer: str
    audience: tuple[str | None, ...]
    jwks_url: str | None
    source: Source | None
    algorithms: tuple[str, ...]
    leeway: float  # seconds
    token_types: tuple[str | None, ...]  # lower-case, without "application/"
    claims: Mapping[str, tuple[ClaimValue, ...]]
    required_claims: tuple[str, ...]
    scope_claims: tuple[str, ...]
    tenant_claim: str | None
    ignored_headers: tuple[str, ...]
    allow_http: bool
    allow_private_hosts: bool

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | Sequence[str | None] | Set[str] | None,
        jwks_url: str | None = None,
        source: Source | None = None,
        algorithms: Sequence[str] = DEFAULT_ALGORITHMS,
        leeway: float = 30.0,
        token_types: Sequence[str | None] = ("at+jwt", "JWT", None),
        claims: Mapping[str, ClaimValue | Sequence[ClaimValue]] = MappingProxyType({}),
        required_claims: Sequence[str] = (),
        scope_claims: Sequence[str] = ("scope", "scp"),
        tenant_claim: str | None = None,
        ignored_headers: Sequence[str] = (),
        allow_http: bool = False,
        allow_private_hosts: bool = False,
    ) -> None:
        fix = partial(object.__setattr__, self)
        fix("allow_http", flag("allow_http", allow_http))
        fix("allow_private_hosts", flag("allow_private_hosts", allow_private_hosts))
        fix("issuer", text_of("issuer", issuer))
        fix("audience", audience_of(audience))
        fix("algorithms", algorithms_of(algorithms))
        fix("leeway", seconds_of("leeway", leeway))
        fix("token_types", token_types_of(token_types))
        fix("claims", pins_of(claims))
        for name, value, may_be_empty in (
            ("required_claims", required_claims, True),
            ("scope_claims", scope_claims, False),
        ):
            names = members_of(name, value, "claim names", may_be_empty=may_be_empty)
            fix(name, tuple(claim_name(name, member) for member in names))
        fix("tenant_claim", None if tenant_claim is None else claim_name("tenant_claim", tenant_claim))
        fix("ignored_headers", members_of("ignored_headers", ignored_headers, "names", may_be_empty=True))
        fix("jwks_url", jwks_url)
        fix("source", source)
        self._refuse_nonsense()

    def _refuse_nonsense(self) -> None:
        """The rules that concern more than one setting, and those that only limit a value."""
        if self.leeway > MAX_LEEWAY:
            refuse("leeway", self.leeway, f"must be at most {MAX_LEEWAY:.0f} s")
        for name in self.ignored_headers:
            if name not in IGNORABLE_HEADERS:
                hint = suggestion(name, IGNORABLE_HEADERS)
                refuse("ignored_headers", name, f"is none of {', '.join(IGNORABLE_HEADERS)}{hint}")
        if None in self.audience and not any(first_member(name) not in NO_PINS for name in self.claims):
            refuse(
                "audience",
                None,
                "admits tokens without aud, so claims must not be empty (iss, exp, iat and nbf do not"
                ' count): name what tells this service\'s tokens apart, such as claims={"client_id": "..."}',
            )
        self._refuse_nonsense_about_keys()

    def _refuse_nonsense_about_keys(self) -> None:
        discovers = self.jwks_url is None and self.source is None
        if self.jwks_url is not None and self.source is not None:
            refuse("jwks_url", self.jwks_url, "and source are two answers to one question: give one of them")
        if self.jwks_url is not None:
            url_of("jwks_url", self.jwks_url, allow_http=self.allow_http, may_have_query=True)
            no_document("jwks_url", self.jwks_url, "without jwks_url the keys are found through it")
            within_reach("jwks_url", self.jwks_url, allow_private_hosts=self.allow_private_hosts)
        if self.source is not None and (
            isinstance(self.source, type) or not callable(getattr(self.source, "fetch", None))
        ):
            rule = f"must be an object with fetch(conditional), not {type(self.source).__name__}"
            raise ConfigurationError(f"source {rule}")
        try:
            template = IssuerTemplate.parse(self.issuer)
        except ValueError as error:
            refuse("issuer", self.issuer, str(error))
        rule = "write what stands before /.well-known, to the letter as the tokens' iss has it"
        no_document("issuer", self.issuer, rule)
        if template is None:
            if discovers:
                url_of("issuer", self.issuer, allow_http=self.allow_http, may_have_query=False)
                within_reach("issuer", self.issuer, allow_private_hosts=self.allow_private_hosts)
            return
        if discovers:
            refuse(
                "issuer", self.issuer, "is a template, which is never fetched: it needs jwks_url or source"
            )
        held = {template.claim, "/" + template.claim}
        if self.tenant_claim not in held and not held.intersection(self.claims):
            refuse(
                "issuer",
                self.issuer,
                f"would accept every tenant: name {template.claim!r} in claims, or as tenant_claim",
            )

    @classmethod
    def rfc9068(
        cls,
        issuer: str,
        *,
        audience: str | Sequence[str] | Set[str],
        required_claims: Sequence[str] = (),
        **options: Any,
    ) -> Issuer:
        """The strict profile of RFC 9068: `at+jwt`, with `aud`, `sub`, `client_id`, `iat`, `jti` (§2.2, §4).

        `required_claims` adds to those; the other options are `Issuer`'s own. Raises `ConfigurationError`.
        """
        if None in audience_of(audience):
            refuse("audience", None, "must be given: RFC 9068 §2.2 requires aud")
        more = members_of("required_claims", required_claims, "claim names", may_be_empty=True)
        required = tuple(dict.fromkeys(("sub", "client_id", "iat", "jti", *more)))
        return cls(issuer, audience=audience, token_types=("at+jwt",), required_claims=required, **options)

    @property
    def template(self) -> IssuerTemplate | None:
        """The template that `issuer` is, or None where it is one plain issuer."""
        return IssuerTemplate.parse(self.issuer)

    def _identity(self) -> tuple[object, ...]:
        # True == 1 in Python, but they are two values in JSON.
        pins = frozenset(
            (name, tuple((isinstance(value, bool), value) for value in values))
            for name, values in self.claims.items()
        )
        return (pins, *(getattr(self, field.name) for field in fields(self)))

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, Issuer) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.issuer, self.audience, self.algorithms))  # a source may be unhashable

    def __repr__(self) -> str:
        """Every setting, without the query of `jwks_url`, which may hold a secret."""
        texts = {field.name: repr(getattr(self, field.name)) for field in fields(self)}
        texts["jwks_url"] = shown(self.jwks_url)
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in texts.items())})"

    def __reduce__(self) -> tuple[Callable[[], Issuer], tuple[()]]:
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        options["claims"] = dict(self.claims)
        return partial(Issuer, **options), ()


def distinct_issuers(issuers: object) -> tuple[Issuer, ...]:
    """The issuers of one verifier: one `Issuer`, or several of which no two stand for the same `iss`.

    Raises `ConfigurationError`.
    """
    if isinstance(issuers, Issuer):
        return (issuers,)
    if isinstance(issuers, str):
        refuse(
            "issuers", issuers, f"must be an Issuer and not a string: write Issuer({issuers!r}, audience=...)"
        )
    members: tuple[Issuer, ...] = members_of("issuers", issuers, "Issuer")
    seen: set[str] = set()
    for member in members:
        if not isinstance(member, Issuer):
            refuse("issuers", member, "must hold nothing but Issuer objects")
        shape = member.issuer if member.template is None else member.template.shape
        if shape in seen:
            refuse("issuers", member.issuer, "is given twice; one Issuer takes several audiences")
        seen.add(shape)
    return members


# fmt: off
DURATIONS = (
    "refresh_interval", "check_interval", "floor", "jitter", "backoff_base", "backoff_max", "max_stale",
    "fetch_timeout", "lease", "wait_budget",
)
# fmt: on
"""The fields of `RefreshPolicy` that are times."""

_MAY_BE_ZERO = ("jitter", "wait_budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """When keys are refreshed and how long anything waits; all durations in seconds, fractions allowed.

    Raises `ConfigurationError` for values that are out of range or contradict each other.
    """

    refresh_interval: float = 300.0  # s; a key set older than this is due
    check_interval: float = 60.0  # s; how often a worker looks at the shared row
    floor: float = 5.0  # s; least time between two forced fetches of the whole fleet
    jitter: float = 3.0  # s; the random part, added to refresh_interval and backoff
    backoff_base: float = 2.0  # s; wait after the first failure, doubled with each further one
    backoff_max: float = 60.0  # s; where the doubling ends; at most 3600
    max_stale: float = 21600.0  # s; a key set older than this is not used any more
    fetch_timeout: float = 3.0  # s; for one fetch, all in all
    lease: float = 5.0  # s; how long one worker has the right to fetch; at most 60
    wait_budget: float = 2.0  # s; how long a request waits for a refresh; 0: not at all
    max_waiters: int = 64  # threads of one process that may wait at a time
    strategy: Strategy = "advisory"  # "lease" leaves the advisory lock out
    on_store_outage: OnStoreOutage = "serve"  # "fetch": ask the provider, each process for itself
    background: bool = True  # False: a request waits for a look at the row; for processes that are frozen

    def __post_init__(self) -> None:
        for name in DURATIONS:
            seconds = seconds_of(name, getattr(self, name))
            if seconds == 0 and name not in _MAY_BE_ZERO:
                refuse(name, getattr(self, name), "must be longer than 0 s")
            object.__setattr__(self, name, seconds)
        flag("background", self.background)
        waiters = self.max_waiters
        if isinstance(waiters, bool) or not isinstance(waiters, int) or not 1 <= waiters <= 100_000:
            refuse("max_waiters", waiters, "must be a whole number from 1 to 100000")
        for name, choices in (("strategy", get_args(Strategy)), ("on_store_outage", get_args(OnStoreOutage))):
            if (value := getattr(self, name)) not in choices:
                hint = suggestion(value, choices)
                refuse(name, value, f"must be {' or '.join(map(repr, choices))}{hint}")
        self._order("lease", ">", "fetch_timeout")
        self._order("refresh_interval", ">", "floor")
        self._order("max_stale", ">", "refresh_interval")
        self._order("backoff_max", ">=", "backoff_base")
        for name, limit in (("lease", MAX_LEASE), ("backoff_max", MAX_BACKOFF)):
            if (seconds := getattr(self, name)) > limit:
                raise ConfigurationError(f"{name} ({seconds:g} s) must be at most {limit:g} s")

    def _order(self, longer: str, relation: Literal[">", ">="], shorter: str) -> None:
        above, below = getattr(self, longer), getattr(self, shorter)
        if above > below or (above == below and relation == ">="):
            return
        rule = "must be longer than" if relation == ">" else "must not be shorter than"
        raise ConfigurationError(f"{longer} ({above:g} s) {rule} {shorter} ({below:g} s)")
