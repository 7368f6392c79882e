"""Settings, as a dict of upper-case names or as environment variables, to what a verifier is made of.

The dict holds either `VERIFIER`, or the options of `Issuer` (several of them under `ISSUERS`), the fields of
`RefreshPolicy` and the options of `Verifier`, all in upper case and side by side; besides those the options
of the middleware. Whatever is wrong is a `ConfigurationError` that calls the setting what the user called it.
No secret is ever part of its text.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from . import setting_names as names_of
from .config import Issuer, RefreshPolicy, distinct_issuers
from .environment import VARIABLE_OF, database_url, read_environment, singleflight_disabled
from .errors import ConfigurationError
from .rules import refuse, text_of
from .seal_keys import read_seal_keys, require_seal_keys
from .served import source_of

if TYPE_CHECKING:
    from .stores.base import Store
    from .verifier import Verifier

__all__ = [
    "Settings",
    "database_url",
    "load",
    "parse_environ",
    "parse_settings",
    "require_seal_keys",
    "singleflight_disabled",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was configured, in the forms that `Verifier` and the middleware take."""

    given_verifier: object | None  # a Verifier, a callable that returns one, or a dotted path to either
    issuers: tuple[Issuer, ...]  # empty only where a verifier is given
    policy: RefreshPolicy
    limits: Mapping[str, int]  # token_cache and max_token_bytes, where they were given
    store: Store | None
    database: str | None  # a name in Django's DATABASES
    database_url: str | None = field(repr=False)
    namespace: str | None  # None: not given
    seal_keys: tuple[bytes, ...] | None = field(repr=False)  # None: not given; (): opted out
    middleware: Mapping[str, Any]  # the middleware's keyword arguments, where they were given
    user_resolver: object | None  # a callable, or a dotted path to one
    names: Mapping[str, str]  # what the user calls each setting

    def verifier(self, *, store: Store | None = None, seal_keys: Sequence[bytes] | None = None) -> Verifier:
        """The verifier. `store` and `seal_keys` stand in for what the settings leave open.

        Raises `ConfigurationError`.
        """
        if self.given_verifier is not None:
            return _given_verifier(self.names["VERIFIER"], self.given_verifier)
        from .verifier import Verifier  # which imports this module

        arguments = self.arguments(store=store, seal_keys=seal_keys)
        return _named(self.names, lambda: Verifier(**arguments))

    def arguments(
        self, *, store: Store | None = None, seal_keys: Sequence[bytes] | None = None
    ) -> dict[str, Any]:
        """The keyword arguments that `verifier` gives to `Verifier`."""
        from .stores import MemoryStore, PostgresStore

        if self.store is not None:
            store = self.store
        elif self.database_url is not None:
            url, namespace = self.database_url, self.namespace or ""
            names = {**self.names, "CONNINFO": self.names["DATABASE_URL"]}
            store = _named(names, lambda: PostgresStore(url, namespace=namespace))
        elif store is None and self.database is not None:
            refuse(
                self.names["DATABASE"], self.database, "names a Django database: elsewhere give DATABASE_URL"
            )
        return {
            "issuers": self.issuers,
            "store": MemoryStore() if store is None else store,
            "policy": self.policy,
            "seal_keys": seal_keys if self.seal_keys is None else self.seal_keys,
            **self.limits,
        }

    def middleware_options(self) -> dict[str, Any]:
        """The middleware's keyword arguments; a dotted path for the token getter is imported here."""
        options = dict(self.middleware)
        if isinstance(path := options.get("token_getter"), str):
            options["token_getter"] = load(self.names["TOKEN_GETTER"], path)
        return options

    def named(self, make: Callable[[], T]) -> T:
        """What `make` returns; a `ConfigurationError` of it calls the settings what the user called them."""
        return _named(self.names, make)

    def load_user_resolver(self) -> Callable[..., Any] | None:
        """The `USER_RESOLVER`, imported where it is a dotted path; None where there is none."""
        if self.user_resolver is None:
            return None
        name = self.names["USER_RESOLVER"]
        resolver = load(name, self.user_resolver)
        if not callable(resolver):
            refuse(name, self.user_resolver, "must be a callable, or a dotted path to one")
        return resolver  # type: ignore[no-any-return]  # callable() narrows Any to Any


def parse_settings(settings: Mapping[str, object], origin: str = "SKELDIR_JWT") -> Settings:
    """Settings from a dict of upper-case names; `origin` is what error texts call the dict.

    Raises `ConfigurationError`.
    """
    if not isinstance(settings, Mapping):
        refuse(origin, settings, "must be a dict of settings")
    return _parse(settings, lambda name: f"{origin}[{name!r}]")


def parse_environ(environ: Mapping[str, str]) -> Settings:
    """Settings from the `SKELDIR_JWT_…` variables; raises `ConfigurationError`."""
    settings, variables = read_environment(environ)
    spelt = {**VARIABLE_OF, **variables}
    return _parse(settings, lambda name: spelt.get(name, f"{names_of.CONFIG}[{name!r}]"))


def load(setting: str, value: object) -> Any:
    """What a dotted path (`package.module.name`) leads to; anything but a string is returned as it is.

    Raises `ConfigurationError` where it leads nowhere.
    """
    if not isinstance(value, str):
        return value
    module_name, _, attribute = value.replace(":", ".").rpartition(".")
    if not module_name or not attribute:
        refuse(setting, value, "must be a dotted path, such as package.module.name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        refuse(setting, value, f"cannot be imported: there is no module {error.name!r}")
    if not hasattr(module, attribute):
        refuse(setting, value, f"cannot be imported: {module_name!r} has no {attribute!r}")
    return getattr(module, attribute)


def _given_verifier(name: str, given: object) -> Verifier:
    """The verifier that `VERIFIER` is, leads to, or returns when it is called."""
    found = load(name, given)
    if not hasattr(found, "verify") and callable(found):
        found = found()
    if isinstance(found, type) or not (hasattr(found, "verify") and hasattr(found, "averify")):
        refuse(name, given, "must be a Verifier, a callable that returns one, or a dotted path to either")
    verifier: Verifier = found
    return verifier


def _parse(settings: Mapping[str, Any], spelling: Callable[[str], str]) -> Settings:
    """`spelling` tells what the user calls a setting."""
    _refuse_unknown(settings, names_of.ALL, spelling)
    names = {name: spelling(name) for name in names_of.ALL}
    given = {name: value for name, value in settings.items() if value is not None or name == "AUDIENCE"}
    _refuse_contradictions(given, names)
    if isinstance(given.get("STORE"), str):  # a connection string
        given["DATABASE_URL"] = given.pop("STORE")
        names["DATABASE_URL"] = names["STORE"]
    verifier = given.get("VERIFIER")
    namespace, database = given.get("NAMESPACE"), given.get("DATABASE")
    policy = _named(names, lambda: RefreshPolicy(**_lowered(given, names_of.POLICY)))
    url = given.get("DATABASE_URL")
    if url is not None and (not isinstance(url, str) or not url.strip()):
        raise ConfigurationError(f"{names['DATABASE_URL']} (***) must be a non-empty string")
    return Settings(
        given_verifier=verifier,
        issuers=() if verifier is not None else _issuers(given, names, policy),
        policy=policy,
        limits=MappingProxyType(_lowered(given, names_of.LIMITS)),
        store=store_of(names["STORE"], given["STORE"]) if "STORE" in given else None,
        database=None if database is None else text_of(names["DATABASE"], database),
        database_url=url,
        namespace=None if namespace is None else text_of(names["NAMESPACE"], namespace),
        seal_keys=_named(names, lambda: read_seal_keys(given.get("SEAL_KEYS"))),
        middleware=MappingProxyType(_lowered(given, names_of.MIDDLEWARE)),
        user_resolver=given.get("USER_RESOLVER"),
        names=MappingProxyType(names),
    )


def store_of(name: str, given: Any) -> Store:
    """A store, or the `PostgresStore` of a connection string; raises `ConfigurationError`.

    The error shows no value, for there may be a password in it.
    """
    if isinstance(given, str):
        from .stores import PostgresStore

        return _named({"CONNINFO": name}, lambda: PostgresStore(given))
    if isinstance(given, type):
        wanted = (
            'PostgresStore("postgresql://...")' if "Postgres" in given.__name__ else f"{given.__name__}()"
        )
        raise ConfigurationError(f"{name} is the class {given.__name__}; write {wanted}")
    if not callable(getattr(given, "open", None)) or not hasattr(given, "shared"):
        rule = "must be a connection string, or a store such as PostgresStore(conninfo)"
        raise ConfigurationError(f"{name} (of type {type(given).__name__}) {rule}")
    store: Store = given
    return store


def policy_of(given: Any) -> RefreshPolicy:
    """The policy, or the default one for None; raises `ConfigurationError` that says what to write."""
    if given is None:
        return RefreshPolicy()
    if isinstance(given, RefreshPolicy):
        return given
    options = ""
    if isinstance(given, Mapping):
        options = ", ".join(f"{str(name).lower()}={value!r}" for name, value in given.items())
    kind = given.__name__ if isinstance(given, type) else type(given).__name__
    wanted = f"RefreshPolicy({options})" if len(options) <= 200 else "RefreshPolicy(...)"
    raise ConfigurationError(f"policy ({kind}) must be a RefreshPolicy; write policy={wanted}")


def _refuse_unknown(
    settings: Mapping[str, Any], known: Sequence[str], spelling: Callable[[str], str]
) -> None:
    for name in settings:
        if name not in known:
            names_of.refuse_setting(name, spelling(name), known)


def _refuse_contradictions(given: Mapping[str, Any], names: Mapping[str, str]) -> None:
    def refuse_beside(name: str, others: Iterable[str], reason: str) -> None:
        beside = [names[other] for other in others if other in given and other != name]
        if name in given and beside:
            raise ConfigurationError(f"{names[name]} and {', '.join(beside)} contradict each other: {reason}")

    refuse_beside("VERIFIER", names_of.OF_A_VERIFIER, "the verifier already has its own")
    refuse_beside("ISSUERS", names_of.ISSUER, "each of ISSUERS has its own")
    if not isinstance(given.get("STORE"), str):
        refuse_beside("STORE", ("NAMESPACE",), "the store already has its own")
    refuse_beside("STORE", ("DATABASE", "DATABASE_URL"), "the store already has its own")
    refuse_beside("DATABASE", ("DATABASE_URL",), "there is one database")


def _issuers(given: Mapping[str, Any], names: Mapping[str, str], policy: RefreshPolicy) -> tuple[Issuer, ...]:
    if "ISSUERS" not in given:
        return (_issuer(given, names, policy),)
    several = given["ISSUERS"]
    if not isinstance(several, (list, tuple)) or not several:
        refuse(names["ISSUERS"], several, "must be a list of at least one dict of settings")
    members: list[object] = []
    for position, one in enumerate(several):
        if isinstance(one, Mapping):
            made: object = _issuer_at(f"{names['ISSUERS']}[{position}]", one, policy)
        else:
            made = one  # an Issuer, or something that is refused below
        if isinstance(made, Issuer) and made.source is None:
            made = _reached_by(made, given, names, policy)
        members.append(made)
    return _named(
        {"ISSUERS": names["ISSUERS"], "ISSUER": names["ISSUERS"]}, lambda: distinct_issuers(members)
    )


def _issuer_at(place: str, given: Mapping[str, Any], policy: RefreshPolicy) -> Issuer:
    def spelling(name: str) -> str:
        return f"{place}[{name!r}]"

    _refuse_unknown(given, names_of.OF_AN_ISSUER, spelling)
    return _issuer(given, {name: spelling(name) for name in names_of.OF_AN_ISSUER}, policy)


def _issuer(given: Mapping[str, Any], names: Mapping[str, str], policy: RefreshPolicy) -> Issuer:
    for name, what in (("ISSUER", "the iss of the tokens"), ("AUDIENCE", "the aud that names this service")):
        if name not in given:
            raise ConfigurationError(f"{names[name]} is missing: it is required, {what}")
    issuer = _named(names, lambda: Issuer(**_lowered(given, names_of.ISSUER)))
    return _reached_by(issuer, given, names, policy)


def _reached_by(
    issuer: Issuer, given: Mapping[str, Any], names: Mapping[str, str], policy: RefreshPolicy
) -> Issuer:
    """The issuer with a source of its own where the settings say how its provider is reached."""
    reach = {name: given[name] for name in names_of.SOURCE if given.get(name) is not None}
    if not reach:
        return issuer
    if issuer.source is not None:
        beside = ", ".join(names[name] for name in reach)
        raise ConfigurationError(
            f"{names['SOURCE']} and {beside} contradict each other: a source has its own"
        )
    source = _named(names, lambda: source_of(issuer, policy, **_lowered(reach, reach)))
    options = {member.name: getattr(issuer, member.name) for member in fields(issuer)}
    return Issuer(**{**options, "jwks_url": None, "source": source})


def _lowered(given: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    return {name.lower(): given[name] for name in wanted if name in given}


def _named(names: Mapping[str, str], make: Callable[[], T]) -> T:
    """What `make` returns; a ConfigurationError of it calls the settings what the user called them."""
    try:
        return make()
    except ConfigurationError as error:
        spelt = {name.lower(): shown for name, shown in names.items()}
        known = "|".join(map(re.escape, spelt))
        pattern = rf"\A(?:{known})(?= )|\b(?:{known})(?= \(|\[)"  # the first word, or before a value
        text = re.sub(pattern, lambda match: spelt[match[0]], str(error))
        raise ConfigurationError(text) from None
