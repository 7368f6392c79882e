"""Middleware of other people, for what stands around ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from skeldir_jwt_mw import current_token


class SyncOnly:
    """One from before there was asynchronous Django: it runs in a thread."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        response = self.get_response(request)
        response["X-After"] = "-" if current_token() is None else "a token"
        return response


class Tenants(SyncOnly):
    """Routes by another table of routes, as multi-tenant sites do."""

    def __call__(self, request: HttpRequest) -> Any:
        if "HTTP_X_ROUTES" in request.META:
            request.urlconf = request.META["HTTP_X_ROUTES"]  # type: ignore[attr-defined]
        return super().__call__(request)


class ShortCircuit(SyncOnly):
    """Answers for the site, with what it saw."""

    def __call__(self, request: Any) -> HttpResponse:
        return HttpResponse(request.user.get_username(), status=418)
