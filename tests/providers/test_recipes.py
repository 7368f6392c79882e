"""Each recipe takes what its provider issues for this service, and nothing that comes close."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from internet import POLICY, Authority, Internet, VerifierOf
from provider import Accepted, Provider, Refused, changed, minted, rsa_key
from recipes import DEFAULTS, RECIPES
from shapes import BY_SECTION, PROVIDERS

from skeldir_jwt_mw import ConfigurationError, InvalidToken, Issuer, JWTError, Verifier
from skeldir_jwt_mw.sources import StaticSource

GOOD = [(provider, token) for provider in PROVIDERS for token in provider.accepted]
NEAR = [(provider, token) for provider in PROVIDERS for token in provider.refused]


def name_of(value: object) -> str:
    """What a test is told by."""
    if isinstance(value, Provider):
        return value.recipe
    assert isinstance(value, Accepted | Refused)
    return value.what


def code_of(verifier: Verifier, token: str) -> str:
    """The code that a token is refused with."""
    with pytest.raises(JWTError) as refused:
        verifier.verify(token)
    return refused.value.code


@pytest.mark.parametrize(("provider", "token"), GOOD, ids=name_of)
def test_a_token_of_the_provider_is_accepted(
    provider: Provider, token: Accepted, verifier_of: VerifierOf
) -> None:
    verified = verifier_of(provider).verify(token.mint())
    assert verified.subject == token.subject
    assert verified.scopes == token.scopes
    assert verified.tenant == token.tenant
    assert verified.issuer == token.claims["iss"]
    assert verified.kid == token.key.kid


@pytest.mark.parametrize(("provider", "token"), NEAR, ids=name_of)
def test_what_comes_close_is_refused(provider: Provider, token: Refused, verifier_of: VerifierOf) -> None:
    assert code_of(verifier_of(provider), token.mint()) == token.code


@pytest.mark.parametrize("provider", PROVIDERS, ids=name_of)
def test_the_keys_are_found_where_the_provider_has_them(provider: Provider, authority: Authority) -> None:
    with Internet(provider.documents, authority) as internet:
        verifier = Verifier([internet.brought_here(RECIPES[provider.recipe].issuer)], policy=POLICY)
        verifier.verify(provider.accepted[0].mint())
        verifier.close()
        assert internet.asked == list(provider.documents)


@pytest.mark.parametrize("provider", PROVIDERS, ids=name_of)
def test_a_key_that_was_not_published_ahead_is_found_when_it_is_used(
    provider: Provider, authority: Authority
) -> None:
    token = provider.accepted[0]
    new = rsa_key(2, "a-key-of-tomorrow")
    like_the_others = {name: value for name, value in provider.jwks["keys"][0].items() if name == "issuer"}
    jwk = {**new.jwk(), **like_the_others}
    header = changed(token.header, kid=new.kid, alg="RS256")
    with Internet(provider.documents, authority) as internet:
        verifier = Verifier([internet.brought_here(RECIPES[provider.recipe].issuer)], policy=POLICY)
        verifier.verify(token.mint())
        internet.publish(provider.jwks_url, changed(provider.jwks, keys=[jwk, *provider.jwks["keys"]]))
        assert verifier.verify(minted(new, header, token.claims)).kid == new.kid
        assert internet.asked == [*provider.documents, provider.jwks_url]
        verifier.close()


@pytest.mark.parametrize("provider", PROVIDERS, ids=name_of)
def test_every_other_providers_token_is_refused(provider: Provider, verifier_of: VerifierOf) -> None:
    family = next(providers for providers in BY_SECTION.values() if provider in providers)
    for other in PROVIDERS:
        if other not in family:
            code = code_of(verifier_of(provider), other.accepted[0].mint())
            assert code in ("wrong_issuer", "wrong_type", "algorithm_not_allowed")  # the header comes first


@pytest.mark.parametrize("provider", PROVIDERS, ids=name_of)
def test_a_forger_with_the_right_claims_and_the_right_kid_gets_nowhere(
    provider: Provider, verifier_of: VerifierOf
) -> None:
    token = provider.accepted[0]
    forger = rsa_key(3, token.key.kid)
    header = changed(token.header, alg="RS256")
    with pytest.raises(InvalidToken) as refused:
        verifier_of(provider).verify(minted(forger, header, token.claims))
    assert refused.value.code in ("bad_signature", "algorithm_mismatch")


@pytest.mark.parametrize("provider", PROVIDERS, ids=name_of)
def test_a_token_stays_good_for_no_longer_than_the_leeway(
    provider: Provider, verifier_of: VerifierOf
) -> None:
    token = provider.accepted[0]
    leeway = RECIPES[provider.recipe].issuer.leeway
    ended = changed(token.claims, exp=type(token.claims["exp"])(-int(leeway) - 1))
    assert code_of(verifier_of(provider), minted(token.key, token.header, ended)) == "expired"


def weakened() -> Iterator[tuple[str, str, Issuer]]:
    """Each recipe with one of its settings, pins, required claims or audiences less."""
    for provider in PROVIDERS:
        recipe = RECIPES[provider.recipe]
        options = {member.name: getattr(recipe.issuer, member.name) for member in fields(Issuer)}
        options |= {"jwks_url": None, "source": StaticSource(provider.jwks)}
        less: dict[str, dict[str, Any]] = {}
        for name in sorted(recipe.deviations - {"jwks_url", "audience"}):
            less[name] = {name: getattr(DEFAULTS, name)}
        for name, values in recipe.issuer.claims.items():
            less[f"claims, {name}"] = {
                "claims": {other: pins for other, pins in recipe.issuer.claims.items() if other != name}
            }
            for value in values if len(values) > 1 else ():
                without_it = tuple(other for other in values if other != value)
                less[f"claims, {name}, {value}"] = {"claims": {**recipe.issuer.claims, name: without_it}}
        for member in sorted(recipe.deviations & {"required_claims", "scope_claims"} | {"audience"}):
            values = getattr(recipe.issuer, member)
            for value in values if len(values) > 1 else ():
                less[f"{member}, {value}"] = {member: tuple(other for other in values if other != value)}
        for what, change in less.items():
            with contextlib.suppress(ConfigurationError):  # a setting that another one asks for
                yield provider.recipe, what, Issuer(**{**options, **change})


LESS = [pytest.param(recipe, issuer, id=f"{recipe} less {what}") for recipe, what, issuer in weakened()]


@pytest.mark.parametrize(("recipe", "issuer"), LESS)
def test_nothing_in_a_recipe_is_there_for_nothing(recipe: str, issuer: Issuer) -> None:
    """Whatever is taken away, one of the tokens above is judged otherwise."""
    (provider,) = [provider for provider in PROVIDERS if provider.recipe == recipe]
    verifier = Verifier([issuer])
    assert any(_misjudged(verifier, token) for token in (*provider.accepted, *provider.refused))


def _misjudged(verifier: Verifier, token: Accepted | Refused) -> bool:
    try:
        verified = verifier.verify(token.mint())
    except InvalidToken as error:
        return isinstance(token, Accepted) or error.code != token.code
    return isinstance(token, Refused) or (verified.scopes, verified.tenant) != (token.scopes, token.tenant)


def test_all_recipes_serve_side_by_side(authority: Authority) -> None:
    """Those of different issuers, in one verifier, each token by its own rules."""
    chosen: dict[str, Provider] = {}
    for provider in PROVIDERS:
        chosen.setdefault(RECIPES[provider.recipe].issuer.issuer, provider)
    documents = {url: document for p in PROVIDERS for url, document in p.documents.items()}
    with Internet(documents, authority) as internet:
        issuers = [internet.brought_here(RECIPES[p.recipe].issuer) for p in chosen.values()]
        verifier = Verifier(issuers, policy=POLICY)
        for provider in chosen.values():
            if provider.recipe == "entra_multi_tenant":
                continue  # its template stands behind the exact issuer of `entra`, see below
            for token in provider.accepted:
                assert verifier.verify(token.mint()).subject == token.subject
        elsewhere = next(p for p in PROVIDERS if p.recipe == "entra_multi_tenant").accepted[0]
        assert verifier.verify(elsewhere.mint()).tenant == elsewhere.tenant
        verifier.close()
