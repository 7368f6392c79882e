"""Fixtures of the command line's tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from operating import environ_of, without_settings

from skeldir_jwt_mw.commands import group
from skeldir_jwt_mw.testing import LoopbackIssuer

Invoke = Callable[..., Result]


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


@pytest.fixture
def settings(idp: LoopbackIssuer, pg_dsn: str) -> dict[str, str]:
    """A service with the provider and the test database."""
    return environ_of(idp, pg_dsn)


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs a command in this process, under no settings but those given; errors end up in the result."""

    def invoke(*arguments: str, environ: dict[str, str] | None = None, stdin: str | None = None) -> Result:
        for name in set(os.environ) - set(without_settings(os.environ)):
            monkeypatch.delenv(name)
        for name, value in (environ or {}).items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(group, arguments, input=stdin)

    return invoke
