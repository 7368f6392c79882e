"""The providers' hosts on loopback, one server for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from internet import POLICY, Authority, Internet, VerifierOf, hosts_of
from provider import Provider
from recipes import RECIPES
from shapes import PROVIDERS

from skeldir_jwt_mw import Verifier


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    hosts = {host for provider in PROVIDERS for host in hosts_of(provider.documents)}
    return Authority(tmp_path_factory.mktemp("authority"), hosts)


@pytest.fixture(scope="session")
def verifier_of(authority: Authority) -> Iterator[VerifierOf]:
    """The verifier of a recipe, the same one for all tests of the provider."""
    documents = {url: document for p in PROVIDERS for url, document in p.documents.items()}
    made: dict[str, Verifier] = {}
    with Internet(documents, authority) as internet:

        def verifier_of(provider: Provider) -> Verifier:
            if provider.recipe not in made:
                issuer = internet.brought_here(RECIPES[provider.recipe].issuer)
                made[provider.recipe] = Verifier([issuer], policy=POLICY)
            return made[provider.recipe]

        yield verifier_of
        for verifier in made.values():
            verifier.close()
