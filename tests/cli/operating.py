"""What the tests of the command line share: running it in a process of its own, or in this one."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Mapping

from skeldir_jwt_mw.testing import LoopbackIssuer

SEAL_KEY = base64.b64encode(b"k" * 32).decode()


def environ_of(idp: LoopbackIssuer, dsn: str | None = None) -> dict[str, str]:
    """The settings of a service behind the provider; without a database its memory is the store."""
    settings = {
        "SKELDIR_JWT_ISSUER": idp.issuer,
        "SKELDIR_JWT_AUDIENCE": "orders-api",
        "SKELDIR_JWT_JWKS_URL": idp.jwks_url,
        "SKELDIR_JWT_ALLOW_HTTP": "1",
        "SKELDIR_JWT_ALLOW_PRIVATE_HOSTS": "1",
    }
    if dsn is not None:
        settings |= {"SKELDIR_JWT_DATABASE_URL": dsn, "SKELDIR_JWT_SEAL_KEYS": SEAL_KEY}
    return settings


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without any of ours."""
    return {name: value for name, value in environ.items() if not name.startswith("SKELDIR_")}


def run(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    stdin: str = "",
    python: tuple[str, ...] = ("-m", "skeldir_jwt_mw"),
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """`skeldir-jwt` as a real process."""
    return subprocess.run(
        [sys.executable, *python, *arguments],
        env={**without_settings(os.environ), **(environ or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
