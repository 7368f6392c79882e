"""The setting `SKELDIR_JWT`, read once, and the one guard that the process made of it.

Nothing connects here. When a test overrides a setting that matters, all of it is dropped and made anew when
it is next asked for.
"""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections

from skeldir_jwt_mw import Verifier
from skeldir_jwt_mw._http import Guard
from skeldir_jwt_mw.environment import VARIABLE_OF
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.rules import refuse, suggestion
from skeldir_jwt_mw.setting_names import CONFIG
from skeldir_jwt_mw.settings import Settings, parse_environ, parse_settings
from skeldir_jwt_mw.stores import MemoryStore

from .store import DjangoStore

SETTING = "SKELDIR_JWT"
MATTER = (SETTING, "DATABASES", "SECRET_KEY", "SECRET_KEY_FALLBACKS")  # what a guard is made of

T = TypeVar("T")
UserResolver = Callable[..., Any]  # of the request and the token


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    guard: Guard
    user_resolver: UserResolver | None


_lock = threading.RLock()  # held while something is made or dropped; no request waits for it once it is made
_settings: Settings | None = None  # changed under the lock, read without
_made: _Made | None = None  # likewise


def settings() -> Settings:
    """What the project has configured; raises `ImproperlyConfigured`.

    A project without the setting may have the `SKELDIR_JWT_…` variables instead.
    """
    global _settings
    found = _settings
    if found is None:
        with _lock:
            found = _settings = _settings or parsed()
    return found


def parsed() -> Settings:
    """The same, read anew."""
    return _told_to_django(_parse)


def guard() -> Guard:
    """The process's guard, made when it is first asked for; raises `ImproperlyConfigured`."""
    return _made_of_settings().guard


def verifier() -> Verifier:
    """The process's verifier; raises `ImproperlyConfigured`."""
    found: Any = guard().verifier
    return found  # type: ignore[no-any-return]  # a guard is content with less than a Verifier


def issuers_by_row() -> dict[str | None, str]:
    """The configured issuers by the keys of their rows; none where the settings are wrong."""
    try:
        status = verifier().status()
    except (ConfigurationError, ImproperlyConfigured):
        return {}
    return {of_issuer["source_key"]: issuer for issuer, of_issuer in status.items()}


def user_resolver() -> UserResolver | None:
    """The `USER_RESOLVER`, imported; None where users are `TokenUser`s. Raises `ImproperlyConfigured`."""
    return _made_of_settings().user_resolver


def is_postgresql(alias: str) -> bool:
    """Whether the database of that name in DATABASES is a PostgreSQL; connects to nothing."""
    return connections.create_connection(alias).vendor == "postgresql"


def database_alias(configured: Settings) -> str | None:
    """The name in DATABASES of the database that the fleet shares keys through, None where it is elsewhere.

    Raises `ConfigurationError` where there is no such database.
    """
    if configured.given_verifier is not None or configured.store is not None or configured.database_url:
        return None
    alias = configured.database or DEFAULT_DB_ALIAS
    if alias not in connections.settings:
        known = sorted(connections.settings)
        hint = suggestion(alias, known)
        refuse(
            configured.names["DATABASE"], alias, f"is not in DATABASES{hint}; there are {', '.join(known)}"
        )
    return alias


def _made_of_settings() -> _Made:
    global _made
    made = _made
    if made is None:
        with _lock:
            made = _made = _made or _told_to_django(_make)
    return made


def _told_to_django(make: Callable[[], T]) -> T:
    try:
        return make()
    except ConfigurationError as error:
        raise ImproperlyConfigured(str(error)) from error


def _parse() -> Settings:
    given = getattr(project, SETTING, None)
    if given is None and (CONFIG in os.environ or VARIABLE_OF["ISSUER"] in os.environ):
        return parse_environ(os.environ)
    return parse_settings({} if given is None else given, SETTING)


def _make() -> _Made:
    configured = settings()
    resolver = configured.load_user_resolver()
    completed = configured if configured.given_verifier is not None else _with_defaults(configured)
    completed = replace(completed, user_resolver=None)  # which is no affair of a guard's
    return _Made(guard=configured.named(lambda: Guard(settings=completed)), user_resolver=resolver)


def _with_defaults(configured: Settings) -> Settings:
    """The settings with the project's database, and with what derives from its secret keys.

    Where the seal keys are given, the namespace is not derived either: who has the same keys may share rows.
    """
    alias = database_alias(configured)
    if alias is not None and not is_postgresql(alias):
        return replace(configured, store=MemoryStore())
    if configured.seal_keys is None:
        keys = _secret_keys()
        configured = replace(
            configured,
            seal_keys=tuple(hmac.digest(key, b"skeldir_jwt_mw.django seal key", "sha256") for key in keys),
            namespace=configured.namespace
            or "django:" + hmac.digest(keys[0], b"skeldir_jwt_mw.django namespace", "sha256")[:16].hex(),
        )
    if alias is not None:
        store = DjangoStore(alias, namespace=configured.namespace or "")
        configured = replace(configured, store=store)
    return configured


def _secret_keys() -> list[bytes]:
    """SECRET_KEY and its fallbacks, the oldest first.

    The oldest names the row and seals it. Every process whose oldest key that is knows it, so while a new
    key is rolled out, processes with and without it share one row and each accepts what the others sealed.
    Dropping the fallback moves them on to a row of the new key, as they start anew.
    """
    keys = [project.SECRET_KEY, *project.SECRET_KEY_FALLBACKS]
    return [key if isinstance(key, bytes) else key.encode() for key in reversed(keys)]


def _drop(*, setting: str, **_: object) -> None:
    """What Django calls when a test overrides a setting. A verifier that was given is not ours to close."""
    global _made, _settings
    if setting not in MATTER:
        return
    with _lock:
        dropped, ours = _made, _settings is not None and _settings.given_verifier is None
        _made = _settings = None
    if dropped is not None and ours:
        dropped.guard.verifier.close()  # type: ignore[attr-defined]  # a Verifier, for it is ours


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that the fork has not taken along may have held it


setting_changed.connect(_drop, dispatch_uid="skeldir_jwt_mw")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
