"""Routes under which the same paths lead to other views."""

from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [path("open", views.seen), path("seen", views.open_to_all)]
