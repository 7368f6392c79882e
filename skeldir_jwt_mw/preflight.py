"""CORS preflights, which anybody can send: whoever does so chooses every header of them."""

from __future__ import annotations

import logging

from .exempt import overrides_method
from .log_lines import tell
from .request import Request

logger = logging.getLogger("skeldir_jwt_mw")

_told = False  # whether the operator knows that preflights are refused; two threads may both tell it


def is_preflight(request: Request) -> bool:
    """Whether it is a CORS preflight (Fetch §3.2.2). One with credentials is none, and is judged by them.

    Nor is one that has a body or asks to be taken for another method: no browser sends such a preflight.
    """
    if request.method != "OPTIONS":
        return False
    headers = request.headers
    return (
        "origin" in headers
        and "access-control-request-method" in headers
        and "transfer-encoding" not in headers
        and headers.get("content-length", ("",)) in (("",), ("0",))
        and not overrides_method(request)
    )


def tell_of_preflight() -> None:
    """Tell the operator once per process that a preflight was refused, and what to do about it."""
    global _told
    if _told:
        return
    _told = True
    tell(
        logger.warning,
        "refused a CORS preflight, which carries no token: CORS middleware belongs outside of this one, "
        "where it answers preflights itself; exempt_preflight=True lets them in to where it stands now",
    )
