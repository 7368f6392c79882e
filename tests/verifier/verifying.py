"""What the tests of the verifier share: issuers over loopback providers, questions, and patience."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from skeldir_jwt_mw import (
    InvalidToken,
    Issuer,
    KeysUnavailable,
    MemoryStore,
    RefreshPolicy,
    VerifiedToken,
    Verifier,
)
from skeldir_jwt_mw.core.row import Record
from skeldir_jwt_mw.testing import LoopbackIssuer

AUDIENCE = "orders-api"

Ask = Callable[..., VerifiedToken]
MakeVerifier = Callable[..., Verifier]


def issuer_of(idp: LoopbackIssuer, **options: Any) -> Issuer:
    """The provider's issuer, with its JWKS URL unless the options name another source."""
    if "source" not in options:
        options.setdefault("jwks_url", idp.jwks_url)
    name = options.pop("issuer", idp.issuer)
    given = {"audience": AUDIENCE, "allow_http": True, "allow_private_hosts": True}
    return Issuer(name, **{**given, **options})


def policy_of(**changes: Any) -> RefreshPolicy:
    """The default policy without its random part, with changes."""
    return RefreshPolicy(**{"jitter": 0.0, **changes})


def verify(verifier: Verifier, token: Any, scopes: Iterable[str] = ()) -> VerifiedToken:
    """Ask as a thread does."""
    return verifier.verify(token, scopes=scopes)


def averify(verifier: Verifier, token: Any, scopes: Iterable[str] = ()) -> VerifiedToken:
    """Ask as a task does, in a loop of its own."""
    return asyncio.run(verifier.averify(token, scopes=scopes))


def refusal(verifier: Verifier, token: Any, ask: Ask = verify) -> str:
    """The code with which a token is refused."""
    with pytest.raises(InvalidToken) as caught:
        ask(verifier, token)
    return caught.value.code


def outage(verifier: Verifier, token: Any, ask: Ask = verify) -> KeysUnavailable:
    """The error with which a token cannot be judged."""
    with pytest.raises(KeysUnavailable) as caught:
        ask(verifier, token)
    return caught.value


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something holds; a failure after so many seconds."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it never came to hold"
        time.sleep(0.005)


def status_of(verifier: Verifier) -> dict[str, Any]:
    """The status of the only issuer."""
    (status,) = verifier.status().values()
    return status


def generation_of(verifier: Verifier) -> int:
    """The generation in use for the only issuer."""
    generation = status_of(verifier)["generation"]
    assert isinstance(generation, int)
    return generation


def settle(verifier: Verifier) -> None:
    """Wait until no refresh is in the air."""
    eventually(lambda: not any(status["refreshing"] for status in verifier.status().values()))


def quiet() -> None:
    """Wait until the package's threads have ended: what they had to tell is told."""
    eventually(lambda: not any(thread.name.startswith("skeldir-jwt") for thread in threading.enumerate()))


def snapshot_of(verifier: Verifier) -> Any:
    """The snapshot in use for the only issuer, to see what is kept and what is replaced."""
    (served,) = verifier._roster.served
    return served.refresher.snapshot


def counters_of(store: MemoryStore, verifier: Verifier) -> Record:
    """The row of the only issuer, with its counters."""
    (source_key,) = verifier.source_keys()
    record = store.record(source_key)
    assert record is not None
    return record
