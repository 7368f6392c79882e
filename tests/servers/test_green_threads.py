"""A statement that waits for a lock stops no green thread, whichever library and driver, patched when."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from running import HERE, PATIENCE, until
from scenes import environ_of, locked_table, sessions_of_ours

from skeldir_jwt_mw.testing import IssuerProcess

KINDS = [
    (library, when, driver)
    for library in ("gevent", "eventlet")
    for when in ("early", "late")
    for driver in ("psycopg", "psycopg2")
    if library == "gevent" or when == "early"  # eventlet cannot be patched in late
]


@pytest.mark.parametrize(("library", "when", "driver"), KINDS, ids=["-".join(kind) for kind in KINDS])
def test_known_keys_are_verified_while_a_statement_waits_for_a_lock(
    library: str, when: str, driver: str, provider: IssuerProcess, pg_dsn: str, tmp_path: Path
) -> None:
    environ = {**os.environ, **environ_of(provider, pg_dsn), "SERVICE_DSN": pg_dsn}
    environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(PATIENCE)
        listening.bind(path := os.path.relpath(tmp_path / "s"))
        listening.listen()
        command = [sys.executable, str(HERE / "green_process.py"), library, when, driver, path]
        process = subprocess.Popen(command, env=environ)
        try:
            connection, _ = listening.accept()
            connection.settimeout(PATIENCE)
            with closing(connection), connection.makefile("rw", encoding="ascii") as wire:

                def send(token: str) -> None:
                    wire.write(f"{token}\n")
                    wire.flush()

                known = provider.token()
                send(known)
                assert wire.readline() == "verified\n"
                provider.rotate()
                new = provider.token()
                with locked_table(pg_dsn):
                    send(new)
                    until(lambda: sessions_of_ours(pg_dsn, waiting=True))
                    send(known)
                    assert wire.readline() == "verified\n"
                    assert wire.readline() == "refused\n"  # for the time being
        finally:
            process.kill()
            process.wait()
