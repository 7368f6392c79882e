"""Where keys originate: URLs, discovery, fixed key sets, functions, and anything else that has `fetch`."""

from __future__ import annotations

from skeldir_jwt_mw.core.effects import Conditional, Fetched, FetchFailed, LocalFetchFailed

from .base import Source, source_identity
from .callable import CallableSource
from .discovery import DiscoverySource
from .static import StaticSource
from .url import JWKSUrlSource

__all__ = [
    "CallableSource",
    "Conditional",
    "DiscoverySource",
    "FetchFailed",
    "Fetched",
    "JWKSUrlSource",
    "LocalFetchFailed",
    "Source",
    "StaticSource",
    "source_identity",
]
