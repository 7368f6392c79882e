"""Google: ID tokens, since its access tokens are opaque."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, changed, near, rsa_key

ISSUER = "https://accounts.google.com"
CERTS = "https://www.googleapis.com/oauth2/v3/certs"
CLIENT = "1234987819200-a1b2c3d4.apps.googleusercontent.com"

KEY, PREVIOUS = (
    rsa_key(0, "7d334497506acb74cdeedaa66184d15547f83693"),
    rsa_key(1, "ab8614ff62893badce5aa79a7703b596665d2478"),
)

JWKS = {
    "keys": [
        {"n": key.jwk()["n"], "use": "sig", "kid": key.kid, "e": "AQAB", "alg": "RS256", "kty": "RSA"}
        for key in (PREVIOUS, KEY)
    ]
}
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/o/oauth2/v2/auth",
    "device_authorization_endpoint": "https://oauth2.googleapis.com/device/code",
    "token_endpoint": "https://oauth2.googleapis.com/token",
    "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
    "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
    "jwks_uri": CERTS,
    "response_types_supported": ["code", "token", "id_token", "code token", "none"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
    "scopes_supported": ["openid", "email", "profile"],
    "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
    "claims_supported": ["aud", "email", "email_verified", "exp", "iat", "iss", "name", "sub"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "grant_types_supported": ["authorization_code", "refresh_token"],
}
DOCUMENTS = {f"{ISSUER}/.well-known/openid-configuration": METADATA, CERTS: JWKS}

HEADER = {"alg": "RS256", "kid": KEY.kid, "typ": "JWT"}
CLAIMS = {
    "iss": ISSUER,
    "azp": CLIENT,
    "aud": CLIENT,
    "sub": "110169484474386276334",
    "email": "ada@gmail.com",
    "email_verified": True,
    "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
    "name": "Ada Lovelace",
    "picture": "https://lh3.googleusercontent.com/a/photo",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "iat": In(-5),
    "exp": In(3600),
}
ACCESS_TOKEN = "ya29.a0AfB_byDexample-opaque-access-token"

USER = Accepted(
    what="a user's ID token", key=KEY, header=HEADER, claims=CLAIMS, subject="110169484474386276334"
)
DEFAULT = Provider(
    recipe="google",
    documents=DOCUMENTS,
    accepted=(
        USER,
        Accepted(
            what="a token that an Android client asked for in this client's name",
            key=KEY,
            header=HEADER,
            claims=changed(CLAIMS, azp="1234987819200-android.apps.googleusercontent.com"),
            subject=USER.subject,
        ),
        Accepted(
            what="a token that the previous key signed",
            key=PREVIOUS,
            header=changed(HEADER, kid=PREVIOUS.kid),
            claims=CLAIMS,
            subject=USER.subject,
        ),
    ),
    refused=(
        near(USER, "another application's token", "wrong_audience", aud="999-z.apps.googleusercontent.com"),
        near(USER, "the issuer without https", "wrong_issuer", iss="accounts.google.com"),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
        near(USER, "a token of Firebase", "wrong_issuer", iss="https://securetoken.google.com/shop-1a2b3"),
        near(USER, "a token without its subject", "missing_claim", "sub"),
        Refused(what="an access token, which is opaque", code="malformed", raw=ACCESS_TOKEN),
    ),
)

EMPLOYEE = Accepted(
    what="an ID token of a Workspace account",
    key=KEY,
    header=HEADER,
    claims=changed(CLAIMS, hd="example.com", email="ada@example.com"),
    subject=USER.subject,
    tenant="example.com",
)
WORKSPACE = Provider(
    recipe="google_workspace",
    documents=DOCUMENTS,
    accepted=(EMPLOYEE,),
    refused=(
        near(EMPLOYEE, "another Workspace", "claim_mismatch", hd="example.org"),
        near(EMPLOYEE, "an account of gmail.com", "missing_claim", "hd"),
        near(EMPLOYEE, "an address that is not verified", "claim_mismatch", email_verified=False),
        near(EMPLOYEE, "a token without its subject", "missing_claim", "sub"),
        near(EMPLOYEE, "true as a string", "claim_mismatch", email_verified="true"),
        near(
            EMPLOYEE, "another application's token", "wrong_audience", aud="999-z.apps.googleusercontent.com"
        ),
    ),
)

PROVIDERS = (DEFAULT, WORKSPACE)
