"""One request behind the middleware: whose it is, until its response has been sent."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from django.apps import apps
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from skeldir_jwt_mw._http import VERIFIED, Response
from skeldir_jwt_mw.token import RequestScope, VerifiedToken

from .identity import Identity
from .users import RowlessUser

VISIT = "skeldir_jwt_visit"  # an attribute of requests
FORGIVEN = "_dont_enforce_csrf_checks"  # Django's own, which its test client sets too


class Visit:
    """Makes a request that of an identity, or else nobody's but the session's.

    `pending` is what the request is refused with unless its view turns out to be exempt. A request whose
    token is in a header that no browser sends by itself cannot be forged: `unforgeable` tells Django so.
    Neither a visit nor `auser` holds the request, which would leave each to the garbage collector.
    """

    __slots__ = ("_anonymous", "_scope", "pending")

    def __init__(
        self, request: HttpRequest, identity: Identity | None, pending: Response | None, *, unforgeable: bool
    ) -> None:
        shown: Any = request
        given = shown.__dict__  # what outer middleware has set; a user that waits for its session still waits
        self.pending = pending
        self._anonymous = (given.get("user"), given.get("auser"), given.get(FORGIVEN, False))
        setattr(shown, VISIT, self)
        if identity is None:
            self._scope = RequestScope(None)
            self._give_back(shown)
            return
        self._scope = RequestScope(identity.token)
        shown.jwt = identity.token
        setattr(shown, VERIFIED, identity.verified)
        shown.user = identity.user
        shown.auser = _user_of(shown)
        if unforgeable:
            setattr(shown, FORGIVEN, True)

    def become_anonymous(self, request: HttpRequest) -> None:
        """Forget whose request it is, as if it had come to an exempt path."""
        self.pending = None
        self._scope.close()
        self._scope = RequestScope(None)
        self._give_back(request)

    def _give_back(self, shown: Any) -> None:
        user, auser, forgiven = self._anonymous
        shown.jwt = None
        setattr(shown, VERIFIED, None)
        shown.user = nobody() if user is None else user
        shown.auser = _user_of(shown) if auser is None else auser
        setattr(shown, FORGIVEN, forgiven)

    def close(self) -> None:
        """End it; repeatable."""
        self._scope.close()

    def close_with(self, response: HttpResponseBase) -> HttpResponseBase:
        """End it when the response's body does: it may still be streamed by code of the project."""
        if response.streaming:
            # Also where no server closes the response, because an outer middleware put another in its place.
            closing = weakref.finalize(response, self._scope.close)
            closing.atexit = False
            closers: list[object] = response._resource_closers  # type: ignore[attr-defined]  # not in stubs
            closers.append(closing)
        else:
            self._scope.close()
        return response


def open_scope(request: HttpRequest, token: VerifiedToken) -> None:
    """Let `current_token()` be the token until Django closes the request, or drops it.

    For what verifies by itself, where no middleware of ours has a visit to end.
    """
    scope, reference = RequestScope(token), weakref.ref(request)
    weakref.finalize(request, scope.close).atexit = False

    def close() -> None:
        scope.close()
        if (found := reference()) is not None:
            type(found).close(found)

    request.close = close  # type: ignore[method-assign]  # what its handlers call once the response is sent


def nobody() -> Any:
    """An anonymous user, which is Django's own in a project that has its users."""
    if not apps.is_installed("django.contrib.auth"):
        return RowlessUser()
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser()


def _user_of(request: Any) -> Callable[[], Awaitable[Any]]:
    """The request's `auser`: its user, also where somebody changes that."""
    found, first = weakref.ref(request), request.user

    async def auser() -> Any:
        shown = found()
        return first if shown is None else shown.user

    return auser
