"""The commands of the app: what `skeldir-jwt status` and `refresh` do, with the project's settings."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import MakeAlias, aliases, database_settings
from django.core.management import CommandError, call_command
from pytest_django import DjangoDbBlocker
from store_bench import PostgresBench

from skeldir_jwt_mw.django import conf
from skeldir_jwt_mw.testing import LoopbackIssuer


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


@pytest.fixture
def make_alias(django_db_blocker: DjangoDbBlocker) -> Iterator[MakeAlias]:
    with django_db_blocker.unblock(), aliases() as make:
        yield make


def of(idp: LoopbackIssuer, **changes: Any) -> dict[str, Any]:
    """Settings for a provider on the loopback interface."""
    return {
        "ISSUER": idp.issuer,
        "AUDIENCE": idp.audience,
        "JWKS_URL": idp.jwks_url,
        "ALGORITHMS": ["ES256"],
        "ALLOW_HTTP": True,
        "ALLOW_PRIVATE_HOSTS": True,
        "FLOOR": 30.0,
        **changes,
    }


@pytest.fixture
def configured(settings: Any, make_alias: MakeAlias, pg_dsn: str, idp: LoopbackIssuer) -> str:
    """The database that the settings name."""
    settings.SKELDIR_JWT = of(idp, DATABASE=make_alias(pg_dsn))
    return pg_dsn


def run(name: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, stdout=out, **options)
    return out.getvalue()


def failure(name: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(name)
    return caught.value


def test_status_reads_the_shared_keys_and_shows_them(configured: str, idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    (status,) = json.loads(run("skeldir_jwt_status", as_json=True)).values()
    assert status["ready"]
    assert (status["kids"], status["rejected_keys"]) == (list(idp.kids), [])
    columns = PostgresBench(configured).columns()
    assert (status["source_key"], status["generation"]) == (columns["source_key"], columns["generation"])
    assert columns["last_refresh_reason"] == "cold"


WRITTEN = "SELECT xmin, ctid, * FROM public.jwt_verification_cache"


@pytest.mark.parametrize("key", ["right key", "wrong key"])
@pytest.mark.parametrize(
    "happened",
    [
        None,
        "SELECT 1",
        "UPDATE public.jwt_verification_cache SET next_refresh_at = 'epoch', expires_at = 'epoch'",
        "UPDATE public.jwt_verification_cache SET payload = '{}'",
    ],
)
def test_status_changes_nothing_and_asks_nobody(
    happened: str | None, key: str, configured: str, settings: Any, idp: LoopbackIssuer
) -> None:
    with psycopg.connect(configured, autocommit=True) as connection:
        if happened is not None:
            conf.verifier().warm()
            connection.execute(happened.encode())
        before, asked = connection.execute(WRITTEN).fetchall(), len(idp.requests)
        if key == "wrong key":
            keys = {"NAMESPACE": conf.verifier().store.namespace, "SEAL_KEYS": [bytes(32)]}
            settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, **keys}
        if (happened, key) == ("SELECT 1", "right key"):
            run("skeldir_jwt_status")
        else:
            assert failure("skeldir_jwt_status").returncode == 3
        assert connection.execute(WRITTEN).fetchall() == before
    assert len(idp.requests) == asked


def test_status_is_readable(configured: str, idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    lines = run("skeldir_jwt_status").splitlines()
    assert lines[0] == idp.issuer
    assert "  ready: True" in lines
    assert f"  kids: {idp.kids[0]}" in lines


@pytest.mark.parametrize(
    ("command", "words"),
    [("skeldir_jwt_status", "no keys without a fetch"), ("skeldir_jwt_refresh", "try again in")],
)
def test_keys_that_are_not_to_be_had_end_with_3(
    configured: str, idp: LoopbackIssuer, command: str, words: str
) -> None:
    idp.down()
    error = failure(command)
    assert error.returncode == 3
    assert words in str(error)


def test_status_shows_what_there_is_where_keys_are_away(configured: str, idp: LoopbackIssuer) -> None:
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("skeldir_jwt_status", stdout=out, as_json=True)
    (status,) = json.loads(out.getvalue()).values()
    assert (status["ready"], status["kids"]) == (False, [])


def test_status_without_a_fitting_key_ends_with_1(
    configured: str, idp: LoopbackIssuer, settings: Any
) -> None:
    conf.verifier().warm()
    settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, "ALGORITHMS": ["RS256"]}
    error = failure("skeldir_jwt_status")
    assert (error.returncode, str(error)) == (1, "not ready: an issuer has no usable key")


def test_refresh_fetches_once_for_the_fleet_and_obeys_its_floor(configured: str, idp: LoopbackIssuer) -> None:
    run("skeldir_jwt_refresh")
    assert PostgresBench(configured).columns()["last_refresh_reason"] == "manual"
    assert idp.fetches == 1
    error = failure("skeldir_jwt_refresh")
    assert error.returncode == 3
    assert idp.fetches == 1


def test_refresh_shows_the_newer_keys(configured: str, idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    kid = idp.rotate(keep_previous=False)
    (status,) = json.loads(run("skeldir_jwt_refresh", as_json=True)).values()
    assert status["kids"] == [kid]


def test_a_database_without_the_table_ends_with_2(
    settings: Any, make_alias: MakeAlias, new_database: Any, idp: LoopbackIssuer
) -> None:
    settings.SKELDIR_JWT = of(idp, DATABASE=make_alias(new_database()))
    error = failure("skeldir_jwt_status")
    assert error.returncode == 2
    assert "manage.py migrate" in str(error)
    assert idp.fetches == 0


def test_settings_that_are_wrong_end_with_2(settings: Any, idp: LoopbackIssuer) -> None:
    settings.SKELDIR_JWT = of(idp, AUDIENCE=7)
    error = failure("skeldir_jwt_status")
    assert error.returncode == 2
    assert "SKELDIR_JWT['AUDIENCE']" in str(error)


@pytest.mark.parametrize(
    ("arguments", "down", "code"),
    [
        (["skeldir_jwt_refresh", "--json"], False, 0),
        (["skeldir_jwt_status", "--json"], False, 0),
        (["skeldir_jwt_status", "--jsn"], False, 2),
        (["skeldir_jwt_status"], True, 3),
    ],
)
def test_a_process_ends_with_the_code_and_prints_json(
    tmp_path: Path, pg_dsn: str, idp: LoopbackIssuer, arguments: list[str], down: bool, code: int
) -> None:
    (tmp_path / "the_settings.py").write_text(
        f"SECRET_KEY = 'x' * 50\nINSTALLED_APPS = ['skeldir_jwt_mw.django']\nUSE_TZ = True\n"
        f"DATABASES = {{'default': {database_settings(pg_dsn)!r}}}\nSKELDIR_JWT = {of(idp)!r}\n"
    )
    if down:
        idp.down()

    def run_process(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "django", *arguments, "--settings", "the_settings"]
        command += ["--pythonpath", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    if code == 0:
        run_process("skeldir_jwt_refresh")
        idp.down()  # nobody asks it again
        with psycopg.connect(pg_dsn) as connection:
            connection.execute("UPDATE public.jwt_verification_cache SET floor_until = 'epoch'")
        if arguments[0] == "skeldir_jwt_refresh":
            idp.up()
    done = run_process(*arguments)
    assert done.returncode == code, done.stderr
    if code == 0:
        assert done.stderr == ""
        assert [status["kids"] for status in json.loads(done.stdout).values()] == [list(idp.kids)]
