"""What all adapters share: from a request to what to do with it, and from an error to its response.

An adapter shows its request as a `Request` and asks `Guard.judge`; it verifies the token that comes back, or
asks `Guard.refusal` what to answer; it writes a `Response` in its framework's terms. The texts are fixed (RFC
6750 §3): no response says which check refused a token (R44), nor anything that a token held (R41).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, assert_never

from .credentials import Headers, TokenGetter, bearer_token, from_cookie, from_header, is_b64token
from .errors import InsufficientScope, InvalidToken, KeysUnavailable
from .exempt import ExemptPaths
from .protected_resource import ProtectedResource, Resource
from .request import EnvironRequest, Request, ScopeRequest
from .rules import flag, refuse, text_of

if TYPE_CHECKING:
    from .settings import Settings
    from .token import VerifiedToken

__all__ = [
    "REFUSALS",
    "VERIFIED",
    "EnvironRequest",
    "Guard",
    "Headers",
    "Refusal",
    "Request",
    "Resource",
    "Response",
    "ScopeRequest",
    "TokenGetter",
    "TokenVerifier",
    "from_cookie",
    "from_header",
]

REFUSALS = (InvalidToken, InsufficientScope, KeysUnavailable)  # what an adapter catches from verify()
Refusal: TypeAlias = InvalidToken | InsufficientScope | KeysUnavailable

DESCRIPTIONS = {
    "unauthorized": "The request has no access token",
    "invalid_token": "The access token is not valid",
    "invalid_request": "The credentials are malformed, or there are several",
    "insufficient_scope": "The access token lacks a required scope",
    "temporarily_unavailable": "The access token cannot be verified at the moment",
}

VERIFIED = "skeldir_jwt_verified"  # in an ASGI scope: (verifier, raw, token), so that none is verified twice
FRAMING = ("Content-Type", "Content-Length")

_PRINTABLE = re.compile(r"[\x20-\x7e]+")


class TokenVerifier(Protocol):
    """What the adapters need of a `Verifier`."""

    def verify(self, raw: str | bytes, scopes: Iterable[str] = ()) -> VerifiedToken:
        """The verified token; raises one of `REFUSALS`."""
        ...

    async def averify(self, raw: str | bytes, scopes: Iterable[str] = ()) -> VerifiedToken:
        """The same, for event loops."""
        ...

    def status(self) -> Mapping[str, Any]:
        """One entry per configured issuer, under its name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole response, for an adapter to write."""

    status: int
    headers: tuple[tuple[str, str], ...]  # printable ASCII; those of the body come last
    body: bytes
    content: Mapping[str, Any] = field(compare=False)  # what the body says, or would say if it were not HEAD

    @property
    def own_headers(self) -> dict[str, str]:
        """The headers without those of the body, for a framework that writes `content` in its own way."""
        return dict(self.headers[: -len(FRAMING)])


class Guard:
    """The rules of one middleware: which requests need a token, where it stands, what refusals look like.

    The parameters are the options that all adapters take. Without a verifier, `settings` or else the
    `SKELDIR_JWT_…` variables describe it, and the options that are left at their defaults. Raises
    `ConfigurationError`.
    """

    def __init__(
        self,
        verifier: TokenVerifier | None = None,
        *,
        required: bool = True,
        exempt: Iterable[str] = (),
        exempt_preflight: bool = True,
        realm: str = "api",
        resource: Resource | None = None,
        token_getter: TokenGetter | None = None,
        settings: Settings | None = None,
    ) -> None:
        if verifier is None:
            verifier, configured = _configured(settings)
            # What the caller left at its default is the settings' to say.
            required = configured.get("required", True) if required is True else required
            exempt = exempt or configured.get("exempt", ())
            if exempt_preflight is True:
                exempt_preflight = configured.get("exempt_preflight", True)
            realm = configured.get("realm", realm) if realm == "api" else realm
            resource = configured.get("resource") if resource is None else resource
            token_getter = configured.get("token_getter") if token_getter is None else token_getter
        self.required = flag("required", required)
        self._exempt = ExemptPaths(exempt)
        self._exempt_preflight = flag("exempt_preflight", exempt_preflight)
        if token_getter is not None and not callable(token_getter):
            refuse("token_getter", token_getter, "must be a function of the request's headers")
        self.token_getter = token_getter
        self._realm = {"realm": _realm(realm)}
        self._resource = None if resource is None else ProtectedResource(resource)
        self._pointer = {} if self._resource is None else {"resource_metadata": self._resource.url}
        self._judges_paths = bool(self._exempt or self._resource)
        self._unauthorized = self._challenge(401, "unauthorized", {})
        self._invalid_token = self._refused(401, "invalid_token")
        self._invalid_request = self._refused(400, "invalid_request")
        self.verifier = _verifier(verifier)

    def judge(self, request: Request) -> Response | bytes | str | None:
        """What to do with a request: give this answer, verify this token, or (None) let it be anonymous."""
        if self._judges_paths:
            path = request.path
            if self._resource and path in self._resource.paths and request.method in ("GET", "HEAD"):
                in_header = self.token_getter is None
                return _written(
                    _json(200, self._resource.document(self.verifier.status(), in_header=in_header)), request
                )
            if path in self._exempt:
                return None
        verdict = self.credentials(request)
        if verdict is None and self.required and not (self._exempt_preflight and _is_preflight(request)):
            return self.unauthorized(request)
        return verdict

    def credentials(self, request: Request) -> Response | bytes | str | None:
        """The token that a request carries, None if it carries none, or the answer to malformed credentials.

        For what stands on a route and so asks for a token whatever the path: a dependency, a decorator.
        """
        raw: str | bytes | None
        if self.token_getter is None:
            raw = bearer_token(request.authorization)
        else:
            raw = self.token_getter(request.headers)
        return raw if raw or raw is None else _written(self._invalid_request, request)

    def unauthorized(self, request: Request) -> Response:
        """The answer to a request without credentials: a challenge without an error code (RFC 6750 §3.1)."""
        return _written(self._unauthorized, request)

    def shortfall(
        self, request: Request, token: VerifiedToken | None, scopes: Iterable[str]
    ) -> Response | None:
        """The answer where the token is not there or lacks one of `scopes`; None where it suffices."""
        if token is None:
            return self.unauthorized(request)
        try:
            token.require(scopes)
        except InsufficientScope as error:
            return self.refusal(request, None, error)
        return None

    def refusal(self, request: Request, raw: str | bytes | None, error: Refusal) -> Response:
        """The answer where `verify` raised `error`; `raw` is the token that `judge` returned."""
        response: Response
        if raw is not None and not is_b64token(raw):
            response = self._invalid_request
        elif isinstance(error, InvalidToken):
            response = self._invalid_token
        elif isinstance(error, InsufficientScope):
            response = self._refused(403, "insufficient_scope", scope=" ".join(error.required))
        elif isinstance(error, KeysUnavailable):
            seconds = max(1, math.ceil(error.retry_after))
            response = _error(503, "temporarily_unavailable", ("Retry-After", str(seconds)))
        else:
            assert_never(error)
        return _written(response, request)

    def _refused(self, status: int, code: str, **more: str) -> Response:
        return self._challenge(status, code, {"error": code, "error_description": DESCRIPTIONS[code], **more})

    def _challenge(self, status: int, code: str, parameters: Mapping[str, str]) -> Response:
        pairs = {**self._realm, **parameters, **self._pointer}
        challenge = ", ".join(f'{name}="{_quotable(value)}"' for name, value in pairs.items())
        return _error(status, code, ("WWW-Authenticate", f"Bearer {challenge}"))


def _is_preflight(request: Request) -> bool:
    """Whether it is a CORS preflight (Fetch §3.2.2). One with credentials is none, and is judged by them."""
    if request.method != "OPTIONS":
        return False
    headers = request.headers
    return "origin" in headers and "access-control-request-method" in headers


def _error(status: int, code: str, *headers: tuple[str, str]) -> Response:
    return _json(status, {"error": code, "error_description": DESCRIPTIONS[code]}, *headers)


def _json(status: int, content: Mapping[str, Any], *headers: tuple[str, str]) -> Response:
    body = json.dumps(content).encode("ascii")
    framing = tuple(zip(FRAMING, ("application/json", str(len(body))), strict=True))
    return Response(status=status, headers=(*headers, *framing), body=body, content=content)


def _written(response: Response, request: Request) -> Response:
    """The response, without its body where the method is HEAD (RFC 9110 §9.3.2)."""
    return replace(response, body=b"") if request.method == "HEAD" else response


def _quotable(text: str) -> str:
    """What may stand between quotes in a challenge (RFC 9110 §5.6.4); an app's scopes can hold anything."""
    printable = "".join(character if " " <= character <= "~" else "?" for character in text)
    return printable.replace("\\", "\\\\").replace('"', '\\"')


def _realm(realm: str) -> str:
    text = text_of("realm", realm)
    if _PRINTABLE.fullmatch(text) is None:
        refuse("realm", realm, "must be printable ASCII")
    return text


def _configured(settings: Settings | None) -> tuple[TokenVerifier, Mapping[str, Any]]:
    """The verifier that the settings describe, and the options that they name."""
    if settings is None:
        from .settings import parse_environ  # here, because it brings the stores and the sources along

        settings = parse_environ(os.environ)
    options = settings.middleware_options()
    if options.get("remote_user"):
        refuse(settings.names["REMOTE_USER"], True, "must be given to the WSGI middleware itself")
    if settings.user_resolver is not None:
        refuse(settings.names["USER_RESOLVER"], settings.user_resolver, "is for Django's settings alone")
    return settings.verifier(), options


def _verifier(verifier: TokenVerifier) -> TokenVerifier:
    methods = (getattr(verifier, name, None) for name in ("verify", "averify"))
    if isinstance(verifier, type) or not all(map(callable, methods)):
        refuse("verifier", verifier, "must be a Verifier")
    return verifier
