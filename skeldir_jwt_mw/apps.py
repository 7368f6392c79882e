"""What Django finds where `INSTALLED_APPS` names the package in place of its app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class NotThisOne(AppConfig):
    """Says which name is meant: as an app the package itself would be there and do nothing."""

    name = "skeldir_jwt_mw"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        raise ImproperlyConfigured(
            "INSTALLED_APPS holds 'skeldir_jwt_mw'; write 'skeldir_jwt_mw.django', which is the app"
        )
