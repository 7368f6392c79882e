"""Views of each kind, which tell what they saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_protect

from skeldir_jwt_mw import current_token
from skeldir_jwt_mw.django import JWTRequiredMixin, jwt_exempt, jwt_required


def seen_by(request: Any, user: Any) -> dict[str, Any]:
    """What a view sees of its request's caller."""
    current = current_token()
    return {
        "jwt": None if request.jwt is None else request.jwt.subject,
        "current": None if current is None else current.subject,
        "user": user.get_username(),
        "kind": user.__class__.__name__,
        "authenticated": user.is_authenticated,
    }


def seen(request: Any) -> HttpResponse:
    return JsonResponse(seen_by(request, request.user))


async def aseen(request: Any) -> HttpResponse:
    await asyncio.sleep(0)
    return JsonResponse(seen_by(request, await request.auser()))


@csrf_protect
def protected_from_forgery(request: HttpRequest) -> HttpResponse:
    return seen(request)


def in_transaction(request: Any) -> HttpResponse:
    return JsonResponse(
        {**seen_by(request, request.user), "atomic": transaction.get_connection().in_atomic_block}
    )


open_to_all = jwt_exempt(seen)
aopen_to_all = jwt_exempt(aseen)

with_token = jwt_required(seen)
awith_token = jwt_required(aseen)
with_scopes = jwt_required(scopes=["orders:read", "orders:write"])(seen)
awith_scopes = jwt_required(scopes=["orders:read", "orders:write"])(aseen)
with_one_scope = jwt_required(scopes="orders:read")(in_transaction)
in_two_minds = jwt_exempt(jwt_required(seen))


class Orders(JWTRequiredMixin, View):
    required_scopes = ("orders:read",)

    def get(self, request: Any, number: int) -> HttpResponse:
        return JsonResponse({**seen_by(request, request.user), "number": number})


class AsyncOrders(JWTRequiredMixin, View):
    required_scopes = "orders:read"

    async def get(self, request: HttpRequest) -> HttpResponse:
        return await aseen(request)


@method_decorator(jwt_exempt, name="dispatch")
class OpenToAll(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return seen(request)


def _current() -> bytes:
    current = current_token()
    return b"-" if current is None else current.subject.encode()


def stream(request: HttpRequest) -> HttpResponse:
    def body() -> Iterator[bytes]:
        for _ in range(3):
            yield _current()

    return StreamingHttpResponse(body())  # type: ignore[return-value]


async def astream(request: HttpRequest) -> HttpResponse:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield _current()

    return StreamingHttpResponse(body())  # type: ignore[return-value]


def broken(request: HttpRequest) -> HttpResponse:
    raise LookupError("a view that breaks")
