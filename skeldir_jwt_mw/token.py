"""A verified token, and the request that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NoReturn

from .core.claims import Accepted
from .errors import InsufficientScope


def _copied(value: Any) -> Any:
    """A deep copy of a JSON value: whoever changes a nested list changes no one else's token."""
    if type(value) is dict:
        return {name: _copied(member) for name, member in value.items()}
    if type(value) is list:
        return [_copied(member) for member in value]
    return value


class JSONView(Mapping[str, Any]):
    """A read-only JSON object: whatever is nested in it is handed out as a copy, so nobody shares it.

    A remembered token serves several requests at a time; what one of them does to a list is its own affair.
    The representation shows no member, so that claims stay out of logs; `dict(view)` does.
    """

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = members  # never changed

    def __getitem__(self, name: str) -> Any:
        value = self._members[name]
        return _copied(value) if type(value) is dict or type(value) is list else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __repr__(self) -> str:
        return "<JSONView>"


class _Unfrozen:
    """A `VerifiedToken` while it is being filled: plain slots, which is the fastest there is."""

    __slots__ = ("__weakref__", "_accepted", "_claims", "_generation", "_header", "_kid")

    def __init__(
        self,
        accepted: Accepted,
        claims: Mapping[str, Any],
        header: Mapping[str, Any],
        kid: str | None,
        generation: int,
    ) -> None:
        self._accepted = accepted
        self._claims = claims  # handed out through a view only
        self._header = header  # shared by all tokens that start with the same header segment
        self._kid = kid
        self._generation = generation


class VerifiedToken(_Unfrozen):
    """An access token whose signature and claims were verified. Immutable; made by `Verifier.verify` alone.

    Two tokens are equal when everything that they say is, whichever generation of keys verified them.
    Tokens can be pickled, for task queues: that carries the claims and not the proof, so a queue has to be
    trusted as the process is. The representation shows nothing that the token held, so a token may be logged.
    """

    __slots__ = ()

    def __init__(self, *_: object, **__: object) -> None:
        raise TypeError("a VerifiedToken is made by Verifier.verify()")

    @property
    def claims(self) -> Mapping[str, Any]:
        """All claims, read-only; nested objects and lists come as copies (RFC 7519 §4)."""
        return JSONView(self._claims)

    @property
    def header(self) -> Mapping[str, Any]:
        """All header members, read-only (RFC 7515 §4)."""
        return JSONView(self._header)

    @property
    def issuer(self) -> str:
        """The token's `iss`; with a template, the filled one."""
        return self._accepted.issuer

    @property
    def subject(self) -> str:
        """The token's `sub`, empty where it has none."""
        return self._accepted.subject

    @property
    def audience(self) -> tuple[str, ...]:
        """The token's `aud`, as a tuple; empty where it has none."""
        return self._accepted.audience

    @property
    def scopes(self) -> frozenset[str]:
        """The union of the scopes in all of the issuer's `scope_claims` (RFC 6749 §3.3)."""
        return self._accepted.scopes

    @property
    def tenant(self) -> str | None:
        """The value of the issuer's `tenant_claim`, None where none is configured."""
        return self._accepted.tenant

    @property
    def expires_at(self) -> float:
        """The token's `exp`, Unix seconds, without leeway."""
        return self._accepted.expires_at

    @property
    def kid(self) -> str | None:
        """The id of the key that verified the token, None where the token names none (RFC 7515 §4.1.4)."""
        return self._kid

    @property
    def generation(self) -> int:
        """The generation of the key set that verified the token."""
        return self._generation

    def has_scopes(self, scopes: Iterable[str]) -> bool:
        """Whether the token has all of `scopes`; a lone string counts as one scope."""
        return self._accepted.scopes.issuperset((scopes,) if isinstance(scopes, str) else scopes)

    def require(self, scopes: Iterable[str]) -> None:
        """Raise `InsufficientScope` unless the token has all of `scopes`."""
        required = (scopes,) if isinstance(scopes, str) else tuple(scopes)
        if not self._accepted.scopes.issuperset(required):
            raise InsufficientScope(required)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a VerifiedToken cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a VerifiedToken cannot be changed")

    def _said(self) -> tuple[object, ...]:
        return self._accepted, self._kid, self._claims, self._header

    def __eq__(self, other: object) -> bool:
        return self._said() == other._said() if isinstance(other, VerifiedToken) else NotImplemented

    def __hash__(self) -> int:
        return hash((self._accepted, self._kid))

    def __repr__(self) -> str:
        return "<VerifiedToken>"

    def __reduce__(self) -> tuple[Callable[..., VerifiedToken], tuple[object, ...]]:
        parts = (dict(self._claims), dict(self._header), self._kid, self._generation)
        return _restored, (tuple(self._accepted), *parts)


def verified(
    accepted: Accepted,
    claims: Mapping[str, Any],
    header: Mapping[str, Any],
    kid: str | None,
    generation: int,
) -> VerifiedToken:
    """Make the token without looking at anything: the caller did. Keeps `claims` and `header` as they are."""
    token: Any = _Unfrozen(accepted, claims, header, kid, generation)
    token.__class__ = VerifiedToken  # same slots; 40 ns, where guarded assignments cost 40 ns each
    frozen: VerifiedToken = token
    return frozen


def _restored(
    accepted: tuple[Any, ...],
    claims: dict[str, Any],
    header: dict[str, Any],
    kid: str | None,
    generation: int,
) -> VerifiedToken:
    return verified(Accepted(*accepted), claims, header, kid, generation)


_scope: ContextVar[RequestScope | None] = ContextVar("skeldir_jwt_request", default=None)


class RequestScope:
    """The time for which `token` is the request's token, None for an anonymous request; it starts at once.

    A scope may be closed in another thread or context than it was opened in, as streamed responses are. It is
    a box that contexts refer to: closing empties the box, so a task that outlives its request, in a copy of
    the request's context, sees None and never another request's token.
    """

    __slots__ = ("_outer", "_token")

    def __init__(self, token: VerifiedToken | None) -> None:
        self._token = token  # changed once, by close(), in whichever thread ends the request
        self._outer = _scope.get()  # of an enclosing middleware, to return to; unlinked by close()
        _scope.set(self)

    def close(self) -> None:
        """Empty the box, and return to the enclosing scope if the context is still here; repeatable."""
        outer, self._outer, self._token = self._outer, None, None  # unlinked, or closed scopes would pile up
        if _scope.get() is self:
            _scope.set(outer)

    def __enter__(self) -> RequestScope:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def current_token() -> VerifiedToken | None:
    """The token of the request that is being served here, or None outside of one and after its end."""
    scope = _scope.get()
    return None if scope is None else scope._token
