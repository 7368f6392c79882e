"""A JWKS whose URL the issuer's own metadata names: OpenID Connect Discovery, then RFC 8414."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from skeldir_jwt_mw.core.effects import Conditional, Fetched, FetchFailed
from skeldir_jwt_mw.deadline import monotonic
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.rules import refuse, url_of

from .transport import Path, StatusRefused, Transport
from .url import fetch_jwks, request_headers

REDISCOVER_AFTER = 3600.0  # seconds for which a discovered URL is used while its fetches succeed


class _NoMetadata(FetchFailed):
    """There is no metadata document at this place; there may be one at the next."""


class DiscoverySource:
    """Fetches the JWKS that the metadata of `issuer` points to (OpenID Connect Discovery §4, RFC 8414 §3).

    The metadata's `issuer` must be equal to this one (R43); `jwks_uri` may be on any host that passes the
    address guard. The discovered URL is remembered for an hour, or until a fetch from it fails.
    `timeout` covers metadata and JWKS together. `headers` and `client_cert` go to the issuer's own origin
    alone; the other options are those of `JWKSUrlSource`. Raises `ConfigurationError`.
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
        headers: Mapping[str, str] | None = None,
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
            headers=dict(headers or {}),
            allow_http=allow_http,
            allow_private_hosts=allow_private_hosts,
        )
        self._discovered: tuple[str, float] | None = None  # URL and when to ask again; replaced as a whole

    def fetch(self, conditional: Conditional) -> Fetched:
        """Discover where that is due, then fetch the JWKS, all within one deadline. Raises `FetchFailed`."""
        until = monotonic() + self._own.timeout
        known = self._discovered
        if known is not None and monotonic() < known[1]:
            url, again = known
        else:
            url, again = self._discover(until), monotonic() + REDISCOVER_AFTER
            if known is not None and known[0] != url:  # the versions at hand are of another document
                conditional = replace(conditional, etag=None, last_modified=None)
        transport = self._transport_to(url)
        try:
            fetched = fetch_jwks(transport, url, conditional, until, transport.headers)
        except FetchFailed:
            self._discovered = (url, 0.0)  # kept only to notice when it changes
            raise
        self._discovered = (url, again)
        return fetched

    def _transport_to(self, url: str) -> Transport:
        """Credentials are for the issuer: another host that its metadata names gets none."""
        if urlsplit(url)[:2] == urlsplit(self.issuer)[:2]:
            return self._own
        return replace(self._own, headers={}, client_cert=None)

    def _discover(self, until: float) -> str:
        from authlib.oauth2.rfc8414 import get_well_known_url

        base = self.issuer.rstrip("/")
        try:
            metadata = self._metadata(f"{base}/.well-known/openid-configuration", until)
        except _NoMetadata:
            metadata = self._metadata(get_well_known_url(base, external=True), until)
        return self._jwks_uri(metadata)

    def _metadata(self, url: str, until: float) -> dict[str, Any]:
        from skeldir_jwt_mw.core.compact import parse_object

        try:
            response = self._own.get(url, request_headers("application/json", self._own.headers), until)
        except StatusRefused as refused:
            if refused.status < 500 and refused.status != 429:
                raise _NoMetadata(f"the issuer has no metadata (status {refused.status})") from None
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
