"""Every common server goes through the same: nothing of ours may depend on how it runs its workers."""

from __future__ import annotations

import signal
from contextlib import closing

import pytest
from lines import FUNCTION, SERVERS, WORKERS, Line
from running import Function, Server, Worker, running, until
from scenes import Scene, environ_of, is_leased, locked_table, sessions_of_ours

from skeldir_jwt_mw.testing import IssuerProcess

KINDS: list[tuple[type[Server], Line]] = [
    *((Server, line) for line in SERVERS),
    *((Worker, line) for line in WORKERS),
    (Function, FUNCTION),
]
STRANGERS = 24


@pytest.mark.parametrize(("kind", "line"), KINDS, ids=[line.name for _, line in KINDS])
@pytest.mark.parametrize("store", ["memory", "postgres"])
def test_a_server_serves_through_lock_outage_rotation_and_flood_and_leaves_nothing(
    kind: type[Server], line: Line, store: str, provider: IssuerProcess, request: pytest.FixtureRequest
) -> None:
    dsn = request.getfixturevalue("pg_dsn") if store == "postgres" else None
    with (
        running(kind, line, environ_of(provider, dsn)) as server,
        closing(Scene(server, provider, dsn)) as scene,
    ):
        server.wait_until_it_listens()
        known = provider.token()
        scene.ask_everybody(known, may_wait=True)
        assert provider.fetches == scene.fetches_each

        provider.hang()
        provider.rotate()
        new = provider.token()
        if dsn is not None:
            with locked_table(dsn):
                scene.assert_known_keys_are_served(
                    known, new, is_held_up=lambda: sessions_of_ours(dsn, waiting=True)
                )
                assert provider.fetches == scene.fetches_each
        asked_before = provider.fetches
        scene.assert_known_keys_are_served(known, new, is_held_up=lambda: provider.fetches > asked_before)
        provider.up()
        scene.ask_everybody(new, may_wait=True)
        assert provider.fetches == 2 * scene.fetches_each

        scene.assert_no_stranger_gets_in([provider.stranger_token() for _ in range(STRANGERS)])
        scene.ask_everybody(known)
        scene.ask_everybody(new)
        assert provider.fetches == 2 * scene.fetches_each

        assert server.stop() in (0, -signal.SIGTERM)
        if dsn is not None:
            until(lambda: sessions_of_ours(dsn) == 0)
        assert "Traceback" not in server.log
        for warning in {other.told for _, other in KINDS if other.told}:
            assert (warning in server.log) == (warning == line.told)


@pytest.mark.parametrize(("kind", "line"), KINDS, ids=[line.name for _, line in KINDS])
def test_a_server_ends_while_a_refresh_is_in_the_air_and_leaves_nothing(
    kind: type[Server], line: Line, provider: IssuerProcess, pg_dsn: str
) -> None:
    provider.hang()
    token = provider.token()
    with running(kind, line, environ_of(provider, pg_dsn)) as server:
        server.wait_until_it_listens()
        assert server.ask(token) == (503, None)
        until(lambda: provider.fetches == 1)
        assert server.stop() in (0, -signal.SIGTERM)
        assert provider.fetches == 1
        until(lambda: sessions_of_ours(pg_dsn) == 0)
        if line.runs_exit_hooks:
            assert not is_leased(pg_dsn)
