"""Routes of the project."""

from __future__ import annotations

from django.urls import path
from orders import views

urlpatterns = [
    path("health", views.health),
    path("ready", views.ready),
    path("whoami", views.whoami),
    path("orders", views.orders),
    path("orders/export", views.export),
    path("orders/summary", views.summary),
]
