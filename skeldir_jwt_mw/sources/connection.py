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


class HeadTooLarge(http.client.HTTPException):
    """The response head is larger than `MAX_HEAD_BYTES`."""


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
