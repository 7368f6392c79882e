"""Users that have no row in the database: whom a token speaks of, and nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skeldir_jwt_mw import VerifiedToken


class RowlessUser:
    """Nobody, and what Django, its templates and its decorators read of a user without a row and rights."""

    __slots__ = ()

    id: str | None = None
    username = ""
    is_active = is_staff = is_superuser = is_authenticated = False
    is_anonymous = True

    @property
    def pk(self) -> str | None:
        """The same as `id`."""
        return self.id

    @property
    def groups(self) -> Any:
        """No groups, as a manager."""
        from django.contrib.auth.models import AnonymousUser

        return AnonymousUser().groups

    @property
    def user_permissions(self) -> Any:
        """No permissions, as a manager."""
        from django.contrib.auth.models import AnonymousUser

        return AnonymousUser().user_permissions

    def get_username(self) -> str:
        """The name that stands for the user."""
        return self.username

    get_full_name = get_short_name = __str__ = get_username

    def has_usable_password(self) -> bool:
        """False."""
        return False

    def has_perm(self, perm: str, obj: object = None) -> bool:  # noqa: ARG002
        """False: permissions belong to rows, and a subject that looks like a row's key is none."""
        return False

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:  # noqa: ARG002
        """Whether nothing is asked for."""
        return not list(perm_list)

    def has_module_perms(self, app_label: str) -> bool:  # noqa: ARG002
        """False."""
        return False

    def get_all_permissions(self, obj: object = None) -> set[str]:  # noqa: ARG002
        """The empty set."""
        return set()

    get_user_permissions = get_group_permissions = get_all_permissions

    async def ahas_perm(self, perm: str, obj: object = None) -> bool:
        """`has_perm`."""
        return self.has_perm(perm, obj)

    async def ahas_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """`has_perms`."""
        return self.has_perms(perm_list, obj)

    async def ahas_module_perms(self, app_label: str) -> bool:
        """`has_module_perms`."""
        return self.has_module_perms(app_label)

    async def aget_all_permissions(self, obj: object = None) -> set[str]:
        """`get_all_permissions`."""
        return self.get_all_permissions(obj)

    aget_user_permissions = aget_group_permissions = aget_all_permissions


class TokenUser(RowlessUser):
    """The user that a token speaks of, without a row: `pk` and `username` are the token's subject.

    `key` is what they are instead: with several issuers the issuer is in it too, for each may have a user of
    that subject. No permission and no staff status comes with it: ask for scopes. Two are equal where issuer
    and subject are; a user without a subject equals only the user of an equal token.
    """

    __slots__ = ("_key", "token")

    is_active = is_authenticated = True
    is_anonymous = False

    def __init__(self, token: VerifiedToken, key: str | None = None) -> None:
        self.token = token
        self._key = key

    @property
    def username(self) -> str:  # type: ignore[override]  # read-only
        """The user's key; empty where the token has no subject."""
        return self.token.subject if self._key is None else self._key

    id = username

    def get_full_name(self) -> str:
        """The token's subject, which is for people to read: users of two issuers may share it."""
        return self.token.subject

    get_short_name = get_full_name

    @property
    def scopes(self) -> frozenset[str]:
        """The token's scopes."""
        return self.token.scopes

    @property
    def tenant(self) -> str | None:
        """The token's tenant."""
        return self.token.tenant

    def has_scope(self, scope: str) -> bool:
        """Whether the token has the scope."""
        return scope in self.token.scopes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenUser):
            return NotImplemented
        ours, theirs = self.token, other.token
        if not ours.subject:
            return ours == theirs
        return (ours.issuer, ours.subject) == (theirs.issuer, theirs.subject)

    def __hash__(self) -> int:
        return hash((self.token.issuer, self.token.subject))

    def __repr__(self) -> str:
        return "<TokenUser>"
