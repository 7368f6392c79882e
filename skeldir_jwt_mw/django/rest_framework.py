"""Authentication and permission classes for Django REST framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from skeldir_jwt_mw import VerifiedToken
from skeldir_jwt_mw._http import VERIFIED, Response

from . import conf
from .identity import identify
from .request import DjangoRequest
from .visit import open_scope

__all__ = ["HasScope", "JWTAuthentication"]


class JWTAuthentication(BaseAuthentication):
    """Authenticates by a verified token: `request.auth` is the `VerifiedToken`, `request.user` its user.

    The token of `JWTMiddleware` serves where it ran; without that the class verifies by itself, and
    `current_token()` is the token until the response has been sent. A request without credentials is left to
    the next class, a bad token is refused. First in the list, so that the 401 of a view is its challenge.
    """

    def authenticate(self, request: Request) -> tuple[Any, VerifiedToken] | None:
        """The user and the token, or None where there are no credentials; raises `APIException`."""
        shown: Any = request._request
        guard = conf.guard()
        verdict = guard.credentials(DjangoRequest(shown))
        if verdict is None:
            return None
        if isinstance(verdict, Response):
            raise _refusal(verdict)
        token = guard.reused(getattr(shown, VERIFIED, None), verdict)
        if token is not None:
            return shown.user, token
        outcome = identify(guard, shown, verdict)
        if isinstance(outcome, Response):
            raise _refusal(outcome)
        shown.jwt = outcome.token
        setattr(shown, VERIFIED, outcome.verified)
        open_scope(shown, outcome.token)
        return outcome.user, outcome.token

    def authenticate_header(self, request: Request) -> str:
        """The challenge to a request without credentials (RFC 6750 §3)."""
        return conf.guard().unauthorized(DjangoRequest(request._request)).own_headers["WWW-Authenticate"]


class HasScope(BasePermission):
    """Admits requests with a token that has all of the view's `required_scopes`.

    They are a list, or a mapping to lists from actions (`"list"`) and methods (`"GET"`, which speaks for HEAD
    too); what the mapping does not name is denied. A subclass may have them instead of its views. Where it
    denies on its own, the answer is a 403 that names the scopes (RFC 6750 §3.1); as a part of another
    permission it leaves the answer to that.
    """

    required_scopes: Iterable[str] | Mapping[str, Iterable[str]] | None = None

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the token suffices; raises `ImproperlyConfigured` where nobody says what it needs."""
        scopes = self.scopes_for(view, request.method or "")
        if scopes is None or not isinstance(request.auth, VerifiedToken):
            return False
        refusal = conf.guard().shortfall(DjangoRequest(request._request), request.auth, scopes)
        if refusal is not None and any(type(other) is type(self) for other in view.get_permissions()):
            raise _refusal(refusal)
        return refusal is None

    def scopes_for(self, view: Any, method: str) -> tuple[str, ...] | None:
        """The scopes that a request needs; None where it is denied whatever its scopes."""
        scopes = self.required_scopes
        if scopes is None:
            scopes = getattr(view, "required_scopes", None)
        if scopes is None:
            raise ImproperlyConfigured(
                f"{type(view).__name__} needs required_scopes for {type(self).__name__}"
            )
        if isinstance(scopes, Mapping):
            names = (
                getattr(view, "action", None),
                method,
                method.lower(),
                *(("GET", "get") * (method == "HEAD")),
            )
            scopes = next((scopes[name] for name in names if name in scopes), None)
            if scopes is None:
                return None
        return (scopes,) if isinstance(scopes, str) else tuple(scopes)


def _refusal(response: Response) -> APIException:
    """The refusal in a form that REST framework's exception handler renders."""
    return (_Failed if response.status == 401 else _Refused)(response)


class _Refused(APIException):
    def __init__(self, response: Response) -> None:
        super().__init__(dict(response.content), response.content["error"])
        own = response.own_headers
        self.status_code = response.status
        self.auth_header = own.get("WWW-Authenticate")
        self.wait = int(own["Retry-After"]) if "Retry-After" in own else None


class _Failed(_Refused, AuthenticationFailed):
    """A 401 that stays one: views give theirs the challenge of the first authentication class, or a 403."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ("status_code", "auth_header") or name not in self.__dict__:
            super().__setattr__(name, value)
