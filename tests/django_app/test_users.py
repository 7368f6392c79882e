"""Whom a request is of: users without a row, resolvers of the project, and the accounts that we make."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from callers import ISSUER, Get, get_asgi, get_wsgi, new_verifier, seen_in, token
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.db import close_old_connections, connections
from django.template import engines
from django.test import RequestFactory

from skeldir_jwt_mw import InvalidToken, VerifiedToken, current_token
from skeldir_jwt_mw.django import TokenUser, get_or_create_user
from skeldir_jwt_mw.django.users import RowlessUser

PATHS = pytest.mark.parametrize("path", ["/seen", "/aseen"])


def verified(**claims: Any) -> VerifiedToken:
    return new_verifier().verify(token(**claims))


# -- users without a row -----------------------------------------------------------------------------------


def test_a_token_user_is_what_its_token_says() -> None:
    user = TokenUser(verified(scope="orders:read", sub="user-7"))
    assert (user.pk, user.id, user.username, user.get_username(), str(user)) == ("user-7",) * 5
    assert (user.is_authenticated, user.is_active, user.is_anonymous) == (True, True, False)
    assert user.scopes == {"orders:read"}
    assert user.has_scope("orders:read")
    assert not user.has_scope("orders")
    assert user.tenant is None
    assert repr(user) == "<TokenUser>"


def test_nobody_is_what_django_s_nobody_is() -> None:
    ours, theirs = RowlessUser(), AnonymousUser()
    for name in ("username", "is_active", "is_staff", "is_superuser", "is_authenticated", "is_anonymous"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.pk is theirs.pk is None


def test_a_user_without_a_row_has_all_that_django_s_nobody_has_but_for_changes() -> None:
    missing = {name for name in dir(AnonymousUser) if not hasattr(RowlessUser, name)}
    private = {name for name in missing if name.startswith("_")}
    assert missing - private == {"save", "delete", "set_password", "check_password"}


@pytest.mark.parametrize("user", [RowlessUser(), TokenUser(verified(sub="1"))], ids=["nobody", "token"])
def test_no_right_comes_with_a_user_that_has_no_row(user: RowlessUser) -> None:
    assert not user.is_staff
    assert not user.is_superuser
    assert not user.has_usable_password()
    assert not user.has_perm("auth.view_user")
    assert not user.has_perms(["auth.view_user"])
    assert user.has_perms([])
    assert not user.has_module_perms("auth")
    for permissions in (user.get_all_permissions, user.get_user_permissions, user.get_group_permissions):
        assert permissions() == set()
    assert list(user.groups.all()) == []
    assert list(user.user_permissions.all()) == []

    async def ask() -> list[object]:
        return [
            await user.ahas_perm("auth.view_user"),
            await user.ahas_perms(["auth.view_user"]),
            await user.ahas_module_perms("auth"),
            *(await user.aget_all_permissions()),
            *(await user.aget_user_permissions()),
            *(await user.aget_group_permissions()),
        ]

    assert asyncio.run(ask()) == [False, False, False]


def test_nothing_of_a_token_user_can_be_changed() -> None:
    user: Any = TokenUser(verified())
    for name in ("is_staff", "is_superuser", "username", "pk", "id", "is_authenticated"):
        with pytest.raises(AttributeError):
            setattr(user, name, True)


def test_users_are_equal_where_issuer_and_subject_are() -> None:
    user = TokenUser(verified(sub="user-7", iat=1))
    assert user == TokenUser(verified(sub="user-7", iat=2))
    assert hash(user) == hash(TokenUser(verified(sub="user-7", iat=2)))
    assert user != TokenUser(verified(sub="user-8"))
    assert user != "user-7"
    assert TokenUser(verified(sub=None, client="a")) != TokenUser(verified(sub=None, client="b"))
    assert pickle.loads(pickle.dumps(user)) == user


def test_templates_and_the_permissions_in_them_take_a_token_user() -> None:
    request = RequestFactory().get("/")
    request.user = TokenUser(verified(sub="user-7"))  # type: ignore[assignment]
    text = (
        "{{ user }} {{ user.is_authenticated }} {{ perms.auth.view_user }} {{ perms.auth }}"
        " {{ user.get_full_name }} {{ user.get_short_name }} {{ user.groups.all|length }}"
    )
    rendered = engines["django"].from_string(text).render({}, request)
    assert rendered.startswith("user-7 True False ")
    assert rendered.endswith(" user-7 user-7 0")


@pytest.mark.django_db
def test_a_token_user_is_never_taken_for_a_row() -> None:
    get_user_model().objects.create_user("eva", password=None, id=1)
    user: Any = TokenUser(verified(sub="1"))
    with pytest.raises(TypeError):
        Group.objects.filter(user=user).exists()


# -- resolvers ---------------------------------------------------------------------------------------------

SEEN: list[str | None] = []


class Member:
    """A project's own user."""

    is_authenticated = True

    def __init__(self, name: str) -> None:
        self._name = name

    def get_username(self) -> str:
        return self._name


def member(request: Any, token: VerifiedToken) -> Member:
    current = current_token()
    SEEN.append(None if current is None else current.subject)
    return Member(f"member {token.subject} of {request.path}")


async def amember(request: Any, token: VerifiedToken) -> Member:
    await asyncio.sleep(0)
    return member(request, token)


class Members:
    """A resolver that is an object."""

    async def __call__(self, request: Any, token: VerifiedToken) -> Member:
        return await amember(request, token)


RESOLVERS = {
    "a function": member,
    "a path": "test_users.member",
    "a path to a coroutine function": "test_users.amember",
    "a coroutine function": amember,
    "a function that returns a coroutine": lambda request, token: amember(request, token),
    "an object": Members(),
    "a partial": functools.partial(amember),
}


@pytest.mark.parametrize("resolver", RESOLVERS.values(), ids=RESOLVERS)
@PATHS
def test_a_resolver_tells_whose_request_it_is(
    get: Get, site: Callable[..., None], resolver: Any, path: str
) -> None:
    SEEN.clear()
    site(USER_RESOLVER=resolver)
    expected = {"user": f"member user-1 of {path}", "kind": "Member", "authenticated": True}
    assert seen_in(get(path, token())) == {"jwt": "user-1", "current": "user-1", **expected}
    assert SEEN == ["user-1"]
    assert current_token() is None


def nobody_known(request: object, token: VerifiedToken) -> None:
    return None


async def anobody_known(request: object, token: VerifiedToken) -> None:
    return None


@pytest.mark.parametrize("resolver", [nobody_known, anobody_known])
@PATHS
def test_whom_a_resolver_does_not_know_is_refused_as_with_any_bad_token(
    get: Get, site: Callable[..., None], resolver: Any, path: str
) -> None:
    site(USER_RESOLVER=resolver)
    for required in (True, False):
        site(USER_RESOLVER=resolver, REQUIRED=required)
        response = get(path, token())
        other = get(path, "abc")
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == other["WWW-Authenticate"]
        assert response.content == other.content
        assert current_token() is None


def test_the_operator_is_told_of_a_rejected_user_loudly_once(
    site: Callable[..., None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skeldir_jwt_mw.django.identity._told", False)
    site(USER_RESOLVER=nobody_known)
    with caplog.at_level(logging.DEBUG, "skeldir_jwt_mw"):
        get_wsgi("/seen", token())
        get_wsgi("/seen", token())
    lines = [record for record in caplog.records if record.name == "skeldir_jwt_mw"]
    assert [line.levelname for line in lines] == ["WARNING", "DEBUG"]
    assert all(str(InvalidToken("rejected_user")) in line.getMessage() for line in lines)
    assert "user-1" not in caplog.text


def breaks(request: object, token: VerifiedToken) -> None:
    raise LookupError("a resolver that breaks")


async def abreaks(request: object, token: VerifiedToken) -> None:
    raise InvalidToken("expired")


@pytest.mark.parametrize("resolver", [breaks, abreaks])
@PATHS
def test_a_resolver_that_raises_is_an_error_of_the_project(
    get: Get, site: Callable[..., None], resolver: Any, path: str
) -> None:
    for required in (True, False):
        site(USER_RESOLVER=resolver, REQUIRED=required)
        assert get(path, token()).status_code == 500
        assert current_token() is None


# -- accounts that we make ---------------------------------------------------------------------------------

OURS = "skeldir_jwt_mw.django.get_or_create_user"


def name_of(issuer: str, subject: str) -> str:
    return "jwt:" + hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()[:32]


@pytest.mark.django_db
@PATHS
def test_an_account_is_made_once_for_each_subject(get: Get, site: Callable[..., None], path: str) -> None:
    site(USER_RESOLVER=OURS)
    for _ in range(2):
        seen = seen_in(get(path, token()))
        assert (seen["user"], seen["kind"]) == (name_of(ISSUER, "user-1"), "User")
    seen_in(get(path, token(sub="user-2")))
    accounts = get_user_model().objects.all()
    assert {account.get_username() for account in accounts} == {
        name_of(ISSUER, "user-1"),
        name_of(ISSUER, "user-2"),
    }
    assert not any(account.has_usable_password() or account.is_staff for account in accounts)


@pytest.mark.django_db
def test_an_account_of_the_same_name_that_is_not_of_our_making_is_never_adopted(
    site: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    squatter = get_user_model().objects.create_user(name_of(ISSUER, "user-1"), password="a squatter's")
    site(USER_RESOLVER=OURS)
    assert get_wsgi("/seen", token()).status_code == 401
    squatter.refresh_from_db()
    assert squatter.has_usable_password()
    assert "is not adopted" in caplog.text
    assert "user-1" not in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["user-1", "jwt:user-1", f"{ISSUER}\0user-1".replace("\0", " ")])
def test_an_account_that_has_the_subject_s_name_is_another_s(site: Callable[..., None], name: str) -> None:
    get_user_model().objects.create_user(name)
    site(USER_RESOLVER=OURS)
    assert seen_in(get_wsgi("/seen", token()))["user"] == name_of(ISSUER, "user-1")


@pytest.mark.django_db
def test_a_deactivated_account_stays_out(site: Callable[..., None]) -> None:
    site(USER_RESOLVER=OURS)
    seen_in(get_wsgi("/seen", token()))
    get_user_model().objects.update(is_active=False)
    assert get_wsgi("/seen", token()).status_code == 401
    assert get_asgi("/seen", token()).status_code == 401


@pytest.mark.django_db
def test_a_token_without_a_subject_has_no_account(site: Callable[..., None]) -> None:
    site(USER_RESOLVER=OURS)
    for raw in (token(sub=None), token(sub="")):
        assert get_wsgi("/seen", raw).status_code == 401
    assert not get_user_model().objects.exists()


@pytest.mark.django_db(transaction=True)
def test_requests_at_the_same_time_make_one_account() -> None:
    request, one = RequestFactory().get("/"), verified(sub="user-9")
    starting = threading.Barrier(8)
    made: list[Any] = []

    def come() -> None:
        try:
            connections["default"].ensure_connection()
            starting.wait(30)
            made.append(get_or_create_user(request, one))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 8
    assert len({user.pk for user in made}) == 1
    assert get_user_model().objects.count() == 1
    close_old_connections()
