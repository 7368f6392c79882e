"""What the advisories' tests ask with: every ending of a call has a name, foreign exceptions among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from crafting import FAMILIES, usual_keys
from judging import Judges

from skeldir_jwt_mw import InvalidToken, JWTError, RefreshPolicy, Verifier
from skeldir_jwt_mw.sources import FetchFailed

Call = Callable[[], object]

JUDGES = Judges()  # for key sets that never change; they hold no thread or socket
STEADY = {"jitter": 0.0, "floor": 30.0}


def outcome(call: Call) -> str:
    """`ok`, the code of our own error, or the name of somebody else's."""
    try:
        call()
    except JWTError as error:
        return error.code
    except FetchFailed as error:
        return error.reason
    except Exception as error:  # what an advisory is about, as often as not
        return type(error).__name__
    return "ok"


def verdict(token: Any, keys: Mapping[str, Any] | None = None) -> str:
    """What a service that trusts these keys says of a token."""
    return outcome(lambda: JUDGES.of(usual_keys() if keys is None else keys).verify(token))


def unexpected(*families: str) -> list[str]:
    """Tokens of families of the hostile corpus that are not refused as they should be."""
    import corpus  # fills FAMILIES

    assert corpus.FAMILIES is FAMILIES
    return [
        f"{name}: {case.name}: {found}"
        for name in families
        for case in FAMILIES[name].cases()
        if (found := verdict(case.token, case.keys)) not in FAMILIES[name].codes
    ]


def refused(call: Call) -> str | None:
    """The code with which a core function refuses, None where it does not."""
    try:
        call()
    except InvalidToken as error:
        return error.code
    except Exception as error:  # a crash is no refusal
        return type(error).__name__
    return None


def policy(**changes: float) -> RefreshPolicy:
    """A policy without chance, under which nothing is fetched again within a test unless it asks for it."""
    return RefreshPolicy(**{**STEADY, **changes})


def all_verdicts(verifier: Verifier, tokens: Iterable[Any]) -> set[str]:
    """The outcomes for all of these tokens."""
    return {outcome(lambda: verifier.verify(token)) for token in tokens}  # noqa: B023  # called at once
