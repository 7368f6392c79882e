"""Remembered tokens: what is remembered, what is judged anew, and when it is forgotten."""

from __future__ import annotations

import time
from typing import Any

import pytest
from token_shapes import no_tokens, shapes
from verifying import Ask, MakeVerifier, issuer_of, outage, policy_of, refusal, snapshot_of

from skeldir_jwt_mw import InsufficientScope, Verifier, token_cache
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey
from skeldir_jwt_mw.token_cache import Remembered, TokenCache


class CountedKeys:
    """Counts the signature checks of a verifier's keys."""

    def __init__(self, verifier: Verifier) -> None:
        self.checks = 0
        for binding in snapshot_of(verifier).bindings.values():
            object.__setattr__(binding.key, "verify", self._counting(binding.key.verify))

    def _counting(self, verify: Any) -> Any:
        def counted(signature: bytes, signing_input: bytes) -> bool:
            self.checks += 1
            return bool(verify(signature, signing_input))

        return counted


@pytest.fixture
def verifier(idp: LoopbackIssuer, make: MakeVerifier) -> Verifier:
    verifier = make(issuer_of(idp), token_cache=100)
    verifier.verify(idp.token())
    return verifier


def remembered(verifier: Verifier) -> int:
    assert verifier._verification.cache is not None
    return len(verifier._verification.cache._entries)


def test_a_remembered_token_is_equal_and_its_signature_is_checked_once(
    idp: LoopbackIssuer, verifier: Verifier, ask: Ask
) -> None:
    counted = CountedKeys(verifier)
    raw = idp.token(sub="user-7", claims={"nested": {"list": [1]}})
    first = ask(verifier, raw)
    again = [ask(verifier, raw), ask(verifier, raw.encode())]
    assert all(token == first for token in again)
    assert all((token.claims, token.generation) == (first.claims, first.generation) for token in again)
    assert counted.checks == 1


def test_without_a_cache_every_signature_is_checked(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp))
    raw = idp.token()
    verifier.verify(raw)
    counted = CountedKeys(verifier)
    verifier.verify(raw)
    verifier.verify(raw)
    assert counted.checks == 2


def test_a_refused_token_is_not_remembered(idp: LoopbackIssuer, verifier: Verifier) -> None:
    raw = idp.token()
    spoilt = raw[:-6] + ("AAAAAA" if not raw.endswith("AAAAAA") else "BBBBBA")
    before = remembered(verifier)
    for bad in (spoilt, idp.token(expires_in=-60), idp.token(aud="billing-api"), idp.stranger_token()):
        for _ in range(2):
            refusal(verifier, bad)
    assert remembered(verifier) == before


def test_another_signature_over_the_same_claims_is_another_token(
    idp: LoopbackIssuer, verifier: Verifier
) -> None:
    raw = idp.token()
    verifier.verify(raw)
    head, _, signature = raw.rpartition(".")
    assert refusal(verifier, f"{head}.{signature[::-1][1:]}A") in ("bad_signature", "malformed")


def test_scopes_are_judged_on_every_hit(idp: LoopbackIssuer, verifier: Verifier, ask: Ask) -> None:
    raw = idp.token(scopes=("orders:read",))
    ask(verifier, raw, ("orders:read",))
    with pytest.raises(InsufficientScope):
        ask(verifier, raw, ("orders:write",))
    assert ask(verifier, raw, ("orders:read",)).subject == "user-1"


def test_a_remembered_token_expires_on_time(idp: LoopbackIssuer, make: MakeVerifier, ask: Ask) -> None:
    verifier = make(issuer_of(idp, leeway=0.0), token_cache=100)
    verifier.warm()
    raw = idp.token(claims={"exp": time.time() + 0.4})
    ask(verifier, raw)
    ask(verifier, raw)
    time.sleep(0.45)
    assert refusal(verifier, raw, ask) == "expired"


def test_leeway_counts_for_remembered_tokens_too(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp, leeway=60.0), token_cache=100)
    raw = idp.token(expires_in=-30)
    counted = None
    for _ in range(3):
        assert verifier.verify(raw).subject == "user-1"
        counted = counted or CountedKeys(verifier)
    assert counted is not None
    assert counted.checks == 0


def test_a_clock_that_steps_back_makes_a_remembered_token_early_again(
    idp: LoopbackIssuer, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = idp.token(nbf=int(time.time()))
    verifier.verify(raw)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    assert refusal(verifier, raw) in ("not_yet_valid", "issued_in_future")


def test_nested_claims_are_not_shared(idp: LoopbackIssuer, verifier: Verifier, ask: Ask) -> None:
    raw = idp.token(claims={"roles": ["reader"], "realm": {"groups": ["a"]}})
    for _ in range(3):
        token = ask(verifier, raw)
        assert token.claims["roles"] == ["reader"]
        assert token.claims["realm"] == {"groups": ["a"]}
        token.claims["roles"].append("admin")
        token.claims["realm"]["groups"].append("b")


def test_a_removed_key_forgets_what_it_verified(idp: LoopbackIssuer, verifier: Verifier, ask: Ask) -> None:
    raw = idp.token()
    ask(verifier, raw)
    idp.rotate(keep_previous=False)
    verifier.refresh()
    assert refusal(verifier, raw, ask) == "unknown_kid"


def test_a_changed_document_has_every_token_verified_anew(idp: LoopbackIssuer, verifier: Verifier) -> None:
    raw = idp.token()
    first = verifier.verify(raw)
    idp.rotate()
    verifier.refresh()
    again = verifier.verify(raw)
    assert again == first
    assert again.generation > first.generation


def test_an_unchanged_document_forgets_nothing(idp: LoopbackIssuer, verifier: Verifier) -> None:
    raw = idp.token()
    first = verifier.verify(raw)
    counted = CountedKeys(verifier)
    verifier.refresh()
    again = verifier.verify(raw)
    assert counted.checks == 0
    assert again.generation > first.generation


def test_expired_keys_vouch_for_no_remembered_token(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    policy = policy_of(refresh_interval=0.2, check_interval=0.1, floor=0.1, max_stale=0.4, backoff_base=9.0)
    verifier = make(issuer_of(idp), token_cache=100, policy=policy)
    raw = idp.token()
    verifier.verify(raw)
    idp.down()
    time.sleep(0.5)
    assert outage(verifier, raw).reason == "failed"


def test_remembered_tokens_alone_keep_the_schedule_going(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    policy = policy_of(refresh_interval=0.2, check_interval=0.1, floor=0.1)
    verifier = make(issuer_of(idp), token_cache=100, policy=policy)
    raw = idp.token()
    ends = time.monotonic() + 0.6
    while time.monotonic() < ends:
        verifier.verify(raw)
        time.sleep(0.01)
    assert idp.fetches >= 2


def test_the_size_is_bounded_and_the_oldest_goes_first(idp: LoopbackIssuer, make: MakeVerifier) -> None:
    verifier = make(issuer_of(idp), token_cache=3)
    tokens = [idp.token(sub=f"user-{number}") for number in range(5)]
    for raw in tokens:
        verifier.verify(raw)
    assert remembered(verifier) == 3
    counted = CountedKeys(verifier)
    for raw in tokens[2:]:
        verifier.verify(raw)
    assert counted.checks == 0
    verifier.verify(tokens[0])
    assert counted.checks == 1
    assert remembered(verifier) == 3


def test_set_issuers_forgets_everything(idp: LoopbackIssuer, verifier: Verifier, ask: Ask) -> None:
    raw = idp.token()
    ask(verifier, raw)
    verifier.set_issuers(issuer_of(idp, audience="billing-api"))
    assert remembered(verifier) == 0
    assert refusal(verifier, raw, ask) == "wrong_audience"
    for number in range(101):
        ask(verifier, idp.token(aud="billing-api", sub=f"user-{number}"))
    assert remembered(verifier) == 100


def test_no_token_is_kept_in_the_cache(idp: LoopbackIssuer, verifier: Verifier) -> None:
    raw = idp.token()
    verifier.verify(raw)
    assert verifier._verification.cache is not None
    assert all(len(key) == 32 and key not in raw.encode() for key in verifier._verification.cache._entries)


@pytest.mark.parametrize("kind", [str, str.encode])
def test_what_is_too_long_is_not_looked_up(
    verifier: Verifier, ask: Ask, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    looked_up: list[bytes] = []
    monkeypatch.setattr(token_cache, "sha256", looked_up.append)
    assert refusal(verifier, kind("a" * 20_000), ask) == "too_large"
    assert looked_up == []


@pytest.mark.parametrize("name", [*no_tokens("x"), *list(shapes("x", "x"))[2:]])
def test_the_cache_itself_looks_up_nothing_but_an_exact_str_or_bytes(
    idp: LoopbackIssuer, verifier: Verifier, name: str
) -> None:
    raw = idp.token()
    verifier.verify(raw)
    cache = verifier._verification.cache
    assert cache is not None
    before = dict(cache._entries)
    entry = next(iter(before.values()))
    thing = {**no_tokens(raw), **shapes(raw, raw)}[name]
    for ask in (cache.recall, lambda odd: cache.remember(odd, entry)):
        with pytest.raises(TypeError, match="exact str or bytes"):
            ask(thing)
    assert cache._entries == before
    assert cache.recall(raw) is not None


@pytest.mark.parametrize("name", no_tokens("x"))
def test_what_is_no_token_is_none_after_a_good_one_came_in_every_shape(
    idp: LoopbackIssuer, verifier: Verifier, ask: Ask, name: str
) -> None:
    raw = idp.token()
    for shape in shapes(raw, raw).values():
        ask(verifier, shape)
    assert refusal(verifier, no_tokens(raw)[name], ask) == "malformed"


def refusals(verifier: Verifier, raw: str, lie: str, ask: Ask) -> set[str]:
    """The codes with which a token is refused in all of its shapes, some of which say that they are `lie`."""
    return {refusal(verifier, shape, ask) for shape in shapes(raw, lie).values()}


def test_no_shape_of_a_bad_token_is_remembered_or_taken_for_the_good_one(
    idp: LoopbackIssuer, verifier: Verifier, ask: Ask
) -> None:
    good = idp.token()
    for shape in shapes(good, good).values():
        ask(verifier, shape)
    before = remembered(verifier)
    for bad, code in (
        (idp.token(expires_in=-60), "expired"),
        (idp.token(aud="billing-api"), "wrong_audience"),
        (idp.token(key=SigningKey.generate(kid=idp.kids[0])), "bad_signature"),
        (good.replace(".", "..", 1), "malformed"),
    ):
        for _ in range(2):
            assert refusals(verifier, bad, good, ask) == {code}
    assert remembered(verifier) == before


def test_every_shape_of_a_remembered_token_ends_with_the_token(
    idp: LoopbackIssuer, verifier: Verifier, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = idp.token(expires_in=60), idp.token(expires_in=3600)
    for shape in (*shapes(short, long).values(), *shapes(long, short).values()):
        ask(verifier, shape)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 120)
    assert refusals(verifier, short, long, ask) == {"expired"}
    assert all(ask(verifier, shape).expires_at > now + 120 for shape in shapes(long, short).values())


def test_every_shape_of_a_remembered_token_ends_with_its_key(
    idp: LoopbackIssuer, verifier: Verifier, ask: Ask
) -> None:
    old = idp.token()
    for shape in shapes(old, old).values():
        ask(verifier, shape)
    idp.rotate(keep_previous=False)
    verifier.refresh()
    new = idp.token()
    ask(verifier, new)
    assert refusals(verifier, old, new, ask) == {"unknown_kid"}


NARROWER: dict[str, tuple[dict[str, Any], str]] = {
    "another audience": ({"audience": "billing-api"}, "wrong_audience"),
    "another issuer": ({"issuer": "https://login.example.com/"}, "wrong_issuer"),
    "other algorithms": ({"algorithms": ("EdDSA", "RS256")}, "algorithm_not_allowed"),
    "one type": ({"token_types": ("at+jwt",)}, "wrong_type"),
    "headers refused": ({"ignored_headers": ()}, "unsupported_header"),
    "a pin": ({"claims": {"sub": "somebody-else"}}, "claim_mismatch"),
    "a required claim": ({"required_claims": ("amr",)}, "missing_claim"),
    "a tenant": ({"tenant_claim": "tid"}, "bad_tenant"),
    "other scopes": ({"scope_claims": ("sub_scopes", "nested")}, "bad_scope"),
    "less leeway": ({"leeway": 0.0}, "expired"),
}


@pytest.mark.parametrize("narrower", NARROWER)
def test_no_shape_of_a_remembered_token_outlives_narrower_rules(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, narrower: str
) -> None:
    wide = {"ignored_headers": ("x5c",), "leeway": 120.0}
    verifier = make(issuer_of(idp, **wide), token_cache=100)
    raw = idp.token(expires_in=-5, header={"typ": "JWT", "x5c": ["MIIB"]}, claims={"nested": {}})
    for shape in shapes(raw, raw).values():
        ask(verifier, shape)
    options, code = NARROWER[narrower]
    verifier.set_issuers(issuer_of(idp, **{**wide, **options}))
    for _ in range(2):
        assert refusals(verifier, raw, raw, ask) == {code}
    verifier.set_issuers(issuer_of(idp, **wide))
    assert ask(verifier, raw).subject == "user-1"


def test_what_was_verified_under_the_old_rules_is_not_remembered_under_the_new(
    idp: LoopbackIssuer, verifier: Verifier, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules are replaced when the token is verified and not yet remembered."""
    cache, raw = verifier._verification.cache, idp.token()
    assert cache is not None

    def overtaken(raw: str | bytes, entry: Remembered) -> None:
        verifier.set_issuers(issuer_of(idp, audience="billing-api"))
        TokenCache.remember(cache, raw, entry)

    monkeypatch.setattr(cache, "remember", overtaken)
    ask(verifier, raw)
    assert refusals(verifier, raw, raw, ask) == {"wrong_audience"}


@pytest.mark.parametrize("rubbish", [None, 5, "", b"", "\ud800", ["x"]])
def test_rubbish_is_looked_up_without_harm(rubbish: Any, verifier: Verifier, ask: Ask) -> None:
    assert refusal(verifier, rubbish, ask) == "malformed"
