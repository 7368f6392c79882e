"""What Django needs to know of the app."""

from __future__ import annotations

from django.apps import AppConfig, apps


class SkeldirJWTConfig(AppConfig):
    """The app under its label, which is also the prefix of its checks (`skeldir_jwt_mw.E001`)."""

    name = "skeldir_jwt_mw.django"
    label = "skeldir_jwt_mw"
    verbose_name = "JWT verification"

    def ready(self) -> None:
        """Register the checks, and with drf-spectacular, where the project has it, the API's description."""
        from . import checks  # noqa: F401

        if apps.is_installed("drf_spectacular"):
            from . import spectacular  # noqa: F401
