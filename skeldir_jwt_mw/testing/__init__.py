"""The test kit: a loopback identity provider, token minting and an embedded Postgres.

Names are imported when they are first used, so that one part's dependencies are not the others'.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .issuer import LoopbackIssuer
    from .issuer_process import IssuerProcess
    from .tokens import SigningKey, mint

__all__ = ["IssuerProcess", "LoopbackIssuer", "SigningKey", "mint"]

_HOMES = {
    "IssuerProcess": ".issuer_process",
    "LoopbackIssuer": ".issuer",
    "SigningKey": ".tokens",
    "mint": ".tokens",
}


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(home, __name__), name)
