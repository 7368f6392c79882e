"""How drf-spectacular describes `JWTAuthentication`; loaded where that is installed."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from skeldir_jwt_mw.openapi import security_scheme

from . import conf
from .rest_framework import HasScope


class JWTScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its __init_subclass__
    """Tells the scheme by the settings, and the scopes that a view requires by `HasScope`."""

    target_class = "skeldir_jwt_mw.django.rest_framework.JWTAuthentication"
    match_subclasses = True
    name = "jwtAuth"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        """The security scheme (OpenAPI 3.1 §4.8.27)."""
        guard = conf.guard()
        return security_scheme(guard.verifier, guard.token_getter)

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[str]]:
        """The scopes of the operation, for the one scheme here that OpenAPI 3.0 allows to have some."""
        if self.get_security_definition(auto_schema)["type"] != "openIdConnect":
            return {self.name: []}
        view = auto_schema.view
        scopes: dict[str, None] = {}
        for permission in view.get_permissions():
            if isinstance(permission, HasScope):
                scopes |= dict.fromkeys(permission.scopes_for(view, auto_schema.method) or ())
        return {self.name: list(scopes)}
