"""What Django needs to know of the app."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class SkeldirJWTConfig(AppConfig):
    """The app under its label, which is also the prefix of its checks (`skeldir_jwt_mw.E001`)."""

    name = "skeldir_jwt_mw.django"
    label = "skeldir_jwt_mw"
    verbose_name = "JWT verification"

    def ready(self) -> None:
        """Register the checks, what `migrate` says at its end, and the API's description if there is one."""
        from . import checks  # noqa: F401
        from .schema import tell_exposures

        post_migrate.connect(tell_exposures, sender=self, dispatch_uid="skeldir_jwt_mw")

        if apps.is_installed("drf_spectacular"):
            from . import spectacular  # noqa: F401
