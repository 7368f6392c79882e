"""The metadata by which a client finds out who issues tokens for this service (RFC 9728)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from .rules import refuse, url_of

WELL_KNOWN = "/.well-known/oauth-protected-resource"

Resource: TypeAlias = str | Mapping[str, Any]  # the resource identifier, or members of RFC 9728 §2


class ProtectedResource:
    """The metadata document of one resource, and where it is served.

    `resource` is the resource identifier, an absolute URL, or a mapping of metadata members with `resource`
    among them. Raises `ConfigurationError`.
    """

    __slots__ = ("_members", "paths", "url")

    def __init__(self, resource: Resource) -> None:
        self._members = dict(resource) if isinstance(resource, Mapping) else {"resource": resource}
        identifier = url_of("resource", self._members.get("resource"), allow_http=True, may_have_query=True)
        try:
            json.dumps(self._members, allow_nan=False)
        except (TypeError, ValueError):
            refuse("resource", resource, "must hold nothing but JSON values")
        scheme, netloc, path, query, _ = urlsplit(identifier)
        location = WELL_KNOWN + ("" if path == "/" else path)
        self.url = urlunsplit((scheme, netloc, location, query, ""))  # RFC 9728 §3.1
        self.paths = frozenset({WELL_KNOWN, unquote(location)})

    def document(self, issuers: Iterable[str], *, in_header: bool) -> dict[str, Any]:
        """The document (RFC 9728 §3.2), with what was not configured filled in.

        `issuers` are the names of the configured issuers; `in_header` says whether tokens are read from
        `Authorization`.
        """
        servers = [name for name in issuers if name.startswith(("https://", "http://")) and "{" not in name]
        known: dict[str, Any] = {"authorization_servers": servers} if servers else {}
        if in_header:
            known["bearer_methods_supported"] = ["header"]
        return {**known, **self._members}
