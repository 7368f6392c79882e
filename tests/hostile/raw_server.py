"""A server that answers byte by byte, however it is told to: what hostile providers are made of."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import TypeAlias

from skeldir_jwt_mw.sources import Conditional, Fetched, JWKSUrlSource

TIMEOUT = 0.3  # seconds, for answers that do not end

Script: TypeAlias = Callable[[socket.socket, threading.Event], None]


class RawServer:
    """Accepts connections and lets a script answer each of them byte by byte."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):  # the client hangs up, as it should
                connection.settimeout(2)
                self.requests.append(connection.recv(65536))
                self._script(connection, self._over)


def fetch_from(
    server: RawServer, conditional: Conditional | None = None, *, timeout: float = TIMEOUT
) -> Fetched:
    source = JWKSUrlSource(
        f"http://127.0.0.1:{server.port}/jwks", timeout=timeout, allow_http=True, allow_private_hosts=True
    )
    return source.fetch(conditional or Conditional())


def says(*parts: bytes) -> Script:
    def script(connection: socket.socket, over: threading.Event) -> None:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)

    return script


def drips(start: bytes, drop: bytes) -> Script:
    """Sends the start, then a drop every few milliseconds for as long as anyone listens."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.wait(0.005):
            connection.sendall(drop)

    return script


def pours(start: bytes, drop: bytes) -> Script:
    """Sends the start, then as much as the client takes."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.is_set():
            connection.sendall(drop * 1000)

    return script


def hangs(connection: socket.socket, over: threading.Event) -> None:
    over.wait(5)


def resets(connection: socket.socket, over: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


OK = b"HTTP/1.1 200 OK\r\n"
