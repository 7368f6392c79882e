"""Routes of the project."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("seen", views.seen),
    path("aseen", views.aseen),
    path("protected", views.protected_from_forgery),
    path("open", views.open_to_all),
    path("aopen", views.aopen_to_all),
    path("open-class", views.OpenToAll.as_view()),
    path("with-token", views.with_token),
    path("awith-token", views.awith_token),
    path("with-scopes", views.with_scopes),
    path("awith-scopes", views.awith_scopes),
    path("with-one-scope", views.with_one_scope),
    path("in-two-minds", views.in_two_minds),
    path("orders/<int:number>", views.Orders.as_view()),
    path("aorders", views.AsyncOrders.as_view()),
    path("stream", views.stream),
    path("astream", views.astream),
    path("broken", views.broken),
]
