"""The shipped `USER_RESOLVER`: an account of the project for each subject of each issuer."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest

from skeldir_jwt_mw import VerifiedToken
from skeldir_jwt_mw.log_lines import tell

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser  # which needs the app registry

logger = logging.getLogger("skeldir_jwt_mw")


def get_or_create_user(
    request: HttpRequest,  # noqa: ARG001  # as every resolver has it
    token: VerifiedToken,
) -> AbstractBaseUser | None:
    """The account of the token's subject, made when it comes for the first time, without a usable password.

    Its name is `"jwt:"` and 32 hex digits that stand for issuer and subject. None, and so a 401, for a token
    without a subject, for an account that was deactivated, and where an account of that name has a usable
    password: that one is not of our making, and is never adopted. Requests at the same time make one account.
    """
    if not token.subject:
        return None
    model: Any = get_user_model()
    digest = hashlib.sha256(f"{token.issuer}\0{token.subject}".encode()).hexdigest()
    user: AbstractBaseUser
    user, _ = model._base_manager.get_or_create(  # which no manager of the project's own hides rows from
        **{model.USERNAME_FIELD: f"jwt:{digest[:32]}"}, defaults={"password": make_password(None)}
    )
    if user.has_usable_password():
        tell(
            logger.warning,
            "an account with a usable password has the name of a token's subject; it is not adopted",
        )
        return None
    return user if user.is_active else None
