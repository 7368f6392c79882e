"""The names of all settings, and what to say of a name that is none where it stands.

A guess is offered only where it is near, a slip of the finger and not another word, for whoever follows it
blindly must not end up with a setting that does something else. A name that is right somewhere else is told
where.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import NoReturn

from .config import Issuer, RefreshPolicy
from .errors import ConfigurationError
from .rules import suggestion

ISSUER = tuple(member.name.upper() for member in fields(Issuer))
SOURCE = ("CA_FILE", "PROXY")  # of the source that the settings make
POLICY = tuple(member.name.upper() for member in fields(RefreshPolicy))
LIMITS = ("TOKEN_CACHE", "MAX_TOKEN_BYTES")
STORE = ("STORE", "DATABASE", "DATABASE_URL", "NAMESPACE", "SEAL_KEYS")
MIDDLEWARE = (
    *("REQUIRED", "EXEMPT", "EXEMPT_PREFLIGHT", "REALM", "RESOURCE", "TOKEN_GETTER"),
    *("REMOTE_USER", "USER_KEY"),
)
OF_AN_ISSUER = (*ISSUER, *SOURCE)
OF_A_VERIFIER = ("ISSUERS", *OF_AN_ISSUER, *POLICY, *LIMITS, *STORE)
ALL = ("VERIFIER", *OF_A_VERIFIER, *MIDDLEWARE, "USER_RESOLVER")

PREFIX = "SKELDIR_JWT_"
CONFIG = PREFIX + "CONFIG"
SECONDS = "_SECONDS"

_IN_PYTHON = ("SOURCE", "STORE", "VERIFIER", "REMOTE_USER", "USER_RESOLVER")
_OF_A_SOURCE = ("CLIENT_CERT", "HEADERS", "TIMEOUT")
_TOLD = "; docs/settings.md tells every setting"


def refuse_setting(name: object, shown: str, known: Iterable[str]) -> NoReturn:
    """Raise the `ConfigurationError` for a name in a dict of settings that is none of `known`.

    `shown` is what error texts call it.
    """
    said = _elsewhere(name, tuple(known)) if isinstance(name, str) else None
    raise ConfigurationError(f"{shown} is not a setting{said or suggestion(name, known)}{_TOLD}")


def refuse_variable(name: str, variables: Iterable[str]) -> NoReturn:
    """Raise the `ConfigurationError` for a `SKELDIR_JWT_…` variable that nobody reads."""
    by_setting = {variable.removeprefix(PREFIX): variable for variable in variables}
    setting = name.removeprefix(PREFIX).upper()
    if setting in by_setting or setting + SECONDS in by_setting:
        said = f", did you mean {by_setting.get(setting, by_setting.get(setting + SECONDS))!r}"
    elif setting == "DATABASE":
        said = f": DATABASE is for Django's settings; here it is {PREFIX}DATABASE_URL"
    elif setting in _IN_PYTHON:
        said = f": {setting} is given in Python alone, or in a Django project's SKELDIR_JWT"
    elif setting in ALL:
        said = f": {setting} has no variable; give it in {CONFIG}, as in " + '{"' + setting + '": …}'
    elif setting in _OF_A_SOURCE:
        said = _source_option(setting)
    else:
        said = suggestion(setting, by_setting, show=by_setting.__getitem__)
    raise ConfigurationError(f"{name} is not a setting{said}{_TOLD}")


def _elsewhere(name: str, known: tuple[str, ...]) -> str | None:
    """Where a name is at home that is none here, or what it is called here; None where nobody knows it."""
    plain = name.upper().removeprefix(PREFIX)
    plain = plain if plain in ALL else plain.removesuffix(SECONDS)
    if plain in known:
        return f", did you mean {plain!r}"
    if plain in ALL:
        return f": {plain} is a setting of the whole, beside ISSUERS and not in one of them"
    if plain == "POLICY":
        return ": the fields of RefreshPolicy stand beside the others, such as 'FLOOR'"
    return _source_option(plain) if plain in _OF_A_SOURCE else None


def _source_option(setting: str) -> str:
    name = setting.lower()
    return f": {name} is an option of JWKSUrlSource and DiscoverySource, for SOURCE, in Python"
