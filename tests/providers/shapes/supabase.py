"""Supabase Auth: a user's tokens under the project's asymmetric signing keys."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, changed, near, without

from skeldir_jwt_mw.testing import SigningKey

ISSUER = "https://abcdefghijklmnopqrst.supabase.co/auth/v1"
JWKS_URL = f"{ISSUER}/.well-known/jwks.json"

KEY = SigningKey.generate("ES256", kid="2f8b0ae7-873d-4eb1-b3f9-2a2e3cb1756a")
STANDBY = SigningKey.generate("ES256", kid="78abda78-683e-480c-9111-a8f320011550")


def jwk(key: SigningKey) -> dict[str, object]:
    """A key as Supabase lists it, with the members that browsers' cryptography writes."""
    made = key.jwk()
    return {
        "alg": "ES256",
        "crv": "P-256",
        "ext": True,
        "key_ops": ["verify"],
        "kid": key.kid,
        "kty": "EC",
        "use": "sig",
        "x": made["x"],
        "y": made["y"],
    }


DOCUMENTS = {JWKS_URL: {"keys": [jwk(KEY), jwk(STANDBY)]}}

HEADER = {"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}
CLAIMS = {
    "aal": "aal1",
    "amr": [{"method": "password", "timestamp": 1640991600}],
    "app_metadata": {"provider": "email", "providers": ["email"]},
    "aud": "authenticated",
    "email": "ada@example.com",
    "exp": In(3600),
    "iat": In(-5),
    "is_anonymous": False,
    "iss": ISSUER,
    "phone": "",
    "role": "authenticated",
    "session_id": "123e4567-e89b-12d3-a456-426614174000",
    "sub": "3f333df6-90a4-4fda-8dd3-9485d27cee36",
    "user_metadata": {"name": "Ada Lovelace"},
}
API_KEY = {
    "iss": "supabase",
    "ref": "abcdefghijklmnopqrst",
    "role": "service_role",
    "iat": In(-5),
    "exp": In(315360000),
}

USER = Accepted(
    what="a user's token",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="3f333df6-90a4-4fda-8dd3-9485d27cee36",
)
DEFAULT = Provider(
    recipe="supabase",
    documents=DOCUMENTS,
    accepted=(
        USER,
        Accepted(
            what="a token after the rotation to the standby key",
            key=STANDBY,
            header=changed(HEADER, kid=STANDBY.kid),
            claims=CLAIMS,
            subject=USER.subject,
        ),
        Accepted(
            what="a token whose aud is a list",
            key=KEY,
            header=HEADER,
            claims=changed(CLAIMS, aud=["authenticated"]),
            subject=USER.subject,
        ),
    ),
    refused=(
        Refused(
            what="a user's token under the legacy secret",
            code="algorithm_not_allowed",
            key=KEY,
            header={"alg": "HS256", "typ": "JWT"},
            claims=CLAIMS,
        ),
        Refused(
            what="the legacy service_role key",
            code="algorithm_not_allowed",
            key=KEY,
            header={"alg": "HS256", "typ": "JWT"},
            claims=API_KEY,
        ),
        near(USER, "another role", "claim_mismatch", role="service_role"),
        near(USER, "an anonymous sign-in", "claim_mismatch", is_anonymous=True),
        near(USER, "a token that does not say whether it is anonymous", "missing_claim", "is_anonymous"),
        near(USER, "an audience of nobody", "wrong_audience", aud="anon"),
        near(USER, "another project", "wrong_issuer", iss=ISSUER.replace("abc", "xyz")),
        near(USER, "the project's URL alone", "wrong_issuer", iss=ISSUER.removesuffix("/auth/v1")),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
    ),
)

TENANT = Accepted(
    what="a token of a user whom the server gave a tenant, after a second factor",
    key=KEY,
    header=HEADER,
    claims=changed(
        CLAIMS,
        aal="aal2",
        app_metadata={"provider": "email", "providers": ["email"], "tenant_id": "acme", "roles": ["admin"]},
    ),
    subject=USER.subject,
    scopes=frozenset({"admin"}),
    tenant="acme",
)
TENANTS = Provider(
    recipe="supabase_tenants",
    documents=DOCUMENTS,
    accepted=(TENANT,),
    refused=(
        near(TENANT, "a user without a tenant", "bad_tenant", app_metadata=CLAIMS["app_metadata"]),
        near(
            TENANT,
            "a tenant that users gave themselves",
            "bad_tenant",
            "app_metadata",
            user_metadata={"tenant_id": "acme"},
        ),
        near(TENANT, "an anonymous sign-in", "claim_mismatch", is_anonymous=True),
        near(TENANT, "a session without a second factor", "claim_mismatch", aal="aal1"),
        Refused(
            what="a token of another role",
            code="claim_mismatch",
            key=KEY,
            header=HEADER,
            claims=changed(without(TENANT.claims, "role"), role="anon"),
        ),
    ),
)

PROVIDERS = (DEFAULT, TENANTS)
