"""docs/settings.md tells every setting there is, as it is: a setting without its row fails here."""

from __future__ import annotations

import ast
import inspect
import json
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

import pytest
from pages import PAGES, ROOT, blocks, code_in, section, tables, text_of

from skeldir_jwt_mw import (
    ConfigurationError,
    Issuer,
    PostgresStore,
    RefreshPolicy,
    Verifier,
    asgi,
    environment,
    setting_names,
    settings,
    wsgi,
)
from skeldir_jwt_mw.sources import DiscoverySource, JWKSUrlSource

PAGE = text_of("docs/settings.md")
ROWS = [row for table in tables(PAGE) for row in table if "setting" in row]
BY_SETTING = {code_in(row["setting"])[0]: row for row in ROWS}
OLDER = {code_in(row["older variable"])[0]: row for row in tables(section(PAGE, "Older names"))[0]}
NONE = "-"  # the dash that stands for "there is none"

TYPES: Mapping[Callable[[str, str], Any], str] = {
    environment.read_text: "text",
    environment.read_list: "list",
    environment.read_flag: "flag",
    environment.read_seconds: "seconds",
    environment.read_whole: "whole number",
}


def parameters_of(*callables: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    for one in callables:
        found |= inspect.signature(one).parameters
    return found


PARAMETERS = parameters_of(
    JWKSUrlSource, PostgresStore, Verifier, Issuer, asgi.JWTMiddleware, wsgi.JWTMiddleware
)


def default_of(setting: str) -> Any:
    """The default in Python, `...` where an argument is required, MISSING where there is no such argument."""
    name = setting.lower()
    for field in fields(RefreshPolicy):
        if field.name == name:
            return field.default
    if name not in PARAMETERS or name in ("issuers", "store", "verifier"):  # given instead of others
        return MISSING
    default = PARAMETERS[name].default
    return ... if default is inspect.Parameter.empty else default


def test_every_setting_has_one_row_and_every_row_is_a_setting() -> None:
    assert sorted(code_in(row["setting"])[0] for row in ROWS) == sorted(setting_names.ALL)


@pytest.mark.parametrize("setting", BY_SETTING)
def test_the_default_is_the_one_in_the_code(setting: str) -> None:
    cell, default = BY_SETTING[setting]["default"], default_of(setting)
    if default is MISSING:
        assert cell == NONE
    elif default is ...:
        assert cell == "required"
    elif isinstance(default, Mapping):
        assert ast.literal_eval(code_in(cell)[0]) == dict(default)
    else:
        assert code_in(cell) == [repr(default)]


@pytest.mark.parametrize("setting", BY_SETTING)
def test_the_variable_and_its_type_are_the_ones_that_are_read(setting: str) -> None:
    row = BY_SETTING[setting]
    variable = environment.VARIABLE_OF.get(setting)
    assert code_in(row["variable"]) == ([] if variable is None else [variable])
    if variable is None:
        assert row["variable"] == NONE
    elif setting != "SEAL_KEYS":  # read as one text, since its entries are judged without being shown
        assert row["type"] == TYPES[environment._READERS[variable][1]]


def test_every_variable_is_told() -> None:
    told = set(re.findall(r"SKELDIR_\w+", PAGE)) - {"SKELDIR_JWT_TEST_"}
    assert told == {*environment.VARIABLES, environment.DISABLE_SINGLEFLIGHT}


def test_older_names_lead_to_the_newer_ones() -> None:
    newer = set(environment.VARIABLE_OF.values())
    older = {
        name: environment.VARIABLE_OF[setting]
        for name, (setting, _) in environment._READERS.items()
        if name not in newer
    }
    assert {name: code_in(row["newer variable"])[0] for name, row in OLDER.items()} == older


@pytest.mark.parametrize("page", [*PAGES, ROOT / "tox.ini"], ids=lambda page: page.name)
def test_no_page_speaks_of_a_variable_that_is_none(page: Any) -> None:
    told = set(re.findall(r"(?<!FLASK_)SKELDIR_(?:JWT|B12)_[A-Z0-9_]+", page.read_text(encoding="utf-8")))
    known = {*environment.VARIABLES, environment.DISABLE_SINGLEFLIGHT, "SKELDIR_JWT_TEST_"}
    assert {name for name in told - known if not name.startswith("SKELDIR_JWT_TEST_")} == set()


def test_the_settings_of_a_section_are_the_arguments_of_its_object() -> None:
    issuer = {name.upper() for name in inspect.signature(Issuer).parameters}
    assert settings_in("Issuer") == issuer | {"ISSUERS", *setting_names.SOURCE}
    assert settings_in("Refresh policy") == {field.name.upper() for field in fields(RefreshPolicy)}
    middleware = {name.upper() for name in parameters_of(asgi.JWTMiddleware, wsgi.JWTMiddleware)}
    assert settings_in("Middleware") == middleware - {"APP", "VERIFIER"} | {"DATABASE", "USER_RESOLVER"}


def settings_in(title: str) -> set[str]:
    return {code_in(row["setting"])[0] for row in tables(section(PAGE, title))[0]}


@pytest.mark.parametrize(("source", "count"), [(JWKSUrlSource, 1), (DiscoverySource, 2)])
def test_the_options_of_the_sources_are_told(source: Any, count: int) -> None:
    rows = [row for table in tables(section(PAGE, "Sources"))[:count] for row in table]
    told = {code_in(row["option"])[0]: code_in(row["default"])[0] for row in rows}
    options = list(inspect.signature(source).parameters.values())[1:]
    assert told == {option.name: repr(option.default) for option in options}


def test_the_json_is_a_configuration_that_works() -> None:
    (document,) = blocks(PAGE, "json")
    verifier = Verifier.from_env({"SKELDIR_JWT_CONFIG": document})
    assert len(verifier.status()) == len(json.loads(document)["ISSUERS"])


@pytest.mark.parametrize("line", blocks(PAGE, "python")[0].splitlines())
def test_each_line_that_the_page_calls_refused_is_refused_in_those_words(line: str) -> None:
    call, _, words = line.partition("#")
    with pytest.raises(ConfigurationError) as refused:
        eval(call, {"RefreshPolicy": RefreshPolicy})
    assert re.sub(r" \([^)]*\)", "", str(refused.value)) == words.strip()


def test_what_the_page_calls_unordered_is_accepted() -> None:
    RefreshPolicy(floor=20, lease=5, wait_budget=0.5, fetch_timeout=3, check_interval=3000)
    RefreshPolicy(floor=1, check_interval=0.25, jitter=0, wait_budget=0)


def test_the_limits_that_the_page_names_are_the_ones_that_hold() -> None:
    issuer = {"ISSUER": "https://login.example.com/", "AUDIENCE": "orders-api"}
    for setting, least, most in (
        ("LEEWAY", 0, 120),
        ("MAX_WAITERS", 1, 100_000),
        ("MAX_TOKEN_BYTES", 256, 65_536),
    ):
        assert str(most) in BY_SETTING[setting]["meaning"]
        for value in (least, most):
            settings.parse_settings({**issuer, setting: value}).verifier()
        for value in (least - 1, most + 1):
            with pytest.raises(ConfigurationError):
                settings.parse_settings({**issuer, setting: value}).verifier()


def test_a_shared_store_needs_seal_keys_and_none_goes_without(caplog: pytest.LogCaptureFixture) -> None:
    environ = {
        "SKELDIR_JWT_ISSUER": "https://login.example.com/",
        "SKELDIR_JWT_AUDIENCE": "orders-api,orders-admin",
        "SKELDIR_JWT_DATABASE_URL": "postgresql://app@db/app",
    }
    with pytest.raises(ConfigurationError, match="SKELDIR_JWT_SEAL_KEYS"):
        Verifier.from_env(environ)
    two = ", ".join(b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    Verifier.from_env({**environ, "SKELDIR_JWT_SEAL_KEYS": two})
    assert caplog.records == []
    Verifier.from_env({**environ, "SKELDIR_JWT_SEAL_KEYS": "none"})
    assert "not sealed" in caplog.text


@pytest.mark.parametrize(
    "environ",
    [
        {"SKELDIR_JWT_FLOOR_SECONDS": "5s"},
        {"SKELDIR_JWT_FLOOR_SECONDS": ""},
        {"SKELDIR_JWT_FLOOR_SECONDS": "5", "SKELDIR_JWT_CONFIG": '{"FLOOR": 5}'},
        {"SKELDIR_JWT_FLOOR_SECONDS": "5", "SKELDIR_JWT_REFRESH_MIN_FLOOR_SECONDS": "5"},
        {"SKELDIR_JWT_FLOR_SECONDS": "5"},
    ],
)
def test_what_the_page_calls_an_error_is_one(environ: dict[str, str]) -> None:
    complete = {"SKELDIR_JWT_ISSUER": "https://login.example.com/", "SKELDIR_JWT_AUDIENCE": "orders-api"}
    Verifier.from_env({**complete, "SKELDIR_JWT_TEST_ANYTHING": "x", "SKELDIR_JWT_FLOOR_SECONDS": "0.25"})
    with pytest.raises(ConfigurationError):
        Verifier.from_env({**complete, **environ})
