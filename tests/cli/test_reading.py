"""Commands that diagnose only read: no claim, no fetch, no write, whatever they find."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from click.testing import Result

from skeldir_jwt_mw import Verifier, picture
from skeldir_jwt_mw.testing import LoopbackIssuer

Invoke = Callable[..., Result]
WRONG_KEY = base64.b64encode(b"w" * 32).decode()

# What may have happened to the row before somebody looks.
STATES: dict[str, str | None] = {
    "there is none": None,
    "it is fresh": "SELECT 1",
    "it is due": "UPDATE public.jwt_verification_cache SET next_refresh_at = now() - interval '1 h'",
    "it has expired": "UPDATE public.jwt_verification_cache SET expires_at = now() - interval '1 h'",
    "it is forged": "UPDATE public.jwt_verification_cache SET payload = '{\"keys\": []}'",
    "it is empty": "UPDATE public.jwt_verification_cache SET payload = NULL, generation = 0",
    "its leader died": (
        "UPDATE public.jwt_verification_cache SET lease_owner = gen_random_uuid(),"
        " lease_until = now() - interval '1 s'"
    ),
    "it backs off": "UPDATE public.jwt_verification_cache SET backoff_until = now() + interval '50 s'",
}


def rows(dsn: str) -> list[dict[str, Any]]:
    """All columns, and the transaction that wrote each row last."""
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute("SELECT xmin, ctid, * FROM public.jwt_verification_cache").fetchall()


def prepare(state: str, settings: dict[str, str], dsn: str) -> None:
    if (statement := STATES[state]) is not None:
        Verifier.from_env(settings).warm()
        with psycopg.connect(dsn) as connection:
            connection.execute(statement.encode())


@pytest.mark.parametrize("away", [False, True], ids=["provider there", "provider away"])
@pytest.mark.parametrize("key", ["right key", "wrong key"])
@pytest.mark.parametrize("state", STATES)
def test_whatever_they_find_they_change_nothing_and_ask_nobody(
    state: str,
    key: str,
    away: bool,
    invoke: Invoke,
    settings: dict[str, str],
    pg_dsn: str,
    idp: LoopbackIssuer,
) -> None:
    prepare(state, settings, pg_dsn)
    if away:
        idp.down()
    if key == "wrong key":
        settings = {**settings, "SKELDIR_JWT_SEAL_KEYS": WRONG_KEY}
    before, asked = rows(pg_dsn), len(idp.requests)
    for arguments in (
        ("status",),
        ("status", "--json"),
        ("explain", idp.token()),
        ("explain", idp.stranger_token()),
        ("verify", idp.token()),
        ("verify", idp.stranger_token()),
        ("explain", "rubbish"),
    ):
        invoke(*arguments, environ=settings)
        assert rows(pg_dsn) == before, arguments
    assert len(idp.requests) == asked


def test_a_read_only_connection_is_all_that_they_need(
    invoke: Invoke, settings: dict[str, str], pg_dsn: str, idp: LoopbackIssuer
) -> None:
    Verifier.from_env(settings).warm()
    only_read = f"{pg_dsn} options='-c default_transaction_read_only=on'"
    if "://" in pg_dsn:
        only_read = f"{pg_dsn}{'&' if '?' in pg_dsn else '?'}options=-c%20default_transaction_read_only%3Don"
    environ = {**settings, "SKELDIR_JWT_DATABASE_URL": only_read}
    for arguments in (("status",), ("explain", idp.token()), ("verify", idp.token())):
        result = invoke(*arguments, environ=environ)
        assert result.exit_code == 0, (result.output, result.exception)


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        ("there is none", picture.NO_ROW),
        ("it is forged", picture.FORGED),
        ("it is empty", picture.NO_KEYS),
    ],
)
def test_what_keeps_the_keys_away_is_told(
    state: str, trouble: str, invoke: Invoke, settings: dict[str, str], pg_dsn: str, idp: LoopbackIssuer
) -> None:
    prepare(state, settings, pg_dsn)
    result = invoke("status", environ=settings)
    assert f"\n  ready: False\n  trouble: {trouble}\n" in result.output
    assert isinstance(result.exception, picture.KeysAway)
    assert invoke("explain", idp.token(), environ=settings).exit_code == 3


def test_a_wrong_seal_key_is_told_and_nothing_is_ready(
    invoke: Invoke, settings: dict[str, str], pg_dsn: str, idp: LoopbackIssuer
) -> None:
    Verifier.from_env(settings).warm()
    result = invoke("status", environ={**settings, "SKELDIR_JWT_SEAL_KEYS": WRONG_KEY})
    assert f"trouble: {picture.STRANGER}\n  kids: -\n" in result.output
    assert str(result.exception) == f"{idp.issuer}: {picture.STRANGER}"


def test_expired_keys_are_shown_but_verify_nothing(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    short = {
        **settings,
        "SKELDIR_JWT_MAX_STALE_SECONDS": "0.02",
        "SKELDIR_JWT_REFRESH_INTERVAL_SECONDS": "0.01",
        "SKELDIR_JWT_FLOOR_SECONDS": "0.005",
    }
    Verifier.from_env(settings).warm()
    result = invoke("status", environ=short)
    assert f"trouble: {picture.EXPIRED}\n  kids: {idp.kids[0]}\n" in result.output
    assert isinstance(invoke("verify", idp.token(), environ=short).exception, picture.KeysAway)


def test_one_issuer_without_keys_does_not_keep_the_other_from_being_judged(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    Verifier.from_env(settings).warm()
    names = ("ISSUER", "AUDIENCE", "JWKS_URL")
    first = {name: settings[f"SKELDIR_JWT_{name}"] for name in names}
    loopback = {"ALLOW_HTTP": True, "ALLOW_PRIVATE_HOSTS": True}
    second = {"ISSUER": "https://login.example.com/", "AUDIENCE": "orders-api"}
    both = {
        "SKELDIR_JWT_CONFIG": json.dumps({"ISSUERS": [{**first, **loopback}, second]}),
        "SKELDIR_JWT_DATABASE_URL": settings["SKELDIR_JWT_DATABASE_URL"],
        "SKELDIR_JWT_SEAL_KEYS": settings["SKELDIR_JWT_SEAL_KEYS"],
    }
    assert invoke("verify", idp.token(), environ=both).exit_code == 0
    foreign = idp.token(claims={"iss": "https://login.example.com/"})
    assert isinstance(invoke("verify", foreign, environ=both).exception, picture.KeysAway)
    result = invoke("status", "--json", environ=both)
    shown = json.loads(result.output)
    assert [one["ready"] for one in shown.values()] == [True, False]
    assert str(result.exception) == f"https://login.example.com/: {picture.NO_ROW}"


def test_a_database_that_is_away_is_part_of_the_picture(
    invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    environ = {**settings, "SKELDIR_JWT_DATABASE_URL": "postgresql://nobody:hunter2@127.0.0.1:1/nothing"}
    result = invoke("status", environ=environ)
    assert "trouble: nothing listens where the connection string points\n" in result.output
    assert isinstance(result.exception, picture.KeysAway)
    assert len(idp.requests) == 0
