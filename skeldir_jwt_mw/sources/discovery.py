"""A JWKS whose URL the issuer's own metadata names: OpenID Connect Discovery, then RFC 8414."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from skeldir_jwt_mw.core.effects import Conditional, Fetched, FetchFailed, LocalFetchFailed
from skeldir_jwt_mw.deadline import monotonic
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.rules import members_of, refuse, shown, url_of

from .guard import Resolve
from .headers import GivenHeaders, Headers
from .transport import Path, StatusRefused, Transport
from .url import fetch_jwks, request_headers

REDISCOVER_AFTER = 3600.0  # seconds for which a discovered URL is used while its fetches succeed


ABSENT = (404, 410)  # the statuses by which a place merely says that there is nothing


class _NoMetadata(FetchFailed):
    """There is no metadata document at this place; there may be one at the next."""

    def __init__(self, reason: str, *, absent: bool = False) -> None:
        super().__init__(reason)
        self.absent = absent


class DiscoverySource:
    """Fetches the JWKS that the metadata of `issuer` points to (OpenID Connect Discovery §4, RFC 8414 §3).

    The metadata's `issuer` must be equal to this one (R43); `jwks_uri` may be on any host that passes the
    address guard. The discovered URL is remembered for an hour, or until a fetch from it fails.
    `timeout` covers metadata and JWKS together. `headers` and `client_cert` go to the issuer's own origin
    alone; `headers_to` names further origins (`https://host:port`) that `headers` may go to when the JWKS is
    there. The other options are those of `JWKSUrlSource`. Raises `ConfigurationError`.
    """

    identity = "discovery"  # the row's key holds the issuer besides

    def __init__(
        self,
        issuer: str,
        *,
        timeout: float = 3.0,
        ca_file: Path | None = None,
        client_cert: Path | tuple[Path, Path] | None = None,
        proxy: str | None = None,
        headers: Headers | None = None,
        headers_to: Sequence[str] = (),
        allow_http: bool = False,
        allow_private_hosts: bool = False,
    ) -> None:
        # Here and not in `fetch`, where first fetches that run side by side could meet it half imported.
        import authlib.oauth2.rfc8414  # type: ignore[import-untyped]  # noqa: F401

        self.issuer = url_of("issuer", issuer, allow_http=allow_http, may_have_query=False)
        if proxy is not None and issuer.startswith("http:"):
            refuse("issuer", issuer, "must be an https URL where a proxy is used")
        self._own = Transport(
            timeout=timeout,
            ca_file=ca_file,
            client_cert=client_cert,
            proxy=proxy,
            headers=GivenHeaders(headers),
            allow_http=allow_http,
            allow_private_hosts=allow_private_hosts,
        )
        # To hosts that only the metadata names.
        self._foreign = self._own if client_cert is None else replace(self._own, client_cert=None)
        self._headers_to = frozenset(
            _named_origin(origin, allow_http=allow_http)
            for origin in members_of("headers_to", headers_to, "origins", may_be_empty=True)
        )
        self._discovered: tuple[str, float] | None = None  # URL and when to ask again; replaced as a whole

    def fetch(self, conditional: Conditional) -> Fetched:
        """Discover where that is due, then fetch the JWKS, all within one deadline. Raises `FetchFailed`."""
        until = monotonic() + self._own.timeout
        headers: dict[str, str] | None = None  # asked for once, where this fetch sends them
        known = self._discovered
        if known is not None and monotonic() < known[1]:
            url, again = known
        else:
            headers = self._own.headers.now(until - monotonic())
            url, again = self._discover(headers, until), monotonic() + REDISCOVER_AFTER
            if known is not None and known[0] != url:  # the versions at hand are of another document
                conditional = replace(conditional, etag=None, last_modified=None)
        origin = _origin_of(url)
        is_own = origin == _origin_of(self.issuer)
        # Credentials are for the issuer: another host that its metadata names gets none unasked.
        if not is_own and origin not in self._headers_to:
            headers = {}
        elif headers is None:
            headers = self._own.headers.now(until - monotonic())
        transport = self._own if is_own else self._foreign
        try:
            fetched = fetch_jwks(transport, url, conditional, until, headers)
        except LocalFetchFailed:
            raise
        except FetchFailed:
            self._discovered = (url, 0.0)  # kept only to notice when it changes
            raise
        self._discovered = (url, again)
        return fetched

    def _resolve_with(self, resolve: Resolve) -> None:
        """Replace the system's resolver: for tests."""
        self._own = replace(self._own, resolve=resolve)
        self._foreign = replace(self._foreign, resolve=resolve)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self.issuer)})"

    def _discover(self, headers: Mapping[str, str], until: float) -> str:
        """The JWKS's URL. Of two places without metadata the first that says more than "absent" is told."""
        from authlib.oauth2.rfc8414 import get_well_known_url

        base = self.issuer.rstrip("/")
        try:
            metadata = self._metadata(f"{base}/.well-known/openid-configuration", headers, until)
        except _NoMetadata as first:
            try:
                metadata = self._metadata(get_well_known_url(base, external=True), headers, until)
            except LocalFetchFailed:
                raise
            except FetchFailed as second:
                if first.absent:
                    raise
                raise FetchFailed(first.reason, second.retry_after) from None
        return self._jwks_uri(metadata)

    def _metadata(self, url: str, headers: Mapping[str, str], until: float) -> dict[str, Any]:
        from skeldir_jwt_mw.core.compact import parse_object

        try:
            response = self._own.get(url, request_headers("application/json", headers), until)
        except StatusRefused as refused:
            status = refused.status
            if status < 500 and status != 429:
                reason = f"the issuer has no metadata (status {status})"
                raise _NoMetadata(reason, absent=status in ABSENT) from None
            raise
        try:
            return parse_object(response.body)
        except ValueError:
            raise _NoMetadata("the issuer's metadata is not a strict JSON object") from None

    def _jwks_uri(self, metadata: dict[str, Any]) -> str:
        """The checked `jwks_uri` (RFC 8414 §2, §3.3)."""
        from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

        if metadata.get("issuer") != self.issuer:
            raise FetchFailed("the issuer in the metadata is not the configured one")
        try:
            url = url_of(
                "jwks_uri", metadata.get("jwks_uri"), allow_http=self._own.allow_http, may_have_query=True
            )
            # authlib judges schemes by rules of its own and by the environment; `url_of` has done it by ours.
            AuthorizationServerMetadata(issuer=_over_tls(self.issuer)).validate_issuer()
            AuthorizationServerMetadata(jwks_uri=_over_tls(url)).validate_jwks_uri()
        except (ConfigurationError, ValueError):
            raise FetchFailed("the metadata has no jwks_uri that may be fetched") from None
        if self._own.proxy is not None and url.startswith("http:"):
            raise FetchFailed("the metadata has no jwks_uri that may be fetched through a proxy")
        return url


def _over_tls(url: str) -> str:
    return f"https:{url.removeprefix('http:')}" if url.startswith("http:") else url


def _origin_of(url: str) -> tuple[str, str | None, int]:
    """Scheme, host and port (RFC 6454 §4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)


def _named_origin(value: object, *, allow_http: bool) -> tuple[str, str | None, int]:
    url = url_of("headers_to", value, allow_http=allow_http, may_have_query=True)
    if urlsplit(url)[2:4] not in (("", ""), ("/", "")):
        refuse("headers_to", url, "must be an origin: https://host or https://host:port, without a path")
    return _origin_of(url)
