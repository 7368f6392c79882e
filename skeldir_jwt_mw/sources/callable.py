"""Keys from a function: a secrets manager, a file, a configuration service."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from skeldir_jwt_mw.core.effects import Conditional, Fetched, FetchFailed, LocalFetchFailed
from skeldir_jwt_mw.errors import ConfigurationError

from .base import qualified_name
from .document import Document, document_of
from .local import own_trouble


class CallableSource:
    """Calls `fn()` for a JWKS or a key ring, as a mapping, JSON text or bytes; `StaticSource` has the forms.

    `identity` is the name under which the fleet shares the keys, `module.qualname` of `fn` if left out; a
    lambda, a partial or a function of `__main__` has no name that all processes agree on and needs one. `fn`
    is called at most once at a time and abandoned at the fetch deadline. Raises `ConfigurationError`.
    """

    def __init__(self, fn: Callable[[], Document], *, identity: str | None = None) -> None:
        if not callable(fn):
            raise ConfigurationError(f"fn of CallableSource must be callable, not {type(fn).__name__}")
        if inspect.iscoroutinefunction(fn):
            raise ConfigurationError(
                "fn of CallableSource must be an ordinary function, not a coroutine function"
            )
        if identity is None:
            identity = qualified_name(fn)
            if identity is None or getattr(fn, "__self__", None) is not None:
                raise ConfigurationError(
                    "identity of CallableSource must be given where fn is no named function of a module"
                )
        self._fn = fn
        self.identity = identity

    def fetch(self, conditional: Conditional) -> Fetched:  # noqa: ARG002  # a function has no versions
        """Call the function. Raises `FetchFailed`; of an exception it shows the class alone.

        What only this process can be short of (memory, threads, files, a route, a module) is a
        `LocalFetchFailed`; the function may raise either itself.
        """
        try:
            document = self._fn()
        except FetchFailed:
            raise
        except Exception as error:  # other people's code; the message may hold a secret
            reason = f"the callable raised {type(error).__name__}"
            if own_trouble(error) is not None:
                raise LocalFetchFailed(reason) from None
            raise FetchFailed(reason) from None
        try:
            return Fetched(document=document_of(document).document)
        except ValueError as error:  # UnusableForm, UnusableKeyRing: fixed texts
            raise FetchFailed(str(error)) from None
