"""The middleware: native in threads and in event loops, in whichever its project runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import resolve

from skeldir_jwt_mw._http import Guard, Response

from . import conf
from .decorators import is_exempt
from .identity import Identity, aidentify, identify
from .request import DjangoRequest, answer
from .visit import VISIT, Visit


class JWTMiddleware:
    """Lets a request through when it carries a verified token, and answers for the project when it does not.

    Sets `request.jwt` (a `VerifiedToken`, None for an anonymous request), `request.user` and `request.auser`
    (a `TokenUser`, or what the `USER_RESOLVER` returns; an anonymous request keeps the user of its session).
    It stands below Django's AuthenticationMiddleware. No preflight without a token gets to a view that is not
    exempt; with `EXEMPT_PREFLIGHT` it gets to inner middleware. Raises `ImproperlyConfigured`.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.process_view: Callable[..., Any] = self._judge_view
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
            self.process_view = self._ajudge_view
        conf.guard()  # misconfiguration shows at the start

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Serve one request."""
        if self._is_async:
            return self._aserve(request)
        guard = conf.guard()
        verdict = guard.judge_before_views(DjangoRequest(request))
        outcome = identify(guard, request, verdict) if isinstance(verdict, bytes | str) else verdict
        if isinstance(outcome, Response) and not _may_pass(guard, outcome, request):
            return answer(outcome)
        visit = _visit(guard, request, outcome)
        try:
            response: HttpResponseBase = self.get_response(request)
        except BaseException:
            visit.close()
            raise
        return visit.close_with(response)

    async def _aserve(self, request: HttpRequest) -> HttpResponseBase:
        guard = conf.guard()
        verdict = guard.judge_before_views(DjangoRequest(request))
        outcome = await aidentify(guard, request, verdict) if isinstance(verdict, bytes | str) else verdict
        if isinstance(outcome, Response) and not _may_pass(guard, outcome, request):
            return answer(outcome)
        visit = _visit(guard, request, outcome)
        try:
            response: HttpResponseBase = await self.get_response(request)
        except BaseException:
            visit.close()
            raise
        return visit.close_with(response)

    def _judge_view(
        self, request: HttpRequest, view: Callable[..., Any], _: Any, __: Any
    ) -> HttpResponse | None:
        """What Django calls once it knows the view, whatever inner middleware changed (`process_view`)."""
        visit: Visit = getattr(request, VISIT)
        if is_exempt(view):
            visit.become_anonymous(request)
        return None if visit.pending is None else answer(visit.pending)

    async def _ajudge_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        return self._judge_view(request, view, args, kwargs)


def _visit(guard: Guard, request: HttpRequest, outcome: Identity | Response | None) -> Visit:
    identity, pending = (None, outcome) if isinstance(outcome, Response) else (outcome, None)
    return Visit(request, identity, pending, unforgeable=guard.is_unforgeable)


def _may_pass(guard: Guard, response: Response, request: HttpRequest) -> bool:
    """Whether a request may go on to inner middleware though it is refused, as far as is known by now.

    It may where its path leads to a view that is exempt, or to any view, and it is a preflight that is let
    through, for such middleware to answer. `process_view` has the last word.
    """
    if response.status < 400:
        return False
    shown = DjangoRequest(request)
    try:
        match = resolve(request.path_info, getattr(request, "urlconf", None))
    except Http404:
        match = None
    if match is not None and (is_exempt(match.func) or (response.status == 401 and guard.admits(shown))):
        return True
    guard.tell_of_preflight(shown)
    return False
