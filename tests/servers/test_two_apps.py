"""Two apps in one process of uWSGI: what cryptography cannot, and the option that the page names."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from lines import SERVERS
from running import Server, running, until
from scenes import Scene, environ_of

from skeldir_jwt_mw.testing import IssuerProcess

UWSGI = next(line for line in SERVERS if line.name == "uwsgi")
TWO = replace(
    UWSGI,
    command=UWSGI.command.replace(
        "--module service:wsgi", "--manage-script-name --mount /=service:wsgi --mount /b=service:wsgi"
    ),
)


def test_subinterpreters_are_refused_by_what_signatures_are_checked_with(provider: IssuerProcess) -> None:
    with running(Server, TWO, environ_of(provider, None)) as server:
        until(lambda: "PyO3 modules do not yet support subinterpreters" in server.log)


def test_two_apps_share_one_interpreter(provider: IssuerProcess) -> None:
    line = replace(TWO, command=f"{TWO.command} --single-interpreter")
    with (
        running(Server, line, environ_of(provider, None)) as server,
        closing(Scene(server, provider, None)) as scene,
    ):
        until(lambda: server.log.count("ready in") == 2)
        scene.ask_everybody(provider.token(), may_wait=True)
        assert server.stop() == 0
