"""System checks: what Django's `check` says of the settings. Their ids are stable; nothing connects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings as project
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.settings import Settings, load

from . import conf

OURS = "skeldir_jwt_mw.django.JWTMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"
CACHE = "django.middleware.cache.FetchFromCacheMiddleware"


@register(Tags.security)
def check_settings(**_: Any) -> list[CheckMessage]:
    """Judge `SKELDIR_JWT`: errors first, and what may be meant that way only where there are none."""
    try:
        configured = conf.parsed()
    except ImproperlyConfigured as error:
        text = str(error)
        kind = "E001" if " is missing: " in text else "E002" if " is not a setting" in text else "E003"
        return [Error(text, id=f"skeldir_jwt_mw.{kind}")]
    return [*_errors(configured)] or [*_warnings(configured)]


@register(Tags.security)
def check_middleware(**_: Any) -> list[CheckMessage]:
    """Judge where the middleware stands."""
    here = _place_of(OURS)
    return [] if here is None else [*_misplaced(here)]


def _errors(configured: Settings) -> Iterator[CheckMessage]:
    given = configured.given_verifier
    attempts: tuple[tuple[str, Callable[[], object]], ...] = (
        ("E004", configured.load_user_resolver),
        ("E004", configured.middleware_options),
        ("E004", lambda: load(configured.names["VERIFIER"], given)),
        ("E005", lambda: conf.database_alias(configured)),
        ("E003", lambda: None if given is not None else conf.guard()),  # a given one may be slow to make
    )
    for kind, attempt in attempts:
        try:
            attempt()
        except (ConfigurationError, ImproperlyConfigured) as error:
            yield Error(str(error), id=f"skeldir_jwt_mw.{kind}")
            return


def _warnings(configured: Settings) -> Iterator[CheckMessage]:
    alias = conf.database_alias(configured)
    local = alias is not None and not conf.is_postgresql(alias)
    if local:
        yield checks.Warning(
            f"The database {alias!r} is not PostgreSQL, so each process fetches signing keys for itself.",
            hint="Name one that is in SKELDIR_JWT['DATABASE'], or give SKELDIR_JWT['DATABASE_URL'].",
            id="skeldir_jwt_mw.W002",
        )
    if configured.seal_keys == () and not local and getattr(configured.store, "shared", True):
        yield checks.Warning(
            "The shared keys are not sealed: whoever can write to their table can have tokens accepted.",
            hint="Leave out SKELDIR_JWT['SEAL_KEYS']: by default a key derives from SECRET_KEY.",
            id="skeldir_jwt_mw.W003",
        )
    for issuer in configured.issuers:
        if issuer.allow_http and issuer.source is None and not project.DEBUG:
            yield checks.Warning(
                f"Signing keys of {issuer.issuer} may be fetched over plain http, though DEBUG is False.",
                hint="ALLOW_HTTP is for development: whoever is on the way can replace the keys.",
                id="skeldir_jwt_mw.W004",
            )


def _misplaced(here: int) -> Iterator[CheckMessage]:
    authentication, cors, cache = map(_place_of, (AUTHENTICATION, CORS, CACHE))
    if authentication is not None and authentication > here:
        yield Error(
            f"{OURS} stands above AuthenticationMiddleware, which then takes the token's user away.",
            hint=f"Move {OURS} below it.",
            id="skeldir_jwt_mw.E006",
        )
    if cache is not None and cache < here:
        yield Error(
            f"{OURS} stands below FetchFromCacheMiddleware, which answers before a token is asked for.",
            hint=f"Move {OURS} above it.",
            id="skeldir_jwt_mw.E007",
        )
    if cors is not None and cors > here:
        yield checks.Warning(
            f"{OURS} stands above CorsMiddleware, so preflights are refused, and no browser can read why "
            "another request was.",
            hint=f"Move {OURS} below it.",
            id="skeldir_jwt_mw.W001",
        )


def _place_of(path: str) -> int | None:
    """Where in MIDDLEWARE the class stands, or one that derives from it."""
    paths = list(project.MIDDLEWARE)
    if path in paths:
        return paths.index(path)
    try:
        wanted = import_string(path)
    except (ImportError, RuntimeError):  # an app that the project does not have: its models refuse to load
        return None
    return next((place for place, other in enumerate(paths) if _derives(other, wanted)), None)


def _derives(path: str, wanted: type) -> bool:
    try:
        found = import_string(path)
    except ImportError:
        return False  # Django says so itself
    return isinstance(found, type) and issubclass(found, wanted)
