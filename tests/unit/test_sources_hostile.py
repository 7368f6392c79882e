"""Providers that misbehave in every way that HTTP leaves them: a fetch ends in time, and as FetchFailed."""

from __future__ import annotations

import contextlib
import gc
import gzip
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interruption import Interrupted, failing_at_line, interrupting
from punctuality import assert_cut_off
from raw_server import OK, TIMEOUT, RawServer, Script, drips, fetch_from, hangs, pours, resets, says

from skeldir_jwt_mw import deadline
from skeldir_jwt_mw.sources import (
    Conditional,
    Fetched,
    FetchFailed,
    JWKSUrlSource,
    LocalFetchFailed,
    connection,
    headers,
    transport,
    url,
)

PATIENCE = 3.0  # seconds, for answers that do
PARTS = 4  # that the lines of a fetch are tried in

ENDLESS: dict[str, Script] = {
    "no answer": hangs,
    "status line, drop by drop": drips(b"HTTP/1.1 200 O", b"K"),
    "header, drop by drop": drips(OK + b"X-Slow: ", b"a"),
    "body, drop by drop": drips(OK + b"Content-Length: 100000\r\n\r\n", b"a"),
    "body without length, drop by drop": drips(OK + b"\r\n", b"a"),
    "chunks, drop by drop": drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "chunk size, drop by drop": drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers, drop by drop": drips(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "a good body without length that does not end": drips(OK + b"\r\n" + b'{"keys": []}', b" "),
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS.keys())
def test_r52_an_answer_without_end_is_cut_off_at_the_deadline(script: Script) -> None:
    with RawServer(script) as server:
        assert_cut_off(lambda: fetch_from(server), TIMEOUT)


LARGE = b"a" * 262_145
REFUSED: dict[str, tuple[Script, str]] = {
    "closes at once": (says(), "connection"),
    "resets": (resets, "connection"),
    "too large, and says so": (says(OK + b"Content-Length: 262145\r\n\r\n", LARGE), "larger than 256 KiB"),
    "too large, and does not": (says(OK + b"\r\n", LARGE), "larger than 256 KiB"),
    "too large, without end": (pours(OK + b"\r\n", b"a"), "larger than 256 KiB"),
    "too large, in chunks": (
        pours(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"a" * 1024 + b"\r\n"),
        "larger than 256 KiB",
    ),
    "shorter than it says": (says(OK + b'Content-Length: 100\r\n\r\n{"keys": []}'), "cut short"),
    "last chunk missing": (says(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"), "cut short"),
    "malformed chunk size": (says(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "cut short"),
    "gzip": (
        says(OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b'{"keys": []}')),
        "content coding",
    ),
    "gzip, twice": (says(OK + b"Content-Encoding: identity, gzip\r\n\r\nx"), "content coding"),
    "a gzip bomb": (says(OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"a" * 10**7)), "coding"),
    "unknown coding": (says(OK + b"Content-Encoding: aes128gcm\r\n\r\nx"), "content coding"),
    "two codings in two headers": (
        says(OK + b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n\r\nx"),
        "content coding",
    ),
    "more than 100 headers": (says(OK, b"X-H: 1\r\n" * 101, b"\r\n{}"), "malformed"),
    "headers without end": (pours(OK, b"X-H: 1\r\n"), "malformed"),
    "90 headers": (says(OK, (b"X-H: " + b"a" * 200 + b"\r\n") * 90, b"\r\n{}"), "larger than 16 KiB"),
    "one long header": (says(OK, b"X-H: " + b"a" * 17_000 + b"\r\n\r\n{}"), "larger than 16 KiB"),
    "header line without end": (pours(OK + b"X-H: ", b"a"), "larger than 16 KiB"),
    "status line without end": (pours(b"HTTP/1.1 200 ", b"a"), "larger than 16 KiB"),
    "interim responses without end": (pours(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "too many interim"),
    "nine interim responses": (
        says(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 9 + OK + b'\r\n{"keys": []}'),
        "too many interim",
    ),
    "one long interim response": (
        says(b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 17_000 + b"\r\n\r\n" + OK + b"\r\n{}"),
        "larger than 16 KiB",
    ),
    "interim responses and then nothing": (says(b"HTTP/1.1 102 Processing\r\n\r\n"), "connection"),
    "an interim response that does not end": (says(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n"), "connection"),
    "redirect": (says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"), "status 302"),
    "not HTTP": (says(b"\x16\x03\x01\x00\x00"), "cut short or malformed"),
    "HTTP/0.9": (says(b'{"keys": []}'), "cut short or malformed"),
    "a status that is no number": (says(b"HTTP/1.1 abc OK\r\n\r\n"), "cut short or malformed"),
    "status 0": (says(b"HTTP/1.1 000 OK\r\n\r\n"), "cut short or malformed"),
    "switching protocols": (says(b"HTTP/1.1 101 Switching\r\n\r\n{}"), "status 101"),
    "204": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "status 204"),
    "206": (says(b"HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\n{}"), "status 206"),
}


@pytest.mark.parametrize(("script", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_r52_a_hostile_answer_is_refused(script: Script, reason: str) -> None:
    with RawServer(script) as server:
        with pytest.raises(FetchFailed, match=reason) as failure:
            fetch_from(server, timeout=PATIENCE)
        assert len(server.requests) == 1  # no redirect and no second attempt
    assert "127.0.0.1" not in str(failure.value)


ACCEPTED: dict[str, Script] = {
    "with its length": says(OK + b'Content-Length: 12\r\n\r\n{"keys": []}'),
    "without length": says(OK + b'\r\n{"keys": []}'),
    "in chunks": says(OK + b'Transfer-Encoding: chunked\r\n\r\n6\r\n{"keys\r\n6\r\n": []}\r\n0\r\n\r\n'),
    "after an interim response": says(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b'\r\n{"keys": []}'),
    "after each kind of interim response": says(
        *(b"HTTP/1.1 %d X\r\nLink: </x>\r\n\r\n" % number for number in (100, 102, 103, 104, 199)),
        OK + b'\r\n{"keys": []}',
    ),
    "after eight interim responses": says(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 8 + OK + b'\r\n{"keys": []}'),
    "a charset where a coding belongs": says(OK + b'Content-Encoding: UTF-8\r\n\r\n{"keys": []}'),
    "a coding of an object store": says(OK + b'Content-Encoding: aws-chunked\r\n\r\n{"keys": []}'),
    "several codings that are none": says(
        OK + b'Content-Encoding: identity, utf-8,\r\nContent-Encoding: none\r\n\r\n{"keys": []}'
    ),
    "an empty coding": says(OK + b'Content-Encoding:\r\n\r\n{"keys": []}'),
    "over HTTP/1.0": says(b'HTTP/1.0 200 OK\r\n\r\n{"keys": []}'),
    "coding spelt out": says(OK + b'Content-Encoding: Identity\r\n\r\n{"keys": []}'),
    "piece by piece": says(*[bytes([octet]) for octet in OK + b'\r\n{"keys": []}']),
    "headers of just under 16 KiB": says(OK, b"X-H: " + b"a" * 16_300 + b'\r\n\r\n{"keys": []}'),
}


@pytest.mark.parametrize("script", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_every_honest_form_of_answer_is_read(script: Script) -> None:
    with RawServer(script) as server:
        assert fetch_from(server, timeout=PATIENCE).document == b'{"keys": []}'


def test_a_document_of_just_256_kib_is_read() -> None:
    with RawServer(says(OK + b"\r\n", b"a" * 262_144)) as server:
        assert fetch_from(server, timeout=PATIENCE).document == b"a" * 262_144


def test_hostile_versions_are_dropped_and_the_document_kept() -> None:
    head = OK + b"ETag: " + b"e" * 1025 + b"\r\nLast-Modified: a\x07b\r\nCache-Control: max-age=-1\r\n\r\n"
    with RawServer(says(head + b"{}")) as server:
        assert fetch_from(server, timeout=PATIENCE) == Fetched(document=b"{}")


@pytest.mark.parametrize("ages", [(60, 5), (5, 60)])
def test_of_two_freshnesses_in_two_headers_the_shorter_one_counts(ages: tuple[int, int]) -> None:
    head = b"".join(b"Cache-Control: max-age=%d\r\n" % age for age in ages)
    with RawServer(says(OK + head + b"\r\n{}")) as server:
        assert fetch_from(server, timeout=PATIENCE).max_age == 5.0


def test_a_304_keeps_the_version_that_was_asked_with() -> None:
    with RawServer(says(b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=9\r\n\r\n")) as server:
        fetched = fetch_from(server, Conditional(etag='"v1"'), timeout=PATIENCE)
    assert fetched == Fetched(document=None, etag='"v1"', max_age=9.0)


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 304 X\r\n",
        b"HTTP/1.1 ",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Content-Encoding: br\r\n",
        b"Retry-After: \xff\r\n",
        b"ETag: \xff\xfe\r\n",
        b": empty\r\n",
        b" folded\r\n",
        b"no colon\r\n",
        b"\x00",
        b"5\r\nabcde\r\n",
        b"ffffffffffffffffff\r\n",
        b"0\r\n\r\n",
        b"{}",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=12))
def test_r52_whatever_the_provider_sends_is_a_document_or_a_failed_fetch(
    scripted: RawServer, pieces: list[bytes]
) -> None:
    scripted._script = says(*pieces)
    with contextlib.suppress(FetchFailed):
        fetched = fetch_from(scripted, Conditional(etag='"v"'), timeout=PATIENCE)
        assert isinstance(fetched, Fetched)


@pytest.fixture
def scripted() -> Iterator[RawServer]:
    with RawServer(says()) as server:
        yield server


def test_no_thread_or_socket_is_left_when_fetches_have_ended() -> None:
    before = set(threading.enumerate())  # of earlier tests some may still be ending
    for script in (says(OK + b"\r\n{}"), resets, says(b"junk"), drips(OK, b"X: y\r\n")):
        with RawServer(script) as server, contextlib.suppress(FetchFailed):
            fetch_from(server)
    until = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_a_signal_handler_that_raises_ends_a_fetch_without_a_trace() -> None:
    before, open_before = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    with interrupting() as interrupt:

        def script(connection: socket.socket, over: threading.Event) -> None:
            interrupt()
            over.wait(5)

        with RawServer(script) as server, pytest.raises(Interrupted):
            fetch_from(server, timeout=60.0)
    assert set(threading.enumerate()) <= before
    assert len(os.listdir("/proc/self/fd")) == open_before


def connections_to(server: RawServer) -> list[socket.socket]:
    """The sockets of this process that are still connected to it, also those that nobody holds."""
    gc.collect()
    # By its type: a lazy object would be made by `isinstance`.
    sockets = [thing for thing in gc.get_objects() if issubclass(type(thing), socket.socket)]
    found = [sock for sock in sockets if sock.fileno() != -1]
    return [sock for sock in found if _peer(sock) == server.port]


def _peer(sock: socket.socket) -> int | None:
    try:
        return int(sock.getpeername()[1])
    except (OSError, IndexError):
        return None


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("first", range(PARTS))
def test_an_exception_at_any_line_of_a_fetch_leaves_no_thread_and_no_socket_and_the_source_works(
    first: int,
) -> None:
    with RawServer(says(OK + b"\r\n{}")) as server:
        source = JWKSUrlSource(
            f"http://127.0.0.1:{server.port}/jwks", timeout=60.0, allow_http=True, allow_private_hosts=True
        )
        before = set(threading.enumerate())
        source.fetch(Conditional())
        assert connections_to(server) == []

        def scene() -> None:
            try:
                source.fetch(Conditional())
            except LocalFetchFailed as failure:
                assert failure.reason == "this process has no memory left"  # noqa: PT017  # either is right
                raise MemoryError from None

        met = first
        while failing_at_line(met, scene, deadline, transport, connection, headers, url):
            met += PARTS
            assert connections_to(server) == []
            for thread in set(threading.enumerate()) - before:
                thread.join(5)  # told to end, it needs a moment
            assert set(threading.enumerate()) <= before
            assert source.fetch(Conditional()).document == b"{}"
    assert met > 100
