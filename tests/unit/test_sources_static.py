"""Keys from fixed sets, key rings and functions; and how sources are told apart."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519

from skeldir_jwt_mw.core.keys import Miss, import_jwks
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.sources import (
    CallableSource,
    Conditional,
    Fetched,
    FetchFailed,
    StaticSource,
    source_identity,
)
from skeldir_jwt_mw.testing import SigningKey

ES, ED, RS = (SigningKey.generate(alg, kid=alg.lower()) for alg in ("ES256", "EdDSA", "RS256"))
JWKS = {"keys": [ES.jwk(), ED.jwk()]}
RING = {"keys": {key.kid: key.public_pem() for key in (ES, ED, RS)}, "current_kid": "es256"}


def keys_of(document: bytes | None) -> dict[str | None, str]:
    assert document is not None
    return {
        key.kid: key.algorithm
        for key in import_jwks(document).for_algorithms(("RS256", "ES256", "EdDSA")).keys
    }


def pem_of(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


@pytest.mark.parametrize("form", [JWKS, json.dumps(JWKS), json.dumps(JWKS, indent=1).encode()])
def test_a_static_jwks_is_served_in_any_form(form: Any) -> None:
    source = StaticSource(form)
    assert source.static is True
    fetched = source.fetch(Conditional(etag='"x"'))
    assert keys_of(fetched.document) == {"es256": "ES256", "eddsa": "EdDSA"}
    if not isinstance(form, dict):
        assert fetched.document == (form if isinstance(form, bytes) else form.encode())


@pytest.mark.parametrize("form", [RING, json.dumps(RING), json.dumps(RING).encode()])
def test_a_key_ring_becomes_a_jwks(form: Any) -> None:
    document = StaticSource(form).fetch(Conditional()).document
    assert keys_of(document) == {"es256": "ES256", "eddsa": "EdDSA", "rs256": "RS256"}
    assert document is not None
    found = import_jwks(document).for_algorithms(("ES256",)).find("es256", "ES256")
    assert not isinstance(found, Miss)
    (key,) = found.keys
    assert key.verify(ES.sign(b"message"), b"message")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_every_curve_of_a_key_ring_is_converted_exactly(curve: ec.EllipticCurve) -> None:
    for _ in range(20):  # some coordinates begin with a zero octet
        pem = pem_of(ec.generate_private_key(curve))
        document = StaticSource({"keys": {"k": pem}}).fetch(Conditional()).document
        assert document is not None
        (key,) = import_jwks(document).keys
        assert pem_of(_Public(key.public_key)) == pem


class _Public:
    def __init__(self, key: Any) -> None:
        self._key = key

    def public_key(self) -> Any:
        return self._key


def test_kids_that_a_key_ring_names_must_be_in_it() -> None:
    StaticSource({**RING, "previous_kids": ["rs256", "eddsa"], "comment": "other members do not matter"})
    StaticSource({"keys": RING["keys"]})
    for wrong in ({"current_kid": "gone"}, {"current_kid": None}, {"current_kid": ["es256"]}):
        with pytest.raises(ConfigurationError, match="current_kid of the key ring must name one of its keys"):
            StaticSource({**RING, **wrong})
    for previous in (["gone"], [None], [["es256"]]):
        with pytest.raises(ConfigurationError, match="previous_kids of the key ring must name keys of it"):
            StaticSource({**RING, "previous_kids": previous})
    with pytest.raises(ConfigurationError, match="previous_kids of the key ring must be a list"):
        StaticSource({**RING, "previous_kids": "es256"})


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"k": ES.private_pem()}, "key 1 of the key ring is a private key"),
        (
            {"a": ES.public_pem(), "k": ES.public_pem() + ES.private_pem()},
            "key 2 of the key ring is a private",
        ),
        ({"k": "secret"}, "key 1 of the key ring is not a public key in PEM"),
        ({"k": 7}, "key 1 of the key ring must be PEM text"),
        ({"k": pem_of(x25519.X25519PrivateKey.generate())}, "of a type that signs no JWT here"),
        ({"k": pem_of(dsa.generate_private_key(1024))}, "of a type that signs no JWT here"),
        ({"k": pem_of(ec.generate_private_key(ec.SECP256K1()))}, "on a curve that signs no JWT here"),
        (
            {"a": ES.public_pem(), "k": pem_of(rsa.generate_private_key(65537, 1024))},
            "key 2 of the static key",
        ),
        ({"": ES.public_pem()}, "static key"),
        ({"k" * 257: ES.public_pem()}, "static key"),
        ({}, "the key ring has no keys"),
    ],
)
def test_an_unusable_key_ring_is_refused_without_showing_a_key(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        StaticSource({"keys": keys})
    assert text in str(refused.value)
    for secret in ("BEGIN", "secret", ES.private_pem()[40:60]):
        assert secret not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("jwks", "text"),
    [
        ({"keys": []}, "cannot be used"),
        ({}, "cannot be used"),
        ("not json", "not a strict JSON object"),
        (b"\xff\xfe", "not a strict JSON object"),
        ("\ud800", "not a strict JSON object"),
        ('{"keys": [], "keys": []}', "not a strict JSON object"),
        ("[]", "not a strict JSON object"),
        ({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}, "cannot be used"),
        ({"keys": [ES.jwk(), ED.jwk(d="c2VjcmV0")]}, "private key"),
        ({"keys": [object()]}, "holds what JSON cannot"),
        ({"keys": [{"n": float("nan")}]}, "holds what JSON cannot"),
        ({"keys": [], "x": "a" * 300_000}, "larger than 256 KiB"),
        (b'{"keys": []}' + b" " * 300_000, "larger than 256 KiB"),
        (None, "must be a mapping, text or bytes, not NoneType"),
        ([ES.jwk()], "must be a mapping, text or bytes, not list"),
    ],
)
def test_an_unusable_static_jwks_is_refused_at_construction(jwks: Any, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        StaticSource(jwks)
    assert text in str(refused.value)
    assert "c2VjcmV0" not in str(refused.value)


def test_a_key_that_is_not_for_verifying_does_not_spoil_a_static_jwks() -> None:
    source = StaticSource({"keys": [ES.jwk(), RS.jwk(use="enc", alg="RSA-OAEP")]})
    assert keys_of(source.fetch(Conditional()).document) == {"es256": "ES256"}


def test_static_sources_are_told_apart_by_their_keys() -> None:
    assert source_identity(StaticSource(JWKS)) == source_identity(StaticSource(JWKS))
    assert source_identity(StaticSource(JWKS)) != source_identity(StaticSource(RING))


def secrets_manager() -> dict[str, Any]:
    return RING


def test_a_function_is_called_for_every_fetch() -> None:
    answers: list[Any] = [JWKS, json.dumps(RING), json.dumps(JWKS).encode()]
    source = CallableSource(lambda: answers.pop(0), identity="vault")
    assert [len(keys_of(source.fetch(Conditional()).document)) for _ in range(3)] == [2, 3, 2]


def test_a_named_function_is_its_own_identity() -> None:
    assert source_identity(CallableSource(secrets_manager)) == f"{__name__}.secrets_manager"
    assert source_identity(CallableSource(secrets_manager, identity="vault")) == "vault"


class Vault:
    def read(self) -> dict[str, Any]:
        return JWKS

    def __call__(self) -> dict[str, Any]:
        return JWKS

    @staticmethod
    def shared() -> dict[str, Any]:
        return JWKS


def test_a_function_without_a_stable_name_needs_an_identity() -> None:
    def local() -> dict[str, Any]:
        return JWKS

    as_script = functools.wraps(secrets_manager)(lambda: JWKS)
    as_script.__module__ = "__main__"
    for fn in (lambda: JWKS, functools.partial(secrets_manager), local, Vault().read, Vault(), as_script):
        with pytest.raises(ConfigurationError, match="identity of CallableSource must be given"):
            CallableSource(fn)
        assert CallableSource(fn, identity="vault").identity == "vault"
    assert CallableSource(Vault.shared).identity == f"{__name__}.Vault.shared"


def test_only_an_ordinary_function_can_be_called() -> None:
    async def coroutine() -> dict[str, Any]:
        return JWKS

    for fn in (coroutine, None, JWKS):
        with pytest.raises(ConfigurationError, match="fn of CallableSource must be"):
            CallableSource(fn, identity="x")  # type: ignore[arg-type]


def raises(error: Exception) -> CallableSource:
    def fn() -> dict[str, Any]:
        raise error

    return CallableSource(fn, identity="x")


def test_of_a_functions_exception_only_the_class_is_shown() -> None:
    with pytest.raises(FetchFailed) as failure:
        raises(RuntimeError("password=hunter2")).fetch(Conditional())
    assert failure.value.reason == "the callable raised RuntimeError"
    assert failure.value.__cause__ is None
    with pytest.raises(FetchFailed) as failure:
        raises(FetchFailed("vault is sealed", 30)).fetch(Conditional())
    assert (failure.value.reason, failure.value.retry_after) == ("vault is sealed", 30)


@pytest.mark.parametrize("answer", [{"keys": [], "x": "a" * 300_000}, b'{"keys": []}' + b" " * 300_000])
def test_a_function_that_returns_too_much_is_a_failed_fetch(answer: Any) -> None:
    with pytest.raises(FetchFailed, match="larger than 256 KiB"):
        CallableSource(lambda: answer, identity="x").fetch(Conditional())


@pytest.mark.parametrize(
    "answer", [None, 7, "no json", b"\xff", {"keys": {"k": ES.private_pem()}}, {1: object()}]
)
def test_a_function_that_returns_no_key_set_is_a_failed_fetch(answer: Any) -> None:
    with pytest.raises(FetchFailed) as failure:
        CallableSource(lambda: answer, identity="x").fetch(Conditional())
    assert "BEGIN" not in str(failure.value)


class Custom:
    def fetch(self, conditional: Conditional) -> Fetched:
        return Fetched(document=b"{}")


def test_a_source_of_ones_own_is_named_after_its_type_unless_it_says_otherwise() -> None:
    class Local(Custom):
        pass

    custom = Custom()
    assert source_identity(custom) == f"{__name__}.Custom"
    custom.identity = "vault:eu"  # type: ignore[attr-defined]
    assert source_identity(custom) == "vault:eu"
    with pytest.raises(ConfigurationError, match="must have an identity"):
        source_identity(Local())
    for wrong in ("", 7, "a\x00b", "x" * 2049, "line\nbreak"):
        custom.identity = wrong  # type: ignore[attr-defined]
        with pytest.raises(ConfigurationError, match="must be a printable string"):
            source_identity(custom)
