"""Keycloak: access tokens of a realm, with and without an audience of their own."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, certificate, changed, near, rsa_key, without

from skeldir_jwt_mw.testing import SigningKey

ISSUER = "https://sso.example.com/realms/shop"
API, CLIENT = "orders-api", "orders-web"

KEY = rsa_key(0, "Xq7vCkFtL0oS1mWz2uYp5aHdR8nBjE3gT6iKfQwMxVc")
ENCRYPTION = rsa_key(1, "b3JkZXJzLWVuY3J5cHRpb24ta2V5LW9mLXRoZS1yZWFsbQ")


def jwk(number: int, key: SigningKey, use: str, alg: str) -> dict[str, object]:
    """A key as Keycloak lists it: those for encryption, too."""
    made = certificate(number)
    return {
        "kid": key.kid,
        "kty": "RSA",
        "alg": alg,
        "use": use,
        "x5c": made.x5c,
        "x5t": made.x5t,
        "x5t#S256": made.x5t_sha256,
        "n": key.jwk()["n"],
        "e": "AQAB",
    }


JWKS = {"keys": [jwk(1, ENCRYPTION, "enc", "RSA-OAEP"), jwk(0, KEY, "sig", "RS256")]}
PROTOCOL = f"{ISSUER}/protocol/openid-connect"
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{PROTOCOL}/auth",
    "token_endpoint": f"{PROTOCOL}/token",
    "introspection_endpoint": f"{PROTOCOL}/token/introspect",
    "userinfo_endpoint": f"{PROTOCOL}/userinfo",
    "end_session_endpoint": f"{PROTOCOL}/logout",
    "frontchannel_logout_session_supported": True,
    "frontchannel_logout_supported": True,
    "jwks_uri": f"{PROTOCOL}/certs",
    "check_session_iframe": f"{PROTOCOL}/login-status-iframe.html",
    "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
    "acr_values_supported": ["0", "1"],
    "response_types_supported": ["code", "none", "id_token", "token"],
    "subject_types_supported": ["public", "pairwise"],
    "id_token_signing_alg_values_supported": ["PS384", "RS384", "EdDSA", "ES384", "HS256", "RS256"],
    "claims_supported": ["aud", "sub", "iss", "auth_time", "name", "email", "acr"],
    "claim_types_supported": ["normal"],
    "scopes_supported": ["openid", "profile", "email", "roles", "orders"],
    "tls_client_certificate_bound_access_tokens": True,
    "mtls_endpoint_aliases": {"token_endpoint": f"{PROTOCOL}/token"},
    "authorization_response_iss_parameter_supported": True,
}
DOCUMENTS = {f"{ISSUER}/.well-known/openid-configuration": METADATA, f"{PROTOCOL}/certs": JWKS}

HEADER = {"alg": "RS256", "typ": "JWT", "kid": KEY.kid}
CLAIMS = {
    "exp": In(300),
    "iat": In(-5),
    "auth_time": In(-60),
    "jti": "onrtac:3e532635-bc1b-4644-9cc0-cb87db132cf0",
    "iss": ISSUER,
    "aud": [API, "account"],
    "sub": "c13f3734-1424-45d5-b176-d0edeb95bdf6",
    "typ": "Bearer",
    "azp": CLIENT,
    "sid": "b89b0458-b378-4743-b2fb-283df8a01a7e",
    "acr": "1",
    "allowed-origins": ["https://shop.example.com"],
    "realm_access": {"roles": ["offline_access", "uma_authorization", "default-roles-shop", "buyer"]},
    "resource_access": {
        API: {"roles": ["orders:write"]},
        "account": {"roles": ["manage-account", "view-profile"]},
    },
    "scope": "openid orders:read email",
    "email_verified": True,
    "preferred_username": "ada",
    "email": "ada@example.com",
}
SCOPES = frozenset({"openid", "orders:read", "email", "orders:write"})

USER = Accepted(
    what="a user's token",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="c13f3734-1424-45d5-b176-d0edeb95bdf6",
    scopes=SCOPES,
)
SERVICE = Accepted(
    what="a service account's token, with one audience and no roles",
    key=KEY,
    header=HEADER,
    claims=changed(
        without(CLAIMS, "sid", "auth_time", "realm_access", "resource_access", "email"),
        aud=API,
        scope="orders:read",
        client_id=CLIENT,
        clientHost="10.0.0.7",
        clientAddress="10.0.0.7",
    ),
    subject=USER.subject,
    scopes=frozenset({"orders:read"}),
)
TYPED = Accepted(
    what="a token of a client that writes at+jwt",
    key=KEY,
    header=changed(HEADER, typ="at+jwt"),
    claims=CLAIMS,
    subject=USER.subject,
    scopes=SCOPES,
)
ID_TOKEN = changed(
    without(CLAIMS, "realm_access", "resource_access", "allowed-origins", "scope"),
    typ="ID",
    aud=CLIENT,
    at_hash="MTIzNDU2Nzg5MDEyMzQ1Ng",
    nonce="c2hhcGVz",
)

DEFAULT = Provider(
    recipe="keycloak",
    documents=DOCUMENTS,
    accepted=(USER, SERVICE, TYPED),
    refused=(
        Refused(what="the ID token", code="wrong_audience", key=KEY, header=HEADER, claims=ID_TOKEN),
        Refused(
            what="the ID token of a client that is the API itself",
            code="claim_mismatch",
            key=KEY,
            header=HEADER,
            claims=changed(ID_TOKEN, aud=API, azp=API),
        ),
        near(USER, "a token without the audience mapper", "wrong_audience", aud="account"),
        near(USER, "a token without any audience", "wrong_audience", "aud"),
        near(USER, "another realm", "wrong_issuer", iss="https://sso.example.com/realms/master"),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
        near(
            USER,
            "the path of before version 17",
            "wrong_issuer",
            iss="https://sso.example.com/auth/realms/shop",
        ),
        near(
            USER, "a backend that sees another host", "wrong_issuer", iss="http://keycloak:8080/realms/shop"
        ),
        Refused(
            what="a refresh token",
            code="algorithm_not_allowed",
            key=KEY,
            header={"alg": "HS512", "typ": "JWT", "kid": "5d1fd1b5-6d2e-4b2a-9e0e-6c6d3a3a5a11"},
            claims=changed(CLAIMS, typ="Refresh", aud=ISSUER),
        ),
        Refused(
            what="a token signed by the key that is for encryption",
            code="unusable_key",
            key=ENCRYPTION,
            header=changed(HEADER, kid=ENCRYPTION.kid),
            claims=CLAIMS,
        ),
        near(USER, "a token bound to a certificate", "sender_constrained", cnf={"x5t#S256": "c2hhcGVz"}),
    ),
)

UNNAMED = Accepted(
    what="a user's token in a realm without audience mappers",
    key=KEY,
    header=HEADER,
    claims=changed(CLAIMS, aud="account"),
    subject=USER.subject,
    scopes=frozenset(
        {
            "openid",
            "orders:read",
            "email",
            "offline_access",
            "uma_authorization",
            "default-roles-shop",
            "buyer",
        }
    ),
)
BY_CLIENT = Provider(
    recipe="keycloak_by_client",
    documents=DOCUMENTS,
    accepted=(
        UNNAMED,
        Accepted(
            what="a token of the other client",
            key=KEY,
            header=HEADER,
            claims=changed(UNNAMED.claims, azp="orders-app"),
            subject=USER.subject,
            scopes=UNNAMED.scopes,
        ),
        Accepted(
            what="a service account's token, without aud",
            key=KEY,
            header=HEADER,
            claims=without(SERVICE.claims, "aud"),
            subject=USER.subject,
            scopes=frozenset({"orders:read"}),
        ),
    ),
    refused=(
        near(UNNAMED, "another client of the realm", "claim_mismatch", azp="newsletter"),
        near(UNNAMED, "a token without its client", "missing_claim", "azp"),
        near(UNNAMED, "a token for another API", "wrong_audience", aud="stock-api"),
        Refused(what="the ID token", code="wrong_audience", key=KEY, header=HEADER, claims=ID_TOKEN),
        near(UNNAMED, "an ID token that carries account", "claim_mismatch", typ="ID"),
    ),
)

PROVIDERS = (DEFAULT, BY_CLIENT)
