"""A JWKS from a URL: what is sent, what is kept, and which settings are refused."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from punctuality import assert_cut_off

from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.sources import Conditional, FetchFailed, JWKSUrlSource, source_identity
from skeldir_jwt_mw.sources.guard import Address
from skeldir_jwt_mw.testing import LoopbackIssuer


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as running:
        yield running


def source_for(url: str, **options: Any) -> JWKSUrlSource:
    options = {"timeout": 2.0, "allow_http": True, "allow_private_hosts": True, **options}
    return JWKSUrlSource(url, **options)


def address(text: str, port: int) -> Address:
    ip = ip_address(text)
    return Address(ip, socket.AF_INET if ip.version == 4 else socket.AF_INET6, (text, port))


def resolving_to(*answers: Sequence[Address]) -> tuple[Callable[[str, int], Sequence[Address]], list[str]]:
    """A resolver that gives one answer after the other, and the names that it was asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        return answers[len(asked) - 1]

    return resolve, asked


def port_of(idp: LoopbackIssuer) -> int:
    return int(idp.origin.rpartition(":")[2])


def test_the_document_is_fetched_as_it_is_with_its_version_and_age(idp: LoopbackIssuer) -> None:
    idp.configure(last_modified=True, max_age=120)
    idp.serve('{"keys": [ ]}')
    fetched = source_for(idp.jwks_url).fetch(Conditional())
    assert fetched.document == b'{"keys": [ ]}'
    assert fetched.etag is not None
    assert fetched.last_modified is not None
    assert fetched.max_age == 120.0


def test_the_request_asks_for_a_plain_jwks_and_no_kept_connection(idp: LoopbackIssuer) -> None:
    source_for(idp.jwks_url + "?v=1", headers={"X-Api-Key": "k"})
    source_for(idp.jwks_url, headers={"X-Api-Key": "k"}).fetch(Conditional())
    (request,) = idp.requests
    assert request.headers == {
        "host": f"127.0.0.1:{port_of(idp)}",
        "accept": "application/jwk-set+json, application/json",
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": "skeldir_jwt_mw",
        "x-api-key": "k",
    }


def test_a_query_is_part_of_the_request() -> None:
    with LoopbackIssuer() as idp:
        with pytest.raises(FetchFailed, match="404"):
            source_for(f"{idp.origin}/keys?app=1").fetch(Conditional())
        assert source_identity(source_for(f"{idp.origin}/keys?app=1")) == f"url:{idp.origin}/keys?app=1"


def test_an_unchanged_document_is_not_sent_again(idp: LoopbackIssuer) -> None:
    source = source_for(idp.jwks_url)
    first = source.fetch(Conditional())
    again = source.fetch(Conditional(etag=first.etag))
    assert again.document is None
    assert again.etag == first.etag
    assert idp.not_modified == 1
    idp.rotate()
    assert source.fetch(Conditional(etag=first.etag)).document is not None


def test_last_modified_serves_where_there_is_no_etag(idp: LoopbackIssuer) -> None:
    idp.configure(etag=False, last_modified=True)
    source = source_for(idp.jwks_url)
    first = source.fetch(Conditional())
    assert first.etag is None
    again = source.fetch(Conditional(last_modified=first.last_modified))
    assert (again.document, again.last_modified) == (None, first.last_modified)


def test_a_forced_fetch_asks_caches_on_the_way_for_the_origins_answer(idp: LoopbackIssuer) -> None:
    source = source_for(idp.jwks_url)
    source.fetch(Conditional(no_cache=True))
    source.fetch(Conditional())
    assert [seen.headers.get("cache-control") for seen in idp.requests] == ["no-cache", None]


def test_a_version_that_could_split_the_request_is_not_sent(idp: LoopbackIssuer) -> None:
    source_for(idp.jwks_url).fetch(Conditional(etag='"a"\r\nX-Evil: 1', last_modified="x" * 1025))
    (request,) = idp.requests
    assert not request.headers.keys() & {"if-none-match", "if-modified-since", "x-evil"}


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("7", 7.0), ("100000", 3600.0), ("soon", None), ("-1", None), (None, None)]
)
@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_failure_says_when_to_come_back(
    idp: LoopbackIssuer, status: int, retry_after: str | None, seconds: float | None
) -> None:
    idp.down(status, retry_after=retry_after)
    with pytest.raises(FetchFailed) as failure:
        source_for(idp.jwks_url).fetch(Conditional())
    assert failure.value.reason == f"the provider answered with status {status}"
    assert failure.value.retry_after == seconds


@pytest.mark.parametrize("status", [201, 202, 203, 204, 206, 301, 302, 303, 307, 308, 400, 401, 404, 410])
def test_r52_no_status_but_200_holds_a_document(idp: LoopbackIssuer, status: int) -> None:
    idp.down(status)
    with pytest.raises(FetchFailed, match=str(status)):
        source_for(idp.jwks_url).fetch(Conditional(etag='"v1"'))


def test_r52_a_304_that_nobody_asked_for_is_refused(idp: LoopbackIssuer) -> None:
    idp.down(304)
    with pytest.raises(FetchFailed, match="304"):
        source_for(idp.jwks_url).fetch(Conditional())


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://keys.example.com/jwks", "must be an https URL; http is for development"),
        ("ftp://keys.example.com/jwks", "must be an https URL"),
        ("file:///etc/passwd", "must be an https URL"),
        ("data:application/json,0", "must be an https URL"),
        ("https:///jwks", "host"),
        ("https://user:secret@keys.example.com/jwks", "user name or password"),
        ("https://secret@keys.example.com/jwks", "user name or password"),
        ("https://keys.example.com/jwks#secret", "fragment"),
        ("https://keys.example.com/jwks#", "fragment"),
        ("https://keys.example.com:99999/", "port"),
        ("https://keys.example.com:0/", "port"),
        ("https://keys.example.com\\@evil.example/", "RFC 3986"),
        ("https://keys.example.com/\r\nX: y", "control characters|white space"),
        ("https://kéys.example.com/", "RFC 3986"),
        ("https://keys.example.com/{tid}/keys", "RFC 3986"),
        ("", "must not be empty"),
        (None, "must be a string"),
    ],
)
def test_r50_a_url_that_may_not_be_fetched_is_refused_at_construction(url: Any, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as refused:
        JWKSUrlSource(url, allow_private_hosts=True)
    assert str(refused.value).startswith("jwks_url (")
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": 0}, "timeout (0) must be more than 0"),
        ({"timeout": 61}, "timeout (61) must be more than 0 and at most 60 s"),
        ({"timeout": float("nan")}, "timeout (nan)"),
        ({"timeout": True}, "timeout (True)"),
        ({"headers": {"Host": "evil"}}, "headers ('Host') is set by the fetch itself"),
        ({"headers": {"accept-encoding": "gzip"}}, "headers ('accept-encoding') is set by"),
        ({"headers": {"X Y": "1"}}, "headers must have names"),
        ({"headers": {"X-Key": "secret\r\nY: 1"}}, "headers ('X-Key') must have a value"),
        ({"headers": {"X-Key": 7}}, "headers ('X-Key') must have a value"),
        ({"proxy": "socks5://proxy:1080"}, "proxy ('socks5://proxy:1080') must be of the form"),
        ({"proxy": "http://u:secret@proxy:port"}, "proxy ("),
        ({"proxy": "http://u:secret@proxy:3128/path"}, "proxy ('http://***@proxy:3128/path') must be of"),
        ({"ca_file": "/does/not/exist.pem"}, "ca_file cannot be loaded (FileNotFoundError)"),
        ({"client_cert": "/does/not/exist.pem"}, "ca_file or client_cert cannot be loaded"),
        ({"allow_http": "yes"}, "allow_http ('yes') must be True or False"),
        ({"allow_private_hosts": 1}, "allow_private_hosts (1) must be True or False"),
    ],
)
def test_a_wrong_option_is_refused_by_name_without_its_secrets(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        JWKSUrlSource("https://keys.example.com/jwks", **options)
    assert text in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"ca_file cannot be loaded \(SSLError\)"):
        JWKSUrlSource("https://keys.example.com/jwks", ca_file=tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"allow_private_hosts": False}, "need allow_private_hosts"),
        ({"allow_http": False}, None),
    ],
)
def test_r51_loopback_over_http_needs_both_permissions(
    idp: LoopbackIssuer, options: dict[str, Any], reason: str | None
) -> None:
    if reason is None:
        with pytest.raises(ConfigurationError, match="allow_http=True"):
            source_for(idp.jwks_url, **options)
    else:
        with pytest.raises(FetchFailed, match=reason):
            source_for(idp.jwks_url, **options).fetch(Conditional())
    assert idp.fetches == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_r51_no_notation_of_a_private_address_gets_past_the_guard(idp: LoopbackIssuer, host: str) -> None:
    source = source_for(f"http://{host}:{port_of(idp)}/.well-known/jwks.json", allow_private_hosts=False)
    with pytest.raises(FetchFailed, match="private addresses"):
        source.fetch(Conditional())
    assert idp.fetches == 0


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[::ffff:169.254.169.254]"]
)
def test_r51_metadata_addresses_stay_refused_where_private_ones_are_allowed(host: str) -> None:
    with pytest.raises(FetchFailed, match="never asked"):
        source_for(f"https://{host}/jwks").fetch(Conditional())


def test_r51_the_name_is_resolved_once_and_the_judged_address_is_connected_to(idp: LoopbackIssuer) -> None:
    here, evil = address("127.0.0.1", port_of(idp)), address("169.254.169.254", 80)
    resolve, asked = resolving_to([here], [evil])  # an attacker's name server changes its mind at once
    source = source_for(f"http://keys.example.com:{port_of(idp)}/.well-known/jwks.json")
    source._resolve_with(resolve)
    assert source.fetch(Conditional()).document is not None
    assert asked == ["keys.example.com"]
    assert idp.requests[0].headers["host"] == f"keys.example.com:{port_of(idp)}"
    with pytest.raises(FetchFailed, match="never asked"):
        source.fetch(Conditional())
    assert idp.fetches == 1


def test_r51_an_address_that_was_refused_is_not_connected_to_in_place_of_a_dead_one(
    idp: LoopbackIssuer,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = Address(ip_address("8.8.8.8"), socket.AF_INET, unused.getsockname())
        refused = address("127.0.0.1", port_of(idp))
        source = source_for(f"https://keys.example.com:{port_of(idp)}/", allow_private_hosts=False)
        source._resolve_with(resolving_to([dead, refused])[0])
        with pytest.raises(FetchFailed, match="no connection"):
            source.fetch(Conditional())
    assert idp.fetches == 0


def test_the_next_address_is_tried_where_one_is_dead(idp: LoopbackIssuer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead, alive = address("127.0.0.1", unused.getsockname()[1]), address("127.0.0.1", port_of(idp))
        source = source_for(f"http://keys.example.com:{port_of(idp)}/.well-known/jwks.json")
        source._resolve_with(resolving_to([dead, alive])[0])
        assert source.fetch(Conditional()).document is not None


def test_a_silent_address_leaves_time_for_the_next(idp: LoopbackIssuer) -> None:
    with socket.socket() as silent, contextlib.ExitStack() as held:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(3):  # fill the queue, so that the kernel no longer answers
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(silent.getsockname())
        addresses = [address("127.0.0.1", silent.getsockname()[1]), address("127.0.0.1", port_of(idp))]
        source = source_for(f"http://keys.example.com:{port_of(idp)}/.well-known/jwks.json", timeout=0.4)
        source._resolve_with(resolving_to(addresses)[0])
        assert source.fetch(Conditional()).document is not None


def test_r50_plain_http_never_goes_to_the_internet() -> None:
    source = source_for("http://keys.example.com/jwks")
    source._resolve_with(resolving_to([address("93.184.216.34", 80)])[0])
    with pytest.raises(FetchFailed, match="plain http is for private addresses"):
        source.fetch(Conditional())


def test_r52_a_resolver_that_hangs_is_left_behind_at_the_deadline() -> None:
    over = threading.Event()

    def resolve(host: str, port: int) -> Sequence[Address]:
        over.wait(5)
        return []

    def fetch() -> object:
        source = source_for("https://keys.example.com/jwks", timeout=0.2)
        source._resolve_with(resolve)
        return source.fetch(Conditional())

    assert_cut_off(fetch, 0.2, "the host's name was not resolved in time")
    over.set()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".example.com"])
def test_a_name_that_does_not_resolve_is_a_failed_fetch(host: str) -> None:
    with pytest.raises(FetchFailed, match=r"could not be resolved|in time"):
        source_for(f"https://{host}/jwks").fetch(Conditional())


def test_r51_the_environments_proxies_are_ignored(
    idp: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert source_for(idp.jwks_url).fetch(Conditional()).document is not None


def test_the_options_hide_their_secrets_when_shown() -> None:
    source = source_for(
        "https://keys.example.com/", headers={"X-Key": "s3cret"}, proxy="http://u:s3cret@proxy:3128"
    )
    assert re.search("s3cret", repr(source._transport)) is None


def test_importing_the_sources_loads_no_http_library() -> None:
    code = "import sys, skeldir_jwt_mw.sources; print({'urllib3', 'authlib'} & sys.modules.keys())"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "set()\n"
