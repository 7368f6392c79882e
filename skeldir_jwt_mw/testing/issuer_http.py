"""The HTTP side of the loopback identity provider: sockets, routing and misbehaviour on demand."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

MAX_REQUEST_BODY = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; `status` None closes the connection without one."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes = b""


def answer_json(document: object, status: int = 200) -> Answer:
    """An answer that carries a JSON document."""
    return Answer(
        status=status, headers={"Content-Type": "application/json"}, body=json.dumps(document).encode()
    )


class Responder(Protocol):
    """What decides the answers. Called by many threads at once."""

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request; header names are lower-case. May block."""

    def count(self, path: str, answer: Answer, by: int) -> None:
        """Count an answer that is being written; `by` is -1 where that failed."""


def parse_body(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The members of a JSON or a form body; raises ValueError for a body that is neither."""
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode()))
    members = json.loads(body or b"{}")
    if not isinstance(members, dict):
        raise ValueError("the body is not a JSON object")
    return members


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave in one segment, so no delayed acknowledgement adds its 40 ms
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        server = cast(LoopbackServer, self.server)
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_REQUEST_BODY:
            self.close_connection = True
            self._write(Answer(status=413, headers={}))
            return
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = server.responder.respond(self.command, self.path, headers, body)
        if answer.status is None:
            self.close_connection = True
            linger_not = struct.pack("ii", 1, 0)  # close with a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
            return
        server.responder.count(self.path, answer, 1)  # before the client can have it and look
        try:
            self._write(answer)
        except OSError:
            server.responder.count(self.path, answer, -1)
            raise

    do_GET = do_POST = _handle  # noqa: N815  # names that http.server looks for

    def _write(self, answer: Answer) -> None:
        assert answer.status is not None
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the overridden signature
        """Stay silent: the provider keeps its own log of requests."""


class LoopbackServer(ThreadingHTTPServer):
    """A threading server on 127.0.0.1 that survives a whole fleet connecting at once."""

    request_queue_size = 1024
    daemon_threads = True
    block_on_close = False

    def __init__(self, responder: Responder, port: int, ssl_context: ssl.SSLContext | None) -> None:
        self.responder = responder
        self._ssl_context = ssl_context
        self._lock = threading.Lock()  # guards _open; taken by the accepting thread, handlers and stop()
        self._open: set[socket.socket] = set()
        self._thread: threading.Thread | None = None
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def port(self) -> int:
        """The port that the kernel gave."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        """Serve in a daemon thread."""
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), name="loopback-issuer", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, drop every open connection and free the port."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        """Bind without the reverse name lookup that HTTPServer makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; a TLS handshake waits for the handler's thread."""
        connection, address = super().get_request()
        if self._ssl_context is not None:
            connection = self._ssl_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close one connection and forget it."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a fault of this module."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
