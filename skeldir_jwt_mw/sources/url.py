"""A JWKS at a fixed URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from skeldir_jwt_mw.core.effects import Conditional, Fetched, FetchFailed
from skeldir_jwt_mw.deadline import monotonic
from skeldir_jwt_mw.rules import refuse, shown, url_of

from .freshness import max_age, validator
from .guard import Resolve
from .headers import GivenHeaders, Headers
from .transport import Path, Transport


class JWKSUrlSource:
    """Fetches a JWKS from `url`, an https URL without credentials or fragment (R50-R52).

    - `timeout`: seconds for the whole fetch: name resolution, connection, TLS, headers and body.
    - `ca_file`: PEM file of the authorities to trust instead of the system's.
    - `client_cert`: a PEM file with certificate and key, or the two files as a tuple.
    - `proxy`: `http://[user:password@]host:port`; the environment's proxies are ignored.
    - `headers`: sent besides ours, an API key perhaps; or a function that returns them, asked at every fetch
      within its deadline, for credentials that change.
    - `allow_http` is for development; plain http goes to private addresses alone, so it needs the next too.
    - `allow_private_hosts` is for a provider inside your network; link-local and metadata addresses stay
      refused.

    Raises `ConfigurationError`.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 3.0,
        ca_file: Path | None = None,
        client_cert: Path | tuple[Path, Path] | None = None,
        proxy: str | None = None,
        headers: Headers | None = None,
        allow_http: bool = False,
        allow_private_hosts: bool = False,
    ) -> None:
        self._transport = Transport(
            timeout=timeout,
            ca_file=ca_file,
            client_cert=client_cert,
            proxy=proxy,
            headers=GivenHeaders(headers),
            allow_http=allow_http,
            allow_private_hosts=allow_private_hosts,
        )
        self._url = url_of("jwks_url", url, allow_http=allow_http, may_have_query=True)
        if proxy is not None and url.startswith("http:"):
            refuse("jwks_url", url, "must be an https URL where a proxy is used")
        self.identity = f"url:{url}"

    def fetch(self, conditional: Conditional) -> Fetched:
        """Fetch the document, or learn that it has not changed. Raises `FetchFailed`."""
        until = monotonic() + self._transport.timeout
        headers = self._transport.headers.now(self._transport.timeout)
        return fetch_jwks(self._transport, self._url, conditional, until, headers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self._url)})"

    def _resolve_with(self, resolve: Resolve) -> None:
        """Replace the system's resolver: for tests of the address guard."""
        self._transport = replace(self._transport, resolve=resolve)


def request_headers(accept: str, configured: Mapping[str, str]) -> dict[str, str]:
    """The headers of every request of ours."""
    defaults = {"accept": accept, "user-agent": "skeldir_jwt_mw"}
    given = {name.lower() for name in configured}
    ours = {name: value for name, value in defaults.items() if name not in given}
    return {**ours, **configured, "accept-encoding": "identity", "connection": "close"}


def fetch_jwks(
    transport: Transport, url: str, conditional: Conditional, until: float, configured: Mapping[str, str]
) -> Fetched:
    """Fetch a JWKS before `until`, conditionally where there is a version to name. Raises `FetchFailed`."""
    headers = request_headers("application/jwk-set+json, application/json", configured)
    etag, last_modified = validator(conditional.etag), validator(conditional.last_modified)
    if etag is not None:
        headers["if-none-match"] = etag
    if last_modified is not None:
        headers["if-modified-since"] = last_modified
    if conditional.no_cache:
        headers["cache-control"] = "no-cache"
    response = transport.get(url, headers, until)
    found = {
        "etag": validator(response.headers.get("etag")),
        "last_modified": validator(response.headers.get("last-modified")),
    }
    if response.status == 304:
        if etag is None and last_modified is None:
            raise FetchFailed("the provider answered 304 to a request that named no version")
        return Fetched(
            document=None,
            etag=found["etag"] or etag,
            last_modified=found["last_modified"] or last_modified,
            max_age=max_age(response.headers),
        )
    return Fetched(document=response.body, max_age=max_age(response.headers), **found)
