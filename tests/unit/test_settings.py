"""Settings as a dict and as variables: what they become, and how mistakes are called by their names."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import types
from collections.abc import Callable, Mapping
from typing import Any

import certifi
import pytest

from skeldir_jwt_mw import Verifier, seal_keys_from_env
from skeldir_jwt_mw._http import Guard
from skeldir_jwt_mw.config import DURATIONS, Issuer, RefreshPolicy
from skeldir_jwt_mw.core.effects import Content
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.environment import VARIABLES, database_url, singleflight_disabled
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.rules import suggestion
from skeldir_jwt_mw.setting_names import ALL
from skeldir_jwt_mw.settings import Settings, load, parse_environ, parse_settings, require_seal_keys
from skeldir_jwt_mw.sources import DiscoverySource, JWKSUrlSource, StaticSource
from skeldir_jwt_mw.stores import MemoryStore, PostgresStore
from skeldir_jwt_mw.testing import SigningKey

URL = "https://login.example.com/"
KEY = bytes(range(32))
OTHER_KEY = bytes(range(100, 140))
LEAST = {"ISSUER": URL, "AUDIENCE": "orders-api"}
LEAST_ENVIRON = {"SKELDIR_JWT_ISSUER": URL, "SKELDIR_JWT_AUDIENCE": "orders-api"}


class AnyVerifier:
    """Something with a verifier's two methods."""

    def verify(self, raw: str) -> None: ...

    async def averify(self, raw: str) -> None: ...


A_VERIFIER = AnyVerifier()


def make_verifier() -> AnyVerifier:
    return A_VERIFIER


def a_getter(headers: Mapping[str, tuple[str, ...]]) -> str | None:
    return None


def environ(**more: str) -> dict[str, str]:
    return {**LEAST_ENVIRON, **{f"SKELDIR_JWT_{name}": value for name, value in more.items()}}


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make()
    return str(caught.value)


# -- the dict ------------------------------------------------------------------------------------


def test_an_issuer_and_an_audience_are_enough() -> None:
    made = parse_settings(LEAST)
    assert made.issuers == (Issuer(URL, audience="orders-api"),)
    assert made.policy == RefreshPolicy()
    assert dict(made.limits) == dict(made.middleware) == {}
    assert made.given_verifier is made.store is made.database is made.database_url is None
    assert made.namespace is made.seal_keys is made.user_resolver is None


def test_every_option_of_an_issuer_has_its_upper_case_name() -> None:
    options: dict[str, Any] = {
        "audience": ("orders-api", None),
        "jwks_url": "http://localhost/keys",
        "algorithms": ["ES256"],
        "leeway": 5,
        "token_types": ["JWT", None],
        "claims": {"client_id": "web"},
        "required_claims": ["sub"],
        "scope_claims": ["scope"],
        "tenant_claim": "org",
        "ignored_headers": ["jku"],
        "allow_http": True,
        "allow_private_hosts": True,
    }
    assert set(options) | {"issuer", "source"} == {member.name for member in dataclasses.fields(Issuer)}
    settings = {"ISSUER": URL, **{name.upper(): value for name, value in options.items()}}
    assert parse_settings(settings).issuers == (Issuer(URL, **options),)


def test_every_field_of_the_policy_stands_beside_them() -> None:
    fields = {
        "refresh_interval": 200.0,
        "check_interval": 50.0,
        "floor": 4.0,
        "jitter": 1.0,
        "backoff_base": 1.0,
        "backoff_max": 30.0,
        "max_stale": 3600.0,
        "fetch_timeout": 2.0,
        "lease": 4.0,
        "wait_budget": 1.0,
        "max_waiters": 8,
        "strategy": "lease",
        "on_store_outage": "fetch",
        "background": False,
    }
    made = parse_settings({**LEAST, **{name.upper(): value for name, value in fields.items()}})
    assert dataclasses.asdict(made.policy) == fields


def test_several_issuers_are_a_list_of_dicts() -> None:
    made = parse_settings(
        {
            "ISSUERS": [
                LEAST,
                {"ISSUER": "urn:x", "AUDIENCE": ["a"], "JWKS_URL": URL},
                Issuer("https://z/", audience="z"),
            ],
            "FLOOR": 1,
        }
    )
    assert [one.issuer for one in made.issuers] == [URL, "urn:x", "https://z/"]
    assert made.policy.floor == 1.0


def test_the_options_of_the_middleware_are_handed_on_where_they_are_given() -> None:
    made = parse_settings({**LEAST, "REQUIRED": False, "EXEMPT": ["/health"], "TOKEN_GETTER": a_getter})
    assert made.middleware_options() == {"required": False, "exempt": ["/health"], "token_getter": a_getter}


def test_a_token_getter_and_a_user_resolver_may_be_dotted_paths() -> None:
    made = parse_settings(
        {**LEAST, "TOKEN_GETTER": f"{__name__}.a_getter", "USER_RESOLVER": f"{__name__}.a_getter"}
    )
    assert made.middleware_options()["token_getter"] is a_getter
    assert made.load_user_resolver() is a_getter
    assert parse_settings(LEAST).load_user_resolver() is None
    wrong = parse_settings({**LEAST, "USER_RESOLVER": f"{__name__}.URL"})
    assert refusal(wrong.load_user_resolver).startswith("SKELDIR_JWT['USER_RESOLVER'] (")


def test_store_and_limits_are_handed_on() -> None:
    made = parse_settings(
        {**LEAST, "DATABASE": "default", "NAMESPACE": "orders", "TOKEN_CACHE": 5, "MAX_TOKEN_BYTES": 4096}
    )
    assert (made.database, made.namespace) == ("default", "orders")
    assert dict(made.limits) == {"token_cache": 5, "max_token_bytes": 4096}


def test_null_is_as_good_as_left_out_except_for_the_audience() -> None:
    made = parse_settings(
        {**LEAST, "DATABASE_URL": None, "SEAL_KEYS": None, "JWKS_URL": None, "VERIFIER": None}
    )
    assert made == parse_settings(LEAST)
    admits_none = parse_settings({"ISSUER": URL, "AUDIENCE": None, "CLAIMS": {"client_id": "web"}})
    assert admits_none.issuers[0].audience == (None,)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "SKELDIR_JWT['ISSUER'] is missing"),
        ({"ISSUER": URL}, "SKELDIR_JWT['AUDIENCE'] is missing"),
        ({"ISSUER": "", "AUDIENCE": "a"}, "SKELDIR_JWT['ISSUER'] ('') must not be empty"),
        (
            {**LEAST, "FLOR": 1},
            "SKELDIR_JWT['FLOR'] is not a setting, did you mean 'FLOOR'; docs/settings.md tells every",
        ),
        ({**LEAST, "floor": 1}, "SKELDIR_JWT['floor'] is not a setting, did you mean 'FLOOR'"),
        ({**LEAST, 5: 1}, "SKELDIR_JWT[5] is not a setting"),
        ({**LEAST, "POLICY": {}}, "SKELDIR_JWT['POLICY'] is not a setting"),
        ({**LEAST, "ALGORITHMS": "RS256"}, "SKELDIR_JWT['ALGORITHMS'] ('RS256') must be a sequence"),
        ({**LEAST, "ALGORITHMS": []}, "SKELDIR_JWT['ALGORITHMS'] ([]) must not be empty"),
        ({**LEAST, "CLAIMS": {"a": ()}}, "SKELDIR_JWT['CLAIMS']['a'] (()) must not be empty"),
        ({**LEAST, "FLOOR": "5"}, "SKELDIR_JWT['FLOOR'] ('5') must be a number"),
        (
            {**LEAST, "FLOOR": None, "LEASE": 1},
            "SKELDIR_JWT['LEASE'] (1 s) must be longer than SKELDIR_JWT['FETCH_TIMEOUT'] (3 s)",
        ),
        ({**LEAST, "STRATEGY": "leese"}, "SKELDIR_JWT['STRATEGY'] ('leese') must be"),
        ({"ISSUERS": []}, "SKELDIR_JWT['ISSUERS'] ([]) must be a list of at least one"),
        (
            {"ISSUERS": {"ISSUER": URL}},
            "SKELDIR_JWT['ISSUERS'] ({'ISSUER': 'https://login.example.com/'}) must be a list",
        ),
        ({"ISSUERS": [5]}, "SKELDIR_JWT['ISSUERS'] (5) must hold"),
        ({"ISSUERS": [LEAST, LEAST]}, "SKELDIR_JWT['ISSUERS'] ('https://login.example.com/') is given twice"),
        ({"ISSUERS": [LEAST, {"ISSUER": URL}]}, "SKELDIR_JWT['ISSUERS'][1]['AUDIENCE'] is missing"),
        (
            {"ISSUERS": [{**LEAST, "LEEWAI": 1}]},
            "SKELDIR_JWT['ISSUERS'][0]['LEEWAI'] is not a setting, did you mean 'LEEWAY'",
        ),
        ({"ISSUERS": [{**LEAST, "FLOOR": 1}]}, "SKELDIR_JWT['ISSUERS'][0]['FLOOR'] is not a setting"),
        ({"ISSUERS": [{**LEAST, "LEEWAY": -1}]}, "SKELDIR_JWT['ISSUERS'][0]['LEEWAY'] (-1) must be"),
        (
            {"ISSUERS": [LEAST], "AUDIENCE": "a"},
            "SKELDIR_JWT['ISSUERS'] and SKELDIR_JWT['AUDIENCE'] contradict",
        ),
        (
            {**LEAST, "VERIFIER": "a.b"},
            "SKELDIR_JWT['VERIFIER'] and SKELDIR_JWT['ISSUER'], SKELDIR_JWT['AUDIENCE'] contradict",
        ),
        ({"VERIFIER": "a.b", "FLOOR": 1}, "SKELDIR_JWT['VERIFIER'] and SKELDIR_JWT['FLOOR'] contradict"),
        (
            {**LEAST, "DATABASE": "a", "DATABASE_URL": "b"},
            "SKELDIR_JWT['DATABASE'] and SKELDIR_JWT['DATABASE_URL'] contradict",
        ),
        (
            {**LEAST, "STORE": object(), "DATABASE": "a"},
            "SKELDIR_JWT['STORE'] and SKELDIR_JWT['DATABASE'] contradict",
        ),
        ({**LEAST, "DATABASE": ""}, "SKELDIR_JWT['DATABASE'] ('') must not be empty"),
        ({**LEAST, "NAMESPACE": 5}, "SKELDIR_JWT['NAMESPACE'] (5) must be a string"),
        ({**LEAST, "DATABASE_URL": ""}, "SKELDIR_JWT['DATABASE_URL'] (***) must be a non-empty string"),
        ({**LEAST, "SEAL_KEYS": KEY}, "SKELDIR_JWT['SEAL_KEYS'] (***) must be a list"),
        (
            {**LEAST, "SEAL_KEYS": [KEY, b"short"]},
            "SKELDIR_JWT['SEAL_KEYS'] (entry 2, 5 bytes) must be at least 32",
        ),
        ({**LEAST, "SEAL_KEYS": [5]}, "SKELDIR_JWT['SEAL_KEYS'] (entry 1, ***) must be bytes"),
        ([], "SKELDIR_JWT ([]) must be a dict"),
        (None, "SKELDIR_JWT (None) must be a dict"),
    ],
)
def test_a_wrong_setting_is_called_what_the_user_called_it(settings: Any, text: str) -> None:
    assert refusal(lambda: parse_settings(settings)).startswith(text)


def test_the_origin_is_the_name_in_error_texts() -> None:
    text = refusal(lambda: parse_settings({**LEAST, "FLOOR": -1}, 'app.config["SKELDIR_JWT"]'))
    assert text.startswith("app.config[\"SKELDIR_JWT\"]['FLOOR'] (-1)")


# -- VERIFIER ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [A_VERIFIER, make_verifier, f"{__name__}.A_VERIFIER", f"{__name__}:make_verifier"]
)
def test_verifier_is_one_or_leads_to_one(given: object) -> None:
    made = parse_settings({"VERIFIER": given, "REQUIRED": False})
    assert made.verifier() is A_VERIFIER
    assert made.issuers == ()
    assert made.middleware_options() == {"required": False}


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (5, "must be a Verifier"),
        (AnyVerifier, "must be a Verifier"),
        (lambda: 5, "must be a Verifier"),
        ("verifier", "must be a dotted path"),
        ("", "must be a dotted path"),
        ("json.", "must be a dotted path"),
        (".loads", "must be a dotted path"),
        ("no_such_module.verifier", "there is no module 'no_such_module'"),
        ("json.no_such.verifier", "there is no module 'json.no_such'"),
        ("json.no_such", "'json' has no 'no_such'"),
    ],
)
def test_a_verifier_that_is_none_is_refused(given: object, rule: str) -> None:
    text = refusal(lambda: parse_settings({"VERIFIER": given}).verifier())
    assert text.startswith("SKELDIR_JWT['VERIFIER'] (")
    assert rule in text


def test_a_module_that_is_broken_itself_shows_its_own_error(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings_test_broken.py").write_text("import settings_test_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="settings_test_missing"):
        load("X", "settings_test_broken.verifier")


# -- the verifier that is built ------------------------------------------------------------------


def test_settings_become_the_arguments_of_a_verifier() -> None:
    made = parse_settings(
        {
            **LEAST,
            "DATABASE_URL": "postgresql://db/app",
            "NAMESPACE": "n",
            "SEAL_KEYS": [KEY],
            "TOKEN_CACHE": 7,
        }
    )
    arguments = made.arguments()
    store = arguments.pop("store")
    assert isinstance(store, PostgresStore)
    assert store.namespace == "n"
    assert arguments == {
        "issuers": (Issuer(URL, audience="orders-api"),),
        "policy": RefreshPolicy(),
        "seal_keys": (KEY,),
        "token_cache": 7,
    }
    assert list(made.verifier().status()) == [URL]


def test_a_database_url_that_the_store_refuses_is_called_by_its_name() -> None:
    text = refusal(parse_environ(environ(DATABASE_URL="mysql://app:hunter2@db/app")).arguments)
    assert text.startswith("SKELDIR_JWT_DATABASE_URL ")
    assert "hunter2" not in text


def test_without_a_database_keys_stay_in_memory() -> None:
    assert isinstance(parse_settings(LEAST).arguments()["store"], MemoryStore)
    assert list(parse_environ(LEAST_ENVIRON).verifier().status()) == [URL]


def test_what_the_settings_leave_open_may_be_given() -> None:
    store = PostgresStore("postgresql://db/app")
    made = parse_settings({**LEAST, "DATABASE": "default"})
    arguments = made.arguments(store=store, seal_keys=[KEY])
    assert arguments["store"] is store
    assert arguments["seal_keys"] == [KEY]
    assert refusal(lambda: made.verifier(store=store)).startswith("SKELDIR_JWT['SEAL_KEYS'] is missing")


def test_what_the_settings_say_goes_before_what_is_given() -> None:
    store = MemoryStore()
    made = parse_settings({**LEAST, "STORE": store, "SEAL_KEYS": ()})
    arguments = made.arguments(store=PostgresStore("postgresql://db/app"), seal_keys=[KEY])
    assert arguments["store"] is store
    assert arguments["seal_keys"] == ()


def test_a_wrong_limit_is_called_what_the_user_called_it() -> None:
    made = parse_environ(environ(MAX_TOKEN_BYTES="1"))
    assert refusal(made.verifier).startswith("SKELDIR_JWT_MAX_TOKEN_BYTES ")


def test_a_django_database_means_nothing_elsewhere() -> None:
    text = refusal(parse_settings({**LEAST, "DATABASE": "default"}).verifier)
    assert text.startswith("SKELDIR_JWT['DATABASE'] ('default')")
    assert "DATABASE_URL" in text


# -- seal keys -----------------------------------------------------------------------------------


def test_a_shared_store_without_seal_keys_says_how_to_make_one() -> None:
    text = refusal(lambda: require_seal_keys(None, shared=True))
    assert text.startswith("seal_keys is missing")
    assert "`skeldir-jwt seal-key`" in text


def test_memory_needs_no_seal_keys() -> None:
    assert require_seal_keys(None, shared=False) == ()


def test_opting_out_of_seals_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="skeldir_jwt_mw"):
        assert require_seal_keys((), shared=True) == ()
    assert ["not sealed" in record.getMessage() for record in caplog.records] == [True]
    caplog.clear()
    assert require_seal_keys((), shared=False) == ()
    assert require_seal_keys([KEY], shared=True) == (KEY,)
    assert caplog.records == []


@pytest.mark.parametrize("keys", [KEY, bytearray(KEY), 5, {KEY}])
def test_a_single_seal_key_is_not_a_sequence_of_them(keys: Any) -> None:
    text = refusal(lambda: require_seal_keys(keys, shared=True))
    assert text.startswith("seal_keys (***) must be a sequence")


@pytest.mark.parametrize("keys", [KEY, [KEY.hex()], [KEY[:31]], [KEY, b""]])
def test_r55_seal_keys_are_bytes_of_enough_length_and_never_shown(keys: Any) -> None:
    text = refusal(lambda: require_seal_keys(keys, shared=True))
    assert text.startswith("seal_keys (")
    assert KEY.hex() not in text
    assert repr(KEY[:31])[2:20] not in text


@pytest.mark.parametrize(
    "spelling",
    [
        base64.b64encode,
        base64.urlsafe_b64encode,
        lambda key: base64.urlsafe_b64encode(key).rstrip(b"="),
        lambda key: b" " + base64.b64encode(key) + b" ",
    ],
)
def test_seal_keys_are_base64_in_variables(spelling: Callable[[bytes], bytes]) -> None:
    text = ",".join(spelling(key).decode() for key in (OTHER_KEY, b"\xff\xfe" * 20))
    assert parse_environ(environ(SEAL_KEYS=text)).seal_keys == (OTHER_KEY, b"\xff\xfe" * 20)
    assert parse_settings({**LEAST, "SEAL_KEYS": text.split(",")}).seal_keys == (OTHER_KEY, b"\xff\xfe" * 20)


def sealed_with(*keys: bytes) -> list[bytes | None]:
    return [Sealer([key]).seal("row", CONTENT) for key in keys]


CONTENT = Content(generation=1, fetched_us=1, expires_us=2, etag=None, last_modified=None, payload=b"{}")
WRITTEN = base64.b64encode(KEY).decode()
OTHER_WRITTEN = base64.b64encode(OTHER_KEY).decode()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (WRITTEN, (KEY,)),
        (f"{WRITTEN},{OTHER_WRITTEN}", (KEY, OTHER_KEY)),
        (f" {OTHER_WRITTEN} , {WRITTEN.rstrip('=')}\n", (OTHER_KEY, KEY)),
        ("none", ()),
    ],
)
def test_the_text_of_the_variable_is_read_alike_wherever_it_is_given(
    text: str, keys: tuple[bytes, ...]
) -> None:
    assert seal_keys_from_env({"SKELDIR_JWT_SEAL_KEYS": text}) == keys
    assert seal_keys_from_env({"SKELDIR_JWT_CONFIG": json.dumps({"SEAL_KEYS": text})}) == keys
    assert parse_environ(environ(SEAL_KEYS=text)).seal_keys == keys
    assert require_seal_keys(text, shared=False) == keys
    issuer = Issuer(URL, audience="orders-api")
    for verifier in (
        Verifier(issuer, store="postgresql://db/app", seal_keys=text),
        Verifier.from_env(environ(SEAL_KEYS=text, DATABASE_URL="postgresql://db/app")),
    ):
        found = [verifier._setup.sealer.inspect("row", CONTENT, seal) for seal in sealed_with(*keys)]
        assert found == ["good"] * len(keys)


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN + OTHER_WRITTEN,  # the comma is missing: all that is behind the padding would be lost
        f"{WRITTEN};{OTHER_WRITTEN}",
        f"{WRITTEN} {OTHER_WRITTEN}",
        f"{WRITTEN},",
        f"{WRITTEN},,{OTHER_WRITTEN}",
        f"{WRITTEN}!",
        f"'{WRITTEN}'",
        "",
    ],
)
def test_nothing_of_a_seal_key_s_text_is_left_over(text: str) -> None:
    for read in (
        lambda: seal_keys_from_env({"SKELDIR_JWT_SEAL_KEYS": text}),
        lambda: require_seal_keys(text, shared=True),
    ):
        refused = refusal(read)
        assert WRITTEN[:20] not in refused
        assert refused.startswith(("SKELDIR_JWT_SEAL_KEYS", "seal_keys (entry"))


def test_the_process_s_environment_is_what_is_read_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SKELDIR_JWT_SEAL_KEYS", raising=False)
    assert seal_keys_from_env() is None
    monkeypatch.setenv("SKELDIR_JWT_SEAL_KEYS", WRITTEN)
    monkeypatch.setenv("SKELDIR_JWT_ISSUER", URL)
    monkeypatch.setenv("SKELDIR_JWT_AUDIENCE", "orders-api")
    assert seal_keys_from_env() == (KEY,)
    assert list(Verifier.from_env().status()) == [URL]


def test_other_settings_are_no_concern_of_the_seal_keys() -> None:
    assert seal_keys_from_env({"SKELDIR_JWT_SEAL_KEYS": WRITTEN, "SKELDIR_JWT_NONSENSE": "1"}) == (KEY,)
    both = {"SKELDIR_JWT_SEAL_KEYS": WRITTEN, "SKELDIR_JWT_CONFIG": '{"SEAL_KEYS": "none"}'}
    assert "both set" in refusal(lambda: seal_keys_from_env(both))


def test_none_opts_out_of_seal_keys() -> None:
    assert parse_environ(environ(SEAL_KEYS="None")).seal_keys == ()
    assert parse_environ(environ()).seal_keys is None


@pytest.mark.parametrize("text", ["hunter2-secret!", "aHVudGVyMg==,", ",", "aHVudGVyMg==", "a", "hünter"])
def test_a_wrong_seal_key_is_refused_without_being_shown(text: str) -> None:
    refused = refusal(lambda: parse_environ(environ(SEAL_KEYS=text)))
    assert refused.startswith("SKELDIR_JWT_SEAL_KEYS (entry ")
    assert text.rstrip("=,!") not in refused or text in (",", "a")


def test_no_secret_is_shown_by_settings() -> None:
    made = parse_settings({**LEAST, "DATABASE_URL": "postgresql://app:hunter2@db/app", "SEAL_KEYS": [KEY]})
    assert "hunter2" not in repr(made)
    assert repr(KEY) not in repr(made)


# -- mistakes that can be seen at the start -------------------------------------------------------


ISSUED = Issuer(URL, audience="orders-api")
WELL_KNOWN = f"{URL}.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Verifier(ISSUED, store=PostgresStore), 'write PostgresStore("postgresql://...")'),
        (lambda: Verifier(ISSUED, store=MemoryStore), "store is the class MemoryStore; write MemoryStore()"),
        (lambda: Verifier(ISSUED, store="mysql://app:hunter2@db/app"), "store "),
        (
            lambda: Verifier(ISSUED, store={"dsn": "hunter2"}),
            "store (of type dict) must be a connection string",
        ),
        (lambda: Verifier(ISSUED, store=lambda: "hunter2"), "store (of type function) must be"),
        (
            lambda: Verifier(ISSUED, policy={"floor": 1.0}),
            "policy (dict) must be a RefreshPolicy; write policy=RefreshPolicy(floor=1.0)",
        ),
        (lambda: Verifier(ISSUED, policy={"FLOOR": 1}), "write policy=RefreshPolicy(floor=1)"),
        (lambda: Verifier(ISSUED, policy=RefreshPolicy), "write policy=RefreshPolicy()"),
        (lambda: Verifier(ISSUED, policy="lease"), "policy (str) must be a RefreshPolicy"),
        (
            lambda: Verifier(URL),
            "must be an Issuer and not a string: write Issuer('https://login.example.com/'",
        ),
        (lambda: Issuer(WELL_KNOWN, audience="a"), "write what stands before /.well-known"),
        (lambda: Issuer(f"{WELL_KNOWN}/", audience="a"), "write what stands before /.well-known"),
        (
            lambda: Issuer("https://x/.well-known/oauth-authorization-server", audience="a"),
            "write what stands before /.well-known",
        ),
        (lambda: Issuer(WELL_KNOWN, audience="a", jwks_url=URL), "write what stands before /.well-known"),
        (lambda: Issuer(URL, audience="a", jwks_url=WELL_KNOWN), "is the address of the discovery document"),
        *(
            (
                lambda url=url: Issuer(url, audience="a", allow_http=True),
                "also needs allow_private_hosts=True",
            )
            for url in (
                "http://localhost:8080/realms/x",
                "http://LOCALHOST/",
                "http://idp.localhost./",
                "http://127.0.0.1:1",
                "http://[::1]/",
                "http://192.168.7.7/",
                "https://localhost/",
                "https://127.9.9.9/",
            )
        ),
        (
            lambda: Issuer("x", audience="a", jwks_url="http://localhost/keys", allow_http=True),
            "jwks_url ('http://localhost/keys') is on a private host: it also needs allow_private_hosts=True",
        ),
        (
            lambda: parse_settings({**LEAST, "STORE": PostgresStore}),
            "SKELDIR_JWT['STORE'] is the class PostgresStore; write",
        ),
        (
            lambda: parse_settings({**LEAST, "STORE": "mysql://app:hunter2@db/app"}).verifier(),
            "SKELDIR_JWT['STORE'] ",
        ),
        (
            lambda: Guard(AnyVerifier(), exempt=["/docs/*"]),
            "no patterns: write '/docs/' for every path below it",
        ),
        (lambda: Guard(AnyVerifier(), exempt=["/*"]), "no patterns: name each path"),
        (lambda: Guard(AnyVerifier(), exempt=["/users/{id}/avatar"]), "write '/users/' for every path below"),
        (lambda: Guard(AnyVerifier(), exempt=["/users/<int:id>"]), "no patterns: write '/users/'"),
        (lambda: Guard(AnyVerifier(), exempt=["/docs?page=1"]), "no patterns"),
        (lambda: Guard(AnyVerifier(), exempt=["/docs$"]), "no patterns"),
        (
            lambda: Guard(settings=parse_environ(environ(EXEMPT="/a,/docs/*"))),
            "('/docs/*') must hold paths and no patterns: write '/docs/'",
        ),
    ],
)
def test_what_can_only_be_a_mistake_is_refused_and_what_to_write_is_said(make: Any, text: str) -> None:
    refused = refusal(make)
    assert text in refused
    assert "hunter2" not in refused


def test_a_store_may_be_a_connection_string() -> None:
    verifier = Verifier(ISSUED, store="postgresql://app:hunter2@db/app", seal_keys=[KEY])
    assert isinstance(verifier.store, PostgresStore)
    made = parse_settings({**LEAST, "STORE": "host=db dbname=app", "NAMESPACE": "orders", "SEAL_KEYS": [KEY]})
    store = made.verifier().store
    assert isinstance(store, PostgresStore)
    assert store.namespace == "orders"
    beside = {**LEAST, "STORE": "host=db", "DATABASE_URL": "host=db"}
    assert "contradict" in refusal(lambda: parse_settings(beside))


def test_private_hosts_are_fine_with_leave_and_where_nothing_is_fetched() -> None:
    Issuer("http://localhost:8080/", audience="a", allow_http=True, allow_private_hosts=True)
    Issuer("https://localhost/", audience="a", allow_private_hosts=True)
    Issuer("http://localhost/", audience="a", jwks_url=URL)


# -- names that are none, and those at home elsewhere -----------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ISSUR", ", did you mean 'SKELDIR_JWT_ISSUER';"),
        ("FLOOR", ", did you mean 'SKELDIR_JWT_FLOOR_SECONDS';"),
        ("LEEWAY", ", did you mean 'SKELDIR_JWT_LEEWAY_SECONDS';"),
        ("SEALKEYS", ", did you mean 'SKELDIR_JWT_SEAL_KEYS';"),
        ("REQUIRE", ", did you mean 'SKELDIR_JWT_REQUIRED';"),
        ("TOKEN_TYPES", ": TOKEN_TYPES has no variable; give it in SKELDIR_JWT_CONFIG, as in "),
        ("CLAIMS", ': CLAIMS has no variable; give it in SKELDIR_JWT_CONFIG, as in {"CLAIMS": …};'),
        ("EXEMPT_PREFLIGHT", ": EXEMPT_PREFLIGHT has no variable; give it in SKELDIR_JWT_CONFIG"),
        ("USER_RESOLVER", ": USER_RESOLVER is given in Python alone, or in a Django project's SKELDIR_JWT;"),
        ("STORE", ": STORE is given in Python alone"),
        ("DATABASE", ": DATABASE is for Django's settings; here it is SKELDIR_JWT_DATABASE_URL;"),
        ("CLIENT_CERT", ": client_cert is an option of JWKSUrlSource and DiscoverySource"),
        # No guess at all is better than one that does something else.
        ("REQUIRED_SCOPES", ";"),
        ("CLAIM_NAMES", ";"),
        ("OPTIONAL", ";"),
        ("SECRET", ";"),
        ("MAX_AGE", ";"),
        ("DEBUG", ";"),
    ],
)
def test_a_variable_that_is_none_leads_to_the_right_one_or_to_none(name: str, said: str) -> None:
    text = refusal(lambda: parse_environ(environ(**{name: "x"})))
    assert text.startswith(f"SKELDIR_JWT_{name} is not a setting{said}")
    assert len(text) < 200


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SKELDIR_JWT_FLOOR_SECONDS", ", did you mean 'FLOOR';"),
        ("SKELDIR_JWT_ISSUER", ", did you mean 'ISSUER';"),
        ("floor", ", did you mean 'FLOOR';"),
        ("FLOOR_SECONDS", ", did you mean 'FLOOR';"),
        ("POLICY", ": the fields of RefreshPolicy stand beside the others, such as 'FLOOR';"),
        ("HEADERS", ": headers is an option of JWKSUrlSource and DiscoverySource"),
        ("REQUIRED_SCOPES", ";"),
    ],
)
def test_a_name_in_the_dict_that_is_none_leads_to_the_right_one_or_to_none(name: str, said: str) -> None:
    text = refusal(lambda: parse_settings({**LEAST, name: 1}))
    assert text.startswith(f"SKELDIR_JWT[{name!r}] is not a setting{said}")


def test_a_setting_of_the_whole_has_no_place_in_an_issuer() -> None:
    text = refusal(lambda: parse_settings({"ISSUERS": [{**LEAST, "FLOOR": 1}]}))
    assert "FLOOR is a setting of the whole, beside ISSUERS and not in one of them" in text


def test_a_suggestion_is_near_or_there_is_none() -> None:
    names = [name for name in ALL if len(name) > 3]
    for name in names:
        swapped = name[:1] + name[2] + name[1] + name[3:]
        others = [other for other in names if other != name]
        for slip in (name[:-1], name + "X", swapped):
            found = suggestion(slip, names)
            assert found in ("", f", did you mean {name!r}") or slip in names, (slip, found)
        if (found := suggestion(name, others)) != "":
            assert name in ("ISSUER", "ISSUERS", "SOURCE", "RESOURCE"), (name, found)


# -- variables of the middleware and of the source ---------------------------------------------------


def test_the_middleware_has_variables() -> None:
    made = parse_environ(environ(REQUIRED="false", EXEMPT="/healthz, /docs/", REALM="orders"))
    assert made.middleware_options() == {
        "required": False,
        "exempt": ("/healthz", "/docs/"),
        "realm": "orders",
    }
    twice = environ(REALM="orders", CONFIG='{"REALM": "x"}')
    assert "both set" in refusal(lambda: parse_environ(twice))


@pytest.mark.parametrize("jwks_url", [None, "https://login.example.com/keys"])
def test_ca_file_and_proxy_reach_the_source_and_the_row_stays_the_same(jwks_url: str | None) -> None:
    urls = {} if jwks_url is None else {"JWKS_URL": jwks_url}
    reach = {"CA_FILE": certifi.where(), "PROXY": "http://proxy.example.com:3128"}
    (issuer,) = parse_environ(environ(**urls, **reach)).issuers
    assert isinstance(issuer.source, DiscoverySource if jwks_url is None else JWKSUrlSource)
    plain = Verifier.from_env(environ(**urls))
    proxied = Verifier.from_env(environ(**urls, **reach))
    assert plain.source_keys() == proxied.source_keys()
    one, other = parse_settings(
        {"ISSUERS": [{**LEAST, **urls, **reach}, {"ISSUER": "https://x.example.com/", "AUDIENCE": "a"}]}
    ).issuers
    assert one.source is not None
    assert other.source is None
    entries = [{**LEAST, **urls}, Issuer("https://x.example.com/", audience="a")]
    for one in parse_settings({"ISSUERS": entries, **reach}).issuers:
        assert one.source is not None  # what stands beside ISSUERS is for each of them


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"CA_FILE": "/no/such/file.pem"}, "SKELDIR_JWT['CA_FILE'] "),
        ({"PROXY": "proxy:3128"}, "SKELDIR_JWT['PROXY'] "),
        (
            {"PROXY": "http://proxy:3128", "SOURCE": StaticSource({"keys": [SigningKey.generate().jwk()]})},
            "contradict each other",
        ),
        ({"ISSUERS": [LEAST], "PROXY": "proxy:3128"}, "SKELDIR_JWT['PROXY'] "),
        ({"ISSUERS": [{**LEAST, "PROXY": "proxy:3128"}]}, "SKELDIR_JWT['ISSUERS'][0]['PROXY'] "),
    ],
)
def test_a_ca_file_or_a_proxy_that_cannot_be_is_called_what_the_user_called_it(
    given: dict[str, Any], text: str
) -> None:
    least = {} if "ISSUERS" in given else LEAST
    assert text in refusal(lambda: parse_settings({**least, **given}))


# -- variables -----------------------------------------------------------------------------------


def test_variables_and_the_dict_say_the_same() -> None:
    made = parse_environ(
        environ(
            AUDIENCE="orders-api, other",
            JWKS_URL="http://localhost:8000/keys",
            ALGORITHMS="ES256,RS256",
            LEEWAY_SECONDS="2.5",
            REQUIRED_CLAIMS="sub,jti",
            SCOPE_CLAIMS="scope,/realm_access/roles",
            TENANT_CLAIM="org",
            ALLOW_HTTP="true",
            ALLOW_PRIVATE_HOSTS="1",
            DATABASE_URL="postgresql://db/app",
            NAMESPACE="orders",
            SEAL_KEYS=base64.b64encode(KEY).decode(),
            TOKEN_CACHE="100",
            MAX_TOKEN_BYTES="8192",
            STRATEGY="lease",
            MAX_WAITERS="5",
            ON_STORE_OUTAGE="fetch",
        )
    )
    same = parse_settings(
        {
            "ISSUER": URL,
            "AUDIENCE": ["orders-api", "other"],
            "JWKS_URL": "http://localhost:8000/keys",
            "ALGORITHMS": ["ES256", "RS256"],
            "LEEWAY": 2.5,
            "REQUIRED_CLAIMS": ["sub", "jti"],
            "SCOPE_CLAIMS": ["scope", "/realm_access/roles"],
            "TENANT_CLAIM": "org",
            "ALLOW_HTTP": True,
            "ALLOW_PRIVATE_HOSTS": True,
            "DATABASE_URL": "postgresql://db/app",
            "NAMESPACE": "orders",
            "SEAL_KEYS": [KEY],
            "TOKEN_CACHE": 100,
            "MAX_TOKEN_BYTES": 8192,
            "STRATEGY": "lease",
            "MAX_WAITERS": 5,
            "ON_STORE_OUTAGE": "fetch",
        }
    )
    assert dataclasses.replace(made, names={}) == dataclasses.replace(same, names={})


@pytest.mark.parametrize("field", DURATIONS)
def test_every_time_of_the_policy_has_a_variable(field: str) -> None:
    default = getattr(RefreshPolicy(), field)
    for text, value in ((str(default * 1.1), default * 1.1), (f"{default:.0f}", default)):
        made = parse_environ(environ(**{f"{field.upper()}_SECONDS": text}))
        assert getattr(made.policy, field) == pytest.approx(value)


OLDER = {
    "REFRESH_JITTER_SECONDS": "jitter",
    "REFRESH_MIN_FLOOR_SECONDS": "floor",
    "REFRESH_BACKOFF_BASE_SECONDS": "backoff_base",
    "REFRESH_BACKOFF_MAX_SECONDS": "backoff_max",
    "KEY_RING_MAX_STALENESS_SECONDS": "check_interval",
}


@pytest.mark.parametrize(("older", "field"), OLDER.items())
def test_an_older_name_still_works_but_not_beside_the_newer(older: str, field: str) -> None:
    assert getattr(parse_environ(environ(**{older: "2.25"})).policy, field) == 2.25
    newer = f"{field.upper()}_SECONDS"
    text = refusal(lambda: parse_environ(environ(**{older: "2.25", newer: "2.25"})))
    assert f"SKELDIR_JWT_{older}" in text
    assert f"SKELDIR_JWT_{newer}" in text
    assert "both set" in text


def test_an_older_name_is_the_one_in_error_texts() -> None:
    text = refusal(lambda: parse_environ(environ(REFRESH_MIN_FLOOR_SECONDS="400")))
    assert "must be longer than SKELDIR_JWT_REFRESH_MIN_FLOOR_SECONDS (400 s)" in text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (
            "ISUER",
            "x",
            "SKELDIR_JWT_ISUER is not a setting, did you mean 'SKELDIR_JWT_ISSUER'; docs/settings.md",
        ),
        ("FLOOR", "5", "SKELDIR_JWT_FLOOR is not a setting, did you mean 'SKELDIR_JWT_FLOOR_SECONDS'"),
        ("issuer", "x", "SKELDIR_JWT_issuer is not a setting, did you mean 'SKELDIR_JWT_ISSUER'"),
        ("REQUIRED", "maybe", "SKELDIR_JWT_REQUIRED ('maybe') must be one of 1, true, yes, on"),
        ("FLOOR_SECONDS", "5s", "SKELDIR_JWT_FLOOR_SECONDS ('5s') must be a number of seconds"),
        ("FLOOR_SECONDS", "-1", "SKELDIR_JWT_FLOOR_SECONDS ('-1') must be a number of seconds"),
        ("FLOOR_SECONDS", "nan", "SKELDIR_JWT_FLOOR_SECONDS ('nan') must be a number of seconds"),
        ("FLOOR_SECONDS", "1e3", "SKELDIR_JWT_FLOOR_SECONDS ('1e3') must be a number of seconds"),
        ("FLOOR_SECONDS", "1_0", "SKELDIR_JWT_FLOOR_SECONDS ('1_0') must be a number of seconds"),
        ("FLOOR_SECONDS", "\u0661", "SKELDIR_JWT_FLOOR_SECONDS ("),
        ("FLOOR_SECONDS", "9" * 400, "SKELDIR_JWT_FLOOR_SECONDS ("),
        ("FLOOR_SECONDS", "0", "SKELDIR_JWT_FLOOR_SECONDS (0.0) must be longer than 0 s"),
        (
            "LEASE_SECONDS",
            "2",
            "SKELDIR_JWT_LEASE_SECONDS (2 s) must be longer than SKELDIR_JWT_FETCH_TIMEOUT_SECONDS (3 s)",
        ),
        ("MAX_WAITERS", "5.0", "SKELDIR_JWT_MAX_WAITERS ('5.0') must be a whole number"),
        ("MAX_WAITERS", "-5", "SKELDIR_JWT_MAX_WAITERS ('-5') must be a whole number"),
        ("MAX_WAITERS", "9" * 5000, "SKELDIR_JWT_MAX_WAITERS ("),
        ("MAX_WAITERS", "0", "SKELDIR_JWT_MAX_WAITERS (0) must be a whole number from 1"),
        ("ALLOW_HTTP", "ja", "SKELDIR_JWT_ALLOW_HTTP ('ja') must be one of 1, true, yes, on"),
        ("ALGORITHMS", "RS256,,ES256", "SKELDIR_JWT_ALGORITHMS ('RS256,,ES256') has an empty entry"),
        ("ALGORITHMS", "RS256,", "SKELDIR_JWT_ALGORITHMS ('RS256,') has an empty entry"),
        ("ALGORITHMS", "rs256", "SKELDIR_JWT_ALGORITHMS ('rs256') is not supported, did you mean 'RS256'"),
        ("ALGORITHMS", "HS256", "SKELDIR_JWT_ALGORITHMS ('HS256') is never accepted"),
        (
            "STRATEGY",
            "advisry",
            "SKELDIR_JWT_STRATEGY ('advisry') must be 'advisory' or 'lease', did you mean",
        ),
        ("ON_STORE_OUTAGE", "x", "SKELDIR_JWT_ON_STORE_OUTAGE ('x') must be"),
        ("JWKS_URL", "ftp://x/", "SKELDIR_JWT_JWKS_URL ('ftp://x/') must be an https URL"),
        ("ISSUER", "http://x/", "SKELDIR_JWT_ISSUER ('http://x/') must be an https URL"),
        ("CONFIG", "{", "SKELDIR_JWT_CONFIG is not valid JSON at line 1, column 2"),
        ("CONFIG", "[]", "SKELDIR_JWT_CONFIG must be a JSON object"),
        ("CONFIG", '"x"', "SKELDIR_JWT_CONFIG must be a JSON object"),
        ("CONFIG", '{"FLOOR": NaN}', "SKELDIR_JWT_CONFIG holds NaN"),
        ("CONFIG", '{"FLOOR": 1, "FLOOR": 2}', "SKELDIR_JWT_CONFIG gives FLOOR twice"),
        ("CONFIG", "[" * 100_000, "SKELDIR_JWT_CONFIG is not valid JSON"),
        ("CONFIG", '{"FLOR": 1}', "SKELDIR_JWT_CONFIG['FLOR'] is not a setting, did you mean 'FLOOR'"),
        ("CONFIG", '{"FLOOR": -1}', "SKELDIR_JWT_CONFIG['FLOOR'] (-1) must be"),
        (
            "CONFIG",
            f'{{"ISSUER": "{URL}"}}',
            "SKELDIR_JWT_CONFIG['ISSUER'] and SKELDIR_JWT_ISSUER are both set",
        ),
        (
            "CONFIG",
            '{"ISSUERS": []}',
            "SKELDIR_JWT_CONFIG['ISSUERS'] and SKELDIR_JWT_ISSUER, SKELDIR_JWT_AUDIENCE contradict",
        ),
    ],
)
def test_a_wrong_variable_is_refused_by_name(name: str, value: str, text: str) -> None:
    assert refusal(lambda: parse_environ(environ(**{name: value}))).startswith(text)


@pytest.mark.parametrize("name", [name for name in VARIABLES if not name.endswith("_MUTATIONS")])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_refused(name: str, value: str) -> None:
    assert refusal(lambda: parse_environ({**LEAST_ENVIRON, name: value})).startswith(f"{name} is empty")


@pytest.mark.parametrize(("environ", "name"), [({}, "ISSUER"), ({"SKELDIR_JWT_ISSUER": URL}, "AUDIENCE")])
def test_a_missing_variable_is_named(environ: dict[str, str], name: str) -> None:
    assert refusal(lambda: parse_environ(environ)).startswith(f"SKELDIR_JWT_{name} is missing")


def test_other_peoples_variables_are_left_alone() -> None:
    more = {"PATH": "", "SKELDIR_OTHER": "x", "SKELDIR_JWT_TEST_DSN": "x", "SKELDIR_JWT_ALLOW_MUTATIONS": "1"}
    assert parse_environ({**LEAST_ENVIRON, **more}) == parse_environ(LEAST_ENVIRON)


def test_the_whole_dict_may_be_json_and_variables_add_to_it() -> None:
    config = {
        "ISSUERS": [{**LEAST, "TOKEN_TYPES": ["JWT", None], "CLAIMS": {"ok": True, "n": [1, 2]}}],
        "REQUIRED": False,
        "FLOOR": 2,
    }
    made = parse_environ(
        {
            "SKELDIR_JWT_CONFIG": json.dumps(config),
            "SKELDIR_JWT_DATABASE_URL": "postgresql://db/app",
            "SKELDIR_JWT_SEAL_KEYS": base64.b64encode(KEY).decode(),
        }
    )
    assert made.issuers == (
        Issuer(URL, audience="orders-api", token_types=("JWT", None), claims={"ok": True, "n": (1, 2)}),
    )
    assert made.policy.floor == 2.0
    assert made.middleware_options() == {"required": False}
    assert made.database_url == "postgresql://db/app"
    assert made.seal_keys == (KEY,)


def test_a_value_in_the_json_is_not_shown_when_it_is_malformed() -> None:
    assert "hunter2" not in refusal(lambda: parse_environ(environ(CONFIG='{"SEAL_KEYS": "hunter2"')))


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"SKELDIR_JWT_DATABASE_URL": "postgresql://db/app"}, "postgresql://db/app"),
        (
            {"SKELDIR_JWT_DATABASE_URL": "postgresql://db/app", "SKELDIR_JWT_FLOOR_SECONDS": "x"},
            "postgresql://db/app",
        ),
        ({"SKELDIR_JWT_CONFIG": '{"DATABASE_URL": "postgresql://db/app"}'}, "postgresql://db/app"),
        ({"SKELDIR_JWT_CONFIG": "{}"}, None),
    ],
)
def test_migrating_needs_the_database_url_alone(environ: dict[str, str], url: str | None) -> None:
    assert database_url(environ) == url


@pytest.mark.parametrize("url", ["5", '""', "[]"])
def test_a_database_url_that_is_no_text_is_refused(url: str) -> None:
    text = refusal(lambda: database_url({"SKELDIR_JWT_CONFIG": f'{{"DATABASE_URL": {url}}}'}))
    assert text.startswith("SKELDIR_JWT_CONFIG['DATABASE_URL'] (***) must be")


# -- the mutation toggle -------------------------------------------------------------------------

TOGGLE, ALLOW = "SKELDIR_B12_P3_DISABLE_PG_SINGLEFLIGHT", "SKELDIR_JWT_ALLOW_MUTATIONS"


@pytest.mark.parametrize(
    ("environ", "disabled"),
    [
        ({}, False),
        ({ALLOW: "1"}, False),
        ({TOGGLE: "0"}, False),
        ({TOGGLE: "false", ALLOW: "1"}, False),
        ({TOGGLE: "1", ALLOW: "1"}, True),
        ({TOGGLE: "True", ALLOW: " yes "}, True),
    ],
)
def test_the_toggle_works_where_mutations_are_allowed(environ: dict[str, str], disabled: bool) -> None:
    assert singleflight_disabled(environ) is disabled


@pytest.mark.parametrize("environ", [{TOGGLE: "1"}, {TOGGLE: "1", ALLOW: "0"}, {TOGGLE: "on", ALLOW: "off"}])
def test_the_toggle_is_refused_elsewhere(environ: dict[str, str]) -> None:
    text = refusal(lambda: singleflight_disabled(environ))
    assert TOGGLE in text
    assert f"{ALLOW}=1" in text


@pytest.mark.parametrize(
    "environ", [{TOGGLE: "2"}, {TOGGLE: ""}, {TOGGLE: "1", ALLOW: "maybe"}, {TOGGLE: "1", ALLOW: ""}]
)
def test_a_toggle_that_cannot_be_read_is_refused(environ: dict[str, str]) -> None:
    assert refusal(lambda: singleflight_disabled(environ)).startswith((TOGGLE, ALLOW))


def test_settings_are_frozen() -> None:
    made = parse_settings(LEAST)
    assert isinstance(made, Settings)
    assert isinstance(made.limits, types.MappingProxyType)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.database = "other"  # type: ignore[misc]
