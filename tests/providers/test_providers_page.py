"""docs/providers.md: every recipe is described, every description has its recipe, and the tables are true."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from internet import Authority, Internet
from provider import Provider
from recipes import (
    INTRODUCTION,
    KUBERNETES,
    RECIPES,
    TEXT,
    Recipe,
    blocks,
    code_in,
    issuers_in,
    rows,
    sections,
)
from shapes import BY_SECTION, PROVIDERS
from shapes.cloudflare_access import DEFAULT as ACCESS
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from skeldir_jwt_mw import Issuer, Verifier, settings

EVERY_RECIPE = pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)


def test_every_recipe_is_tested_and_every_test_has_a_recipe() -> None:
    assert list(RECIPES) == [provider.recipe for provider in PROVIDERS]


def test_every_section_is_a_providers() -> None:
    assert list(sections()) == [INTRODUCTION, *BY_SECTION, KUBERNETES]
    for section, providers in BY_SECTION.items():
        assert [r.name for r in RECIPES.values() if r.section == section] == [p.recipe for p in providers]


def test_the_list_at_the_top_names_them_all() -> None:
    top = re.findall(r"^\| \[(.+?)\]\(#.+?\) \| (.+?) \| (.+?) \|", TEXT.partition("\n## ")[0], re.MULTILINE)
    told = {name: code_in(recipes) for name, recipes, _ in top}
    assert told == {name: [p.recipe for p in providers] for name, providers in BY_SECTION.items()}
    for name, _, keys in top:
        urls = {RECIPES[p.recipe].issuer.jwks_url is not None for p in BY_SECTION[name]}
        assert keys == {(False,): "discovery", (True,): "a URL"}.get(tuple(urls), "discovery, or a URL")


@EVERY_RECIPE
def test_the_shell_block_says_the_same(recipe: Recipe) -> None:
    environment = recipe.environment()
    assert settings.parse_environ(environment).issuers == (recipe.issuer,)
    assert list(Verifier.from_env(environment).status()) == [recipe.issuer.issuer]


@EVERY_RECIPE
def test_the_json_is_also_what_a_dict_of_settings_holds(recipe: Recipe) -> None:
    for configured in recipe.dictionaries():
        assert issuers_in(configured) == (recipe.issuer,)


@EVERY_RECIPE
def test_no_recipe_loosens_what_guards_the_fetch(recipe: Recipe) -> None:
    assert not recipe.deviations & {"allow_http", "allow_private_hosts", "algorithms", "ignored_headers"}


@pytest.mark.parametrize("section", BY_SECTION)
def test_every_deviation_from_the_defaults_has_its_reason(section: str) -> None:
    told = [
        (code_in(row["recipe"])[0], code_in(row["setting"])[0])
        for row in rows(section, "recipe", "setting", "reason")
    ]
    assert len(told) == len(set(told))
    made = {
        (recipe.name, setting)
        for recipe in RECIPES.values()
        if recipe.section == section
        for setting in recipe.deviations
    }
    assert set(told) == made


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.recipe)
def test_the_page_lists_the_members_that_the_tested_token_has(provider: Provider) -> None:
    table = rows(RECIPES[provider.recipe].section, "recipe", "header", "claims", "key")
    (row,) = [row for row in table if code_in(row["recipe"]) == [provider.recipe]]
    token = provider.accepted[0]
    assert code_in(row["header"]) == list(token.header)
    assert sorted(code_in(row["claims"])) == sorted(token.claims)
    (jwk,) = [jwk for jwk in provider.jwks["keys"] if jwk["kid"] == token.key.kid]
    assert code_in(row["key"]) == list(jwk)


@pytest.mark.parametrize("section", BY_SECTION)
def test_every_section_tells_of_scopes_traps_and_keys(section: str) -> None:
    assert re.findall(r"^- \*\*(.+?)\.\*\*", sections()[section], re.MULTILINE) == [
        "Scopes and tenant",
        "Traps",
        "Keys",
    ]


def test_the_introductions_example_makes_a_verifier() -> None:
    ((language, code),) = blocks(INTRODUCTION)
    assert language == "python"
    scene: dict[str, Any] = {name: recipe.issuer for name, recipe in RECIPES.items()}
    exec(code, scene)
    issuers = [RECIPES[name].issuer.issuer for name in ("auth0", "github_actions")]
    assert list(scene["verifier"].status()) == issuers


def test_no_block_of_code_is_left_unread() -> None:
    read = {recipe.shell for recipe in RECIPES.values()}
    unread = [
        (section, code.splitlines()[0])
        for section in BY_SECTION
        for language, code in blocks(section)
        if code not in read and " = Issuer" not in code
    ]
    assert unread == [("Cloudflare Access", "from skeldir_jwt_mw import Verifier")]


def test_the_middleware_for_cloudflare_reads_the_header_and_nothing_else(authority: Authority) -> None:
    code = next(c for _, c in blocks("Cloudflare Access") if "token_getter" in c)
    with Internet(ACCESS.documents, authority) as internet:
        issuer = internet.brought_here(RECIPES["cloudflare_access"].issuer)
        answers = _answers_of(code, issuer, ACCESS.accepted[0].mint())
    assert answers == {"Cf-Access-Jwt-Assertion": 200, "Authorization": 401, "Cookie": 401}


def _answers_of(code: str, issuer: Issuer, token: str) -> dict[str, int]:
    """The status of a request that carries the token in each of these places."""

    async def orders(request: Any) -> PlainTextResponse:
        return PlainTextResponse(request.user.display_name)

    app = Starlette(routes=[Route("/orders", orders)])
    scene: dict[str, Any] = {"app": app, "cloudflare_access": issuer}
    exec(code, scene)
    scene["verifier"].warm()
    places = {
        "Cf-Access-Jwt-Assertion": token,
        "Authorization": f"Bearer {token}",
        "Cookie": f"CF_Authorization={token}",
    }
    answers = {name: asyncio.run(_status(app, name, value)) for name, value in places.items()}
    scene["verifier"].close()
    return answers


async def _status(app: Any, name: str, value: str) -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "server": ("localhost", 443),
        "path": "/orders",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode())],
    }
    await app(scope, receive, send)
    return int(sent[0]["status"])
