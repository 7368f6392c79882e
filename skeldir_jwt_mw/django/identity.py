"""From a raw token to the user of a request, in threads and in event loops."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import HttpRequest

from skeldir_jwt_mw import InvalidToken, VerifiedToken
from skeldir_jwt_mw._http import REFUSALS, Guard, Response, Verified
from skeldir_jwt_mw.log_lines import tell
from skeldir_jwt_mw.token import RequestScope

from . import conf
from .request import DjangoRequest
from .users import TokenUser

logger = logging.getLogger("skeldir_jwt_mw")

_told = False  # whether the operator knows that users are rejected; two threads may both tell it


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified token, and whom the project knows its subject as."""

    verified: Verified
    user: Any  # a TokenUser, or what the USER_RESOLVER returned; never None

    @property
    def token(self) -> VerifiedToken:
        """The token."""
        return self.verified.token


def identify(guard: Guard, request: HttpRequest, raw: bytes | str) -> Identity | Response:
    """Whose token it is, or the answer where it is refused; an error of the resolver is the project's."""
    try:
        token = guard.verifier.verify(raw)
    except REFUSALS as error:
        return guard.refusal(DjangoRequest(request), raw, error)
    verified = Verified(guard.verifier, raw, token)
    resolver = conf.user_resolver()
    if resolver is None:
        return Identity(verified, TokenUser(token, guard.user_key(token)))
    with RequestScope(token):
        user = resolver(request, token)
        if isawaitable(user):
            user = async_to_sync(_outcome)(user)
    return _known(guard, request, verified, user)


async def aidentify(guard: Guard, request: HttpRequest, raw: bytes | str) -> Identity | Response:
    """`identify` for event loops; a resolver that is no coroutine function runs in a thread."""
    try:
        token = await guard.verifier.averify(raw)
    except REFUSALS as error:
        return guard.refusal(DjangoRequest(request), raw, error)
    verified = Verified(guard.verifier, raw, token)
    resolver = conf.user_resolver()
    if resolver is None:
        return Identity(verified, TokenUser(token, guard.user_key(token)))
    with RequestScope(token):
        user = resolver(request, token) if _is_async(resolver) else await _in_thread(resolver)(request, token)
        if isawaitable(user):
            user = await user
    return _known(guard, request, verified, user)


def _known(guard: Guard, request: HttpRequest, verified: Verified, user: Any) -> Identity | Response:
    if user is not None:
        return Identity(verified, user)
    error = InvalidToken("rejected_user")
    _tell(error)
    return guard.refusal(DjangoRequest(request), None, error)


def _tell(error: InvalidToken) -> None:
    """Tell the operator, loudly once per process, as a verifier does."""
    global _told
    if _told:
        tell(logger.debug, "refused a token: %s", error)
        return
    _told = True
    tell(logger.warning, "refused a token: %s", error)


def _is_async(resolver: Callable[..., Any]) -> bool:
    return iscoroutinefunction(resolver) or iscoroutinefunction(type(resolver).__call__)


def _in_thread(resolver: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    return sync_to_async(resolver, thread_sensitive=True)


async def _outcome(pending: Awaitable[Any]) -> Any:
    return await pending
