"""`VerifiedToken` is frozen and silent; `current_token()` never outlives its request."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import json
import pickle
import threading
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from skeldir_jwt_mw.core.claims import Accepted
from skeldir_jwt_mw.errors import InsufficientScope
from skeldir_jwt_mw.token import RequestScope, VerifiedToken, current_token, verified

CLAIMS = {
    "iss": "https://login.example.com/",
    "sub": "user-1",
    "aud": "orders-api",
    "exp": 1_700_000_600,
    "realm_access": {"roles": ["reader", {"deep": [1]}]},
    "groups": ["a"],
}
HEADER = {"alg": "RS256", "kid": "key-1", "x": ["y"]}
FIELDS = (
    "claims",
    "header",
    "issuer",
    "subject",
    "audience",
    "scopes",
    "tenant",
    "expires_at",
    "kid",
    "generation",
)


def token(subject: str = "user-1", generation: int = 3, **claims: Any) -> VerifiedToken:
    accepted = Accepted(
        issuer="https://login.example.com/",
        subject=subject,
        audience=("orders-api",),
        scopes=frozenset({"orders:read", "orders:write"}),
        tenant="acme",
        expires_at=1_700_000_600.0,
        not_before=0.0,
    )
    return verified(accepted, copy.deepcopy({**CLAIMS, **claims}), copy.deepcopy(HEADER), "key-1", generation)


def test_a_token_says_what_was_verified() -> None:
    made = token()
    assert made.claims == CLAIMS
    assert made.header == HEADER
    assert made.issuer == "https://login.example.com/"
    assert made.subject == "user-1"
    assert made.audience == ("orders-api",)
    assert made.scopes == frozenset({"orders:read", "orders:write"})
    assert made.tenant == "acme"
    assert made.expires_at == 1_700_000_600.0
    assert made.kid == "key-1"
    assert made.generation == 3
    assert type(made) is VerifiedToken


@pytest.mark.parametrize("name", [*FIELDS, "_accepted", "_claims", "anything"])
def test_a_token_cannot_be_changed(name: str) -> None:
    made = token()
    with pytest.raises(AttributeError, match="cannot be changed"):
        setattr(made, name, "forged")
    with pytest.raises(AttributeError, match="cannot be changed"):
        delattr(made, name)
    assert made == token()


def test_a_token_is_made_by_a_verifier_alone() -> None:
    with pytest.raises(TypeError, match="Verifier"):
        VerifiedToken()
    with pytest.raises(TypeError, match="Verifier"):
        VerifiedToken(claims=CLAIMS, subject="admin")


@pytest.mark.parametrize("name", ["claims", "header"])
def test_claims_and_header_are_read_only(name: str) -> None:
    view = getattr(token(), name)
    assert isinstance(view, Mapping)
    with pytest.raises(TypeError):
        view["sub"] = "admin"
    with pytest.raises(TypeError):
        del view["sub"]
    for change in ("update", "pop", "clear", "setdefault", "popitem"):
        assert not hasattr(view, change)


def test_what_is_nested_in_claims_is_nobody_elses() -> None:
    made = token()
    made.claims["realm_access"]["roles"].append("admin")
    made.claims["realm_access"]["roles"][1]["deep"].append(2)
    made.claims["groups"].append("root")
    made.header["x"].append("z")
    assert made.claims == CLAIMS
    assert made.header == HEADER


def test_claims_behave_as_a_mapping() -> None:
    view = token().claims
    assert dict(view) == CLAIMS
    assert json.loads(json.dumps(dict(view))) == CLAIMS
    assert list(view) == list(CLAIMS)
    assert len(view) == len(CLAIMS)
    assert "sub" in view
    assert "email" not in view
    assert view.get("email") is None
    assert view["sub"] == "user-1"
    assert view == CLAIMS
    with pytest.raises(KeyError):
        view["email"]


def test_r41_no_representation_shows_what_the_token_held() -> None:
    made = token()
    shown = f"{made!r} {made} {made.claims!r} {made.claims} {made.header!r} {[made]}"
    for held in ("user-1", "acme", "key-1", "login.example.com", "orders", "reader"):
        assert held not in shown


def test_scopes_are_asked_for_all_at_once() -> None:
    made = token()
    assert made.has_scopes(["orders:read", "orders:write"])
    assert made.has_scopes("orders:read")
    assert made.has_scopes(())
    assert not made.has_scopes(["orders:read", "orders:admin"])
    assert not made.has_scopes("orders:read orders:write")
    made.require(["orders:read"])
    made.require("orders:read")
    with pytest.raises(InsufficientScope) as caught:
        made.require(scope for scope in ("orders:read", "orders:admin"))
    assert caught.value.required == ("orders:read", "orders:admin")


def test_tokens_are_equal_when_they_say_the_same() -> None:
    assert token() == token(generation=4)
    assert hash(token()) == hash(token(generation=4))
    assert token() != token(subject="user-2")
    assert token() != token(email="a@example.com")
    assert token() != CLAIMS
    assert len({token(), token(), token(subject="user-2")}) == 2


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_token_survives_a_task_queue(protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(token(), protocol))
    assert twin == token()
    assert [getattr(twin, name) for name in FIELDS] == [getattr(token(), name) for name in FIELDS]
    with pytest.raises(AttributeError):
        twin.subject = "admin"


def test_a_token_can_be_copied() -> None:
    made = token()
    assert copy.copy(made) == copy.deepcopy(made) == made
    assert type(copy.copy(made)) is VerifiedToken


def test_a_token_can_be_referred_to_weakly() -> None:
    made = token()
    assert weakref.ref(made)() is made


# -- current_token() -----------------------------------------------------------------------------


def test_there_is_no_current_token_outside_of_a_request() -> None:
    assert current_token() is None


def test_the_current_token_is_there_until_the_request_ends() -> None:
    made = token()
    with RequestScope(made):
        assert current_token() is made
    assert current_token() is None


def test_an_exception_ends_the_request_too() -> None:
    with pytest.raises(ValueError, match="boom"), RequestScope(token()):
        raise ValueError("boom")
    assert current_token() is None


def test_an_inner_request_hides_the_outer_one_and_returns_to_it() -> None:
    outer, inner = token("outer"), token("inner")
    with RequestScope(outer):
        with RequestScope(inner):
            assert current_token() is inner
        assert current_token() is outer
        with RequestScope(None):
            assert current_token() is None
        assert current_token() is outer
    assert current_token() is None


def test_a_scope_may_be_closed_twice() -> None:
    with RequestScope(token("outer")) as outer:
        inner = RequestScope(token("inner"))
        inner.close()
        inner.close()
        assert current_token() is not None
        outer.close()
    assert current_token() is None


def test_a_task_that_outlives_its_request_sees_none_and_never_the_next_requests_token() -> None:
    seen: list[VerifiedToken | None] = []

    async def serve() -> None:
        go_on = asyncio.Event()

        async def outlive() -> None:
            seen.append(current_token())
            await go_on.wait()
            seen.append(current_token())

        with RequestScope(token("first")):
            task = asyncio.create_task(outlive())
            await asyncio.sleep(0)
        with RequestScope(token("second")):
            go_on.set()
            await task

    asyncio.run(serve())
    assert seen == [token("first"), None]


def test_concurrent_tasks_see_their_own_token() -> None:
    async def serve(subject: str) -> bool:
        with RequestScope(token(subject)):
            await asyncio.sleep(0)
            found = current_token()
            return found is not None and found.subject == subject

    async def serve_all() -> list[bool]:
        return await asyncio.gather(*(serve(str(number)) for number in range(50)))

    assert all(asyncio.run(serve_all()))


def test_a_scope_opened_in_one_thread_may_be_closed_in_another() -> None:
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        scope = first.submit(RequestScope, token()).result()
        assert first.submit(current_token).result() == token()
        second.submit(scope.close).result()
        assert first.submit(current_token).result() is None
        assert second.submit(current_token).result() is None


def test_a_scope_closed_elsewhere_leaves_the_other_requests_of_that_thread_alone() -> None:
    with ThreadPoolExecutor(1) as first:
        streamed = first.submit(RequestScope, token("streamed")).result()
        other = RequestScope(token("other"))
        streamed.close()
        assert current_token() == token("other")
        other.close()
        assert current_token() is None


def test_a_copied_context_loses_the_token_when_the_request_ends() -> None:
    with RequestScope(token()):
        context = contextvars.copy_context()
        assert context.run(current_token) == token()
    assert context.run(current_token) is None


def test_a_streamed_body_keeps_the_token_until_it_is_closed() -> None:
    def body(scope: RequestScope) -> Iterator[VerifiedToken | None]:
        try:
            yield current_token()
            yield current_token()
        finally:
            scope.close()

    chunks = body(RequestScope(token()))
    assert next(chunks) == token()
    chunks.close()  # type: ignore[attr-defined]
    assert current_token() is None


def test_requests_that_overlap_in_one_thread_never_leave_a_dead_token_behind() -> None:
    first = RequestScope(token("first"))
    second = RequestScope(token("second"))
    first.close()
    assert current_token() == token("second")
    second.close()
    assert current_token() is None


def test_scopes_that_are_always_closed_elsewhere_do_not_pile_up() -> None:
    kept: list[weakref.ref[VerifiedToken]] = []

    def serve() -> None:
        for _ in range(20):
            made = token()
            kept.append(weakref.ref(made))
            scope = RequestScope(made)
            contextvars.Context().run(scope.close)
        outer, depth = scope, 0
        while outer._outer is not None:
            outer, depth = outer._outer, depth + 1
        assert depth <= 1

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    gc.collect()
    assert [reference() for reference in kept if reference() is not None] == []
