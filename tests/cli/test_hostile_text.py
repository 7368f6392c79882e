"""What others have chosen is printed escaped: no command lets a token or a row steer the terminal."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from click.testing import Result
from operating import run

from skeldir_jwt_mw import Verifier
from skeldir_jwt_mw.printable import printable
from skeldir_jwt_mw.report import exit_of, printed
from skeldir_jwt_mw.testing import LoopbackIssuer

Invoke = Callable[..., Result]

HOSTILE = {
    "C0": "\x1b[2J\x00\x07\x08",
    "C1": "\x9b31m\x85",
    "DEL": "\x7f",
    "a false line": "x\nverdict: accepted\r\nready: True",
    "bidi": "\u202e\u2066\u2069\u200f\u061c",
    "separators": "a\u2028verdict: accepted\u2029b",
    "invisible": "\u200b\u2060\ufeff\u00ad",
    "tags": "\U000e0041",
    "a lone surrogate": "\ud800",
}
FORBIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]|[\U000e0000-\U000e007f]"
)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def judge(result: Result, *, where: str) -> str:
    output = result.output + ("" if result.exception is None else exit_of_if_ours(result.exception))
    assert FORBIDDEN.findall(output) == [], where
    lines = output.splitlines()
    assert "ready: True" not in lines
    return output


def exit_of_if_ours(error: BaseException) -> str:
    return "" if isinstance(error, SystemExit) else exit_of(error)[1]  # type: ignore[arg-type]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_hostile_token_is_printed_escaped(
    text: str, form: tuple[str, ...], invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    Verifier.from_env(settings).warm()
    good = json.loads(base64.urlsafe_b64decode(idp.token().split(".")[1] + "=="))
    members = {text: text, "sub": text, "list": [text, {text: [text]}], "map": {text: {text: text}}}
    for header in (
        {"alg": "ES256", "kid": text, "typ": text},
        {"alg": text},
        {"alg": "ES256", "crit": [text], text: text},
        {"alg": "none", "jku": text},
    ):
        token = f"{encoded(header)}.{encoded({**good, **members})}.AAAA"
        for command in ("explain", "verify"):
            output = judge(invoke(command, token, *form, environ=settings), where=command)
            verdicts = [line for line in output.splitlines() if line.startswith("verdict: ")]
            assert verdicts in ([], ["verdict: refused"])


@pytest.mark.parametrize("text", [t for t in HOSTILE.values() if t != "\ud800"], ids=lambda text: repr(text))
def test_claims_that_the_issuer_signed_are_printed_escaped_too(
    text: str, invoke: Invoke, settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    Verifier.from_env(settings).warm()
    token = idp.token(claims={"name": text, text: [text]})
    output = judge(invoke("verify", token, environ=settings), where="verify")
    assert f"name: {printable(text)}\n" in output
    judge(invoke("explain", token, environ=settings), where="explain")


@pytest.mark.parametrize("text", [t for t in HOSTILE.values() if t != "\ud800"], ids=lambda text: repr(text))
def test_a_hostile_row_and_a_hostile_key_set_are_printed_escaped(
    text: str,
    invoke: Invoke,
    settings: dict[str, str],
    idp: LoopbackIssuer,
    pg_dsn: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    unsealed = {**settings, "SKELDIR_JWT_SEAL_KEYS": "none"}
    Verifier.from_env(unsealed).warm()
    jwks = {"keys": [{**key, "kid": f"k{text}"} for key in idp.jwks()["keys"]]}
    written = text.replace("\x00", "")
    with psycopg.connect(pg_dsn) as connection:
        connection.execute(
            "UPDATE public.jwt_verification_cache"
            " SET payload = %s, last_error = %s, last_refresh_reason = %s, etag = %s",
            [json.dumps(jwks).encode(), written, written, written],
        )
    with caplog.at_level(logging.DEBUG, "skeldir_jwt_mw"):
        for command in ("status", "explain", "verify", "refresh"):
            arguments = [idp.token()] if command in ("explain", "verify") else []
            judge(invoke(command, *arguments, environ=unsealed), where=command)
    assert FORBIDDEN.findall(caplog.text.replace("\n", "")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "Bearer", "{}"),
        ("{}",),
        ("status", "--{}"),
        ("demo", "--workers", "{}"),
        ("verify", "a", "b{}"),
    ],
)
def test_arguments_that_are_wrong_are_quoted_escaped(arguments: tuple[str, ...]) -> None:
    hostile = "x\x1b[2J\x9b\u202e\u2028y"
    ended = run(*(argument.format(hostile) for argument in arguments))
    assert ended.returncode == 2
    assert FORBIDDEN.findall(ended.stdout + ended.stderr) == []
    assert "Error: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_is_harmless_stays_as_it_is() -> None:
    for text in ("Jürgen Ünal", "日本語", "😀", "DOMAIN\\user", "a b", ""):
        assert printable(text) == text
    members: dict[str, Any] = {"n": None, "list": ["a", 1, None], "empty": [], "x": 1.25, "flag": True}
    assert printed(members, as_json=False) == "n: -\nlist: a, 1, -\nempty: -\nx: 1.2\nflag: True"
