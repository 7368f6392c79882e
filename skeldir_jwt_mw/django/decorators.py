"""What a view says of tokens: `@jwt_required`, `@jwt_exempt`, and a mixin for classes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from . import conf
from .request import DjangoRequest, answer

View = TypeVar("View", bound=Callable[..., Any])

EXEMPT = "skeldir_jwt_exempt"  # an attribute of views
LOGIN_REQUIRED = "login_required"  # the one that LoginRequiredMiddleware asks for


@overload
def jwt_required(view: View, /) -> View: ...
@overload
def jwt_required(*, scopes: Iterable[str] = ()) -> Callable[[View], View]: ...
def jwt_required(view: View | None = None, /, *, scopes: Iterable[str] = ()) -> View | Callable[[View], View]:
    """Lets a request to the view only with a token that has all of `scopes`; plain and `async` views.

    Else the answer is a 401, or a 403 that names the scopes (RFC 6750 §3.1). `LoginRequiredMiddleware` leaves
    the view alone: a session is no token. Classes take `JWTRequiredMixin`, methods `method_decorator`.
    """
    required = (scopes,) if isinstance(scopes, str) else tuple(scopes)

    def decorated(view: View) -> View:
        _refuse_class(view, "jwt_required")
        guarded: Any

        if iscoroutinefunction(view):

            async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                refusal = shortfall(request, required)
                return await view(request, *args, **kwargs) if refusal is None else refusal

        else:

            def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                refusal = shortfall(request, required)
                return view(request, *args, **kwargs) if refusal is None else refusal

        wrapped: Any = functools.wraps(view)(guarded)
        setattr(wrapped, LOGIN_REQUIRED, False)
        return wrapped  # type: ignore[no-any-return]  # wraps() keeps what callers of the view see

    return decorated if view is None else decorated(view)


def jwt_exempt(view: View) -> View:
    """Lets every request to the view, as an anonymous one, whatever credentials it carries.

    The view itself stays as it is, for routes that are not exempt. It goes outside of decorators that keep no
    attributes. Classes take `method_decorator(jwt_exempt, name="dispatch")`.
    """
    _refuse_class(view, "jwt_exempt")
    exempt: Any

    if iscoroutinefunction(view):

        async def exempt(*args: Any, **kwargs: Any) -> Any:
            return await view(*args, **kwargs)

    else:

        def exempt(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

    wrapped: Any = functools.wraps(view)(exempt)
    setattr(wrapped, EXEMPT, True)
    return wrapped  # type: ignore[no-any-return]  # likewise


def is_exempt(view: Callable[..., Any]) -> bool:
    """Whether the view that a route leads to is exempt."""
    return getattr(view, EXEMPT, False) is True


class JWTRequiredMixin:
    """For class-based views, in front of `View`: `jwt_required` with the scopes of `required_scopes`."""

    required_scopes: Iterable[str] = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Refuse the request, or pass it on."""
        refusal = shortfall(request, self.required_scopes)
        view: Any = super()
        if refusal is None:
            return view.dispatch(request, *args, **kwargs)
        return _outcome(refusal) if getattr(self, "view_is_async", False) else refusal

    setattr(dispatch, LOGIN_REQUIRED, False)


def shortfall(request: HttpRequest, scopes: Iterable[str]) -> HttpResponse | None:
    """The answer where the request has no token or one that lacks a scope; None where its token suffices."""
    if not hasattr(request, "jwt"):
        raise ImproperlyConfigured(
            "MIDDLEWARE needs skeldir_jwt_mw.django.JWTMiddleware: request.jwt is not set"
        )
    refusal = conf.guard().shortfall(DjangoRequest(request), request.jwt, scopes)
    return None if refusal is None else answer(refusal)


async def _outcome(response: HttpResponse) -> HttpResponse:
    return response


def _refuse_class(view: Callable[..., Any], decorator: str) -> None:
    if isinstance(view, type):
        raise ImproperlyConfigured(
            f"{view.__name__} is a class: give it @method_decorator({decorator}, name='dispatch')"
        )
