"""Clerk: session tokens of version 2, which live for a minute and name no audience."""

from __future__ import annotations

from dataclasses import replace

from provider import Accepted, In, Provider, Refused, changed, near, rsa_key

ISSUER = "https://clerk.example.com"
JWKS_URL = f"{ISSUER}/.well-known/jwks.json"
APP, ADMIN = "https://app.example.com", "https://admin.example.com"

KEY = rsa_key(0, "ins_37gTt6cGHQSQTzK1SsVdVsUrVGW")

JWKS = {
    "keys": [{"use": "sig", "kty": "RSA", "kid": KEY.kid, "alg": "RS256", "n": KEY.jwk()["n"], "e": "AQAB"}]
}
DOCUMENTS = {JWKS_URL: JWKS}

HEADER = {"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": KEY.kid, "typ": "JWT"}
CLAIMS = {
    "azp": APP,
    "exp": In(60),
    "fea": "u:articles",
    "fva": [7, -1],
    "iat": In(0),
    "iss": ISSUER,
    "jti": "1b3f5a7c9d1e3f5a7b9c",
    "nbf": In(-10),
    "pla": "u:free",
    "sid": "sess_2WbAU55kQWm3CkmYrHWkcXoMmqY",
    "sts": "active",
    "sub": "user_37jAIdMFr4gzT466LyJEhpchQMa",
    "v": 2,
}

USER = Accepted(
    what="a user's session token",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="user_37jAIdMFr4gzT466LyJEhpchQMa",
)


def in_admin(token: Accepted) -> Accepted:
    """The same user in the other application."""
    return replace(token, what="a token of the other application", claims=changed(token.claims, azp=ADMIN))


def near_misses(token: Accepted) -> tuple[Refused, ...]:
    """What comes close to a session token, of whichever kind."""
    return (
        near(token, "another application of the domain", "claim_mismatch", azp="https://blog.example.com"),
        near(token, "the application's origin with a slash", "claim_mismatch", azp=f"{APP}/"),
        near(token, "a token of a request without Origin", "missing_claim", "azp"),
        near(token, "a session with something left to do", "claim_mismatch", sts="pending"),
        near(token, "a token of version 1", "missing_claim", "sts", "v"),
        near(token, "a token of a JWT template with aud", "wrong_audience", aud="https://orders.example.com"),
        near(token, "a token without its session", "missing_claim", "sid"),
        near(token, "the development instance", "wrong_issuer", iss="https://sure-cat-7.clerk.accounts.dev"),
        near(token, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
        near(token, "a token ten seconds after its end", "expired", exp=In(-10)),
        Refused(
            what="a token under another instance's kid",
            code="unknown_kid",
            key=rsa_key(1, "ins_2other"),
            header=changed(HEADER, kid="ins_2other"),
            claims=token.claims,
        ),
        near(token, "a token without its user", "missing_claim", "sub"),
    )


DEFAULT = Provider(
    recipe="clerk", documents=DOCUMENTS, accepted=(USER, in_admin(USER)), refused=near_misses(USER)
)

MEMBER = Accepted(
    what="a session token in an active organization",
    key=KEY,
    header=HEADER,
    claims=changed(
        CLAIMS,
        pla="u:free,o:pro",
        fea="u:articles,o:orders",
        o={"id": "org_2Wg5", "slg": "acme", "rol": "admin", "per": "read,manage", "fpm": "3,2"},
    ),
    subject=USER.subject,
    scopes=frozenset({"admin"}),
    tenant="org_2Wg5",
)
ORGANIZATIONS = Provider(
    recipe="clerk_organizations",
    documents=DOCUMENTS,
    accepted=(MEMBER, in_admin(MEMBER)),
    refused=(
        near(MEMBER, "a user without an active organization", "bad_tenant", "o"),
        *near_misses(MEMBER),
    ),
)

PROVIDERS = (DEFAULT, ORGANIZATIONS)
