"""Token validator for Authlib's resource protectors, in Flask and in Django (Authlib 1.7)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from authlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.rfc6750 import BearerTokenValidator as _Validator  # type: ignore[import-untyped]

from ._http import REFUSALS, EnvironRequest, Guard, Refusal, Resource, Response, TokenVerifier
from .errors import InsufficientScope
from .options import NOTHING, REALM

if TYPE_CHECKING:
    from .token import VerifiedToken

__all__ = ["BearerTokenValidator"]


class BearerTokenValidator(_Validator):  # type: ignore[misc]  # Authlib is untyped
    """Verifies tokens for a `ResourceProtector`: `require_oauth.register_token_validator(this)`.

    Scopes are Authlib's: `["a", "b"]` asks for one of them, `"a b"` for both. A refusal is answered as every
    adapter does, unavailable keys by 503 with Retry-After; requests without credentials Authlib answers
    itself. `current_token()` is the token, in Flask until the request's context ends, in Django until the
    response has been sent. `verifier`, `realm` and `resource` are the options of every adapter. Raises
    `ConfigurationError`.
    """

    def __init__(
        self,
        verifier: TokenVerifier | None = None,
        *,
        realm: str = REALM,
        resource: Resource | None = NOTHING,
    ) -> None:
        self._guard = Guard(verifier, realm=realm, resource=resource, token_getter=None)
        super().__init__(self._guard.realm)  # for the challenges that Authlib writes

    def validate_request(self, request: Any) -> None:
        """Refuse malformed or several credentials (RFC 6750 §3.1); Authlib calls it first."""
        verdict = self._guard.credentials(_request_of(request.headers.get("Authorization", "")))
        if isinstance(verdict, Response):
            raise _Refused(verdict)

    def authenticate_token(self, token_string: str) -> VerifiedToken:
        """The verified token; Authlib calls it once for a request."""
        raw = token_string.strip(" ")
        try:
            return self._guard.verifier.verify(raw)
        except REFUSALS as error:
            raise self._refused(raw, error) from None

    def validate_token(self, token: VerifiedToken, scopes: Sequence[str] | None, request: Any) -> None:
        """Refuse a token that lacks the scopes, by Authlib's reading of them."""
        if self.scope_insufficient(list(token.scopes), scopes):
            needed = str(scopes[0]).split() if scopes else ()  # of the alternatives the first
            raise self._refused(None, InsufficientScope(needed))
        _let_be_current(token, request)

    def _refused(self, raw: str | None, error: Refusal) -> _Refused:
        return _Refused(self._guard.refusal(_request_of(raw), raw, error))


def _let_be_current(token: VerifiedToken, request: Any) -> None:
    """Let `current_token()` be the token until the end of the request, in whichever framework that is."""
    django = sys.modules.get("django.http")
    shown = getattr(getattr(request, "payload", None), "_request", None)  # Authlib shows it nowhere else
    if django is not None and isinstance(shown, django.HttpRequest):
        from .django.visit import open_scope as open_in_django

        open_in_django(shown, token)
        return
    flask = sys.modules.get("flask")
    if flask is not None and flask.has_request_context():
        from .flask_lifetime import open_scope

        open_scope(token)


class _Refused(OAuth2Error):  # type: ignore[misc]
    """A refusal in the form that Authlib's protectors render."""

    def __init__(self, response: Response) -> None:
        self._response = response
        super().__init__(
            error=response.content["error"],
            description=response.content["error_description"],
            status_code=response.status,
        )

    def get_headers(self) -> list[tuple[str, str]]:
        """Authlib's headers and the refusal's own."""
        return [*super().get_headers(), *self._response.own_headers.items()]


def _request_of(authorization: str | None) -> EnvironRequest:
    """A request of which nothing else matters: Authlib writes the bodies, and leaves them out for HEAD."""
    return EnvironRequest({"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": authorization})
