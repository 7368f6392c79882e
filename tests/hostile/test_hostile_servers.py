"""Whatever a provider's server does, a fetch ends in time, in little memory, as a document or as FetchFailed.

What it does over TLS, and in the simpler cases, is in tests/unit/test_sources_*.py.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
import zlib

import pytest
from raw_server import OK, RawServer, Script, drips, fetch_from, pours, says

from skeldir_jwt_mw.sources import Conditional, Fetched, FetchFailed, JWKSUrlSource

DEADLINE = 0.4  # seconds
GRACE = 0.25  # seconds past it
ATTEMPTS = 4  # of which one has to be in time: a machine may be busy, but not every time
MEMORY = 4_000_000  # bytes at the peak of one fetch, and of the server, which is in this process too
DOCUMENT = b'{"keys": []}'
SECRET = b"s3cr3t"  # what servers say is not repeated

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
LENGTH = OK + b"Content-Length: 12\r\n"


def holds_back(*parts: bytes) -> Script:
    """Sends the parts and then nothing, with the connection open."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        for part in parts:
            connection.sendall(part)
        over.wait(5)

    return script


# Nothing can be made of these.
FAILS: dict[str, Script] = {
    "the head held back": holds_back(b"HTTP/1.1 200"),
    "the last line of the head held back": holds_back(OK + b"Content-Length: 12\r\n"),
    "the last byte of the body held back": holds_back(LENGTH + b"\r\n" + DOCUMENT[:-1]),
    "the last chunk held back": holds_back(CHUNKED + b"\r\nc\r\n" + DOCUMENT + b"\r\n"),
    "the end of a chunk size held back": holds_back(CHUNKED + b"\r\nc"),
    "the end of the trailers held back": holds_back(CHUNKED + b"\r\nc\r\n" + DOCUMENT + b"\r\n0\r\nX: y\r\n"),
    "interim responses, drop by drop": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim responses and no other": says(b"HTTP/1.1 103 H\r\n\r\n" * 3),
    "nine interim responses before the document": says(
        b"HTTP/1.1 102 P\r\n\r\n" * 9 + LENGTH + b"\r\n" + DOCUMENT
    ),
    "an upgrade among interim responses": says(
        b"HTTP/1.1 103 H\r\n\r\nHTTP/1.1 101 S\r\n\r\n" + LENGTH + b"\r\n" + DOCUMENT
    ),
    "an interim response with a bad header, without end": pours(b"HTTP/1.1 103 H\r\n", b"no colon\r\n"),
    "an interim status of four digits": says(b"HTTP/1.1 1000 X\r\n\r\n" + LENGTH + b"\r\n" + DOCUMENT),
    "early hints without end": pours(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "102 without end": pours(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "chunk extensions without end": pours(CHUNKED + b"\r\nc;x=", b"a"),
    "a chunk size without end": pours(CHUNKED + b"\r\n", b"0"),
    "empty lines without end": pours(CHUNKED + b"\r\n", b"\r\n"),
    "trailers without end": pours(
        CHUNKED + b"\r\nc\r\n" + DOCUMENT + b"\r\n0\r\n", b"X: " + b"y" * 500 + b"\r\n"
    ),
    "one trailer without end": pours(CHUNKED + b"\r\nc\r\n" + DOCUMENT + b"\r\n0\r\nX: ", b"y"),
    "a folded header without end": pours(OK + b"X: a\r\n", b" folded\r\n"),
    "names of headers without end": pours(OK, b"X"),
    "a chunk of 2^63 bytes": pours(CHUNKED + b"\r\n7fffffffffffffff\r\n", b"a"),
    "a chunk of 2^80 bytes": pours(CHUNKED + b"\r\n" + b"f" * 20 + b"\r\n", b"a"),
    "a negative chunk": says(CHUNKED + b"\r\n-c\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"),
    "a chunk size in words": says(CHUNKED + b"\r\ntwelve\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"),
    "an empty chunk size": says(CHUNKED + b"\r\n\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"),
    "tiny chunks without end": pours(CHUNKED + b"\r\n", b"1\r\na\r\n"),
    "2^63 bytes announced": pours(OK + b"Content-Length: 9223372036854775807\r\n\r\n", b"a"),
    "10^30 bytes announced": pours(OK + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n", b"a"),
    "a bomb in gzip": says(OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"a" * 10**7)),
    "a bomb in deflate": says(OK + b"Content-Encoding: deflate\r\n\r\n", zlib.compress(b"a" * 10**7)),
    "a coding on a coding": says(
        OK + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(gzip.compress(DOCUMENT))
    ),
    "brotli": says(OK + b"Content-Encoding: br\r\n\r\nx"),
    "zstd": says(OK + b"Content-Encoding: zstd\r\n\r\n\x28\xb5\x2f\xfd"),
    "a coding behind one that is none": says(
        OK + b"Content-Encoding: UTF-8\r\nContent-Encoding: br\r\n\r\n" + DOCUMENT
    ),
    "an encryption": says(OK + b"Content-Encoding: aes128gcm\r\n\r\n" + DOCUMENT),
    "a coding of no name": says(OK + b"Content-Encoding: \x01\r\n\r\n" + DOCUMENT),
    "a mask of x-gzip": says(OK + b"Content-Encoding: X-GZip\r\n\r\n" + gzip.compress(DOCUMENT)),
    "ICY": says(b"ICY 200 OK\r\n\r\n" + DOCUMENT),
    "a status of four digits": says(b"HTTP/1.1 2000 OK\r\n\r\n" + DOCUMENT),
    "a negative status": says(b"HTTP/1.1 -200 OK\r\n\r\n" + DOCUMENT),
    "a fraction of a status": says(b"HTTP/1.1 200.5 OK\r\n\r\n" + DOCUMENT),
    "status 99": says(b"HTTP/1.1 099 OK\r\n\r\n" + DOCUMENT),
    "status 299": says(b"HTTP/1.1 299 Odd\r\n\r\n" + DOCUMENT),
    "status 999": says(b"HTTP/1.1 999 Odd\r\n\r\n" + DOCUMENT),
    "a version of no sense": says(b"HTTP/9 200 OK\r\n\r\n" + DOCUMENT),
    "HTTP/2 in the clear": says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    "TLS where there is none": says(b"\x15\x03\x03\x00\x02\x02\x28"),
    "SSH": says(b"SSH-2.0-OpenSSH_9.9 " + SECRET + b"\r\n"),
    "SMTP": says(b"220 " + SECRET + b" ESMTP\r\n"),
    "a page of HTML": says(b"<html>" + SECRET + b"</html>"),
    "zeros": pours(b"", b"\0"),
    "line breaks": pours(b"", b"\r\n"),
    "a redirect to a file": says(
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect to itself": says(b"HTTP/1.1 307 T\r\nLocation: /jwks\r\nContent-Length: 0\r\n\r\n"),
    "a permanent redirect with a document": says(
        b"HTTP/1.1 308 P\r\nLocation: /x\r\nContent-Length: 12\r\n\r\n" + DOCUMENT
    ),
    "a refresh by header": says(
        b"HTTP/1.1 401 U\r\nRefresh: 0;url=/x\r\nWWW-Authenticate: Basic\r\n\r\n" + DOCUMENT
    ),
    "304 that nobody asked for": says(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "205": says(b"HTTP/1.1 205 Reset Content\r\n\r\n" + DOCUMENT),
    "207": says(b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 12\r\n\r\n" + DOCUMENT),
    "an upgrade": says(b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + DOCUMENT),
}

# Whoever reads these may come to the document or to nothing, and to nothing else.
EITHER: dict[str, Script] = {
    "more than announced": says(LENGTH + b"\r\n" + DOCUMENT + SECRET * 100),
    "a second response behind": says(LENGTH + b"\r\n" + DOCUMENT + OK + b"\r\n" + SECRET),
    "the connection kept open": holds_back(LENGTH + b"Connection: keep-alive\r\n\r\n" + DOCUMENT),
    "two equal lengths": says(LENGTH + b"Content-Length: 12\r\n\r\n" + DOCUMENT),
    "length and chunks": says(
        LENGTH + b"Transfer-Encoding: chunked\r\n\r\nc\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"
    ),
    "chunks in capitals": says(OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\nC\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"),
    "a chunk extension": says(CHUNKED + b"\r\nc;a=b;c\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"),
    "a chunk size with zeros": says(CHUNKED + b"\r\n0000000c\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"),
    "line breaks without CR": says(b"HTTP/1.1 200 OK\nContent-Length: 12\n\n" + DOCUMENT),
    "no reason": says(b"HTTP/1.1 200\r\n\r\n" + DOCUMENT),
    "a reason beyond ASCII": says(b"HTTP/1.1 200 \xff\xfe\r\n\r\n" + DOCUMENT),
    "a header of no name": says(OK + b": x\r\n\r\n" + DOCUMENT),
    "a header beyond ASCII": says(OK + b"X: \xff\xfe\x80\r\n\r\n" + DOCUMENT),
    "NUL in a header": says(OK + b"X: a\0b\r\n\r\n" + DOCUMENT),
    "a cookie": says(OK + b"Set-Cookie: a=b\r\n\r\n" + DOCUMENT),
    "a document that is said to be an image": says(OK + b"Content-Type: image/png\r\n\r\n" + DOCUMENT),
    "a charset that does not exist": says(
        OK + b"Content-Type: application/json; charset=\xff\r\n\r\n" + DOCUMENT
    ),
    "an age without end": says(
        OK + b"Age: " + b"9" * 500 + b"\r\nCache-Control: max-age=60\r\n\r\n" + DOCUMENT
    ),
    "a freshness without end": says(OK + b"Cache-Control: max-age=" + b"9" * 500 + b"\r\n\r\n" + DOCUMENT),
    "a version of 1000 bytes": says(OK + b"ETag: " + b"e" * 1000 + b"\r\n\r\n" + DOCUMENT),
    "two kinds of interim response, then the document": says(
        b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 199 X\r\nX: y\r\n\r\n" + OK + b"\r\n" + DOCUMENT
    ),
    "a coding that nobody knows": says(OK + b"Content-Encoding: x-none\r\n\r\n" + DOCUMENT),
    "hints, then the document": says(b"HTTP/1.1 103 H\r\nLink: </x>\r\n\r\n" + OK + b"\r\n" + DOCUMENT),
}

RETRY_AFTER: dict[bytes, float | None] = {
    b"": None, b"-1": None, b"soon": None, b"1e9": None, b"0x10": None,
    b"1.5": None, b"nan": None, b"inf": None,
    b"1, 2": None, b"+5": None, b"\xef\xbc\x95": None, b"9" * 30: None, b"5 seconds": None, b"\xff": None,
    b"Thu, 99 Foo 9999 99:99:99 GMT": None, b"0": 0.0, b"5": 5.0, b"3601": 3600.0, b"9" * 20: 3600.0,
    b"Thu, 01 Jan 1970 00:00:00 GMT": 0.0, b"Fri, 31 Dec 9999 23:59:59 GMT": 3600.0, b"x" * 9000: None,
}  # fmt: skip


def test_there_are_as_many_behaviours_as_there_are_said_to_be() -> None:
    assert len(FAILS) + len(EITHER) + len(RETRY_AFTER) >= 90


@pytest.mark.parametrize("script", FAILS.values(), ids=FAILS.keys())
def test_r52_nothing_is_made_of_a_hostile_answer(script: Script) -> None:
    took = []
    for _ in range(ATTEMPTS):
        with RawServer(script) as server:
            began = time.monotonic()
            with pytest.raises(FetchFailed) as failure:
                fetch_from(server, timeout=DEADLINE)
            took.append(time.monotonic() - began)
        assert SECRET.decode() not in f"{failure.value!r}{failure.value}"
        assert len(server.requests) == 1
        if took[-1] < DEADLINE + GRACE:
            return
    pytest.fail(f"with a deadline of {DEADLINE} s the attempts took {took}")


@pytest.mark.parametrize("script", EITHER.values(), ids=EITHER.keys())
def test_r52_an_odd_answer_is_the_document_or_nothing(script: Script) -> None:
    with RawServer(script) as server:
        try:
            fetched = fetch_from(server, timeout=5.0)
        except FetchFailed as failure:
            assert SECRET.decode() not in str(failure)  # noqa: PT017  # either is right
        else:
            assert isinstance(fetched, Fetched)
            assert fetched.document == DOCUMENT
            assert fetched.max_age is None or 0 <= fetched.max_age <= 31_536_000


@pytest.mark.parametrize("value", RETRY_AFTER, ids=lambda value: repr(value[:30]))
@pytest.mark.parametrize("status", [429, 503])
def test_r54_a_pause_that_a_provider_asks_for_is_bounded(value: bytes, status: int) -> None:
    answer = b"HTTP/1.1 %d Busy\r\nRetry-After: %b\r\nContent-Length: 0\r\n\r\n" % (status, value)
    with RawServer(says(answer)) as server, pytest.raises(FetchFailed) as failure:
        fetch_from(server, timeout=5.0)
    assert failure.value.retry_after == RETRY_AFTER[value]
    assert f"status {status}" in failure.value.reason


@pytest.mark.parametrize(
    "name", ["tiny chunks without end", "a chunk of 2^63 bytes", "zeros", "a bomb in gzip"]
)
def test_r52_a_hostile_answer_takes_little_memory(name: str) -> None:
    with RawServer(FAILS[name]) as server:
        source = JWKSUrlSource(
            f"http://127.0.0.1:{server.port}/", timeout=DEADLINE, allow_http=True, allow_private_hosts=True
        )
        with pytest.raises(FetchFailed):  # imports what it needs, once
            source.fetch(Conditional())
        tracemalloc.start()
        try:
            with pytest.raises(FetchFailed):
                source.fetch(Conditional())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < MEMORY
