"""The `SKELDIR_JWT_…` variables: which there are, and how their text is read.

`SKELDIR_JWT_CONFIG` holds settings as a JSON object, under their upper-case names; variables of their own add
to it. Whatever is given twice, there and here or under an older name, is refused. Names that start with
`SKELDIR_JWT_TEST_` belong to test suites.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from .config import DURATIONS
from .errors import ConfigurationError
from .rules import refuse
from .setting_names import CONFIG, PREFIX, refuse_variable

ALLOW_MUTATIONS = PREFIX + "ALLOW_MUTATIONS"
DISABLE_SINGLEFLIGHT = "SKELDIR_B12_P3_DISABLE_PG_SINGLEFLIGHT"

_OF_TESTS = PREFIX + "TEST_"
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?|\.[0-9]+")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def read_text(name: str, text: str) -> str:
    """The text without white space around it, which must leave something."""
    if not text.strip():
        raise ConfigurationError(f"{name} is empty: give it a value, or do not set it")
    return text.strip()


def read_flag(name: str, text: str) -> bool:
    """A boolean, in one of the spellings that are in use."""
    word = read_text(name, text).lower()
    if word not in _TRUE + _FALSE:
        refuse(name, text, f"must be one of {', '.join(_TRUE)}, or one of {', '.join(_FALSE)}")
    return word in _TRUE


def read_seconds(name: str, text: str) -> float:
    """A decimal number of seconds, without a unit."""
    number = read_text(name, text)
    if _NUMBER.fullmatch(number) is None:
        refuse(name, text, "must be a number of seconds, such as 5 or 0.25")
    return float(number)


def read_whole(name: str, text: str) -> int:
    """A whole number, of no more digits than make sense."""
    number = read_text(name, text)
    if re.fullmatch(r"[0-9]{1,18}", number) is None:
        refuse(name, text, "must be a whole number")
    return int(number)


def read_list(name: str, text: str) -> tuple[str, ...]:
    """The entries of a comma-separated list, none of them empty."""
    entries = tuple(entry.strip() for entry in read_text(name, text).split(","))
    if "" in entries:
        refuse(name, text, "has an empty entry; entries stand between single commas")
    return entries


Reader = Callable[[str, str], Any]

_READERS: dict[str, tuple[str, Reader]] = {
    "SKELDIR_JWT_ISSUER": ("ISSUER", read_text),
    "SKELDIR_JWT_AUDIENCE": ("AUDIENCE", read_list),
    "SKELDIR_JWT_JWKS_URL": ("JWKS_URL", read_text),
    "SKELDIR_JWT_ALGORITHMS": ("ALGORITHMS", read_list),
    "SKELDIR_JWT_LEEWAY_SECONDS": ("LEEWAY", read_seconds),
    "SKELDIR_JWT_REQUIRED_CLAIMS": ("REQUIRED_CLAIMS", read_list),
    "SKELDIR_JWT_SCOPE_CLAIMS": ("SCOPE_CLAIMS", read_list),
    "SKELDIR_JWT_TENANT_CLAIM": ("TENANT_CLAIM", read_text),
    "SKELDIR_JWT_ALLOW_HTTP": ("ALLOW_HTTP", read_flag),
    "SKELDIR_JWT_ALLOW_PRIVATE_HOSTS": ("ALLOW_PRIVATE_HOSTS", read_flag),
    "SKELDIR_JWT_CA_FILE": ("CA_FILE", read_text),
    "SKELDIR_JWT_PROXY": ("PROXY", read_text),
    "SKELDIR_JWT_DATABASE_URL": ("DATABASE_URL", read_text),
    "SKELDIR_JWT_NAMESPACE": ("NAMESPACE", read_text),
    "SKELDIR_JWT_SEAL_KEYS": ("SEAL_KEYS", read_text),
    "SKELDIR_JWT_TOKEN_CACHE": ("TOKEN_CACHE", read_whole),
    "SKELDIR_JWT_MAX_TOKEN_BYTES": ("MAX_TOKEN_BYTES", read_whole),
    "SKELDIR_JWT_STRATEGY": ("STRATEGY", read_text),
    "SKELDIR_JWT_MAX_WAITERS": ("MAX_WAITERS", read_whole),
    "SKELDIR_JWT_ON_STORE_OUTAGE": ("ON_STORE_OUTAGE", read_text),
    "SKELDIR_JWT_BACKGROUND": ("BACKGROUND", read_flag),
    "SKELDIR_JWT_REQUIRED": ("REQUIRED", read_flag),
    "SKELDIR_JWT_EXEMPT": ("EXEMPT", read_list),
    "SKELDIR_JWT_REALM": ("REALM", read_text),
    # Older names, which stay.
    "SKELDIR_JWT_REFRESH_JITTER_SECONDS": ("JITTER", read_seconds),
    "SKELDIR_JWT_REFRESH_MIN_FLOOR_SECONDS": ("FLOOR", read_seconds),
    "SKELDIR_JWT_REFRESH_BACKOFF_BASE_SECONDS": ("BACKOFF_BASE", read_seconds),
    "SKELDIR_JWT_REFRESH_BACKOFF_MAX_SECONDS": ("BACKOFF_MAX", read_seconds),
    "SKELDIR_JWT_KEY_RING_MAX_STALENESS_SECONDS": ("CHECK_INTERVAL", read_seconds),
    **{f"{PREFIX}{field.upper()}_SECONDS": (field.upper(), read_seconds) for field in DURATIONS},
}

VARIABLES = (*_READERS, CONFIG, ALLOW_MUTATIONS)
"""Every variable that is read, except the toggle `DISABLE_SINGLEFLIGHT`."""


VARIABLE_OF = {setting: name for name, (setting, _) in _READERS.items()}
"""The variable of each setting that has one; of two names the newer."""


def read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings under their upper-case names, and for each of them the variable that it came from.

    Raises `ConfigurationError` for a variable that is unknown, empty, unreadable, or given twice.
    """
    for name in environ:
        if name.startswith(PREFIX) and name not in VARIABLES and not name.startswith(_OF_TESTS):
            refuse_variable(name, VARIABLES)
    settings = _read_config(environ[CONFIG]) if CONFIG in environ else {}
    names = {setting: f"{CONFIG}[{setting!r}]" for setting in settings}
    for name, (setting, read) in _READERS.items():
        if name in environ:
            if setting in names:
                raise ConfigurationError(f"{names[setting]} and {name} are both set: one setting, two names")
            settings[setting], names[setting] = read(name, environ[name]), name
    return settings, names


def _read_config(text: str) -> dict[str, Any]:
    """The settings in `SKELDIR_JWT_CONFIG`; the error text shows no value, for there may be keys in it."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigurationError(f"{CONFIG} gives {', '.join(repeated)} twice")
        return dict(pairs)

    def refuse_constant(constant: str) -> NoReturn:
        raise ConfigurationError(f"{CONFIG} holds {constant}, which is no JSON")

    wrong: str | None = None  # raised below, for JSONDecodeError.doc is the text itself
    settings: Any = None
    try:
        settings = json.loads(
            read_text(CONFIG, text), object_pairs_hook=members, parse_constant=refuse_constant
        )
    except json.JSONDecodeError as error:
        wrong = f" at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        wrong = ""
    if wrong is not None:
        raise ConfigurationError(f"{CONFIG} is not valid JSON{wrong}")
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{CONFIG} must be a JSON object of settings")
    return settings


def seal_keys_text(environ: Mapping[str, str]) -> tuple[str, object]:
    """The seal keys as they were given, and what the user called them; None where they were not."""
    name = PREFIX + "SEAL_KEYS"
    settings, names = read_environment({key: environ[key] for key in (CONFIG, name) if key in environ})
    return names.get("SEAL_KEYS", name), settings.get("SEAL_KEYS")


def database_url(environ: Mapping[str, str]) -> str | None:
    """The database's URL and nothing else, for `skeldir-jwt migrate`; None where it is not set."""
    name = PREFIX + "DATABASE_URL"
    if name in environ:
        return read_text(name, environ[name])
    url = _read_config(environ[CONFIG]).get("DATABASE_URL") if CONFIG in environ else None
    if url is None or (isinstance(url, str) and url.strip()):
        return url
    raise ConfigurationError(f"{CONFIG}['DATABASE_URL'] (***) must be a non-empty string")


def singleflight_disabled(environ: Mapping[str, str]) -> bool:
    """Whether the mutation toggle is on, which is refused outside of test suites.

    It turns claim coordination off, so that a negative control can show the fleet proof failing.
    """
    if DISABLE_SINGLEFLIGHT not in environ or not read_flag(
        DISABLE_SINGLEFLIGHT, environ[DISABLE_SINGLEFLIGHT]
    ):
        return False
    if ALLOW_MUTATIONS not in environ or not read_flag(ALLOW_MUTATIONS, environ[ALLOW_MUTATIONS]):
        raise ConfigurationError(
            f"{DISABLE_SINGLEFLIGHT} switches coordination off and is for tests of this library alone;"
            f" unset it (or set {ALLOW_MUTATIONS}=1 in a test)"
        )
    return True
