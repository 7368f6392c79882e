"""Discovery: from the issuer's own metadata to its keys, and to nobody else's (R43)."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from punctuality import assert_cut_off

from skeldir_jwt_mw.deadline import monotonic
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.sources import Conditional, DiscoverySource, FetchFailed, source_identity
from skeldir_jwt_mw.sources import discovery as module
from skeldir_jwt_mw.testing import LoopbackIssuer

OIDC, OAUTH = "openid-configuration", "oauth-authorization-server"


@pytest.fixture(params=["", "/tenant", "/a/b"])
def idp(request: pytest.FixtureRequest) -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer(path=request.param) as running:
        yield running


@pytest.fixture
def plain() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as running:
        yield running


def source_for(issuer: str, **options: Any) -> DiscoverySource:
    options = {"timeout": 2.0, "allow_http": True, "allow_private_hosts": True, **options}
    return DiscoverySource(issuer, **options)


def paths(idp: LoopbackIssuer) -> list[str]:
    return [seen.path for seen in idp.requests]


def test_r43_the_keys_are_found_through_openid_discovery(idp: LoopbackIssuer) -> None:
    fetched = source_for(idp.issuer).fetch(Conditional())
    assert fetched.document is not None
    assert fetched.etag is not None
    path = idp.issuer.removeprefix(idp.origin)
    assert paths(idp) == [f"{path}/.well-known/{OIDC}", f"{path}/.well-known/jwks.json"]


def test_r43_the_keys_are_found_through_rfc_8414_where_there_is_no_openid(idp: LoopbackIssuer) -> None:
    idp.describe(OIDC, None)  # type: ignore[arg-type]
    assert source_for(idp.issuer).fetch(Conditional()).document is not None
    path = idp.issuer.removeprefix(idp.origin)
    assert paths(idp)[:2] == [f"{path}/.well-known/{OIDC}", f"/.well-known/{OAUTH}{path}"]


def test_an_issuer_with_a_slash_at_its_end_keeps_it_in_the_comparison(plain: LoopbackIssuer) -> None:
    issuer = plain.issuer + "/"
    with pytest.raises(FetchFailed, match="not the configured one"):
        source_for(issuer).fetch(Conditional())
    plain.describe("openid-configuration", {"issuer": issuer})
    plain.reset()
    assert source_for(issuer).fetch(Conditional()).document is not None
    assert paths(plain) == [f"/.well-known/{OIDC}", "/.well-known/jwks.json"]


def test_a_slash_at_the_issuers_end_is_no_part_of_the_well_known_places() -> None:
    with LoopbackIssuer(path="/tenant") as idp:
        idp.describe("openid-configuration", None)
        idp.describe("oauth-authorization-server", {"issuer": idp.issuer + "/"})
        assert source_for(idp.issuer + "/").fetch(Conditional()).document is not None
        assert paths(idp)[:2] == [f"/tenant/.well-known/{OIDC}", f"/.well-known/{OAUTH}/tenant"]


@pytest.mark.parametrize(
    "other",
    [
        "{issuer}/",
        "{issuer}/tenant",
        "{upper}",
        "https://else.example.com",
        "",
        None,
        7,
        ["{issuer}"],
        {"issuer": "{issuer}"},
    ],
)
def test_r43_metadata_of_another_issuer_is_refused(plain: LoopbackIssuer, other: Any) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{issuer}", plain.issuer).replace("{upper}", plain.issuer.upper())
        return [filled(one) for one in value] if isinstance(value, list) else value

    plain.describe("openid-configuration", {"issuer": filled(other)})
    with pytest.raises(FetchFailed, match="the issuer in the metadata is not the configured one"):
        source_for(plain.issuer).fetch(Conditional())
    assert plain.fetches == 0
    assert plain.discovery_fetches == 1  # a wrong document is no missing one


@pytest.mark.parametrize(
    "jwks_uri",
    [
        None,
        7,
        "",
        "jwks.json",
        "/jwks.json",
        "ftp://keys.example.com/jwks",
        "file:///etc/passwd",
        "https://user:password@keys.example.com/",
        "https://keys.example.com/#f",
        "https://keys.example.com:99999/",
        "https://ke ys.example.com/",
        "https://keys.example.com/\r\nX: y",
        ["https://keys.example.com/"],
    ],
)
def test_r43_a_jwks_uri_that_may_not_be_fetched_is_refused(plain: LoopbackIssuer, jwks_uri: Any) -> None:
    plain.describe("openid-configuration", {"jwks_uri": jwks_uri})
    with pytest.raises(FetchFailed, match="no jwks_uri that may be fetched"):
        source_for(plain.issuer).fetch(Conditional())


@pytest.mark.parametrize(
    ("jwks_uri", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "never asked"),
        ("https://[fd00:ec2::254]/", "never asked"),
        ("http://8.8.8.8/jwks", "plain http is for private addresses"),
    ],
)
def test_r51_the_jwks_uri_passes_the_same_guard(plain: LoopbackIssuer, jwks_uri: str, reason: str) -> None:
    plain.describe("openid-configuration", {"jwks_uri": jwks_uri})
    with pytest.raises(FetchFailed, match=reason):
        source_for(plain.issuer).fetch(Conditional())


def test_r43_plain_http_is_never_admitted_by_the_environment(
    plain: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    source = DiscoverySource("https://login.example.com")
    metadata = {"issuer": "https://login.example.com", "jwks_uri": "http://login.example.com/jwks"}
    with pytest.raises(FetchFailed, match="no jwks_uri that may be fetched"):
        source._jwks_uri(metadata)
    metadata["jwks_uri"] = "https://keys.example.net/jwks"
    assert source._jwks_uri(metadata) == "https://keys.example.net/jwks"


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example.com",
        "https://login.example.com/?tenant=1",
        "https://login.example.com/#x",
        "https://user@login.example.com/",
        "https://login.example.com/{tid}/v2.0",
        "login.example.com",
        "",
    ],
)
def test_r43_an_issuer_that_cannot_be_discovered_is_refused_at_construction(issuer: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^issuer \("):
        DiscoverySource(issuer)


def test_the_discovered_url_is_remembered_for_an_hour(
    plain: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_for(plain.issuer)
    for _ in range(3):
        source.fetch(Conditional())
    assert (plain.discovery_fetches, plain.fetches) == (1, 3)
    later = monotonic() + module.REDISCOVER_AFTER
    monkeypatch.setattr(module, "monotonic", lambda: later)
    source.fetch(Conditional())
    source.fetch(Conditional())
    assert (plain.discovery_fetches, plain.fetches) == (2, 5)


def test_the_discovered_url_is_forgotten_when_a_fetch_fails(plain: LoopbackIssuer) -> None:
    source = source_for(plain.issuer)
    source.fetch(Conditional())
    plain.down(503, retry_after=9)
    with pytest.raises(FetchFailed) as failure:
        source.fetch(Conditional())
    assert failure.value.retry_after == 9.0
    plain.up()
    source.fetch(Conditional())
    assert plain.discovery_fetches == 2


def test_versions_of_one_document_are_not_named_to_another(plain: LoopbackIssuer) -> None:
    source = source_for(plain.issuer)
    etag = source.fetch(Conditional()).etag
    with LoopbackIssuer() as moved:
        plain.describe("openid-configuration", {"jwks_uri": moved.jwks_url})
        plain.down()
        with contextlib.suppress(FetchFailed):
            source.fetch(Conditional(etag=etag))
        plain.up()
        source.fetch(Conditional(etag=etag, last_modified="Mon, 01 Jan 2001 00:00:00 GMT"))
        (request,) = moved.requests
        assert not request.headers.keys() & {"if-none-match", "if-modified-since"}


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_provider_in_trouble_is_not_asked_a_second_time(plain: LoopbackIssuer, status: int) -> None:
    plain.down(status, retry_after=30)
    with pytest.raises(FetchFailed, match=str(status)) as failure:
        source_for(plain.issuer).fetch(Conditional())
    assert failure.value.retry_after == 30.0
    assert plain.discovery_fetches == 1


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 405, 410])
def test_no_metadata_at_either_place_is_a_failed_fetch(plain: LoopbackIssuer, status: int) -> None:
    plain.down(status)
    with pytest.raises(FetchFailed, match=f"no metadata .status {status}"):
        source_for(plain.issuer).fetch(Conditional())
    assert plain.discovery_fetches == 2


def test_one_deadline_covers_metadata_and_keys(plain: LoopbackIssuer) -> None:
    source_for(plain.issuer).fetch(Conditional())  # loads the libraries
    plain.slow(0.2)
    assert_cut_off(lambda: source_for(plain.issuer, timeout=0.3).fetch(Conditional()), 0.3)
    assert plain.fetches >= 2  # it had come as far as the keys


def test_credentials_go_to_the_issuers_own_origin_alone(plain: LoopbackIssuer) -> None:
    headers = {"Authorization": "Basic c2VjcmV0"}
    source_for(plain.issuer, headers=headers).fetch(Conditional())
    assert [seen.headers.get("authorization") for seen in plain.requests] == ["Basic c2VjcmV0"] * 2
    with LoopbackIssuer() as other:
        plain.describe("openid-configuration", {"jwks_uri": other.jwks_url})
        source_for(plain.issuer, headers=headers).fetch(Conditional())
        assert "authorization" not in other.requests[0].headers


class _WebApplication(http.server.BaseHTTPRequestHandler):
    """Serves one page for every path but the last places that are asked for."""

    def do_GET(self) -> None:
        origin = f"http://127.0.0.1:{self.server.server_address[1]}"
        body = b"<!doctype html><title>Sign in</title>"
        if self.path.endswith(OAUTH):
            body = json.dumps({"issuer": origin, "jwks_uri": f"{origin}/keys"}).encode()
        if self.path == "/keys":
            body = b'{"keys": []}'
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def test_the_page_of_a_web_application_is_no_metadata() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _WebApplication) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            fetched = source_for(f"http://127.0.0.1:{server.server_address[1]}").fetch(Conditional())
        finally:
            server.shutdown()
            thread.join()
    assert fetched.document == b'{"keys": []}'


def test_the_identity_is_the_same_for_every_issuer_since_the_row_names_it() -> None:
    assert source_identity(DiscoverySource("https://login.example.com")) == "discovery"
