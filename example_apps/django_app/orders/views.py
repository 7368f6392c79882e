"""Views, plain and `async`. The middleware has asked for a token, but for those that are `@jwt_exempt`."""

# ruff: noqa: ARG001  # Django passes the request whether it is needed or not

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator

from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET, require_http_methods

from skeldir_jwt_mw.django import conf, current_token, jwt_exempt, jwt_required

from .models import Order
from .tenancy import ain_tenant, in_tenant

PAGE = 100  # rows that are fetched at a time for an export


@require_GET
@jwt_exempt
def health(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "up"})


@require_GET
@jwt_exempt
def ready(request: HttpRequest) -> HttpResponse:
    verifier = conf.verifier()
    return JsonResponse({"ready": verifier.ready}, status=200 if verifier.ready else 503)


@require_GET
def whoami(request: HttpRequest) -> HttpResponse:
    token = request.jwt
    return JsonResponse(
        {
            "user": request.user.get_username(),
            "tenant": token.tenant,
            "scopes": sorted(token.scopes),
            "worker": os.getpid(),
        }
    )


@require_http_methods(["GET", "POST"])
def orders(request: HttpRequest) -> HttpResponse:
    return new_order(request) if request.method == "POST" else all_orders(request)


@jwt_required(scopes=["orders:read"])
@in_tenant
def all_orders(request: HttpRequest) -> HttpResponse:
    return JsonResponse(list(Order.objects.values("id", "item", "tenant")), safe=False)


@jwt_required(scopes=["orders:write"])
@in_tenant
def new_order(request: HttpRequest) -> HttpResponse:
    item = str(json.loads(request.body)["item"])
    order = Order.objects.create(owner=request.user.get_username(), item=item)
    return JsonResponse({"id": order.pk, "item": order.item}, status=201)


@require_GET
@jwt_required(scopes=["orders:read"])
async def summary(request: HttpRequest) -> HttpResponse:
    counts = await ain_tenant(lambda: list(Order.objects.values("owner").annotate(orders=Count("id"))))()
    return JsonResponse({"tenant": request.jwt.tenant, "orders": counts})


@require_GET
@jwt_required(scopes=["orders:read"])
def export(request: HttpRequest) -> StreamingHttpResponse:
    """A body that is made while it is sent; the token, and so the tenant, is there until its end."""
    lines = alines() if hasattr(request, "scope") else lines_of_pages()
    return StreamingHttpResponse(lines, content_type="text/csv")


def lines_of_pages() -> Iterator[str]:
    last = 0
    while page := page_after(last):
        yield as_text(page)
        last = page[-1].pk


async def alines() -> AsyncIterator[str]:
    last = 0
    while page := await ain_tenant(page_after)(last):
        yield as_text(page)
        last = page[-1].pk


@in_tenant
def page_after(last: int) -> list[Order]:
    return list(Order.objects.filter(pk__gt=last)[:PAGE])


def as_text(page: list[Order]) -> str:
    tenant = current_token().tenant
    return "".join(f"{order.pk},{order.item},{tenant}\n" for order in page)
