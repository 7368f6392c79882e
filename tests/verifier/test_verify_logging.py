"""What the operator is told about refused tokens, and what no log ever holds."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from verifying import Ask, MakeVerifier, issuer_of, outage, policy_of, quiet, refusal

from skeldir_jwt_mw import JWTError, KeysUnavailable
from skeldir_jwt_mw.errors import INVALID_TOKEN_MESSAGES
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "skeldir_jwt_mw" and "refused a token" in record.getMessage()
    ]


def test_the_first_refusal_of_a_kind_is_a_warning_and_later_ones_are_debug(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = make(issuer_of(idp))
    for _ in range(3):
        refusal(verifier, idp.token(expires_in=-3600), ask)
    text = "refused a token: the token has expired"
    assert [(level, message[: len(text)]) for level, message in told(caplog)] == [
        ("WARNING", text),
        ("DEBUG", text),
        ("DEBUG", text),
    ]
    refusal(verifier, idp.token(aud="billing-api"), ask)
    assert told(caplog)[-1] == ("WARNING", "refused a token: the audience does not contain this service")


def test_the_hint_stands_in_the_warning(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = make(issuer_of(idp))
    refusal(verifier, idp.token(iss=idp.issuer + "/"), ask)
    assert told(caplog) == [
        (
            "WARNING",
            "refused a token: the issuer is not a configured one (iss differs by a trailing slash)",
        )
    ]


def test_a_handler_that_raises_changes_no_answer(idp: LoopbackIssuer, make: MakeVerifier, ask: Ask) -> None:
    class Fails(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ZeroDivisionError

    logger, handler = logging.getLogger("skeldir_jwt_mw"), Fails()
    logger.addHandler(handler)
    try:
        verifier = make(issuer_of(idp))
        for _ in range(2):
            assert refusal(verifier, idp.token(expires_in=-3600), ask) == "expired"
        assert ask(verifier, idp.token()).subject
    finally:
        logger.removeHandler(handler)


def test_each_verifier_tells_for_itself(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        refusal(make(issuer_of(idp)), "no.token")
    assert [level for level, _ in told(caplog)] == ["WARNING", "WARNING"]


def test_an_accepted_token_is_not_worth_a_word(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = make(issuer_of(idp))
    verifier.verify(idp.token())
    caplog.clear()
    verifier.verify(idp.token())
    assert caplog.records == []


def test_a_failed_fetch_is_told_with_its_reason(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    idp.down()
    outage(make(issuer_of(idp)), idp.token())
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert messages == [f"fetching the keys of {idp.issuer} failed: the provider answered with status 503"]


SECRET = "zQ7-secret-"
RIGHT = {"tenant": "acme", "token_use": "access"}
Spoil = Callable[[LoopbackIssuer, str], str]


def good(idp: LoopbackIssuer, *, claims: dict[str, Any] | None = None, **options: Any) -> str:
    return idp.token(claims={**RIGHT, **(claims or {})}, **options)


def stranger(idp: LoopbackIssuer, **options: Any) -> str:
    return idp.stranger_token(claims=RIGHT, **options)


def claims(**members: object) -> Spoil:
    return lambda idp, secret: good(idp, claims={"sub": secret, **members})


def header(**members: object) -> Spoil:
    return lambda idp, secret: good(idp, sub=secret, header={"note": secret, **members})


BAD: list[Spoil] = [
    claims(exp=1),
    claims(exp=SECRET),
    claims(exp=None),
    claims(nbf=time.time() + 99_999),
    claims(nbf=SECRET),
    claims(iat=time.time() + 99_999),
    claims(aud=SECRET),
    claims(aud=[SECRET, 5]),
    claims(aud={SECRET: SECRET}),
    claims(iss=f"https://{SECRET}/"),
    claims(iss=[SECRET]),
    claims(scope={SECRET: 1}),
    claims(scope=[SECRET, 5]),
    claims(cnf={"jkt": SECRET}),
    claims(tenant=["a", SECRET]),
    claims(tenant=SECRET + "\n"),
    claims(client_id=None),
    claims(token_use=SECRET),
    claims(padding=SECRET * 5000),
    header(alg=SECRET),
    header(alg="none"),
    header(typ=SECRET),
    header(kid=SECRET + "\x00"),
    header(kid=[SECRET]),
    header(kid=SECRET * 30),
    header(crit=[SECRET]),
    header(jku=f"https://{SECRET}/"),
    header(jwk={"kty": SECRET}),
    header(cty="JWT"),
    header(padding=SECRET * 400),
    lambda idp, secret: stranger(idp, kid=secret),
    lambda idp, secret: stranger(idp, kid=secret, alg="EdDSA"),
    lambda idp, secret: good(idp, sub=secret, key=SigningKey.generate(kid=idp.kids[0])),
    lambda idp, secret: good(idp, sub=secret, key=SigningKey.generate("EdDSA", kid=idp.kids[0])),
    lambda idp, secret: good(idp, sub=secret, without=("kid",)),
    lambda idp, secret: good(idp, sub=secret)[:-2] + secret,
    lambda idp, secret: secret,
    lambda idp, secret: f"{secret}.{secret}.{secret}",
    lambda idp, secret: f"{secret}.é.{secret}",
    lambda idp, secret: f"{secret}.{secret}.{secret}.{secret}.{secret}",
]


def shown(error: BaseException) -> str:
    """Everything that a log or a traceback would show of an error."""
    text = f"{error} {error!r} {getattr(error, 'hint', '')} {getattr(error, 'reason', '')}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text if cause is None else text + shown(cause)


def test_r41_no_log_and_no_error_ever_holds_anything_of_a_token(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):  # more keys than are tried for a token that names none
        idp.rotate()
    issuer = issuer_of(
        idp, tenant_claim="tenant", claims={"token_use": "access"}, required_claims=("client_id",)
    )
    verifier = make(issuer, token_cache=10, policy=policy_of(floor=0.001))
    pieces = {SECRET, SECRET[:6], *idp.kids}
    codes = set()
    for number, spoil in enumerate(BAD):
        token = spoil(idp, f"{SECRET}{number}")
        pieces |= {segment[:16] for segment in token.split(".") if len(segment) >= 16}
        with pytest.raises(JWTError) as caught:
            ask(verifier, token)
        codes.add(caught.value.code)
        text = shown(caught.value)
        assert not [piece for piece in pieces if piece in text]
    assert codes == INVALID_TOKEN_MESSAGES.keys() - {"rejected_user", "unusable_key"}
    formatter = logging.Formatter("%(levelname)s %(message)s %(args)s")
    log = "\n".join(formatter.format(record) for record in caplog.records)
    assert log.count("refused a token") == len(BAD)
    assert not [piece for piece in pieces if piece in log]


def test_no_key_set_reaches_the_log(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    private = SigningKey.generate("ES256", kid="with-private-part")
    secret = "ZGlzY2xvc2VkLXByaXZhdGUta2V5LW1hdGVyaWFsLXg"
    idp.serve({"keys": [*idp.jwks()["keys"], private.jwk(d=secret)]})
    material = {jwk[name] for jwk in idp.jwks()["keys"] for name in ("x", "y")} | {private.jwk()["x"]}
    verifier = make(issuer_of(idp), policy=policy_of(backoff_base=0.001, floor=0.001))
    verifier.verify(idp.token())
    assert "published a private key" in caplog.text
    idp.serve(json.dumps({"keys": secret}))
    with pytest.raises(KeysUnavailable):
        verifier.refresh()
    quiet()
    assert "'with-private-part' (private members)" in caplog.text  # its id is as public as the key set
    assert not [piece for piece in {secret, *material} if piece in caplog.text]
