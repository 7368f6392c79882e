"""What each command does and prints, in this process, over a real database and provider."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from click.testing import Result
from operating import environ_of

from skeldir_jwt_mw import (
    ConfigurationError,
    InsufficientScope,
    InvalidToken,
    Issuer,
    KeysUnavailable,
    PostgresStore,
    Verifier,
    picture,
)
from skeldir_jwt_mw.picture import KeysAway
from skeldir_jwt_mw.report import exit_of
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey, demo

Invoke = Callable[..., Result]
NOWHERE = "postgresql://nobody:hunter2@127.0.0.1:1/nothing"


def rows(dsn: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute("SELECT * FROM public.jwt_verification_cache").fetchall()


def serve(environ: dict[str, str]) -> None:
    """A service with these settings loads its keys, as commands that only read never do."""
    Verifier.from_env(environ).warm()


def printed(result: Result) -> str:
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.output


def test_migrate_says_what_it_has_applied_and_is_harmless_again(
    invoke: Invoke, new_database: Callable[[], str]
) -> None:
    dsn = new_database()
    first = printed(invoke("migrate", environ={"SKELDIR_JWT_DATABASE_URL": dsn}))
    assert first.startswith("applied 0001_")
    assert first.strip().endswith(".sql")
    assert printed(invoke("migrate", "--dsn", dsn)) == "up to date\n"
    assert json.loads(printed(invoke("migrate", "--dsn", dsn, "--json"))) == {
        "applied": [],
        "rows_created": 0,
    }
    assert rows(dsn) == []


def test_the_dsn_on_the_command_line_goes_before_the_environment(
    invoke: Invoke, new_database: Callable[[], str]
) -> None:
    dsn = new_database()
    assert "applied" in printed(
        invoke("migrate", "--dsn", dsn, environ={"SKELDIR_JWT_DATABASE_URL": NOWHERE})
    )


def test_migrate_needs_nothing_but_the_database(invoke: Invoke, pg_dsn: str) -> None:
    environ = {"SKELDIR_JWT_DATABASE_URL": pg_dsn, "SKELDIR_JWT_FLOOR_SECONDS": "soon"}
    assert printed(invoke("migrate", environ=environ)) == "up to date\n"


def test_migrate_provision_creates_the_configured_issuers_rows(
    invoke: Invoke, settings: dict[str, str], pg_dsn: str, idp: LoopbackIssuer
) -> None:
    assert printed(invoke("migrate", "--provision", environ=settings)) == "up to date\nrows created: 1\n"
    assert printed(invoke("migrate", "--provision", environ=settings)) == "up to date\nrows created: 0\n"
    (row,) = rows(pg_dsn)
    assert row["generation"] == 0
    assert idp.fetches == 0
    verifier = Verifier.from_env(settings)
    assert [row["source_key"]] == verifier.source_keys()
    assert (
        json.loads(printed(invoke("migrate", "--provision", "--json", environ=settings)))["rows_created"] == 0
    )


def test_migrate_tells_who_else_may_use_the_table(invoke: Invoke, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, UPDATE ON TABLES TO PUBLIC"
        )
    told = printed(invoke("migrate", "--dsn", dsn))
    assert "warning: everybody (PUBLIC) may SELECT, UPDATE on public.jwt_verification_cache" in told
    assert "run REVOKE ALL ON public.jwt_verification_cache FROM PUBLIC;\n" in told
    again = json.loads(printed(invoke("migrate", "--dsn", dsn, "--json")))
    assert again["open_to"][0] == {
        "table": "public.jwt_verification_cache",
        "role": None,
        "privileges": "SELECT, UPDATE",
        "revoke": "REVOKE ALL ON public.jwt_verification_cache FROM PUBLIC;",
    }
    with psycopg.connect(dsn) as connection:
        for one in again["open_to"]:
            connection.execute(one["revoke"].encode())
    assert printed(invoke("migrate", "--dsn", dsn)) == "up to date\n"


def test_migrate_without_a_database_says_what_to_set(invoke: Invoke) -> None:
    error = invoke("migrate").exception
    assert isinstance(error, ConfigurationError)
    assert str(error) == "there is no database; set SKELDIR_JWT_DATABASE_URL or give --dsn"


def test_a_seal_key_is_32_new_bytes_in_base64_that_the_settings_take(
    invoke: Invoke, settings: dict[str, str], pg_dsn: str
) -> None:
    keys = {printed(invoke("seal-key")).strip() for _ in range(3)}
    assert len(keys) == 3
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {32}
    key = keys.pop()
    Verifier.from_env({**settings, "SKELDIR_JWT_SEAL_KEYS": ",".join([key, *keys])})
    store = PostgresStore(pg_dsn)
    Verifier(
        Issuer("https://login.example.com/", audience="x"), store=store, seal_keys=[base64.b64decode(key)]
    )


def test_status_reads_the_shared_keys_and_shows_them(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    serve(settings)
    text = printed(invoke("status", environ=settings))
    start = f"{idp.issuer}\n  ready: True\n  trouble: -\n  kids: {idp.kids[0]}\n"
    assert text.startswith(start + "  rejected_keys: -\n  generation: ")
    assert (
        "  last_error: -\n  last_refresh_reason: cold\n  gate\n    closed_for: 0.0\n    reason: -\n" in text
    )
    shown = json.loads(printed(invoke("status", "--json", environ=settings)))[idp.issuer]
    assert shown["kids"] == list(idp.kids)
    assert idp.fetches == 1  # by the service


def test_status_shows_what_there_is_before_it_fails(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    idp.down()
    with pytest.raises(KeysUnavailable):
        serve(settings)
    result = invoke("status", environ=settings)
    assert isinstance(result.exception, KeysAway)
    assert str(result.exception) == f"{idp.issuer}: {picture.NO_KEYS}"
    assert "ready: False" in result.output
    assert "last_error: the provider answered with status 503" in result.output
    assert "    reason: failed\n" in result.output


def test_status_without_a_fitting_key_is_not_ready(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    serve(settings)
    result = invoke("status", environ={**settings, "SKELDIR_JWT_ALGORITHMS": "EdDSA"})
    assert result.exit_code == 1
    assert picture.NONE_FITS in result.output
    assert "ready: False" in result.output


def test_refresh_fetches_and_shows_the_new_keys(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer, pg_dsn: str
) -> None:
    serve(settings)
    new = idp.rotate()
    assert f"kids: {new}, " in printed(invoke("refresh", environ=settings))
    assert rows(pg_dsn)[0]["last_refresh_reason"] == "manual"
    again = invoke("refresh", "--json", environ=settings)
    assert isinstance(again.exception, KeysUnavailable)
    assert again.exception.reason == "floor"
    assert idp.fetches == 2


def test_verify_prints_the_claims(invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer) -> None:
    serve(settings)
    token = idp.token(sub="user-7", claims={"roles": ["a", "b"], "realm": {"name": "x"}})
    text = printed(invoke("verify", token, environ=settings))
    assert "sub: user-7\n" in text
    assert "roles: a, b\n" in text
    assert "realm\n  name: x\n" in text
    claims = json.loads(printed(invoke("verify", token, "--json", environ=settings)))
    assert (claims["sub"], claims["realm"]) == ("user-7", {"name": "x"})


def test_verify_reads_standard_input(invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer) -> None:
    serve(settings)
    assert "sub: user-1" in printed(invoke("verify", "-", environ=settings, stdin=f"  {idp.token()}\n"))


def test_verify_asks_for_scopes(invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer) -> None:
    serve(settings)
    token = idp.token(scopes=("orders:read", "orders:write"))
    wanted = ("--scope", "orders:read", "--scope", "orders:write")
    printed(invoke("verify", token, *wanted, environ=settings))
    error = invoke("verify", token, *wanted, "--scope", "orders:delete", environ=settings).exception
    assert isinstance(error, InsufficientScope)


def test_verify_raises_what_verify_raises(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    error = invoke("verify", idp.token(expires_in=-90), environ=settings).exception
    assert isinstance(error, InvalidToken)
    assert error.code == "expired"


def test_flags_go_before_the_environment(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer, pg_dsn: str
) -> None:
    serve(settings)
    wrong = {**settings, "SKELDIR_JWT_AUDIENCE": "billing-api", "SKELDIR_JWT_DATABASE_URL": NOWHERE}
    flags = ("--audience", "orders-api", "--dsn", pg_dsn, "--issuer", idp.issuer)
    assert "sub: user-1" in printed(invoke("verify", idp.token(), *flags, environ=wrong))


def test_explain_says_that_a_token_is_accepted(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    serve(settings)
    text = printed(invoke("explain", idp.token(), environ=settings))
    assert text.startswith("verdict: accepted\nheader\n  alg: ES256\n")
    assert "claims\n" in text
    assert "  sub: user-1\n" in text


@pytest.mark.parametrize(
    ("spoil", "code", "hint"),
    [
        ({"iss": "{issuer}/"}, "wrong_issuer", "iss differs by a trailing slash"),
        ({"aud": "billing-api"}, "wrong_audience", None),
        ({"exp": 1}, "expired", None),
    ],
)
def test_explain_says_why_a_token_is_refused(
    spoil: dict[str, Any],
    code: str,
    hint: str | None,
    invoke: Invoke,
    settings: dict[str, str],
    idp: LoopbackIssuer,
) -> None:
    serve(settings)
    spoil = {name: v.format(issuer=idp.issuer) if isinstance(v, str) else v for name, v in spoil.items()}
    token = idp.token(claims=spoil)
    result = invoke("explain", token, "--json", environ=settings)
    assert result.exit_code == 1
    shown = json.loads(result.output)
    assert (shown["verdict"], shown["code"]) == ("refused", code)
    assert hint is None or shown["hint"] == hint
    assert shown["claims"]["sub"] == "user-1"
    assert shown["header"]["kid"] == idp.kids[0]
    text = invoke("explain", "-", environ=settings, stdin=token).output
    assert text.startswith(f"verdict: refused\ncode: {code}\nreason: ")


def test_explain_reads_what_can_be_read_of_an_unsigned_or_foreign_token(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    serve(settings)
    shown = json.loads(invoke("explain", idp.stranger_token(), "--json", environ=settings).output)
    assert shown["code"] == "unknown_kid"
    assert shown["claims"]["iss"] == idp.issuer


@pytest.mark.parametrize("token", ["rubbish", "a.b.c", "", "Bearer ", "eyJhbGciOiJub25lIn.e30"])
def test_explain_says_when_there_is_nothing_to_read(
    token: str, invoke: Invoke, settings: dict[str, str]
) -> None:
    result = invoke("explain", token, environ=settings)
    assert result.exit_code == 1
    assert "verdict: refused\n" in result.output
    assert result.output.endswith("readable: no\n") or "claims\n" in result.output


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"alg": "HS256"}, "algorithm_not_allowed"),
        ({"alg": "none"}, "algorithm_not_allowed"),
        ({"alg": "ES256", "crit": ["exp"], "exp": 1}, "unsupported_header"),
        ({"alg": "ES256", "zip": "DEF"}, "unsupported_header"),
        ({"alg": 7}, "bad_header"),
    ],
)
def test_explain_shows_header_and_claims_of_whatever_decodes(
    header: dict[str, Any], code: str, invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    claims = json.loads(base64.urlsafe_b64decode(idp.token().split(".")[1] + "=="))
    first, second = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)
    )
    result = invoke("explain", f"{first}.{second}.AAAA", "--json", environ=settings)
    shown = json.loads(result.output)
    assert (shown["verdict"], shown["code"], result.exit_code) == ("refused", code, 1)
    assert (shown["header"], shown["claims"]) == (header, claims)


@pytest.mark.parametrize(
    "pasted", ["Bearer {}", "bearer  {} ", "Authorization: Bearer {}", "'{}'", '"Authorization: Bearer {}"\n']
)
@pytest.mark.parametrize("command", ["verify", "explain"])
def test_a_token_may_be_pasted_with_what_stands_before_it(
    pasted: str, command: str, invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    serve(settings)
    assert "sub: user-1" in printed(invoke(command, pasted.format(idp.token()), environ=settings))
    assert "sub: user-1" in printed(invoke(command, "-", environ=settings, stdin=pasted.format(idp.token())))


def test_explain_without_keys_is_undecided_and_ends_with_3(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    result = invoke("explain", idp.token(), "--json", environ=settings)
    shown = json.loads(result.output)
    assert (shown["verdict"], shown["code"], result.exit_code) == ("undecided", "keys_away", 3)
    assert picture.NO_ROW in shown["reason"]
    assert shown["claims"]["sub"] == "user-1"
    # What can be judged without a key still is.
    result = invoke("explain", idp.token(expires_in=-90), "--json", environ=settings)
    assert (json.loads(result.output)["code"], result.exit_code) == ("expired", 1)


def test_explain_names_the_keys_that_there_are(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    serve(settings)
    shown = json.loads(invoke("explain", idp.stranger_token(), "--json", environ=settings).output)
    assert (shown["code"], shown["known_kids"]) == ("unknown_kid", list(idp.kids))


def test_a_key_that_was_left_out_is_told_with_the_reason_by_every_command(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    unused = SigningKey.generate("ES256", kid="for-encryption")
    idp.serve({"keys": [*idp.jwks()["keys"], unused.jwk(use="enc")]})
    serve(settings)
    left_out = [{"kid": "for-encryption", "reason": "use is not sig"}]
    for command in ("status", "refresh"):
        shown = json.loads(printed(invoke(command, "--json", environ=settings)))
        assert shown[idp.issuer]["rejected_keys"] == left_out
    assert f"  rejected_keys: {json.dumps(left_out[0])}\n" in printed(invoke("status", environ=settings))
    shown = json.loads(invoke("explain", idp.token(key=unused), "--json", environ=settings).output)
    assert (shown["code"], shown["hint"]) == ("unusable_key", "the key was left out: use is not sig")
    assert (shown["known_kids"], shown["rejected_keys"]) == (list(idp.kids), left_out)
    error = invoke("verify", idp.token(key=unused), environ=settings).exception
    assert isinstance(error, InvalidToken)
    assert exit_of(error)[1].endswith("not in a usable form (the key was left out: use is not sig)")


def test_explain_lists_every_check_with_the_token_s_value_and_the_configured_one(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    serve(settings)
    token = idp.token(claims={"aud": "billing-api", "exp": 1, "nbf": 2**33})
    shown = json.loads(invoke("explain", token, "--json", environ=settings).output)["checks"]
    faults = {name: row["verdict"] for name, row in shown.items() if row["verdict"] != "ok"}
    assert faults == {"aud": "wrong_audience", "exp": "expired", "nbf": "not_yet_valid"}
    assert (shown["aud"]["token"], shown["aud"]["wanted"]) == ("billing-api", ["orders-api"])
    text = invoke("explain", token, environ=settings).output
    assert (
        "\nchecks\n  header: ok\n  iss: ok\n  aud\n    token: billing-api\n    wanted: orders-api\n" in text
    )
    assert "    token: 1 (1970-01-01 00:00:01 UTC, " in text


def test_explain_asks_for_scopes(invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer) -> None:
    serve(settings)
    token = idp.token(scopes=("orders:read",))
    assert invoke("explain", token, "--scope", "orders:read", environ=settings).exit_code == 0
    result = invoke("explain", token, "--scope", "orders:write", environ=settings)
    assert (result.exit_code, "code: insufficient_scope\n" in result.output) == (1, True)


@pytest.mark.parametrize("command", [("status",), ("verify", "a.b.c"), ("explain", "{token}")])
def test_without_a_database_there_is_nothing_to_look_at(
    command: tuple[str, ...], invoke: Invoke, idp: LoopbackIssuer
) -> None:
    arguments = [word.format(token=idp.token()) for word in command]
    result = invoke(*arguments, environ=environ_of(idp))
    if command[0] == "verify":  # which refuses what it can refuse without a key
        assert isinstance(result.exception, InvalidToken)
    else:
        assert picture.NOT_SHARED in result.output
    assert idp.fetches == 0
    assert "ready: True" in printed(invoke("refresh", environ=environ_of(idp)))  # this one fetches


@pytest.mark.parametrize(("held", "code"), [(True, 0), (False, 1)])
def test_the_demo_ends_as_its_acts_did(
    held: bool, code: int, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def play(**options: object) -> bool:
        asked.append(options)
        return held

    monkeypatch.setattr(demo, "run_demo", play)
    assert invoke("demo", "--dsn", NOWHERE).exit_code == code
    assert asked == [{"workers": 16, "dsn": NOWHERE}]


def test_help_names_every_command_and_the_exit_codes(invoke: Invoke) -> None:
    text = printed(invoke("--help"))
    for command in ("migrate", "seal-key", "status", "refresh", "verify", "explain", "demo"):
        assert f"\n  {command} " in text
        assert max(map(len, printed(invoke(command, "--help")).splitlines())) <= 80
    assert "Exit codes: 0 done, 1 refused or not ready, 2 wrong usage or settings," in text
