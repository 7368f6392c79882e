"""The Django app: `INSTALLED_APPS += ["skeldir_jwt_mw.django"]`, and the middleware beside it."""

from skeldir_jwt_mw._http import first_of, from_cookie, from_header, jwt_shaped
from skeldir_jwt_mw.token import current_token

from .accounts import get_or_create_user
from .decorators import JWTRequiredMixin, jwt_exempt, jwt_required
from .middleware import JWTMiddleware
from .users import TokenUser

__all__ = [
    "JWTMiddleware",
    "JWTRequiredMixin",
    "TokenUser",
    "current_token",
    "first_of",
    "from_cookie",
    "from_header",
    "get_or_create_user",
    "jwt_exempt",
    "jwt_required",
    "jwt_shaped",
]
