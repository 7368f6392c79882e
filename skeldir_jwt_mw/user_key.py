"""The name of a token's user: its subject, which is unique among the users of one issuer only."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from .log_lines import tell
from .rules import refuse

if TYPE_CHECKING:
    from .token import VerifiedToken

logger = logging.getLogger("skeldir_jwt_mw")

_CARRIED = re.compile(r"[ -~\xa0-\xff]*")  # Latin-1 without control characters

_told = False  # whether the operator knows that a name was not carried; two threads may both tell it

UserKey: TypeAlias = Literal["subject", "issuer"]  # the subject alone, or the issuer in front of it


def user_key_of(wanted: object) -> Callable[[VerifiedToken, object], str]:
    """What names the user of a token and its verifier; raises `ConfigurationError`.

    None leaves it to the verifier: with several issuers, or a template of many, the issuer is in the name.
    """
    if wanted is None:
        return _as_needed
    if wanted == "subject":
        return _subject
    if wanted == "issuer":
        return _issuer_and_subject
    refuse("user_key", wanted, "must be 'subject', 'issuer', or None for what the issuers make necessary")


def _as_needed(token: VerifiedToken, verifier: object) -> str:
    roster = getattr(verifier, "_roster", None)  # `issuers` would list all of them for each request
    alone = roster is None or (roster.alone is not None and "{" not in roster.alone.issuer.issuer)
    return (_subject if alone else _issuer_and_subject)(token, verifier)


def _subject(token: VerifiedToken, _: object) -> str:
    return token.subject


def _issuer_and_subject(token: VerifiedToken, _: object) -> str:
    """`issuer|subject`, in which the first bar is the one between them, so no two users share it."""
    if not token.subject:
        return ""
    issuer = token.issuer.replace("%", "%25").replace("|", "%7C")
    return f"{issuer}|{token.subject}"


def carried_in_environ(name: str) -> str | None:
    """The name, or None where a WSGI environ cannot carry it: its strings are Latin-1 (PEP 3333).

    Nothing is put in its place, which might be the name of somebody else. Told once per process.
    """
    global _told
    if _CARRIED.fullmatch(name):
        return name
    if not _told:
        _told = True
        tell(
            logger.warning,
            "left REMOTE_USER out of a request with a verified token: its user's name has characters that a "
            "WSGI environ cannot carry; environ['skeldir_jwt'] has the token",
        )
    return None
