"""pytest-xdist's workers as the fleet: they meet in the database and verify the same unknown kid."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.testing.issuer_process import IssuerProcess

HERE = Path(__file__).parent


@pytest.mark.parametrize("workers", [1, 4])
def test_the_workers_of_one_test_run_fetch_once(
    provider: IssuerProcess, new_database: Callable[[], str], workers: int
) -> None:
    dsn = new_database()
    migrate(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE barrier (place text, worker text)")
        connection.execute("CREATE TABLE token (token text)")
    provider.reset()
    provider.slow(0.2)
    fleet = {
        "dsn": dsn,
        "origin": provider.origin,
        "issuer": provider.issuer,
        "audience": provider.audience,
        "jwks_url": provider.jwks_url,
        "known": provider.token(),
        "seal_key": secrets.token_hex(32),
    }
    # `each` gives every test to every worker; the folder's own conftest would start a crew for nothing.
    spread = ["--dist", "each", "--tx", f"{workers}*popen"] if workers > 1 else ["-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--noconftest", *spread]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, str(HERE / "xdist_part.py")],
        env={**inherited, "SKELDIR_JWT_TEST_FLEET": json.dumps(fleet)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^=+ {workers} passed in ", done.stdout, re.MULTILINE), done.stdout
    assert provider.fetches == 2  # the cold start, and one for the rotation
