"""docs/operations.md is true: its SQL runs, its procedures work, and its tables are those of the code."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
import types
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pages import ROOT, blocks, code_in, section, tables, text_of
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from skeldir_jwt_mw import (
    ConfigurationError,
    InvalidToken,
    Issuer,
    JWTError,
    KeysUnavailable,
    PostgresStore,
    RefreshPolicy,
    Verifier,
    cli,
    picture,
)
from skeldir_jwt_mw.commands import group
from skeldir_jwt_mw.migrate import exposed, migrate, provision
from skeldir_jwt_mw.testing import LoopbackIssuer

PAGE = text_of("docs/operations.md")
ROLE_SQL, INSERT_SQL = blocks(section(PAGE, "A role of its own"), "sql")
WATCH_SQL, EVIDENCE_SQL = blocks(section(PAGE, "What to watch"), "sql")
ROLE = "orders_app"
SEAL_KEY = secrets.token_bytes(32)


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


MakeVerifier = Callable[..., Verifier]


@pytest.fixture
def make(idp: LoopbackIssuer) -> Iterator[MakeVerifier]:
    """Makes workers of one fleet: verifiers of the provider over one database."""
    made: list[Verifier] = []

    def make(dsn: str, *, seal_keys: Any = (SEAL_KEY,), namespace: str = "", **policy: Any) -> Verifier:
        issuer = Issuer(
            idp.issuer,
            audience=idp.audience,
            jwks_url=idp.jwks_url,
            allow_http=True,
            allow_private_hosts=True,
        )
        times = {"jitter": 0.0, "floor": 0.05, "backoff_base": 0.05, "backoff_max": 0.05, **policy}
        store = PostgresStore(dsn, namespace=namespace)
        verifier = Verifier([issuer], store=store, seal_keys=seal_keys, policy=RefreshPolicy(**times))
        made.append(verifier)
        return verifier

    yield make
    for verifier in made:
        verifier.close()


def ask(dsn: str, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(statement.encode()).fetchall()


def change(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statement.encode())


def row_in(dsn: str) -> dict[str, Any]:
    (row,) = ask(dsn, "SELECT * FROM public.jwt_verification_cache")
    return row


def kids_of(verifier: Verifier) -> list[str]:
    (status,) = verifier.status().values()
    kids: list[str] = status["kids"]
    return kids


# -- a role of its own -------------------------------------------------------------------------------------


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """A database of its own, migrated: what is granted in it is seen by nobody else."""
    dsn = new_database()
    migrate(dsn)
    return dsn


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """The page's role under a name of its own, for roles are the whole server's."""
    name = f"{conninfo_to_dict(database)['dbname']}_orders"
    change(database, ROLE_SQL.replace(ROLE, name))
    yield name
    with psycopg.connect(database) as connection:
        for statement in ("DROP OWNED BY {}", "DROP ROLE {}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def test_the_role_serves_every_kind_of_refresh_over_provisioned_rows(
    database: str, role: str, make: MakeVerifier, idp: LoopbackIssuer
) -> None:
    dsn = make_conninfo(database, user=role)
    worker, other = make(dsn), make(dsn)
    assert provision(database, worker.source_keys()) == 1
    assert worker.verify(idp.token()).subject == "user-1"
    assert other.verify(idp.token()).subject == "user-1"
    assert idp.fetches == 1
    idp.rotate()
    assert worker.verify(idp.token()).subject == "user-1"
    idp.down()
    time.sleep(0.06)  # the floor
    with pytest.raises(KeysUnavailable):
        worker.refresh()
    idp.up()
    time.sleep(0.06)  # the backoff
    change(database, "UPDATE public.jwt_verification_cache SET lease_owner = gen_random_uuid()")
    other.refresh()
    row = row_in(database)
    found = {name: row[name] for name in row if name.endswith("_count")}
    assert found == {
        "fetch_attempt_count": 4,
        "refresh_event_count": 3,
        "failure_event_count": 1,
        "abandoned_count": 1,
    }


def test_the_role_may_do_nothing_else(database: str, role: str) -> None:
    provision(database, ["a row"])
    dsn = make_conninfo(database, user=role)
    for statement in (
        "DELETE FROM public.jwt_verification_cache",
        "TRUNCATE public.jwt_verification_cache",
        "INSERT INTO public.jwt_verification_cache (source_key) VALUES ('another')",
        "UPDATE public.jwt_verification_cache SET source_key = 'another'",
        "ALTER TABLE public.jwt_verification_cache ADD COLUMN another text",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            change(dsn, statement)
    updatable = ask(
        database,
        "SELECT column_name FROM information_schema.column_privileges"
        f" WHERE table_name = 'jwt_verification_cache' AND grantee = '{role}' AND privilege_type = 'UPDATE'",
    )
    columns = set(row_in(database))
    assert {row["column_name"] for row in updatable} == columns - {"source_key"}


def test_without_insert_an_issuer_needs_its_row(database: str, role: str, make: MakeVerifier) -> None:
    worker = make(make_conninfo(database, user=role))
    with pytest.raises(ConfigurationError, match="--provision"):
        worker.warm()
    change(database, INSERT_SQL.replace(ROLE, role))
    time.sleep(0.1)  # the local gate: backoff_base and its spread
    worker.warm()
    assert worker.ready


# -- default privileges ------------------------------------------------------------------------------------


def test_what_default_privileges_gave_away_is_taken_back_by_the_statements_of_the_page(
    new_database: Callable[[], str],
) -> None:
    database = new_database()
    (statements,) = blocks(section(PAGE, "Default privileges"), "sql")
    stem = conninfo_to_dict(database)["dbname"]
    roles = [f"{stem}_{name}" for name in ("anon", "authenticated")]
    for name in roles:
        change(database, f"CREATE ROLE {name}; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {name}")
    try:
        migrate(database)
        assert {one.role for one in exposed(database)} == set(roles)
        change(database, re.sub(r"\b(anon|authenticated)\b", rf"{stem}_\1", statements))
        assert exposed(database) == []
    finally:
        for name in roles:
            change(database, f"DROP OWNED BY {name}; DROP ROLE {name}")


# -- task workers ------------------------------------------------------------------------------------------

(TASKS,) = blocks(section(PAGE, "Task workers"), "python")
POOL = f"""
import multiprocessing, os, sys
from skeldir_jwt_mw import InvalidToken, Verifier, current_token
verifier = Verifier.from_env()
{TASKS}
def job(raw):
    inside = run_for(raw, lambda: current_token().subject)
    return os.getpid(), inside, current_token()

if __name__ == "__main__":
    good, lacking = sys.argv[1:]
    with multiprocessing.get_context("fork").Pool(4, start_process) as pool:
        done = pool.map(job, [good] * 40, chunksize=1)
        refused = []
        for raw in ("rubbish", lacking):
            try:
                pool.apply(job, [raw])
            except Exception as error:
                refused.append(error.code)
    print([{{subject for _, subject, _ in done}}, {{after for _, _, after in done}}, refused])
"""


def test_the_processes_of_a_task_worker_share_one_fetch_and_errors_come_back_whole(
    pg_dsn: str, idp: LoopbackIssuer
) -> None:
    settings = {
        "SKELDIR_JWT_ISSUER": idp.issuer,
        "SKELDIR_JWT_AUDIENCE": idp.audience,
        "SKELDIR_JWT_ALLOW_HTTP": "true",
        "SKELDIR_JWT_ALLOW_PRIVATE_HOSTS": "true",
        "SKELDIR_JWT_DATABASE_URL": pg_dsn,
        "SKELDIR_JWT_SEAL_KEYS": b64encode(SEAL_KEY).decode(),
    }
    good, lacking = idp.token("ada", ["orders:write"]), idp.token("ada", ["orders:read"])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", POOL, good, lacking],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[{'ada'}, {None}, ['malformed', 'insufficient_scope']]\n"
    assert idp.fetches == 1


# -- what to watch -----------------------------------------------------------------------------------------


def test_the_query_shows_what_there_is(pg_dsn: str, make: MakeVerifier, idp: LoopbackIssuer) -> None:
    worker = make(pg_dsn)
    provision(pg_dsn, worker.source_keys())
    (row,) = ask(pg_dsn, WATCH_SQL)
    assert (row["source_key"], row["usable"]) == (worker.source_keys()[0], False)
    worker.warm()
    (row,) = ask(pg_dsn, WATCH_SQL)
    assert row["usable"]
    assert 0 <= row["age_seconds"] < 60
    assert 0 < row["expires_in_seconds"] <= RefreshPolicy().max_stale
    assert (row["consecutive_failures"], row["last_error"], row["last_refresh_reason"]) == (0, None, "cold")
    idp.down()
    with pytest.raises(KeysUnavailable):
        worker.refresh()
    (row,) = ask(pg_dsn, WATCH_SQL)
    assert row["usable"]
    assert row["consecutive_failures"] == 1
    assert row["last_error"]


def test_the_evidence_adds_up_until_somebody_changes_it(pg_dsn: str, make: MakeVerifier) -> None:
    worker = make(pg_dsn)
    worker.warm()
    assert ask(pg_dsn, EVIDENCE_SQL) == []
    change(
        pg_dsn,
        "UPDATE public.jwt_verification_cache"
        " SET lease_owner = gen_random_uuid(), fetch_attempt_count = fetch_attempt_count + 1",
    )
    assert ask(pg_dsn, EVIDENCE_SQL) == []  # as while somebody fetches
    change(pg_dsn, "UPDATE public.jwt_verification_cache SET refresh_event_count = 0")
    (row,) = ask(pg_dsn, EVIDENCE_SQL)
    assert row["refresh_event_count"] == 0


def test_the_fields_of_the_status_are_told(pg_dsn: str, make: MakeVerifier) -> None:
    (status,) = make(pg_dsn).status().values()
    rows = next(table for table in tables(PAGE) if "field" in table[0])
    assert [code_in(row["field"])[0] for row in rows] == list(status)
    gate = next(row for row in rows if code_in(row["field"]) == ["gate"])
    assert set(code_in(gate["meaning"])) == set(status["gate"])


def test_what_the_command_shows_of_a_row_is_told_with_every_trouble(pg_dsn: str, make: MakeVerifier) -> None:
    verifier = make(pg_dsn)
    (status,) = picture.statuses(verifier, picture.look(verifier)).values()
    rows = next(table for table in tables(PAGE) if "shown" in table[0])
    assert [code_in(row["shown"])[0] for row in rows] == list(status)
    told = {code_in(row["trouble"])[0] for row in next(t for t in tables(PAGE) if "trouble" in t[0])}
    names = ("NOT_SHARED", "NO_ROW", "NO_KEYS", "STRANGER", "FORGED", "EXPIRED", "NONE_FITS")
    assert told == {getattr(picture, name) for name in names}


def test_every_reason_of_a_503_is_told() -> None:
    rows = next(table for table in tables(PAGE) if "reason" in table[0])
    listed = re.search(r"one of\s(.*?)\.", KeysUnavailable.__doc__ or "", re.DOTALL)
    assert listed is not None
    assert [code_in(row["reason"])[0] for row in rows] == code_in(listed[1])


def logged() -> dict[str, str]:
    """Every text that the package logs, with its level; what only goes to debug is left out."""
    texts: dict[str, str] = {}
    for path in (ROOT / "skeldir_jwt_mw").rglob("*.py"):
        if "testing" in path.parts:
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            said, *told = [call.func, *call.args]
            if ast.unparse(said) == "tell":  # tell(logger.info, …)
                said, *told = told
            if not isinstance(said, ast.Attribute):
                continue
            level = {"_tell_once": "warning"}.get(said.attr, said.attr)
            ours = said.attr == "_tell_once" or ast.unparse(said.value) == "logger"
            if ours and level != "debug":
                found = [a.value for a in told if isinstance(a, ast.Constant) and "%s" in str(a.value)]
                if not found and isinstance(told[0], ast.Constant):
                    found = [told[0].value]
                texts |= {str(text): level for text in found}
    return texts


def test_every_line_of_the_log_is_told_with_its_level() -> None:
    rows = next(table for table in tables(PAGE) if "level" in table[0])
    texts = logged()
    unknown = {row["text"] for row in rows if not any(code_in(row["text"])[0] in text for text in texts)}
    assert unknown == set()
    for text, level in texts.items():
        levels = {row["level"] for row in rows if code_in(row["text"])[0] in text}
        assert levels == {level}, text


# -- seal keys ---------------------------------------------------------------------------------------------


def seal_key_steps() -> list[list[str]]:
    (rows,) = tables(section(PAGE, "Seal keys"))
    return [code_in(row["`SKELDIR_JWT_SEAL_KEYS`"])[0].split(",") for row in rows]


@pytest.mark.parametrize("step", range(1, len(seal_key_steps())))
@pytest.mark.parametrize("fetched_by", ["before", "after"])
def test_workers_of_two_neighbouring_steps_use_each_others_rows(
    step: int,
    fetched_by: str,
    pg_dsn: str,
    make: MakeVerifier,
    idp: LoopbackIssuer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = {"old": secrets.token_bytes(32), "new": secrets.token_bytes(32)}
    before, after = (
        make(pg_dsn, seal_keys=[keys[name] for name in names])
        for names in seal_key_steps()[step - 1 : step + 1]
    )
    first, second = (before, after) if fetched_by == "before" else (after, before)
    first.warm()
    second.warm()
    assert idp.fetches == 1
    assert second.verify(idp.token()).subject == "user-1"
    assert "not ours" not in caplog.text


def test_services_with_other_seal_keys_need_namespaces(
    pg_dsn: str, make: MakeVerifier, idp: LoopbackIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    def serve_two(**namespaces: str) -> None:
        for namespace in namespaces.values():
            make(pg_dsn, seal_keys=[secrets.token_bytes(32)], namespace=namespace).warm()

    serve_two(one="orders", other="billing")
    assert "not ours" not in caplog.text
    serve_two(one="", other="")
    assert "not ours" in caplog.text


# -- start and probes --------------------------------------------------------------------------------------


def test_probes_only_read_and_the_worker_looks_for_keys_by_itself(
    pg_dsn: str, make: MakeVerifier, idp: LoopbackIssuer
) -> None:
    from starlette.responses import Response

    verifier = make(pg_dsn)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        """The first time the provider comes back, the second time the worker ends."""
        pauses.append(seconds)
        if len(pauses) > 1:
            raise asyncio.CancelledError
        idp.up()
        change(pg_dsn, "UPDATE public.jwt_verification_cache SET backoff_until = 'epoch'")

    scene: dict[str, Any] = {"verifier": verifier, "Response": Response, "JWTError": JWTError}
    scene["asyncio"] = types.SimpleNamespace(sleep=sleep)
    (code,) = blocks(section(PAGE, "Start and probes"), "python")
    exec(code, scene)

    def probe(name: str) -> int:
        response: Response = asyncio.run(scene[name](None))
        return response.status_code

    idp.down()
    for _ in range(3):
        assert (probe("livez"), probe("readyz")) == (204, 503)
    assert ask(pg_dsn, "SELECT 1 FROM public.jwt_verification_cache") == []
    assert len(idp.requests) == 0
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scene["keep_keys"]())
    assert pauses == [1.0, 1.0]  # the least Retry-After, and the pace of one that is ready
    before, asked = row_in(pg_dsn), len(idp.requests)
    idp.down()
    assert (probe("livez"), probe("readyz")) == (204, 204)
    assert (row_in(pg_dsn), len(idp.requests)) == (before, asked)


def functions_of(path: Path) -> Iterator[ast.AST]:
    """The probes in a program, or in the code blocks of a page."""
    text = path.read_text(encoding="utf-8")
    for code in [text] if path.suffix == ".py" else blocks(text, "python"):
        with contextlib.suppress(SyntaxError):  # a block may hold an excerpt
            for node in ast.walk(ast.parse(code)):
                name = getattr(node, "name", "")
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and re.fullmatch(
                    r"(ready|live|health)z?", name
                ):
                    yield node


def test_no_probe_of_a_page_or_an_example_does_more_than_read() -> None:
    programs = [*ROOT.glob("docs/*.md"), *ROOT.glob("example_apps/**/*.py")]
    probes = [probe for path in programs for probe in functions_of(path)]
    assert len(probes) >= 10
    called = {node.attr for probe in probes for node in ast.walk(probe) if isinstance(node, ast.Attribute)}
    assert called & {"warm", "awarm", "refresh", "arefresh", "verify"} == set()
    assert "ready" in called


# -- without the database ----------------------------------------------------------------------------------

NOWHERE = "postgresql://app@127.0.0.1:1/app"


def test_without_the_database_the_provider_is_asked_only_where_that_is_wanted(
    make: MakeVerifier, idp: LoopbackIssuer
) -> None:
    with pytest.raises(KeysUnavailable) as refused:
        make(NOWHERE).verify(idp.token())
    assert (refused.value.reason, idp.fetches) == ("store", 0)
    worker = make(NOWHERE, on_store_outage="fetch", floor=30.0)
    assert worker.verify(idp.token()).subject == "user-1"
    idp.rotate()
    with pytest.raises(KeysUnavailable, match="older_keys"):
        worker.verify(idp.token())  # the local floor
    assert idp.fetches == 1


def test_a_replica_is_an_error_and_an_outage_only_where_that_is_wanted(
    pg_dsn: str, make: MakeVerifier, idp: LoopbackIssuer
) -> None:
    replica = make_conninfo(pg_dsn, options="-c default_transaction_read_only=on")
    with pytest.raises(ConfigurationError, match="replica"):
        make(replica).warm()
    assert idp.fetches == 0
    worker = make(replica, on_store_outage="fetch")  # the primary may have been demoted a moment ago
    worker.warm()
    assert idp.fetches == 1


# -- the command -------------------------------------------------------------------------------------------

Run = Callable[..., int]


@pytest.fixture
def settings(pg_dsn: str, idp: LoopbackIssuer) -> dict[str, str]:
    return {
        "SKELDIR_JWT_ISSUER": idp.issuer,
        "SKELDIR_JWT_AUDIENCE": idp.audience,
        "SKELDIR_JWT_JWKS_URL": idp.jwks_url,
        "SKELDIR_JWT_ALLOW_HTTP": "1",
        "SKELDIR_JWT_ALLOW_PRIVATE_HOSTS": "1",
        "SKELDIR_JWT_DATABASE_URL": pg_dsn,
        "SKELDIR_JWT_SEAL_KEYS": b64encode(SEAL_KEY).decode(),
        "SKELDIR_JWT_FLOOR_SECONDS": "0.2",
        "SKELDIR_JWT_JITTER_SECONDS": "0",
    }


@pytest.fixture
def run(settings: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process, under the settings of the service; returns its exit code."""

    def run(*arguments: str, **changed: str) -> int:
        with monkeypatch.context() as scene:
            for name, value in {**settings, **changed}.items():
                scene.setenv(name, value)
            scene.setattr(sys, "argv", ["skeldir-jwt", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def test_the_commands_and_their_flags_are_told() -> None:
    rows = next(table for table in tables(PAGE) if "command" in table[0])
    assert sorted(code_in(row["command"])[0] for row in rows) == sorted(group.commands)
    flags = {option for command in group.commands.values() for p in command.params for option in p.opts}
    told = set(re.findall(r"--[a-z]+", section(PAGE, "The command")))
    assert told == {flag for flag in flags if flag.startswith("--")} - {"--workers"}


def test_the_exit_codes_are_those_of_the_page(
    run: Run, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    rows = next(table for table in tables(PAGE) if "exit code" in table[0])
    assert [row["exit code"] for row in rows] == ["0", "1", "2", "3"]
    away = {"SKELDIR_JWT_DATABASE_URL": NOWHERE}
    assert run("migrate") == 0
    assert run("seal-key") == 0
    assert run("status") == 3  # nobody has asked for keys yet
    assert run("explain", idp.token()) == 3
    assert run("refresh") == 0
    assert run("status") == 0
    assert run("verify", idp.token()) == 0
    assert run("verify", idp.token(expires_in=-600)) == 1
    assert run("explain", "rubbish") == 1
    assert run("status", SKELDIR_JWT_ALGORITHMS="RS512") == 1
    assert run("status", SKELDIR_JWT_FLOR_SECONDS="1") == 2
    assert run("no-such-command") == 2
    assert run("status", **away) == 3
    assert run("refresh", **away) == 3
    assert run("migrate", **away) == 3


def test_a_table_that_is_missing_is_for_an_operator_to_mend(
    run: Run, new_database: Callable[[], str]
) -> None:
    assert run("status", SKELDIR_JWT_DATABASE_URL=new_database()) == 2


def test_the_install_commands_are_there(
    run: Run, new_database: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = new_database()
    place = {"SKELDIR_JWT_DATABASE_URL": fresh}
    (block,) = blocks(section(PAGE, "Install"), "sh")
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    for program, *arguments in commands:
        if program == "skeldir-jwt":
            assert run(*arguments, **place) == 0
    assert run("migrate", "--provision", **place, SKELDIR_JWT_SEAL_KEYS="none") == 0
    assert "rows created: 1" in capsys.readouterr().out
    assert run("migrate", "--provision", **place) == 0  # another seal key, the same row
    assert "rows created: 0" in capsys.readouterr().out
    for path in re.findall(r"psql -f (\S+\.sql)", PAGE):
        assert (ROOT / path).is_file()


def test_the_rows_of_the_issuers_are_named_by_the_command_of_the_page(
    settings: dict[str, str], pg_dsn: str, run: Run
) -> None:
    run("migrate", "--provision")
    (block,) = blocks(section(PAGE, "What to watch"), "sh")
    program, *arguments = shlex.split(block)
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments], env=settings, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == [row_in(pg_dsn)["source_key"]]


# -- a key has leaked --------------------------------------------------------------------------------------


def test_a_leaked_key_is_gone_as_the_page_says(
    run: Run, pg_dsn: str, make: MakeVerifier, idp: LoopbackIssuer, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = make(pg_dsn, check_interval=0.2)
    leaked = idp.token()
    busy.verify(leaked)
    gone = idp.kids[0]
    idp.rotate(keep_previous=False)
    fetches = idp.fetches
    assert run("refresh") == 0
    ends = time.monotonic() + 10
    while gone in kids_of(busy):
        assert time.monotonic() < ends
        good = idp.token()
        busy.verify(good)
        time.sleep(0.02)
    started_anew = make(pg_dsn)
    started_anew.warm()
    assert kids_of(started_anew) == list(idp.kids)
    assert idp.fetches == fetches + 1
    with pytest.raises(InvalidToken):
        busy.verify(leaked)
    capsys.readouterr()
    assert run("status", "--json") == 0
    (status,) = json.loads(capsys.readouterr().out).values()
    assert gone not in status["kids"]
    time.sleep(0.2)  # the floor
    assert run("verify", leaked) == 1
    assert "unknown_kid" in capsys.readouterr().err


def test_a_refresh_that_is_blocked_says_when_to_try_again(
    run: Run, idp: LoopbackIssuer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("refresh", SKELDIR_JWT_FLOOR_SECONDS="30") == 0
    capsys.readouterr()
    assert run("refresh", SKELDIR_JWT_FLOOR_SECONDS="30") == 3
    assert re.search(r"try again in \d+ s", capsys.readouterr().err)
    assert idp.fetches == 1


def test_the_bound_is_the_sum_that_the_page_names() -> None:
    policy = RefreshPolicy()
    bound = policy.refresh_interval + policy.jitter + policy.check_interval + policy.fetch_timeout
    assert f"({bound:.0f} s by default)" in section(PAGE, "A key has leaked")


def test_a_thousand_workers_look_as_often_as_the_page_says() -> None:
    per_second = 1000 / (0.75 * RefreshPolicy().check_interval)
    assert f"about {per_second:.0f} times a second" in section(PAGE, "Sizing")
