"""Auth0: access tokens for an API of the tenant, in both of its profiles."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, certificate, changed, near, rsa_key, without

ISSUER = "https://example.eu.auth0.com/"
API = "https://orders.example.com/api"
CLIENT = "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja"

KEY, NEXT = rsa_key(0, "NEM1NjI3RTBCMDQ4QkE1RTQ4OUM4"), rsa_key(1, "yEI60TJkIYQ6DEgUgTQdr")

JWKS = {
    "keys": [
        {
            "kty": "RSA",
            "use": "sig",
            "n": key.jwk()["n"],
            "e": "AQAB",
            "kid": key.kid,
            "x5t": certificate(number).x5t,
            "x5c": certificate(number).x5c,
            "alg": "RS256",
        }
        for number, key in enumerate((KEY, NEXT))
    ]
}
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}authorize",
    "token_endpoint": f"{ISSUER}oauth/token",
    "device_authorization_endpoint": f"{ISSUER}oauth/device/code",
    "userinfo_endpoint": f"{ISSUER}userinfo",
    "mfa_challenge_endpoint": f"{ISSUER}mfa/challenge",
    "jwks_uri": f"{ISSUER}.well-known/jwks.json",
    "registration_endpoint": f"{ISSUER}oidc/register",
    "revocation_endpoint": f"{ISSUER}oauth/revoke",
    "scopes_supported": ["openid", "profile", "offline_access", "email"],
    "response_types_supported": ["code", "token", "id_token", "code token", "code id_token"],
    "response_modes_supported": ["query", "fragment", "form_post"],
    "subject_types_supported": ["public"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    "claims_supported": ["aud", "auth_time", "email", "exp", "iat", "iss", "sub"],
    "request_uri_parameter_supported": False,
    "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
    "end_session_endpoint": f"{ISSUER}oidc/logout",
}
DOCUMENTS = {f"{ISSUER}.well-known/openid-configuration": METADATA, f"{ISSUER}.well-known/jwks.json": JWKS}

HEADER = {"alg": "RS256", "typ": "JWT", "kid": KEY.kid}
CLAIMS = {
    "iss": ISSUER,
    "sub": "auth0|6553da60a54af58e29493993",
    "aud": [API, f"{ISSUER}userinfo"],
    "iat": In(-5),
    "exp": In(86400),
    "scope": "openid profile read:orders",
    "azp": CLIENT,
}
ID_TOKEN = {
    "given_name": "Ada",
    "nickname": "ada",
    "name": "Ada Lovelace",
    "updated_at": "2026-01-05T11:26:53.512Z",
    "iss": ISSUER,
    "aud": CLIENT,
    "sub": CLAIMS["sub"],
    "iat": In(-5),
    "exp": In(36000),
    "sid": "OxUcJvTUhX8yLpPCZ2-gx2bcpbTMzTzw",
    "nonce": "c2hhcGVz",
}
# What comes where no audience was asked for: five parts, made for the tenant's own /userinfo.
OPAQUE = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..QR1Owv2ug2WyPBnb.i8AmGDJ3.Xo8dGsHT1fXj0a0V8v_rZA"

USER = Accepted(
    what="a user's token, from a request with openid",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="auth0|6553da60a54af58e29493993",
    scopes=frozenset({"openid", "profile", "read:orders"}),
)
MACHINE = Accepted(
    what="a machine's token, whose aud is a string",
    key=KEY,
    header=HEADER,
    claims=changed(CLAIMS, sub=f"{CLIENT}@clients", aud=API, scope="read:orders", gty="client-credentials"),
    subject=f"{CLIENT}@clients",
    scopes=frozenset({"read:orders"}),
)
AFTER_ROTATION = Accepted(
    what="a token signed by the next key, which is listed ahead",
    key=NEXT,
    header=changed(HEADER, kid=NEXT.kid),
    claims=CLAIMS,
    subject=USER.subject,
    scopes=USER.scopes,
)

DEFAULT = Provider(
    recipe="auth0",
    documents=DOCUMENTS,
    accepted=(USER, MACHINE, AFTER_ROTATION),
    refused=(
        Refused(
            what="the ID token of the same sign-in",
            code="wrong_audience",
            key=KEY,
            header=HEADER,
            claims=ID_TOKEN,
        ),
        near(USER, "a token for another API", "wrong_audience", aud="https://stock.example.com/api"),
        near(MACHINE, "the API's name with a slash", "wrong_audience", aud=f"{API}/"),
        near(USER, "the issuer without its slash", "wrong_issuer", iss=ISSUER.rstrip("/")),
        near(USER, "another tenant", "wrong_issuer", iss="https://another.eu.auth0.com/"),
        near(USER, "another region of Auth0", "wrong_issuer", iss="https://example.us.auth0.com/"),
        Refused(what="an opaque token, from a request without audience", code="encrypted", raw=OPAQUE),
        Refused(
            what="a token of an API that signs with HS256",
            code="algorithm_not_allowed",
            key=KEY,
            header={"alg": "HS256", "typ": "JWT"},
            claims=CLAIMS,
        ),
    ),
)

WITH_PERMISSIONS = Accepted(
    what="a user's token in an organization, of an API with RBAC and permissions",
    key=KEY,
    header=HEADER,
    claims=changed(CLAIMS, org_id="org_9ybsU1dN2dKfDkBi", permissions=["read:orders", "write:orders"]),
    subject=USER.subject,
    scopes=frozenset({"read:orders", "write:orders"}),
    tenant="org_9ybsU1dN2dKfDkBi",
)
ORGANIZATIONS = Provider(
    recipe="auth0_organizations",
    documents=DOCUMENTS,
    accepted=(WITH_PERMISSIONS,),
    refused=(
        near(WITH_PERMISSIONS, "a user outside of any organization", "bad_tenant", "org_id"),
        near(WITH_PERMISSIONS, "an organization that is no string", "bad_tenant", org_id=["org_9"]),
        near(WITH_PERMISSIONS, "a token for another API", "wrong_audience", aud="https://stock.example.com"),
    ),
)

STANDARD = Accepted(
    what="a token of the RFC 9068 profile",
    key=KEY,
    header=changed(HEADER, typ="at+jwt"),
    claims=changed(without(CLAIMS, "azp"), client_id=CLIENT, jti="73WakrfVbNJBaAmhQtEeDv"),
    subject=USER.subject,
    scopes=USER.scopes,
)
RFC9068 = Provider(
    recipe="auth0_rfc9068",
    documents=DOCUMENTS,
    accepted=(STANDARD,),
    refused=(
        Refused(
            what="a token of the other profile", code="wrong_type", key=KEY, header=HEADER, claims=CLAIMS
        ),
        Refused(what="the ID token", code="wrong_type", key=KEY, header=HEADER, claims=ID_TOKEN),
        near(STANDARD, "a token without its client", "missing_claim", "client_id"),
        near(STANDARD, "a token without its subject", "missing_claim", "sub"),
        near(STANDARD, "a token without its time of issue", "missing_claim", "iat"),
        near(STANDARD, "a token without its id", "missing_claim", "jti"),
        near(STANDARD, "the issuer without its slash", "wrong_issuer", iss=ISSUER.rstrip("/")),
    ),
)

PROVIDERS = (DEFAULT, ORGANIZATIONS, RFC9068)
