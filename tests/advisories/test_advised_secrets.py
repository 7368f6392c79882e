"""Advisories on what leaks, and on verdicts that are remembered for the wrong token."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from crafting import NOW, claims_of, header_of, parts, token, usual_keys
from judging import Judges
from outcomes import JUDGES, outcome

from skeldir_jwt_mw import InvalidToken, Verifier
from skeldir_jwt_mw.testing import LoopbackIssuer

KEYS = usual_keys()["keys"]
SECRET = "s3cr3t-" + "x" * 20


def test_t_log_no_error_or_record_holds_anything_of_a_token(caplog: pytest.LogCaptureFixture) -> None:
    """CVE-2025-65015: the text of an exception held what the attacker had sent, in any length."""
    caplog.set_level(logging.DEBUG)
    tokens: list[Any] = [
        SECRET,
        f"{SECRET}.{SECRET}.{SECRET}",
        token(header_of(kid=SECRET), claims_of(iat=NOW - 180)),  # older than any keys
        token(header_of(alg=SECRET)),
        token(header_of(typ=SECRET)),
        token(header_of(**{SECRET: 1, "crit": [SECRET]})),
        token(b'{"alg":"' + SECRET.encode()),
        token(None, b'{"sub":"' + SECRET.encode()),
        token(None, SECRET.encode() * 100),
        *(
            token(None, claims_of(**{name: value}))
            for name in ("iss", "aud", "exp", "nbf", "iat", "sub", "scope", "cnf")
            for value in (SECRET, [SECRET], {SECRET: SECRET})
        ),
    ]
    refusals = 0
    shown: list[str] = []
    for raw in tokens:
        try:
            JUDGES.of({"keys": KEYS}).verify(raw)
        except InvalidToken as error:
            refusals += 1
            chain: BaseException | None = error
            while chain is not None:
                shown.append(f"{chain} {chain!r} {chain.args} {vars(chain)}")
                chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    assert refusals > 25
    assert SECRET not in "".join(shown)
    assert not any(part in one for raw in tokens for part in raw.split(".") for one in shown)
    told = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert SECRET not in told
    assert caplog.records


@pytest.fixture
def remembering() -> Judges:
    return Judges(token_cache=100)


def test_t_vcache_a_remembered_verdict_is_for_that_very_token(remembering: Judges) -> None:
    """GHSA-rp9m-7r4c-75qg: two tokens had one key in the cache of verdicts."""
    verifier = remembering.of({"keys": KEYS})
    good = token()
    assert outcome(lambda: verifier.verify(good)) == "ok"
    assert outcome(lambda: verifier.verify(good)) == "ok"
    head, body, signature = parts(good)
    others = [good[:-1] + other for other in "AQgw" if other != good[-1]]
    others += [good[:cut] for cut in (len(good) - 1, len(good) // 2, 64, 65)]
    others += [f"{head}.{body}.{'A' * len(signature)}", good + "A", good.upper(), " " + good, good + "\n"]
    others += [f"{head}.{parts(token(None, claims_of(sub='admin')))[1]}.{signature}"]
    assert "ok" not in {outcome(lambda: verifier.verify(other)) for other in others}  # noqa: B023
    # And no form of it is another one's: as bytes it is the same token.
    assert outcome(lambda: verifier.verify(good.encode())) == "ok"


def test_t_vcache_a_remembered_verdict_ends_with_the_token(
    remembering: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GHSA-rp9m-7r4c-75qg: and lived on when the token had expired."""
    verifier = remembering.of({"keys": KEYS})
    good = token()
    assert outcome(lambda: verifier.verify(good)) == "ok"
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3700)
    assert outcome(lambda: verifier.verify(good)) == "expired"


def test_t_vcache_a_remembered_verdict_ends_with_the_key(
    idp: LoopbackIssuer, service: Callable[..., Verifier]
) -> None:
    """GHSA-rp9m-7r4c-75qg, CVE-2025-22149: and when the key was gone."""
    verifier = service(idp, floor=0.001, token_cache=100)
    good = idp.token()
    assert outcome(lambda: verifier.verify(good)) == "ok"
    idp.rotate(keep_previous=False)
    verifier.refresh()
    assert outcome(lambda: verifier.verify(good)) == "unknown_kid"


def test_t_vcache_every_verifier_remembers_for_itself(remembering: Judges) -> None:
    """GHSA-rp9m-7r4c-75qg: a verdict under one configuration served another one."""
    good = token()
    assert outcome(lambda: remembering.of({"keys": KEYS}).verify(good)) == "ok"
    others = [jwk for jwk in KEYS if jwk["kid"] != "es256"]
    assert outcome(lambda: remembering.of({"keys": others}).verify(good)) == "unknown_kid"
