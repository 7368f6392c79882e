"""docs/security.md names every rule with its tests, and says no more of the table's safety than is so."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator

import psycopg
import pytest
import rules
from pages import all_tests, code_in, section, tables, text_of
from psycopg import sql

from skeldir_jwt_mw import InvalidToken, Issuer, PostgresStore, RefreshPolicy, Verifier
from skeldir_jwt_mw.errors import INVALID_TOKEN_MESSAGES
from skeldir_jwt_mw.testing import LoopbackIssuer

PAGE = text_of("docs/security.md")
RULES = tables(section(PAGE, "The rules"))[0]
ATTACKS = tables(section(PAGE, "Who can write to the table"))[0]
TABLE = "public.jwt_verification_cache"
OF_ADAPTERS_TO_COME = {"rejected_user"}


def test_every_rule_has_tests_and_every_numbered_test_has_its_rule() -> None:
    told = [row["rule"] for row in RULES]
    assert told == sorted(set(told))
    assert set(rules.tests_by_rule()) == set(told)


def test_the_list_of_tests_is_the_one_in_the_tree() -> None:
    assert text_of("docs/security.md") == rules.rewritten(), "run: python tests/docs/rules.py"


def test_a_test_whose_rule_has_no_row_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {**rules.tests_by_rule(), "R99": [("tests/unit/test_x.py", "test_r99_x")]}
    monkeypatch.setattr(rules, "tests_by_rule", lambda: found)
    with pytest.raises(AssertionError):
        test_every_rule_has_tests_and_every_numbered_test_has_its_rule()
    with pytest.raises(AssertionError):
        test_the_list_of_tests_is_the_one_in_the_tree()


@pytest.mark.parametrize("row", RULES, ids=lambda row: row["rule"])
def test_every_rule_says_what_it_refuses_and_on_whose_authority(row: dict[str, str]) -> None:
    assert re.search(r"RFC \d{4}|OpenID|CVE-", row["standard"])
    assert len(row["refused"]) > 10
    assert row["code"] == "-" or code_in(row["code"])


def test_the_codes_are_those_of_the_errors() -> None:
    told = {code for row in RULES for code in code_in(row["code"])}
    assert told | OF_ADAPTERS_TO_COME == set(INVALID_TOKEN_MESSAGES)
    assert set(code_in(section(PAGE, "The rules"))) >= OF_ADAPTERS_TO_COME


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row["cannot"])
def test_what_an_attacker_cannot_do_is_proved_by_tests_that_exist(row: dict[str, str]) -> None:
    names = set(code_in(row["tests"]))
    assert names
    assert names <= all_tests()


# -- who can write to the table ----------------------------------------------------------------------------


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


def worker_of(idp: LoopbackIssuer, dsn: str, seal_key: bytes, **policy: float) -> Verifier:
    given = {"audience": idp.audience, "jwks_url": idp.jwks_url}
    issuer = Issuer(idp.issuer, **given, allow_http=True, allow_private_hosts=True)
    times = {"jitter": 0.0, "floor": 0.05, **policy}
    return Verifier([issuer], store=PostgresStore(dsn), seal_keys=[seal_key], policy=RefreshPolicy(**times))


def test_a_replayed_row_is_refused_by_running_processes_and_soon_by_new_ones(
    pg_dsn: str, idp: LoopbackIssuer
) -> None:
    seal_key = secrets.token_bytes(32)
    times = {"refresh_interval": 0.6, "check_interval": 0.05}
    running = worker_of(idp, pg_dsn, seal_key, **times)
    removed = idp.token()
    running.verify(removed)
    with psycopg.connect(pg_dsn) as connection:
        connection.execute(f"CREATE TEMP TABLE kept AS TABLE {TABLE}".encode())
        idp.rotate(keep_previous=False)
        running.refresh()
        columns = [column.name for column in connection.execute("TABLE kept").description or ()]
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        replay = sql.SQL("UPDATE public.jwt_verification_cache SET ({0}) = (SELECT {0} FROM kept)")
        connection.execute(replay.format(names))
    fresh = worker_of(idp, pg_dsn, seal_key, **times)
    fresh.warm()
    accepted_at = time.monotonic()
    assert fresh.verify(removed).subject == "user-1"  # the page says that it may
    with pytest.raises(InvalidToken):
        running.verify(removed)
    good = idp.token()
    assert running.verify(good).subject == "user-1"
    while True:
        try:
            fresh.verify(removed)
        except InvalidToken:
            break
        assert time.monotonic() - accepted_at < 5.0
        time.sleep(0.02)
    assert fresh.verify(good).subject == "user-1"
    for worker in (running, fresh):
        worker.close()


def test_a_row_holds_nothing_secret(pg_dsn: str, idp: LoopbackIssuer) -> None:
    seal_key = secrets.token_bytes(32)
    worker = worker_of(idp, pg_dsn, seal_key)
    token = idp.token()
    worker.verify(token)
    with psycopg.connect(pg_dsn) as connection:
        (row,) = connection.execute(f"SELECT * FROM {TABLE}".encode()).fetchall()
    held = b" ".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
    assert idp.kids[0].encode() in held
    for secret in (seal_key, seal_key.hex().encode(), *token.encode().split(b".")):
        assert secret not in held
    assert b'"d"' not in held
    worker.close()
