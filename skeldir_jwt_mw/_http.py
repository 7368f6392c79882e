"""What all adapters share: from a request to what to do with it, and from an error to its response.

An adapter shows its request as a `Request` and asks `Guard.judge`; it verifies the token that comes back, or
asks `Guard.refusal` what to answer; it writes a `Response` in its framework's terms. The texts are fixed (RFC
6750 §3): no response says which check refused a token (R44), nor anything that a token held (R41).
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, assert_never

from .core.compact import exactly
from .credentials import (
    Headers,
    TokenGetter,
    bearer_token,
    exact,
    first_of,
    from_cookie,
    from_header,
    is_b64token,
    jwt_shaped,
    reads_authorization,
)
from .errors import InsufficientScope, InvalidToken, KeysUnavailable
from .exempt import ExemptPaths
from .log_lines import tell
from .options import EXEMPT, EXEMPT_PREFLIGHT, NOTHING, REALM, REQUIRED, chosen
from .preflight import is_preflight, tell_of_preflight
from .protected_resource import ProtectedResource, Resource
from .request import EnvironRequest, Request, ScopeRequest
from .rules import flag, refuse, text_of
from .token import VerifiedToken
from .user_key import UserKey, user_key_of

if TYPE_CHECKING:
    from .settings import Settings

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
    "Verified",
    "as_verified",
    "first_of",
    "from_cookie",
    "from_header",
    "jwt_shaped",
]

logger = logging.getLogger("skeldir_jwt_mw")

REFUSALS = (InvalidToken, InsufficientScope, KeysUnavailable)  # what an adapter catches from verify()
Refusal: TypeAlias = InvalidToken | InsufficientScope | KeysUnavailable

DESCRIPTIONS = {
    "unauthorized": "The request has no access token",
    "invalid_token": "The access token is not valid",
    "invalid_request": "The credentials are malformed, or there are several",
    "insufficient_scope": "The access token lacks a required scope",
    "temporarily_unavailable": "The access token cannot be verified at the moment",
}

VERIFIED = "skeldir_jwt_verified"  # in an ASGI scope: a `Verified`, so that no token is verified twice
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


class Verified(NamedTuple):
    """What a middleware has verified of its request; whoever stands further inside may go by it."""

    verifier: TokenVerifier
    raw: str | bytes  # as `credentials` returned it
    token: VerifiedToken


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


# Of all three; half the cost of calling the class.
as_verified: Callable[[tuple[TokenVerifier, str | bytes, VerifiedToken]], Verified] = partial(
    tuple.__new__, Verified
)


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
        required: bool = REQUIRED,
        exempt: Iterable[str] = EXEMPT,
        exempt_preflight: bool = EXEMPT_PREFLIGHT,
        realm: str = REALM,
        resource: Resource | None = NOTHING,
        token_getter: TokenGetter | None = NOTHING,
        user_key: UserKey | None = NOTHING,
        settings: Settings | None = None,
    ) -> None:
        configured: Mapping[str, Any] = {}
        if verifier is None:
            verifier, configured = _configured(settings)
        self.required = flag("required", chosen("required", required, configured))
        self._exempt = ExemptPaths(chosen("exempt", exempt, configured))
        self._exempt_preflight = flag(
            "exempt_preflight", chosen("exempt_preflight", exempt_preflight, configured)
        )
        token_getter = chosen("token_getter", token_getter, configured)
        if token_getter is not None and not callable(token_getter):
            refuse("token_getter", token_getter, "must be a function of the request's headers")
        self.token_getter = token_getter
        self.realm = _realm(chosen("realm", realm, configured))
        self._realm = {"realm": self.realm}
        resource = chosen("resource", resource, configured)
        self.shown = (self.required, self.realm, resource, token_getter)  # what a dependency is compared by
        self._resource = None if resource is None else ProtectedResource(resource)
        self._pointer = {} if self._resource is None else {"resource_metadata": self._resource.url}
        self._judges_paths = bool(self._exempt or self._resource)
        self._unauthorized = self._challenge(401, "unauthorized", {})
        self._invalid_token = self._refused(401, "invalid_token")
        self._invalid_request = self._refused(400, "invalid_request")
        self.verifier = _verifier(verifier)
        self._user_key = user_key_of(chosen("user_key", user_key, configured))
        self._told_of_getter = False  # that it returns what is no token; two threads may both tell it

    def judge(self, request: Request) -> Response | bytes | str | None:
        """What to do with a request: give this answer, verify this token, or (None) let it be anonymous."""
        verdict = self.judge_before_views(request)
        if isinstance(verdict, Response) and verdict.status == 401:
            if self.admits(request):
                return None
            self.tell_of_preflight(request)
        return verdict

    def judge_before_views(self, request: Request) -> Response | bytes | str | None:
        """The same, but that the 401 of a preflight is left to an adapter that knows its views.

        It asks `admits` where somebody else than a view may answer a preflight, and `tell_of_preflight` where
        it refuses one.
        """
        if self._judges_paths:
            if self._resource and request.path in self._resource.paths and request.method in ("GET", "HEAD"):
                in_header = reads_authorization(self.token_getter, alone=False)
                return _written(
                    _json(200, self._resource.document(self.verifier.status(), in_header=in_header)), request
                )
            if request in self._exempt:
                return None
        verdict = self.credentials(request)
        return self.unauthorized(request) if verdict is None and self.required else verdict

    def admits(self, request: Request) -> bool:
        """Whether a request that carries no token may go on for being a preflight."""
        return self._exempt_preflight and self._is_bare_preflight(request)

    def tell_of_preflight(self, request: Request) -> None:
        """Tell the operator, once per process, where the request that is refused is a preflight."""
        if self._is_bare_preflight(request):
            tell_of_preflight()

    def _is_bare_preflight(self, request: Request) -> bool:
        return is_preflight(request) and self.credentials(request) is None

    def credentials(self, request: Request) -> Response | bytes | str | None:
        """The token that a request carries, None if it carries none, or the answer to malformed credentials.

        For what stands on a route and so asks for a token whatever the path: a dependency, a decorator.
        """
        raw: str | bytes | None
        if self.token_getter is None:
            raw = bearer_token(request.authorization)
        else:
            raw = self._gotten(self.token_getter(request.headers))
        return raw if raw or raw is None else _written(self._invalid_request, request)

    def _gotten(self, found: object) -> str | bytes | None:
        if found is not None and exactly(found) is None and not self._told_of_getter:
            self._told_of_getter = True
            tell(
                logger.warning,
                "the token_getter returned something of the type %s, which is refused; it must return a "
                "string or None",
                type(found).__name__,
            )
        return exact(found)

    def user_key(self, token: VerifiedToken) -> str:
        """The name that stands for the token's user among all users of all issuers; empty for nobody."""
        return self._user_key(token, self.verifier)

    @property
    def is_unforgeable(self) -> bool:
        """Whether a token comes from where no browser puts it by itself, so that it proves intent."""
        return reads_authorization(self.token_getter, alone=True)

    def reused(self, verified: Verified | None, raw: str | bytes) -> VerifiedToken | None:
        """The token that was verified already, if it was this very one, and by this very verifier.

        Both are strings, or both are bytes, of no subclass: none of them says for itself what it equals.
        """
        if type(verified) is not Verified or verified.verifier is not self.verifier:
            return None
        known = verified.raw
        same = type(known) is type(raw) and (type(raw) is str or type(raw) is bytes) and known == raw
        return verified.token if same else None

    def unauthorized(self, request: Request) -> Response:
        """The answer to a request without credentials: a challenge without an error code (RFC 6750 §3.1)."""
        return _written(self._unauthorized, request)

    def shortfall(self, request: Request, token: object, scopes: Iterable[str]) -> Response | None:
        """The answer where the token is not there or lacks one of `scopes`; None where it suffices.

        What is no verified token is none, wherever an adapter found it and whoever left it there.
        """
        if not isinstance(token, VerifiedToken):
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
