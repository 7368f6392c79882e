"""Advisories on fetching keys and on what becomes of them."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Callable

import pytest
from outcomes import outcome, policy

from skeldir_jwt_mw import Issuer, MemoryStore, Verifier
from skeldir_jwt_mw.sources import Conditional, DiscoverySource, JWKSUrlSource
from skeldir_jwt_mw.stores.base import Session
from skeldir_jwt_mw.testing import LoopbackIssuer

Service = Callable[..., Verifier]

URLS = (
    "file:///etc/passwd", "ftp://a.example/jwks", "data:application/json,{}", "gopher://a.example/",
    "jar:x!/y", "FILE:///etc/passwd", "//a.example/jwks", "/etc/passwd", "unix:///tmp/x",
    "dict://a.example/", "ldap://a.example/",
)  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_t_url_keys_come_over_https_alone(url: str) -> None:
    """CVE-2026-48522: `file:`, `ftp:` and `data:` were fetched as well."""
    for allow_http in (False, True):
        given = {"allow_http": allow_http, "allow_private_hosts": True}
        assert outcome(lambda: JWKSUrlSource(url, **given)) == "configuration"  # type: ignore[arg-type]  # noqa: B023
        assert outcome(lambda: Issuer("https://a.example", audience="a", jwks_url=url, **given)) == (  # noqa: B023
            "configuration"
        )
        assert outcome(lambda: DiscoverySource(url, **given)) == "configuration"  # type: ignore[arg-type]  # noqa: B023


def test_t_redir_a_redirect_is_not_followed() -> None:
    """GHSA-9v7f, GHSA-2gx3: the URL that was configured led to one that nobody had."""
    asked: list[str] = []

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "12")
            self.end_headers()
            self.wfile.write(b'{"keys": []}')

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            for status in (301, 302, 303, 307, 308, 300):
                url = f"http://127.0.0.1:{server.server_port}/{status}"
                source = JWKSUrlSource(url, allow_http=True, allow_private_hosts=True)
                ending = outcome(lambda: source.fetch(Conditional()))  # noqa: B023
                assert ending == f"the provider answered with status {status}"
        finally:
            server.shutdown()
            thread.join()
    assert "/elsewhere" not in asked


class CountedStore(MemoryStore):
    """Counts how often anybody comes to it."""

    opened = 0

    def open(self, seconds: float) -> Session:
        self.opened += 1
        return super().open(seconds)


def test_t_amp_unknown_kids_cost_one_fetch_and_then_nothing(idp: LoopbackIssuer, service: Service) -> None:
    """CVE-2026-48524, GHSA-2gx3: every unknown kid was another fetch."""
    store = CountedStore()
    verifier = service(idp, store=store)
    verifier.verify(idp.token())
    strangers = [idp.stranger_token() for _ in range(60)]
    assert outcome(lambda: verifier.verify(strangers[0])) == "unknown_kid"
    opened = store.opened
    assert idp.fetches == 2
    for stranger in strangers[1:]:
        assert outcome(lambda: verifier.verify(stranger)) == "unknown_kid"  # noqa: B023
        assert (idp.fetches, store.opened) == (2, opened)


def test_t_amp_a_fleet_that_shares_a_store_fetches_once(idp: LoopbackIssuer, service: Service) -> None:
    """CVE-2026-48524: and every process asked for itself."""
    store = MemoryStore()
    fleet = [service(idp, store=store) for _ in range(6)]
    for worker in fleet:
        worker.verify(idp.token())
    for worker in fleet:
        outcome(lambda: worker.verify(idp.stranger_token()))  # noqa: B023
    assert idp.fetches == 2  # the cold start and one forced refresh
    for worker in fleet:
        assert outcome(worker.refresh) == "keys_unavailable"  # the floor holds for all, whoever asks
    assert idp.fetches == 2


@pytest.mark.parametrize(
    "trouble",
    ["500", "rubbish", "empty set", "no usable key", "list"],
)
def test_t_keep_a_bad_refresh_keeps_the_good_keys(
    idp: LoopbackIssuer, service: Service, trouble: str
) -> None:
    """CVE-2026-48524: an error while fetching wiped the cache."""
    verifier = service(idp, floor=0.001)
    good = idp.token()
    verifier.verify(good)
    if trouble == "500":
        idp.down(500)
    else:
        idp.serve(
            {
                "rubbish": "<html>",
                "empty set": '{"keys":[]}',
                "no usable key": '{"keys":[{"kty":"PQ"}]}',
                "list": "[]",
            }[trouble]
        )
    assert outcome(lambda: verifier.verify(idp.stranger_token())) == "keys_unavailable"
    assert idp.fetches == 2
    assert outcome(lambda: verifier.verify(good)) == "ok"
    assert outcome(lambda: verifier.verify(idp.token(sub="another"))) == "ok"


def test_t_revoke_a_key_that_was_removed_verifies_nothing_more(idp: LoopbackIssuer, service: Service) -> None:
    """CVE-2025-22149 (GHSA-675f-rq2r-jw82): new keys were merged into the old ones, so none ever went."""
    for options in ({}, {"token_cache": 100}):
        verifier = service(idp, floor=0.001, **options)
        removed = idp.token()
        assert outcome(lambda: verifier.verify(removed)) == "ok"  # noqa: B023
        idp.rotate(keep_previous=False)
        assert outcome(lambda: verifier.verify(idp.token())) == "ok"  # noqa: B023
        assert outcome(lambda: verifier.verify(removed)) == "unknown_kid"  # noqa: B023


def test_t_cancel_a_client_that_goes_away_leaves_the_others_their_keys(idp: LoopbackIssuer) -> None:
    """CVE-2024-45809, CVE-2025-64527: a request that ended during the fetch brought the process down."""
    verifier = Verifier(
        Issuer(
            idp.issuer,
            audience="orders-api",
            jwks_url=idp.jwks_url,
            allow_http=True,
            allow_private_hosts=True,
        ),
        policy=policy(),
    )
    idp.slow(0.4)
    token = idp.token()

    async def scene() -> list[str]:
        waiting = [asyncio.create_task(verifier.averify(token)) for _ in range(4)]
        while not any(status["refreshing"] for status in verifier.status().values()):
            await asyncio.sleep(0.005)
        for task in waiting[:2]:
            task.cancel()
        endings = await asyncio.gather(*waiting, return_exceptions=True)
        endings.append(await asyncio.gather(verifier.averify(token), return_exceptions=True))
        return [type(ending[0] if isinstance(ending, list) else ending).__name__ for ending in endings]

    assert asyncio.run(scene()) == ["CancelledError", "CancelledError", *["VerifiedToken"] * 3]
    assert idp.fetches == 1
    verifier.close()
