"""What is this process's own trouble is told as that: a fleet backs off from a provider for the rest."""

from __future__ import annotations

import ast
import errno
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from secured import Authority, context_for

from skeldir_jwt_mw.deadline import Purpose
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.sources import (
    CallableSource,
    Conditional,
    DiscoverySource,
    FetchFailed,
    JWKSUrlSource,
    LocalFetchFailed,
    local,
    transport,
)
from skeldir_jwt_mw.sources.guard import Address
from skeldir_jwt_mw.testing import LoopbackIssuer

LONG = 60.0  # seconds that no test waits
LOCAL = [
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOBUFS,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EACCES,
    errno.EPERM,
]
THE_PROVIDERS = [errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EPIPE]


def source_to(resolve: Callable[[str, int], list[Address]], url: str = "https://keys.example.com/") -> Any:
    source = JWKSUrlSource(url, allow_http=True, allow_private_hosts=True, timeout=5.0)
    source._resolve_with(resolve)
    return source


def failure_of(source: Any) -> FetchFailed:
    with pytest.raises(FetchFailed) as failure:
        source.fetch(Conditional())
    return failure.value


def at(*texts: str) -> Callable[[str, int], list[Address]]:
    family = {4: socket.AF_INET, 6: socket.AF_INET6}
    return lambda _, port: [
        Address(ip := ip_address(text), family[ip.version], (text, port)) for text in texts
    ]


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: object) -> Any:
        raise error

    return call


@pytest.mark.parametrize("number", LOCAL + THE_PROVIDERS, ids=lambda number: errno.errorcode[number])
def test_a_connection_that_cannot_be_made_is_told_by_whose_trouble_it_is(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_connected", raising(OSError(number, os.strerror(number))))
    failure = failure_of(source_to(at("10.0.0.1", "10.0.0.2")))
    assert isinstance(failure, LocalFetchFailed) == (number in LOCAL)
    if number in LOCAL:
        assert failure.reason == f"this process cannot connect to anything ({errno.errorcode[number]})"


def test_a_host_with_an_address_that_this_host_has_no_route_to_is_asked_at_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def connect(address: Address, _: float) -> socket.socket:
        tried.append(str(address.ip))
        raise OSError(errno.EAFNOSUPPORT if address.ip.version == 6 else errno.ECONNREFUSED, "")

    monkeypatch.setattr(transport, "_connected", connect)
    failure = failure_of(source_to(at("fd00::1", "10.0.0.1")))
    assert tried == ["fd00::1", "10.0.0.1"]
    assert not isinstance(failure, LocalFetchFailed)  # one of them could be asked, and refused
    assert failure.reason == "no connection to the provider could be made (ECONNREFUSED)"


def test_a_socket_that_could_not_be_connected_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Interrupted(Exception):
        """What a signal handler raises."""

    class Recorded(socket.socket):
        def connect(self, _: Any) -> None:
            made.append(self)
            raise Interrupted

    monkeypatch.setattr(socket, "socket", Recorded)
    with pytest.raises(Interrupted):
        source_to(at("10.0.0.1")).fetch(Conditional())
    assert [sock.fileno() for sock in made] == [-1]


@pytest.mark.parametrize(
    ("error", "is_local"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), False),
        (UnicodeError("label too long"), False),
        (socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure"), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.ENOENT, "EAI_SYSTEM"), True),
        (MemoryError(), True),
        (LookupError("unknown encoding: idna"), True),
        (ImportError("encodings.idna"), True),
        (RuntimeError("can't start new thread"), True),
    ],
    ids=str,
)
def test_a_name_that_cannot_be_resolved_is_told_by_whose_trouble_it_is(
    error: BaseException, is_local: bool
) -> None:
    failure = failure_of(source_to(raising(error)))
    assert isinstance(failure, LocalFetchFailed) == is_local
    if not is_local:
        assert failure.reason == "the host's name could not be resolved"


def test_a_process_that_cannot_read_the_resolvers_file_has_no_resolver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "RESOLVER_FILE", str(tmp_path / "resolv.conf"))
    source = source_to(raising(socket.gaierror(socket.EAI_NONAME, "Name or service not known")))
    failure = failure_of(source)
    assert isinstance(failure, LocalFetchFailed)
    assert failure.reason == "this process cannot use the system's resolver"
    (tmp_path / "resolv.conf").write_bytes(b"")
    assert not isinstance(failure_of(source), LocalFetchFailed)


def test_a_thread_that_cannot_be_started_is_told_at_each_place_that_needs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LoopbackIssuer() as idp:
        source = JWKSUrlSource(idp.jwks_url, allow_http=True, allow_private_hosts=True)
        start, started = threading.Thread.start, [0]
        for free in (0, 1):  # threads that can be started: for the name, for the watchdog

            def start_some(thread: threading.Thread, free: int = free) -> None:
                started[0] += 1
                if started[0] > free:
                    raise RuntimeError("can't start new thread")
                start(thread)

            started[0] = 0
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", start_some)
                failure = failure_of(source)
            assert isinstance(failure, LocalFetchFailed)
            assert failure.reason == "this process cannot start a thread"
        assert source.fetch(Conditional()).document is not None


def test_files_that_cannot_be_read_any_more_are_this_processs_trouble_and_nobody_is_asked(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path, "authority")
    files = authority.issue("client")
    with LoopbackIssuer(ssl_context=context_for(authority.issue("127.0.0.1"))) as idp:
        options: dict[str, Any] = {
            "ca_file": authority.ca_file, "client_cert": files, "allow_private_hosts": True
        }  # fmt: skip
        sources = [JWKSUrlSource(idp.jwks_url, **options), DiscoverySource(idp.issuer, **options)]
        # One that has to load the files a second time, for another host that its metadata names.
        idp.describe("openid-configuration", {"jwks_uri": idp.jwks_url.replace("127.0.0.1", "localhost")})
        accepted = idp.discovery_fetches
        kept = authority.ca_file.read_bytes()
        for content in (b"", b"junk"):
            authority.ca_file.write_bytes(content)
            for source in sources:
                failure = failure_of(source)
                assert isinstance(failure, LocalFetchFailed)
                assert failure.reason.startswith("ca_file or client_cert cannot be loaded (")
        authority.ca_file.write_bytes(kept)
        files[1].unlink()
        for source in sources:
            assert isinstance(failure_of(source), LocalFetchFailed)
        assert idp.discovery_fetches == accepted
        assert idp.fetches == 0


def test_a_process_without_authorities_is_told_so_and_not_that_the_provider_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "gone"))
    with LoopbackIssuer(ssl_context=context_for(authority.issue("127.0.0.1"))) as idp:
        failure = failure_of(JWKSUrlSource(idp.jwks_url, allow_private_hosts=True))
        assert isinstance(failure, LocalFetchFailed)
        assert "no certificate of an authority" in failure.reason
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        source = JWKSUrlSource(idp.jwks_url, allow_private_hosts=True)
        assert source.fetch(Conditional()).document is not None
        # Authorities in a folder are read when they are needed; here it holds only others.
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        failure = failure_of(source)
        assert failure.reason == "the provider's certificate is not trusted"
        assert not isinstance(failure, LocalFetchFailed)


NO_DESCRIPTORS = """if True:
    import os, resource, socket, sys
    from skeldir_jwt_mw.sources import Conditional, FetchFailed, JWKSUrlSource
    places = sys.argv[1:]
    options = {"allow_http": True, "allow_private_hosts": True}
    sources = [JWKSUrlSource(place, **options) for place in places]
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    held = []
    told = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for spare in range(2):
        for source in sources:
            try:
                source.fetch(Conditional())
            except FetchFailed as failure:
                told.append((type(failure).__name__, failure.reason))
        os.close(held.pop())
    print(told)
"""


def test_a_process_without_file_descriptors_is_told_so_at_each_place_that_needs_one() -> None:
    with LoopbackIssuer() as idp:
        by_name = idp.jwks_url.replace("127.0.0.1", "localhost")
        places = [idp.jwks_url, by_name, by_name.replace("http:", "https:")]
        done = subprocess.run(
            [sys.executable, "-c", NO_DESCRIPTORS, *places],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        told = ast.literal_eval(done.stdout)
        assert len(told) >= 5
        assert {kind for kind, _ in told[:4]} == {"LocalFetchFailed"}
        assert idp.fetches == 0


def test_a_function_for_keys_is_judged_by_what_it_raises() -> None:
    for error, is_local in (
        (MemoryError(), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (PermissionError(errno.EACCES, "no"), True),
        (ModuleNotFoundError("boto3"), True),
        (RuntimeError("can't start new thread"), True),
        (LocalFetchFailed("mine"), True),
        (RuntimeError("the vault is sealed"), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), False),
        (KeyError("x"), False),
        (ssl.SSLError(1, "its number is not that of EPERM"), False),
        (FetchFailed("mine"), False),
    ):
        failure = failure_of(CallableSource(raising(error), identity="keys"))
        assert isinstance(failure, LocalFetchFailed) == is_local, error
        assert failure.reason in ("mine", f"the callable raised {type(error).__name__}")


def test_look_ups_of_names_that_hang_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, let_go, asked = threading.Event(), threading.Event(), []

    def resolve(host: str, _: int) -> list[Address]:
        asked.append(host)
        begun.set()
        assert let_go.wait(LONG)
        return []

    def hanging_at(name: str) -> Any:
        """A source that has left a look-up behind."""
        source = source_to(resolve, f"https://{name}/")
        patient = source._transport
        source._transport = replace(patient, timeout=0.05)
        begun.clear()
        while not begun.is_set():  # on a busy machine a thread may begin too late to be of use
            assert failure_of(source).reason == "the host's name was not resolved in time"
        source._transport = patient
        return source

    monkeypatch.setattr(transport, "_LOOKUPS", Purpose(most=2, side_by_side=True))
    first = hanging_at("a.example")
    for _ in range(20):
        failure = failure_of(first)
        assert failure.reason == "an earlier look-up of the host's name has not ended"
        assert not isinstance(failure, LocalFetchFailed)
    hanging_at("b.example")
    # Of all sources together a bounded number hangs, which is no fault of the next one's provider.
    refused = failure_of(source_to(resolve, "https://c.example/"))
    assert isinstance(refused, LocalFetchFailed)
    assert refused.reason == "too many names are being looked up"
    assert asked == ["a.example", "b.example"]
    let_go.set()


def test_a_number_of_errors_that_is_not_the_systems_is_not_taken_for_one() -> None:
    assert local.own_trouble(ssl.SSLError(errno.EPERM, "x")) is None
    assert local.own_trouble(socket.gaierror(errno.EPERM, "x")) is None
    assert local.own_trouble(KeyError("x")) is None
    assert local.own_trouble(RecursionError("maximum recursion depth exceeded")) is None


def test_files_that_cannot_be_read_at_construction_are_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^ca_file cannot be loaded \(FileNotFoundError\)$"):
        JWKSUrlSource("https://keys.example.com/", ca_file=tmp_path / "gone.pem")
