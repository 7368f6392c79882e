"""Sets the stage for an app: starts an identity provider and a Postgres on this machine, then a command.

python -m skeldir_jwt_mw.testing.stage -- uvicorn app:app --workers 2

The command finds both through `SKELDIR_JWT_…`, `DATABASE_URL` and libpq's own `PG…` variables. When it ends,
all that was started for it ends too; when this process is killed, the watchdogs see to that.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.extras import what_to_install
from skeldir_jwt_mw.migrate import migrate

from .issuer import LoopbackIssuer
from .postgres import EmbeddedPostgres, PostgresMissing
from .sandbox import Sandbox

APP = "app"  # the app's database, and the role that owns it: no superuser, so that row level security holds
OF_A_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)  # a terminal sends them to the command as well
FORWARDED = (*OF_A_TERMINAL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
CANNOT_START = 2  # exit codes, the latter two as a shell has them
CANNOT_RUN = 127
SIGNALLED = 128


@contextlib.contextmanager
def surroundings(issuer: LoopbackIssuer) -> Iterator[dict[str, str]]:
    """A Postgres with the table in it; yields the variables by which an app finds it and the provider."""
    with EmbeddedPostgres() as postgres:
        folder = str(postgres.socket_folder)
        url = f"postgresql://{APP}@/{APP}?host={quote(folder, safe='')}"
        postgres.create_database(APP, owner=APP)
        migrate(url)
        yield {
            "SKELDIR_JWT_ISSUER": issuer.issuer,
            "SKELDIR_JWT_AUDIENCE": issuer.audience,
            "SKELDIR_JWT_DATABASE_URL": url,
            "SKELDIR_JWT_SEAL_KEYS": b64encode(secrets.token_bytes(32)).decode(),
            "SKELDIR_JWT_ALLOW_HTTP": "true",
            "SKELDIR_JWT_ALLOW_PRIVATE_HOSTS": "true",
            "DATABASE_URL": url,
            "PGHOST": folder,
            "PGUSER": APP,
            "PGDATABASE": APP,
        }


def leave_elsewhere() -> None:
    """Take what points to another provider or database out of this process's environment."""
    for name in list(os.environ):
        if name in ("SKELDIR_JWT_CONFIG", "SKELDIR_JWT_JWKS_URL") or name.startswith("PG"):
            del os.environ[name]


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command to its end, signals passed on to it; its exit code, as a shell tells it."""
    early: list[int] = []  # signals that came before there was a command to send them to
    child: subprocess.Popen[bytes] | None = None
    on_terminal = _in_foreground()

    def pass_on(number: int, _: object) -> None:
        if child is None:
            early.append(number)
        elif not (on_terminal and number in OF_A_TERMINAL):
            child.send_signal(number)

    for forwarded in FORWARDED:
        signal.signal(forwarded, pass_on)
    with Sandbox("skeldir-stage-") as sandbox:
        child = subprocess.Popen(command, env=dict(environ))  # noqa: S603  # what the user asked for
        sandbox.take_along(child.pid)
        for number in early:
            child.send_signal(number)
        code = child.wait()
        sandbox.take_along(None)
    return code if code >= 0 else SIGNALLED - code


def _in_foreground() -> bool:
    """Whether this process belongs to what its terminal sends Ctrl-C to."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the stage, run the command, and clear away; the exit code is the command's."""
    parser = argparse.ArgumentParser(
        prog="python -m skeldir_jwt_mw.testing.stage",
        usage="%(prog)s [options] -- COMMAND ...",
        description="Run a command with a loopback identity provider and an embedded Postgres beside it.",
    )
    parser.add_argument(
        "--port", type=int, default=8800, help="the provider's; 0: any (default: %(default)s)"
    )
    parser.add_argument("--audience", default="orders-api", help="of the tokens (default: %(default)s)")
    parser.add_argument(
        "--url", default="http://127.0.0.1:8000/orders", help="of the example call (default: %(default)s)"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("which command? it stands behind --, such as -- uvicorn app:app")
    programs = os.path.dirname(sys.executable)  # of the same environment, activated or not
    path = os.pathsep.join(filter(None, (programs, os.environ.get("PATH"))))
    if shutil.which(command[0], path=path) is None:
        sys.stderr.write(f"there is no command {command[0]}\n")
        return CANNOT_RUN
    leave_elsewhere()
    with contextlib.ExitStack() as stack:
        try:
            issuer = stack.enter_context(LoopbackIssuer(port=options.port, audience=options.audience))
        except (OSError, OverflowError) as error:
            sys.stderr.write(f"cannot use port {options.port}: {error}; --port chooses another\n")
            return CANNOT_START
        try:
            variables = stack.enter_context(surroundings(issuer))
        except (PostgresMissing, ConfigurationError) as missing:
            sys.stderr.write(f"{missing}\n")
            return CANNOT_START
        except ModuleNotFoundError as missing:
            if (text := what_to_install(missing)) is None:
                raise
            sys.stderr.write(f"{text}\n")
            return CANNOT_START
        sys.stdout.write(
            f"issuer     {issuer.issuer}\n"
            f"database   {variables['DATABASE_URL']}\n"
            f"a token    TOKEN=$(curl -s {issuer.origin}/token -d sub=ada -d scope=orders:read"
            " | cut -d '\"' -f 4)\n"
            f'a call     curl -i {options.url} -H "Authorization: Bearer $TOKEN"\n'
            f"rotation   curl -s -X POST {issuer.origin}/rotate\n"
            f"fetches    curl -s {issuer.origin}/fetches\n"
        )
        sys.stdout.flush()
        return run(command, {**os.environ, **variables, "PATH": path})


if __name__ == "__main__":
    sys.exit(main())
