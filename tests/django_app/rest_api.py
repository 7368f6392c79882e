"""An API under REST framework, for the tests of its classes: its views, and its routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from django.urls import include, path
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from skeldir_jwt_mw import VerifiedToken, current_token
from skeldir_jwt_mw.django.rest_framework import HasScope, JWTAuthentication


def whose(request: Request) -> dict[str, Any]:
    """Whom the request is from, wherever that is told."""
    token = current_token()
    auth = request.auth if isinstance(request.auth, VerifiedToken) else None
    return {
        "user": request.user.get_username(),
        "authenticated": request.user.is_authenticated,
        "auth": None if auth is None else auth.subject,
        "current": None if token is None else token.subject,
    }


class Open(APIView):
    """For everybody."""

    authentication_classes = (JWTAuthentication,)
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        """Whose request it is."""
        return Response(whose(request))

    post = get


class Closed(Open):
    """For whoever has a token."""

    permission_classes = (IsAuthenticated,)


class NoCredentials(BaseAuthentication):
    """A class that finds none, and has no challenge."""

    def authenticate(self, request: Request) -> None:
        """None."""


class Second(Closed):
    """Where another class comes first, without a challenge of its own."""

    authentication_classes = (NoCredentials, JWTAuthentication)


class Scoped(Open):
    """For readers."""

    permission_classes = (HasScope,)
    required_scopes = ("orders:read",)


class Lone(Scoped):
    """A scope that is told without a list."""

    required_scopes = "orders:read"


class Both(Scoped):
    """For who may read and write."""

    required_scopes = ("orders:read", "orders:write")


class Admins(Scoped):
    """For who has a scope that nobody has."""

    required_scopes = ("admin", "orders:read")


class ByMethod(Scoped):
    """Scopes by method."""

    required_scopes: ClassVar = {"GET": ["orders:read"], "post": ["admin"]}


class Untold(Open):
    """Nobody says what it needs."""

    permission_classes = (HasScope,)


class OfSessions(Scoped):
    """For sessions, which have no scopes."""

    authentication_classes = (SessionAuthentication,)


class Nobody(BasePermission):
    """Admits nobody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """False."""
        return False


class AdminsOrAnybody(Admins):
    """A permission of which the scope is one half."""

    permission_classes = (HasScope | IsAuthenticated,)


class AdminsOrNobody(Admins):
    """The same, denied."""

    permission_classes = (HasScope | Nobody,)


class AllButAdmins(Admins):
    """For who lacks a scope."""

    permission_classes = (~HasScope,)


class Orders(ViewSet):
    """Scopes by action."""

    authentication_classes = (JWTAuthentication,)
    permission_classes = (HasScope,)
    required_scopes: ClassVar = {"list": ["orders:read"], "create": ["admin"], "DELETE": []}

    def list(self, request: Request) -> Response:
        """All."""
        return Response(whose(request))

    def create(self, request: Request) -> Response:
        """A new one."""
        return Response(whose(request))

    def retrieve(self, request: Request, pk: str) -> Response:
        """One."""
        return Response(whose(request))

    destroy = retrieve


class Readers(HasScope):
    """A permission with scopes of its own."""

    required_scopes = ("orders:read",)


class Administrators(HasScope):
    """Another."""

    required_scopes = ("admin",)


@api_view(["GET"])
@authentication_classes([JWTAuthentication])
@permission_classes([Readers])
def reading(request: Request) -> Response:
    """A view in the form of a function."""
    return Response(whose(request))


@api_view(["GET"])
@authentication_classes([JWTAuthentication])
@permission_classes([Administrators])
def administering(request: Request) -> Response:
    """Another."""
    return Response(whose(request))


def _parts() -> Iterator[str]:
    for _ in range(2):
        token = current_token()
        yield f"{None if token is None else token.subject} "


class Stream(Closed):
    """A streamed body."""

    def get(self, request: Request) -> Any:
        """Whose it is, twice."""
        return StreamingHttpResponse(_parts())


class Failing(Closed):
    """A view with an error."""

    def get(self, request: Request) -> Response:
        """Raise it."""
        raise LookupError("midway")


router = SimpleRouter()
router.register("orders", Orders, basename="orders")
VIEWS = (
    Open, Closed, Second, Scoped, Lone, Both, Admins, ByMethod, Untold, OfSessions, AdminsOrAnybody,
    AdminsOrNobody, AllButAdmins, Stream, Failing,
)  # fmt: skip
urlpatterns: list[Any] = [
    *(path(view.__name__, view.as_view()) for view in VIEWS),
    path("reading", reading),
    path("administering", administering),
    path("", include(router.urls)),
]
