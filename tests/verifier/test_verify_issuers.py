"""Several issuers, issuers that are templates, keys that are published for one issuer, and every source."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from token_shapes import Pretender
from verifying import Ask, MakeVerifier, issuer_of, outage, policy_of, refusal, status_of, verify

from skeldir_jwt_mw import ConfigurationError, InvalidToken, Issuer, MemoryStore, Verifier
from skeldir_jwt_mw.served import Setup
from skeldir_jwt_mw.sources import CallableSource, StaticSource
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

ENTRA = "https://login.microsoftonline.com/{tid}/v2.0"
ONE, TWO = "11111111-aaaa-bbbb-cccc-000000000001", "22222222-aaaa-bbbb-cccc-000000000002"


def entra(tid: str) -> str:
    return ENTRA.replace("{tid}", tid)


@pytest.fixture
def both(idp: LoopbackIssuer, other_idp: LoopbackIssuer, make: MakeVerifier) -> Verifier:
    """A verifier for two providers."""
    return make([issuer_of(idp), issuer_of(other_idp, audience="billing-api")])


def test_each_token_goes_to_its_own_issuer(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, both: Verifier, ask: Ask
) -> None:
    assert ask(both, idp.token()).issuer == idp.issuer
    assert other_idp.fetches == 0
    assert ask(both, other_idp.token(aud="billing-api")).issuer == other_idp.issuer
    assert (idp.fetches, other_idp.fetches) == (1, 1)


def test_each_issuer_has_its_own_rules(other_idp: LoopbackIssuer, both: Verifier, ask: Ask) -> None:
    assert refusal(both, other_idp.token(), ask) == "wrong_audience"


def test_r24_a_key_verifies_no_other_issuers_tokens(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, both: Verifier, ask: Ask
) -> None:
    both.warm()
    forged = idp.token(key=other_idp.key())
    assert refusal(both, forged, ask) == "unknown_kid"


def test_r24_one_kid_at_two_issuers_is_two_keys(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, both: Verifier
) -> None:
    idp.rotate(kid="shared-name")
    other_idp.rotate(kid="shared-name")
    assert both.verify(idp.token()).issuer == idp.issuer
    assert refusal(both, idp.token(key=other_idp.key())) == "bad_signature"
    assert both.verify(other_idp.token(aud="billing-api")).issuer == other_idp.issuer


def test_a_token_of_nobody_is_refused_with_the_hint_of_the_nearest_issuer(
    idp: LoopbackIssuer, both: Verifier, ask: Ask
) -> None:
    with pytest.raises(InvalidToken) as caught:
        ask(both, idp.token(iss=idp.issuer + "/"))
    assert (caught.value.code, caught.value.hint) == ("wrong_issuer", "iss differs by a trailing slash")
    for iss in (None, 5, ["x"], {}, "", "https://login.example.org/"):
        assert refusal(both, idp.token(claims={"iss": iss}), ask) == "wrong_issuer"
    assert idp.fetches == 0


def test_one_issuers_outage_is_not_the_others(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, both: Verifier, ask: Ask
) -> None:
    idp.down()
    assert outage(both, idp.token(), ask).reason == "failed"
    assert ask(both, other_idp.token(aud="billing-api")).issuer == other_idp.issuer
    assert not both.ready


def test_one_issuers_gate_is_not_the_others(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, both: Verifier
) -> None:
    both.warm()
    assert refusal(both, idp.stranger_token()) == "unknown_kid"
    new = other_idp.rotate()
    assert both.verify(other_idp.token(aud="billing-api")).kid == new
    assert refusal(both, idp.stranger_token()) == "unknown_kid"
    assert (idp.fetches, other_idp.fetches) == (2, 2)


def template_options(**options: Any) -> dict[str, Any]:
    return {"issuer": ENTRA, "tenant_claim": "tid", **options}


def test_a_template_accepts_the_issuer_of_the_tokens_own_tenant(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp, **template_options()))
    for tid in (ONE, TWO):
        token = ask(verifier, idp.token(iss=entra(tid), tid=tid))
        assert (token.issuer, token.tenant) == (entra(tid), tid)
    assert list(verifier.status()) == [ENTRA]


@pytest.mark.parametrize(
    ("iss", "tid"),
    [(entra(ONE), TWO), (entra(ONE), None), (entra("*"), "*"), (ENTRA, "{tid}"), (entra(ONE) + "/", ONE)],
)
def test_r31_a_template_refuses_another_tenants_issuer(
    iss: str, tid: str | None, idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp, **template_options()))
    assert refusal(verifier, idp.token(iss=iss, tid=tid), ask) == "wrong_issuer"
    assert idp.fetches == 0


def test_a_pinned_template_serves_the_tenants_that_it_names(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp, issuer=ENTRA, claims={"tid": ONE}))
    assert verifier.verify(idp.token(iss=entra(ONE), tid=ONE)).tenant is None
    assert refusal(verifier, idp.token(iss=entra(TWO), tid=TWO)) == "claim_mismatch"


def test_an_exact_issuer_goes_before_a_template(
    idp: LoopbackIssuer, other_idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    verifier = make([issuer_of(idp, **template_options()), issuer_of(other_idp, issuer=entra(TWO))])
    verifier.verify(other_idp.token(iss=entra(TWO), tid=TWO))
    verifier.verify(idp.token(iss=entra(ONE), tid=ONE))
    assert refusal(verifier, idp.token(iss=entra(TWO), tid=TWO)) == "unknown_kid"


def test_r24_a_key_published_for_one_issuer_verifies_no_other(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    key, own, plain = SigningKey.generate(kid="any"), SigningKey.generate(kid="own"), idp.key()
    idp.serve(
        {
            "keys": [
                key.jwk(issuer="https://login.microsoftonline.com/{tenantid}/v2.0"),
                own.jwk(issuer=entra(ONE)),
                plain.jwk(),
            ]
        }
    )
    verifier = make(issuer_of(idp, **template_options()))
    for signer, tid in ((key, ONE), (key, TWO), (own, ONE), (plain, TWO)):
        assert ask(verifier, idp.token(key=signer, iss=entra(tid), tid=tid)).tenant == tid
    for _ in range(2):  # also once the header is remembered
        with pytest.raises(InvalidToken) as caught:
            ask(verifier, idp.token(key=own, iss=entra(TWO), tid=TWO))
        assert caught.value.code == "wrong_issuer"
        assert caught.value.hint == "the key that signed it is published for another issuer"
    assert idp.fetches == 1


def test_a_static_source_needs_no_store_and_no_fetch(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp, source=StaticSource(idp.jwks())))
    assert verifier.ready
    assert ask(verifier, idp.token()).generation == 0
    assert refusal(verifier, idp.stranger_token(), ask) == "unknown_kid"
    verifier.refresh()
    verifier.warm()
    assert verifier.source_keys() == []
    assert status_of(verifier)["age"] >= 0
    assert status_of(verifier)["next_check"] is None
    assert idp.fetches == 0


def test_a_key_ring_of_a_callable_is_read_once(idp: LoopbackIssuer, make: MakeVerifier, ask: Ask) -> None:
    calls: list[int] = []

    def key_ring() -> dict[str, Any]:
        calls.append(1)
        return {"keys": {idp.key().kid: idp.key().public_pem()}, "current_kid": idp.key().kid}

    verifier = make(issuer_of(idp, source=CallableSource(key_ring, identity="key-ring")))
    for _ in range(3):
        assert ask(verifier, idp.token()).kid == idp.key().kid
    assert len(calls) == 1


def test_an_issuer_alone_finds_its_keys_by_discovery(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(issuer_of(idp, jwks_url=None))
    assert ask(verifier, idp.token()).issuer == idp.issuer
    new = idp.rotate()
    assert ask(verifier, idp.token()).kid == new
    assert idp.fetches == 2


def test_verifiers_of_one_store_share_keys_across_their_own_rules(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    store = MemoryStore()
    first = make(issuer_of(idp), store=store)
    second = make(
        issuer_of(idp, audience="billing-api", leeway=0.0), store=store, policy=policy_of(lease=9.0)
    )
    verify(first, idp.token())
    verify(second, idp.token(aud="billing-api"))
    assert idp.fetches == 1


def test_an_issuer_whose_rules_change_keeps_its_keys_its_gate_and_its_flight(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    verifier = make(issuer_of(idp))
    token = idp.token()
    verifier.verify(token)
    assert refusal(verifier, idp.stranger_token()) == "unknown_kid"
    before = verifier._roster.served[0].refresher
    idp.down()
    verifier.set_issuers([issuer_of(idp, leeway=5.0, audience=("orders-api", "more"))])
    assert verifier.verify(token).subject == "user-1"
    after = verifier._roster.served[0].refresher
    assert after is before
    assert verifier.issuers[0].leeway == 5.0
    verifier.set_issuers([issuer_of(idp, audience="another-api")])
    assert refusal(verifier, token) == "wrong_audience"


def test_an_issuer_whose_algorithms_change_keeps_its_document(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    idp.rotate(alg="EdDSA")
    verifier = make(issuer_of(idp, algorithms=("ES256",)))
    verifier.warm()
    fetches = idp.fetches
    verifier.set_issuers([issuer_of(idp, algorithms=("EdDSA",))])
    assert verifier.verify(idp.token(alg="EdDSA")).header["alg"] == "EdDSA"
    assert refusal(verifier, idp.token(alg="ES256")) == "algorithm_not_allowed"
    assert idp.fetches == fetches


def test_r03_a_chain_of_certificates_fits_where_it_is_ignored(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    chain = idp.token(header={"x5c": ["A" * 1900] * 3})
    assert refusal(make(issuer_of(idp)), chain, ask) == "too_large"
    assert refusal(make(issuer_of(idp, ignored_headers=("zip",))), chain, ask) == "too_large"
    verifier = make(issuer_of(idp, ignored_headers=("x5c",)))
    for _ in range(2):  # also once the header is remembered
        assert ask(verifier, chain).subject == "user-1"
    assert refusal(verifier, idp.token(header={"x5c": ["A" * 1900] * 5}), ask) == "too_large"


@pytest.mark.parametrize("token_cache", [0, 100])
def test_header_rules_that_are_narrowed_hold_for_headers_that_were_accepted_before(
    idp: LoopbackIssuer, make: MakeVerifier, token_cache: int, ask: Ask
) -> None:
    verifier = make(issuer_of(idp, ignored_headers=("x5c",)), token_cache=token_cache)
    plain, with_chain = idp.token(), idp.token(header={"x5c": ["MIIB"]})
    for token in (plain, with_chain) * 2:
        ask(verifier, token)
    verifier.set_issuers([issuer_of(idp)])
    ask(verifier, plain)
    assert refusal(verifier, with_chain) == "unsupported_header"
    verifier.set_issuers([issuer_of(idp, token_types=("JWT",))])
    assert refusal(verifier, plain) == "wrong_type"
    ask(verifier, idp.token(header={"typ": "JWT"}))
    verifier.set_issuers([issuer_of(idp)])
    assert ask(verifier, plain).subject == "user-1"


@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize("token_cache", [0, 100])
def test_an_object_that_pretends_to_be_a_token_is_refused(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, kind: Any, token_cache: int
) -> None:
    verifier = make(issuer_of(idp), token_cache=token_cache)
    good = idp.token()
    ask(verifier, good)
    assert refusal(verifier, Pretender(kind(good)), ask) == "malformed"


def test_issuers_that_cannot_be_taken_change_nothing(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp, algorithms=("ES256",)))
    token = idp.token()
    verifier.verify(token)
    hollow = issuer_of(
        idp, issuer="https://hollow.example/", source=StaticSource(idp.jwks()), algorithms=("RS256",)
    )
    with pytest.raises(ConfigurationError):
        verifier.set_issuers([issuer_of(idp, algorithms=("EdDSA",)), hollow])
    assert verifier.issuers == (issuer_of(idp, algorithms=("ES256",)),)
    assert verifier.verify(token).subject == "user-1"


def test_one_more_issuer_among_many_is_compared_with_few(
    idp: LoopbackIssuer, make: MakeVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [issuer_of(idp, issuer=f"https://tenant-{number}.example/") for number in range(1500)]
    verifier = make(many)
    compared = 0
    identity = Issuer._identity

    def counted(self: Issuer) -> tuple[object, ...]:
        nonlocal compared
        compared += 1
        return identity(self)

    monkeypatch.setattr(Issuer, "_identity", counted)
    asyncio.run(verifier.aset_issuers([*many, issuer_of(idp)]))
    assert len(verifier.issuers) == 1501
    assert compared <= 2 * 1501  # and not a square of it
    assert verifier.verify(idp.token()).subject == "user-1"


def test_a_loop_goes_on_while_issuers_are_replaced(
    idp: LoopbackIssuer, make: MakeVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = make(issuer_of(idp))
    go_on = threading.Event()
    compile_all = Setup.roster

    def slowly(*arguments: Any) -> Any:
        assert go_on.wait(10.0), "the loop stands still"
        return compile_all(*arguments)

    monkeypatch.setattr(Setup, "roster", slowly)

    async def replace() -> None:
        replacing = asyncio.ensure_future(verifier.aset_issuers(issuer_of(idp, leeway=5.0)))
        await asyncio.sleep(0)
        go_on.set()
        await replacing

    asyncio.run(replace())
    assert verifier.issuers[0].leeway == 5.0
