"""The commands of `skeldir-jwt`. Settings come from the `SKELDIR_JWT_…` variables, flags go before them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from . import __version__, picture
from .environment import database_url
from .errors import ConfigurationError, InvalidToken, JWTError
from .explanation import checks
from .migrate import exposed
from .migrate import migrate as apply_migrations
from .migrate import provision as create_rows
from .pasted import contents_of, token_in
from .picture import KeysAway, Picture
from .report import REFUSED, UNAVAILABLE, exit_of, printed
from .verifier import Verifier

SEAL_KEY_BYTES = 32


@click.group()
@click.version_option(__version__, prog_name="skeldir-jwt")
def group() -> None:
    """Verify JWTs with keys that the whole fleet fetches once.

    \b
    Exit codes: 0 done, 1 refused or not ready, 2 wrong usage or settings,
    3 keys or database not to be had.
    """


def _settings(
    dsn: str | None = None, issuer: str | None = None, audience: str | None = None
) -> dict[str, str]:
    """The environment, with the flags that were given put over it."""
    environ = dict(os.environ)
    given = {"DATABASE_URL": dsn, "ISSUER": issuer, "AUDIENCE": audience}
    environ.update({f"SKELDIR_JWT_{name}": value for name, value in given.items() if value is not None})
    return environ


def _show(value: Mapping[str, Any], as_json: bool) -> None:
    click.echo(printed(value, as_json=as_json))


_dsn = click.option("--dsn", help="The database; else SKELDIR_JWT_DATABASE_URL.")
_issuer = click.option("--issuer", help="The issuer; else SKELDIR_JWT_ISSUER.")
_audience = click.option("--audience", help="This service's audience; else SKELDIR_JWT_AUDIENCE.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


@group.command()
@_dsn
@click.option("--provision", is_flag=True, help="Also create the configured issuers' rows.")
@_json
def migrate(dsn: str | None, provision: bool, as_json: bool) -> None:
    """Create or update the table; harmless when it is up to date."""
    environ = _settings(dsn)
    url = database_url(environ)
    if url is None:
        raise ConfigurationError("there is no database; set SKELDIR_JWT_DATABASE_URL or give --dsn")
    applied = apply_migrations(url)
    rows = 0
    if provision:
        verifier = Verifier.from_env(environ)
        rows = create_rows(url, verifier.source_keys())
    found = exposed(url)
    if as_json:
        open_to = [{**asdict(one), "revoke": one.revoke} for one in found]
        shown = {"applied": applied, "rows_created": rows}
        _show({**shown, "open_to": open_to} if open_to else shown, True)
        return
    for one in found:
        click.echo(f"warning: {one}", err=True)
    click.echo("\n".join(f"applied {name}" for name in applied) if applied else "up to date")
    if provision:
        click.echo(f"rows created: {rows}")


@group.command("seal-key")
def seal_key() -> None:
    """Print a new key for SKELDIR_JWT_SEAL_KEYS."""
    click.echo(base64.b64encode(secrets.token_bytes(SEAL_KEY_BYTES)).decode())


@group.command()
@_dsn
@_issuer
@_audience
@_json
def status(dsn: str | None, issuer: str | None, audience: str | None, as_json: bool) -> None:
    """Read the shared keys and show them: claims nothing, fetches nothing.

    Exit code 1 where no key fits, 3 where there are no keys.
    """
    verifier = Verifier.from_env(_settings(dsn, issuer, audience))
    found = picture.look(verifier)
    shown = picture.statuses(verifier, found)
    _show(shown, as_json)
    picture.require_keys(found)
    if not all(one["ready"] for one in shown.values()):
        sys.exit(REFUSED)


@group.command()
@_dsn
@_issuer
@_audience
@_json
def refresh(dsn: str | None, issuer: str | None, audience: str | None, as_json: bool) -> None:
    """Fetch the keys now, once for the whole fleet; obeys its floor and backoff."""
    verifier = Verifier.from_env(_settings(dsn, issuer, audience))
    verifier.refresh()
    _show(verifier.status(), as_json)


@group.command()
@click.argument("token")
@_dsn
@_issuer
@_audience
@click.option("--scope", "scopes", multiple=True, help="A scope that the token must have; repeatable.")
@_json
def verify(
    token: str,
    dsn: str | None,
    issuer: str | None,
    audience: str | None,
    scopes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Verify TOKEN with the shared keys and print its claims.

    Reads only: claims nothing, fetches nothing. - reads TOKEN from standard input.
    """
    verifier = Verifier.from_env(_settings(dsn, issuer, audience))
    verified = picture.verify(verifier, picture.look(verifier), _read(token), scopes)
    _show(json.loads(json.dumps(dict(verified.claims))), as_json)


@group.command()
@click.argument("token")
@_dsn
@_issuer
@_audience
@click.option("--scope", "scopes", multiple=True, help="A scope that the token must have; repeatable.")
@_json
def explain(
    token: str,
    dsn: str | None,
    issuer: str | None,
    audience: str | None,
    scopes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say why TOKEN is accepted or refused with the shared keys.

    Reads only: claims nothing, fetches nothing. - reads TOKEN from standard input.
    Shows what the token holds, verified or not: for a terminal, never for a log.
    """
    raw = _read(token)
    verifier = Verifier.from_env(_settings(dsn, issuer, audience))
    found = picture.look(verifier)
    verdict, code = _verdict(verifier, found, raw, scopes)
    contents = contents_of(raw)
    nearest = picture.issuer_of(verifier, contents.get("claims", {}))
    rows: dict[str, Any] = {} if nearest is None else checks(nearest, raw, contents, time.time())
    if not as_json:
        rows = {name: row if row["verdict"] != "ok" else "ok" for name, row in rows.items()}
    judged = {"checks": rows} if rows else {}
    _show({**verdict, **(contents or {"readable": "no"}), **judged}, as_json)
    if code:
        sys.exit(code)


def _verdict(
    verifier: Verifier, found: Sequence[Picture], raw: str, scopes: Sequence[str]
) -> tuple[dict[str, Any], int]:
    """What `explain` says of a token, and the exit code."""
    try:
        picture.verify(verifier, found, raw, scopes)
    except KeysAway as error:
        return {"verdict": "undecided", "code": error.code, "reason": exit_of(error)[1]}, UNAVAILABLE
    except JWTError as error:
        verdict: dict[str, Any] = {"verdict": "refused", "code": error.code, "reason": str(error)}
        if isinstance(error, InvalidToken) and error.hint:
            verdict["hint"] = error.hint
        if error.code in ("unknown_kid", "algorithm_mismatch", "ambiguous_key", "unusable_key"):
            verdict["known_kids"] = [kid for one in found if one.keys for kid in one.keys.kids]
            verdict["rejected_keys"] = [key for one in found if one.keys for key in one.keys.left_out]
        return verdict, REFUSED
    return {"verdict": "accepted"}, 0


@group.command()
@click.option("--workers", default=16, show_default=True, type=click.IntRange(2, 256))
@click.option("--dsn", help="A database to use instead of an embedded one.")
def demo(workers: int, dsn: str | None) -> None:
    """Run a fleet through rotation, flood, crash and outage and show what it costs."""
    from .testing.demo import run_demo  # needs rich and processes, which no other command does

    if not run_demo(workers=workers, dsn=dsn):
        sys.exit(REFUSED)


def _read(token: str) -> str:
    return token_in(sys.stdin.read() if token == "-" else token)  # noqa: S105  not a password
