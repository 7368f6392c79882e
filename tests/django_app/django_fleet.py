"""What makes a worker process of a fleet a process of a Django project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from databases import database_settings

from skeldir_jwt_mw.testing.fleet import WorkerSetup
from skeldir_jwt_mw.verifier import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSetup(WorkerSetup):
    """A worker whose verifier is the one of a project's settings, over the project's database."""

    def verifier(self, store: Any) -> Verifier:  # Django's settings say which store
        """The verifier that the middleware of the project would use."""
        import django
        from django.conf import settings

        if not settings.configured:
            settings.configure(
                SECRET_KEY="of the whole fleet",
                DATABASES={"default": database_settings(self.dsn)},
                INSTALLED_APPS=["skeldir_jwt_mw.django"],
                USE_TZ=True,
                SKELDIR_JWT={
                    "ISSUER": self.issuer,
                    "AUDIENCE": self.audience,
                    "JWKS_URL": self.jwks_url,
                    "ALGORITHMS": ["ES256"],
                    "ALLOW_HTTP": True,
                    "ALLOW_PRIVATE_HOSTS": True,
                    **{name.upper(): value for name, value in self.policy.items()},
                },
            )
            django.setup()
        from skeldir_jwt_mw.django import conf

        verifier: Verifier = conf.verifier()
        return verifier
