"""urllib3 connections over a socket that is already open, with a bounded response head.

Imported when first needed: urllib3 takes 60 ms to load.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from typing import Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection

MAX_HEAD_BYTES = 16_384  # status lines, headers, and those of interim and proxy responses
MAX_INTERIM = 8  # responses before the one that counts
SWITCHING_PROTOCOLS = 101  # no interim response: what follows it is not HTTP


class HeadTooLarge(http.client.HTTPException):
    """The response head is larger than `MAX_HEAD_BYTES`."""


class TooManyInterim(http.client.HTTPException):
    """There are more than `MAX_INTERIM` interim responses."""


class _Head:
    """Reads lines from a response until there have been too many bytes of them."""

    def __init__(self, reader: io.BufferedReader) -> None:
        self.reader = reader
        self._left = MAX_HEAD_BYTES

    def readline(self, limit: int) -> bytes:
        line = self.reader.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise HeadTooLarge
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)


class _Response(http.client.HTTPResponse):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = cast(io.BufferedReader, _Head(self.fp))

    def _read_status(self) -> tuple[str, int, str]:
        """Of the response that counts: whatever its number, an interim one is passed over (RFC 9110 §15.2).

        http.client itself does that with 100 alone.
        """
        for _ in range(MAX_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == SWITCHING_PROTOCOLS:
                return version, status, reason
            while self.fp.readline(MAX_HEAD_BYTES + 1) not in (b"\r\n", b"\n", b""):
                pass  # `_Head` bounds how many
        raise TooManyInterim

    def begin(self) -> None:
        super().begin()
        if isinstance(self.fp, _Head):  # http.client lets go of it where there is no body
            self.fp = self.fp.reader


class PlainConnection(HTTPConnection):
    """HTTP over the given socket; name and port are for the Host header."""

    response_class = _Response

    def __init__(self, sock: socket.socket, host: str, port: int, *, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._given = sock

    def _new_conn(self) -> socket.socket:
        return self._given


class SecureConnection(HTTPSConnection):
    """HTTPS over the given socket; the name is for Host, SNI and the certificate."""

    response_class = _Response

    def __init__(
        self, sock: socket.socket, host: str, port: int, *, timeout: float, context: ssl.SSLContext
    ) -> None:
        super().__init__(host, port, timeout=timeout, ssl_context=context)
        self._given = sock

    def _new_conn(self) -> socket.socket:
        return self._given
