"""TLS and proxies: the certificate, the name and the deadline hold on every way to the provider."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from punctuality import assert_cut_off
from secured import Authority, Proxy, context_for

from skeldir_jwt_mw.sources import Conditional, FetchFailed, JWKSUrlSource
from skeldir_jwt_mw.sources.guard import Address
from skeldir_jwt_mw.testing import LoopbackIssuer

NAME = "keys.example.com"
TIMEOUT = 0.3  # seconds, for answers that do not end
PATIENCE = 3.0  # seconds, for answers that do


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


def resolve_here(port: int) -> Callable[[str, int], list[Address]]:
    return lambda host, _: [Address(ipaddress.ip_address("127.0.0.1"), socket.AF_INET, ("127.0.0.1", port))]


def source_for(port: int, *, host: str = NAME, **options: Any) -> JWKSUrlSource:
    options = {"timeout": PATIENCE, "allow_private_hosts": True, **options}
    source = JWKSUrlSource(f"https://{host}:{port}/.well-known/jwks.json", **options)
    source._resolve_with(resolve_here(port))
    return source


def port_of(idp: LoopbackIssuer) -> int:
    return int(idp.origin.rpartition(":")[2])


def test_r51_name_certificate_and_host_stay_the_urls_own(authority: Authority) -> None:
    context = context_for(authority.issue(NAME))
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    with LoopbackIssuer(ssl_context=context) as idp:
        fetched = source_for(port_of(idp), ca_file=authority.ca_file).fetch(Conditional())
        assert fetched.document is not None
        assert idp.requests[0].headers["host"] == f"{NAME}:{port_of(idp)}"
    assert asked == [NAME]


def test_an_address_in_the_url_is_checked_against_the_certificate(authority: Authority) -> None:
    with LoopbackIssuer(ssl_context=context_for(authority.issue("127.0.0.1"))) as idp:
        source = source_for(port_of(idp), host="127.0.0.1", ca_file=str(authority.ca_file))
        assert source.fetch(Conditional()).document is not None


def test_a_certificate_of_an_unknown_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    with LoopbackIssuer(ssl_context=context_for(authority.issue(NAME))) as idp:
        for options in ({}, {"ca_file": other.ca_file}):
            with pytest.raises(FetchFailed, match="certificate is not trusted"):
                source_for(port_of(idp), **options).fetch(Conditional())
        assert idp.fetches == 0


@pytest.mark.parametrize("name", ["other.example.com", "127.0.0.1", "*.other.com", "example.com"])
def test_a_certificate_for_another_name_is_refused(authority: Authority, name: str) -> None:
    with LoopbackIssuer(ssl_context=context_for(authority.issue(name))) as idp:
        with pytest.raises(FetchFailed, match=r"certificate is not trusted: it is for another name$"):
            source_for(port_of(idp), ca_file=authority.ca_file).fetch(Conditional())
        assert idp.fetches == 0


@pytest.mark.parametrize(
    ("hours", "told"), [((1, 2), "not valid yet, or the clock"), ((-2, -1), "expired, or the clock")]
)
def test_a_certificate_out_of_its_time_is_told_as_that(
    authority: Authority, hours: tuple[int, int], told: str
) -> None:
    with LoopbackIssuer(ssl_context=context_for(authority.issue(NAME, hours=hours))) as idp:
        with pytest.raises(FetchFailed, match=f"certificate is not trusted: it .*{told}"):
            source_for(port_of(idp), ca_file=authority.ca_file).fetch(Conditional())
        assert idp.fetches == 0


def test_a_client_certificate_is_shown_in_either_form(authority: Authority, tmp_path: Path) -> None:
    context = context_for(authority.issue(NAME))
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    files = authority.issue("client")
    (tmp_path / "both.pem").write_bytes(files[1].read_bytes() + files[0].read_bytes())
    with LoopbackIssuer(ssl_context=context) as idp:
        for client_cert in (files, tmp_path / "both.pem"):
            source = source_for(port_of(idp), ca_file=authority.ca_file, client_cert=client_cert)
            assert source.fetch(Conditional()).document is not None
        with pytest.raises(FetchFailed):
            source_for(port_of(idp), ca_file=authority.ca_file).fetch(Conditional())
        assert idp.fetches == 2


def test_an_encrypted_client_key_is_refused_without_asking_for_its_password(authority: Authority) -> None:
    files = tuple(map(str, authority.issue("client", password=b"x")))
    code = f"""
from skeldir_jwt_mw.sources import JWKSUrlSource
try:
    JWKSUrlSource("https://keys.example.com/", client_cert={files!r})
except Exception as error:
    print(type(error).__name__, error)
"""
    on_a_terminal = "import pty, sys; pty.spawn(sys.argv[1:])"
    ran = subprocess.run(
        [sys.executable, "-c", on_a_terminal, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=20,
        check=True,
    )
    assert ran.stdout.strip() == "ConfigurationError ca_file or client_cert cannot be loaded (SSLError)"


def test_a_certificate_file_that_has_gone_is_a_failed_fetch(authority: Authority) -> None:
    files = authority.issue("client")
    source = source_for(1, client_cert=files)
    files[1].unlink()
    with pytest.raises(FetchFailed):
        source.fetch(Conditional())


@contextlib.contextmanager
def answering(script: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A server, whose port it yields, that lets a script answer each connection."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the listener has been shut down
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):  # the client hangs up, as it should
                        script(connection, over)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("drop", [b"", b"\x00"], ids=["silent", "drop by drop"])
def test_r52_a_handshake_without_end_is_cut_off_at_the_deadline(drop: bytes) -> None:
    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
        while not over.wait(0.01):
            connection.sendall(drop)
            if not drop and not connection.recv(65536):
                return

    with answering(script) as port:
        assert_cut_off(lambda: source_for(port, timeout=TIMEOUT).fetch(Conditional()), TIMEOUT)


def test_r52_a_body_without_end_is_cut_off_inside_tls_too(authority: Authority) -> None:
    context = context_for(authority.issue(NAME))

    def script(connection: socket.socket, over: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not over.wait(0.01):
                secured.sendall(b" ")

    with answering(script) as port:
        source = source_for(port, ca_file=authority.ca_file, timeout=TIMEOUT)
        assert_cut_off(lambda: source.fetch(Conditional()), TIMEOUT)


@pytest.fixture
def secure_idp(authority: Authority) -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer(ssl_context=context_for(authority.issue(NAME))) as idp:
        yield idp


def through(proxy: str, authority: Authority, host: str = NAME, **options: Any) -> JWKSUrlSource:
    return JWKSUrlSource(
        f"https://{host}/.well-known/jwks.json",
        timeout=PATIENCE,
        ca_file=authority.ca_file,
        proxy=proxy,
        **options,
    )


def test_a_given_proxy_tunnels_to_the_name_and_the_certificate_still_counts(
    secure_idp: LoopbackIssuer, authority: Authority, tmp_path: Path
) -> None:
    with Proxy(port_of(secure_idp)) as proxy:
        source = through(f"http://us%65r:p%40ss@{proxy.address}", authority)
        assert source.fetch(Conditional()).document is not None
        assert proxy.requests[0].startswith(f"CONNECT {NAME}:443 HTTP/1.")
        credentials = base64.b64encode(b"user:p@ss").decode()
        assert f"proxy-authorization: Basic {credentials}".lower() in proxy.requests[0].lower()
        assert "proxy-authorization" not in secure_idp.requests[0].headers
        assert secure_idp.requests[0].headers["host"] == NAME
        with pytest.raises(FetchFailed, match="certificate is not trusted"):
            through(f"http://{proxy.address}", Authority(tmp_path, "other")).fetch(Conditional())


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 No\r\n\r\n", b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\n" * 5000]
)
def test_a_proxy_that_refuses_or_misbehaves_is_a_failed_fetch(
    secure_idp: LoopbackIssuer, authority: Authority, answer: bytes
) -> None:
    with Proxy(port_of(secure_idp), answer=answer) as proxy, pytest.raises(FetchFailed):
        through(f"http://{proxy.address}", authority).fetch(Conditional())
    assert secure_idp.fetches == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "2130706433", "[::1]"])
def test_r51_an_address_that_may_not_be_asked_is_not_asked_through_a_proxy_either(
    secure_idp: LoopbackIssuer, authority: Authority, host: str
) -> None:
    with Proxy(port_of(secure_idp)) as proxy:
        with pytest.raises(FetchFailed, match="the host has none but"):
            through(f"http://{proxy.address}", authority, host=host).fetch(Conditional())
        assert proxy.requests == []


def test_plain_http_through_a_proxy_is_refused() -> None:
    with pytest.raises(Exception, match="https URL where a proxy is used"):
        JWKSUrlSource("http://keys.example.com/", allow_http=True, proxy="http://proxy:3128")
