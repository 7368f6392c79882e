"""Okta: access tokens of a custom authorization server, and ID tokens of the org's own."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, changed, near, rsa_key, without

ORG = "https://example.okta.com"
ISSUER = f"{ORG}/oauth2/default"
CLIENT = "0oa1b2c3d4E5f6G7h8i9"

KEY = rsa_key(0, "U5R8cHbGw445Qbq8zVO1PcCpXL8yG6IcovVa3laCoxM")
ORG_KEY, INTERNAL_KEY = (
    rsa_key(1, "fAomAvsWyAWDlnBuJbHoqqCRcRdmsg4vri0OICxbIgs"),
    rsa_key(2, "ZkvelLN_seik7w4pc"),
)


def jwks(key_number: int, kid: str) -> dict[str, object]:
    """The keys of one authorization server."""
    key = rsa_key(key_number, kid)
    return {
        "keys": [{"kty": "RSA", "alg": "RS256", "kid": kid, "use": "sig", "e": "AQAB", "n": key.jwk()["n"]}]
    }


def metadata(issuer: str, endpoints: str) -> dict[str, object]:
    """The org's server has no /oauth2 in its name, and has it in its endpoints."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{endpoints}/v1/authorize",
        "token_endpoint": f"{endpoints}/v1/token",
        "userinfo_endpoint": f"{endpoints}/v1/userinfo",
        "registration_endpoint": f"{ORG}/oauth2/v1/clients",
        "jwks_uri": f"{endpoints}/v1/keys",
        "response_types_supported": ["code", "id_token", "code id_token", "code token"],
        "response_modes_supported": ["query", "fragment", "form_post", "okta_post_message"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "claims_supported": ["iss", "ver", "sub", "aud", "iat", "exp", "jti", "auth_time", "amr", "idp"],
        "code_challenge_methods_supported": ["S256"],
        "introspection_endpoint": f"{endpoints}/v1/introspect",
        "revocation_endpoint": f"{endpoints}/v1/revoke",
        "end_session_endpoint": f"{endpoints}/v1/logout",
        "request_parameter_supported": True,
        "dpop_signing_alg_values_supported": ["RS256", "ES256"],
    }


HEADER = {"kid": KEY.kid, "alg": "RS256"}
CLAIMS = {
    "ver": 1,
    "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
    "iss": ISSUER,
    "aud": "api://default",
    "iat": In(-5),
    "exp": In(3600),
    "cid": CLIENT,
    "uid": "00uid4BxXw6I6TV4m0g3",
    "scp": ["openid", "orders:read"],
    "auth_time": In(-60),
    "sub": "ada@example.com",
}
ID_CLAIMS = {
    "sub": "00uid4BxXw6I6TV4m0g3",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "ver": 1,
    "iss": ORG,
    "aud": CLIENT,
    "iat": In(-5),
    "exp": In(3600),
    "jti": "ID.radCQMOQUmyvcTBmmIL0J6BaS60apUEiC7-vI7pOmkw",
    "amr": ["pwd"],
    "idp": "00oid4BxXw6I6TV4m0g3",
    "preferred_username": "ada@example.com",
    "auth_time": In(-60),
    "at_hash": "fPlsvVszI29LU2UhDyJ9vg",
}

USER = Accepted(
    what="a user's token",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="ada@example.com",
    scopes=frozenset({"openid", "orders:read"}),
)
CUSTOM = Provider(
    recipe="okta",
    documents={
        f"{ISSUER}/.well-known/openid-configuration": metadata(ISSUER, ISSUER),
        f"{ISSUER}/v1/keys": jwks(0, KEY.kid),
    },
    accepted=(
        USER,
        Accepted(
            what="a machine's token, whose subject is its client",
            key=KEY,
            header=HEADER,
            claims=changed(without(CLAIMS, "uid", "auth_time"), sub=CLIENT, scp=["orders:read"]),
            subject=CLIENT,
            scopes=frozenset({"orders:read"}),
        ),
    ),
    refused=(
        Refused(
            what="the ID token of the same server",
            code="wrong_audience",
            key=KEY,
            header=HEADER,
            claims=changed(ID_CLAIMS, iss=ISSUER),
        ),
        near(USER, "a token of the org's own server", "wrong_issuer", iss=ORG, aud=ORG),
        near(USER, "another authorization server", "wrong_issuer", iss=f"{ORG}/oauth2/aus9o8wzkhckw9TLa0h7"),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
        near(USER, "another org", "wrong_issuer", iss="https://another.okta.com/oauth2/default"),
        near(USER, "a token for another audience", "wrong_audience", aud="api://stock"),
        near(USER, "a token without its client", "missing_claim", "cid"),
    ),
)

SIGNED_IN = Accepted(
    what="an ID token",
    key=ORG_KEY,
    header={"kid": ORG_KEY.kid, "alg": "RS256"},
    claims=ID_CLAIMS,
    subject=ID_CLAIMS["sub"],
)
ORG_ACCESS = changed(CLAIMS, iss=ORG, aud=ORG, scp=["openid", "profile"])
ID_TOKENS = Provider(
    recipe="okta_id_tokens",
    documents={
        f"{ORG}/.well-known/openid-configuration": metadata(ORG, f"{ORG}/oauth2"),
        f"{ORG}/oauth2/v1/keys": jwks(1, ORG_KEY.kid),
    },
    accepted=(SIGNED_IN,),
    refused=(
        Refused(
            what="the org's access token",
            code="wrong_type",
            key=ORG_KEY,
            header={"kid": ORG_KEY.kid, "typ": "application/okta-internal-at+jwt", "alg": "RS256"},
            claims=ORG_ACCESS,
        ),
        Refused(
            what="the org's access token as it was before 2024, under a key that is not published",
            code="wrong_audience",
            key=INTERNAL_KEY,
            header={"kid": INTERNAL_KEY.kid, "alg": "RS256"},
            claims=ORG_ACCESS,
        ),
        near(SIGNED_IN, "another client's ID token", "wrong_audience", aud="0oaANOTHER"),
        near(SIGNED_IN, "an ID token of a custom server", "wrong_issuer", iss=ISSUER),
        near(SIGNED_IN, "the issuer with a slash", "wrong_issuer", iss=f"{ORG}/"),
        near(SIGNED_IN, "a token without its subject", "missing_claim", "sub"),
    ),
)

PROVIDERS = (CUSTOM, ID_TOKENS)
