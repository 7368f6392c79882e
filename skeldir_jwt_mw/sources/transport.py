"""One guarded HTTP GET with a total deadline: what every URL goes through (R50-R52)."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from skeldir_jwt_mw.core.effects import FetchFailed, LocalFetchFailed
from skeldir_jwt_mw.deadline import DeadlineExceeded, Occupied, Purpose, monotonic, shut_down_after
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.rules import flag, refuse, seconds_of, text_of, url_of

from .base import MAX_DOCUMENT_BYTES
from .coding import is_coded
from .freshness import retry_after
from .guard import Address, Resolve, admit, literal, resolve
from .headers import GivenHeaders
from .local import has_authorities, own_trouble, resolver_trouble

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

Path: TypeAlias = str | os.PathLike[str]

MAX_TIMEOUT = 60.0  # seconds; no lease is longer
READ_BYTES = 16_384
LISTS = ("cache-control", "content-encoding")  # headers that may be given in parts (RFC 9110 §5.3)
TIMED_OUT = "the provider did not answer in time"
UNRESOLVED = "the host's name could not be resolved"
UNRESOLVED_IN_TIME = "the host's name was not resolved in time"
UNTRUSTED = "the provider's certificate is not trusted"

# By OpenSSL's X509_V_ERR codes; whatever else is wrong, nobody whom we trust has signed it.
_UNTRUSTED_BECAUSE = {
    9: ": it is not valid yet, or the clock of this machine is slow",
    10: ": it has expired, or the clock of this machine is fast",
    62: ": it is for another name",
    64: ": it is for another address",
}

# Look-ups of names that went on past their deadline, of all sources together: each keeps a thread.
_LOOKUPS = Purpose(most=32, side_by_side=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer, 200 or 304; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class StatusRefused(FetchFailed):
    """The provider answered with a status that holds no document."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        super().__init__(f"the provider answered with status {status}", retry_after)
        self.status = status


def _import_what_a_fetch_needs() -> None:
    """In the thread that makes the source: first fetches run side by side, and imported there, one of them
    could meet modules that another has half made. And later the process may not be able to read them.
    """

    from . import connection  # noqa: F401

    "localhost".encode("idna")  # the codec that names go through, which is then remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How to reach a provider. Raises `ConfigurationError` for options that cannot work.

    Environment proxies are ignored. A proxy resolves names itself, so the address guard ends where it begins.
    """

    timeout: float = 3.0  # seconds for everything: name, connect, TLS, request, head and body
    ca_file: Path | None = None  # trusted instead of the system's authorities
    client_cert: Path | tuple[Path, Path] | None = None  # PEM with certificate and key, or the two files
    proxy: str | None = field(default=None, repr=False)  # http://[user:password@]host:port
    headers: GivenHeaders = field(
        default_factory=lambda: GivenHeaders(None), repr=False
    )  # sent besides ours; may hold a secret
    allow_http: bool = False
    allow_private_hosts: bool = False
    resolve: Resolve = field(default=resolve, repr=False, compare=False)
    lookups: Purpose = field(default_factory=lambda: Purpose(part_of=_LOOKUPS), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < seconds_of("timeout", self.timeout) <= MAX_TIMEOUT:
            refuse("timeout", self.timeout, f"must be more than 0 and at most {MAX_TIMEOUT:.0f} s")
        flag("allow_http", self.allow_http)
        flag("allow_private_hosts", self.allow_private_hosts)
        if self.proxy is not None:
            proxy = text_of("proxy", self.proxy)
            shape = re.match(r"http://(?:[^@/]*@)?([^@/?#]+)/?\Z", proxy)
            if shape is None:
                refuse("proxy", proxy, "must be of the form http://[user:password@]host:port")
            url_of("proxy", f"http://{shape[1]}", allow_http=True, may_have_query=False)
        if self.ca_file is not None or self.client_cert is not None:
            try:
                self._tls_context()
            except LocalFetchFailed as failure:
                raise ConfigurationError(failure.reason) from None
        _import_what_a_fetch_needs()

    def get(self, url: str, headers: Mapping[str, str], until: float) -> Response:
        """Get `url` (one that `url_of` has passed) before `until` on our monotonic clock.

        Raises `FetchFailed`, and nothing else that a provider could cause; `LocalFetchFailed` where it is
        this process that could not ask.
        """
        from urllib3.exceptions import HTTPError

        held = contextlib.ExitStack()  # what is open and has to be closed, whatever happens
        try:
            try:
                return self._get(url, headers, until, held)
            finally:
                held.close()
        except FetchFailed:
            raise
        except DeadlineExceeded:
            reason = TIMED_OUT
        except UnicodeError:
            reason = UNRESOLVED
        except ssl.SSLCertVerificationError as error:
            reason = UNTRUSTED + _UNTRUSTED_BECAUSE.get(error.verify_code, "")
        except ssl.SSLError:
            reason = "TLS with the provider failed"
        except (OSError, MemoryError, ImportError, LookupError, RuntimeError) as error:
            trouble = own_trouble(error)
            if trouble is not None:
                raise trouble from None
            if not isinstance(error, OSError):
                raise
            reason = "the connection to the provider failed"
        except (HTTPError, http.client.HTTPException, ValueError):
            reason = "the provider's answer was cut short or malformed"
        finally:
            held.close()  # again, should an exception have met the first
        raise FetchFailed(TIMED_OUT if monotonic() >= until else reason) from None

    def _get(
        self, url: str, headers: Mapping[str, str], until: float, held: contextlib.ExitStack
    ) -> Response:
        from .connection import HeadTooLarge, PlainConnection, SecureConnection, TooManyInterim

        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        context = self._tls_context() if secure else None
        sock = self._connect(host, port, until, plaintext=not secure)
        held.callback(sock.close)
        # TLS takes the descriptor over from `sock`; its twin still reaches the connection.
        twin = sock.dup()
        held.callback(twin.close)
        left = until - monotonic()
        timed_out = held.enter_context(shut_down_after(left, twin))
        connection: PlainConnection | SecureConnection
        reach = (host, port) if self.proxy is None else self._proxy_address()
        if context is not None:
            connection = SecureConnection(sock, *reach, timeout=max(left, 0.001), context=context)
        else:
            connection = PlainConnection(sock, *reach, timeout=max(left, 0.001))
        held.callback(connection.close)
        if self.proxy is not None:
            connection.set_tunnel(host, port, self._proxy_headers())
        try:
            connection.request("GET", target, headers=headers, preload_content=False, decode_content=False)
            response = connection.getresponse()
        except HeadTooLarge:
            raise FetchFailed("the response's headers are larger than 16 KiB") from None
        except TooManyInterim:
            raise FetchFailed("there are too many interim responses") from None
        except OSError as error:
            if type(error) is not OSError or error.errno is not None:
                raise
            # Only http.client raises one without a number, for a proxy that refuses.
            raise FetchFailed("the proxy made no connection to the provider") from None
        held.callback(response.close)
        names = {name.lower(): value for name, value in response.headers.items()}
        names |= {name: response.headers[name] for name in LISTS if name in names}  # all of that name
        if response.status not in (200, 304):
            raise StatusRefused(response.status, retry_after(names))
        body = b""
        if response.status == 200:
            if is_coded(names.get("content-encoding", "")):
                raise FetchFailed("the response has a content coding, which was not asked for")
            body = self._read(response)
        if timed_out():  # the end of the body may have been our own doing
            raise DeadlineExceeded
        return Response(status=response.status, headers=names, body=body)

    @staticmethod
    def _read(response: BaseHTTPResponse) -> bytes:
        body = bytearray()
        while chunk := response.read(READ_BYTES):
            body += chunk
            if len(body) > MAX_DOCUMENT_BYTES:
                raise FetchFailed("the document is larger than 256 KiB")
        return bytes(body)

    def _connect(self, host: str, port: int, until: float, *, plaintext: bool) -> socket.socket:
        """A TCP connection to an address that has been judged; no name is resolved after that (rebinding)."""
        candidates = self._resolved(*((host, port) if self.proxy is None else self._proxy_address()), until)
        asked = candidates
        if self.proxy is not None:
            ip = literal(host)  # a name is the proxy's to resolve
            asked = [] if ip is None else [Address(ip, ip.version, (host, port))]
        if asked or self.proxy is None:
            admitted, reason = admit(asked, allow_private_hosts=self.allow_private_hosts, plaintext=plaintext)
            if not admitted:
                raise FetchFailed(reason)
            candidates = candidates if self.proxy is not None else admitted
        troubles: list[LocalFetchFailed] = []  # of this process's own
        last: int | None = None
        for rank, address in enumerate(candidates, 1):
            left = until - monotonic()
            if left <= 0:
                raise DeadlineExceeded
            try:
                # Half of the time that is left, so that a silent address does not use up the next one's.
                return _connected(address, left if rank == len(candidates) else left / 2)
            except OSError as error:
                last, trouble = error.errno, own_trouble(error)
                troubles += [] if trouble is None else [trouble]
        if troubles and len(troubles) == len(candidates):
            raise troubles[0]
        if monotonic() >= until:
            raise DeadlineExceeded
        name = errno.errorcode.get(last or 0)
        why = "" if name is None else f" ({name})"
        raise FetchFailed(f"no connection to the provider could be made{why}")

    def _resolved(self, host: str, port: int, until: float) -> Sequence[Address]:
        """The addresses of a host. A resolver has no deadline, so its thread may be left behind."""
        try:
            return self.lookups.within(until - monotonic(), partial(self.resolve, host, port))
        except OSError as error:
            trouble = resolver_trouble(error)
        except DeadlineExceeded:
            raise FetchFailed(UNRESOLVED_IN_TIME) from None
        except Occupied as occupied:
            if occupied.purpose is not _LOOKUPS:
                raise FetchFailed("an earlier look-up of the host's name has not ended") from None
            trouble = LocalFetchFailed("too many names are being looked up")
        raise FetchFailed(UNRESOLVED) if trouble is None else trouble

    def _tls_context(self) -> ssl.SSLContext:
        """Read anew for every fetch, so that a renewed file is used without a restart.

        Raises `LocalFetchFailed`: no provider can be asked without.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.client_cert is not None:
                certificate, key = (
                    self.client_cert if isinstance(self.client_cert, tuple) else (self.client_cert, None)
                )
                # The empty password keeps an encrypted key from asking for one on the terminal.
                context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError, TypeError) as error:
            what = "ca_file" if self.client_cert is None else "ca_file or client_cert"
            raise LocalFetchFailed(f"{what} cannot be loaded ({type(error).__name__})") from None
        if self.ca_file is None and not has_authorities(context):
            raise LocalFetchFailed("this process can read no certificate of an authority; give ca_file")
        return context

    def _proxy_address(self) -> tuple[str, int]:
        parts = urlsplit(self.proxy or "")
        return parts.hostname or "", parts.port or 80

    def _proxy_headers(self) -> dict[str, str]:
        from urllib3.util import make_headers

        parts = urlsplit(self.proxy or "")
        if parts.username is None:
            return {}
        return make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")


def _connected(address: Address, seconds: float) -> socket.socket:
    """A TCP connection to the address. Raises OSError."""
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(address.sockaddr)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock
