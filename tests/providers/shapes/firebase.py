"""Firebase Authentication and Google Cloud Identity Platform: the ID tokens of a project."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, changed, near, rsa_key, without

PROJECT = "shop-1a2b3"
ISSUER = f"https://securetoken.google.com/{PROJECT}"
KEYS = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"

KEY, PREVIOUS = (
    rsa_key(0, "d14efde6a3f2e25a7f1a1f9bb8c3b4e5f6a7b8c9"),
    rsa_key(1, "9b33aa7d2f0ee1c4b5a6978899aabbccddeeff00"),
)

JWKS = {
    "keys": [
        {"kid": key.kid, "use": "sig", "e": "AQAB", "n": key.jwk()["n"], "alg": "RS256", "kty": "RSA"}
        for key in (KEY, PREVIOUS)
    ]
}
METADATA = {
    "issuer": ISSUER,
    "jwks_uri": KEYS,
    "response_types_supported": ["id_token"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
}
DOCUMENTS = {f"{ISSUER}/.well-known/openid-configuration": METADATA, KEYS: JWKS}

HEADER = {"alg": "RS256", "kid": KEY.kid, "typ": "JWT"}
CLAIMS = {
    "name": "Ada Lovelace",
    "iss": ISSUER,
    "aud": PROJECT,
    "auth_time": In(-60),
    "user_id": "piJeSdLGqkfgC1FZmVC8vRtQTPX2",
    "sub": "piJeSdLGqkfgC1FZmVC8vRtQTPX2",
    "iat": In(-5),
    "exp": In(3600),
    "email": "ada@example.com",
    "email_verified": True,
    "firebase": {"identities": {"email": ["ada@example.com"]}, "sign_in_provider": "password"},
}
CUSTOM_TOKEN = {
    "iss": f"firebase-adminsdk-x1y2z@{PROJECT}.iam.gserviceaccount.com",
    "sub": f"firebase-adminsdk-x1y2z@{PROJECT}.iam.gserviceaccount.com",
    "aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
    "iat": In(-5),
    "exp": In(3600),
    "uid": CLAIMS["sub"],
}

USER = Accepted(
    what="a user's ID token",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="piJeSdLGqkfgC1FZmVC8vRtQTPX2",
)
DEFAULT = Provider(
    recipe="firebase",
    documents=DOCUMENTS,
    accepted=(
        USER,
        Accepted(
            what="an anonymous user's ID token",
            key=KEY,
            header=HEADER,
            claims=changed(
                without(CLAIMS, "name", "email", "email_verified"),
                provider_id="anonymous",
                firebase={"identities": {}, "sign_in_provider": "anonymous"},
            ),
            subject=USER.subject,
        ),
    ),
    refused=(
        near(
            USER,
            "another project's token",
            "wrong_issuer",
            iss="https://securetoken.google.com/other",
            aud="other",
        ),
        near(USER, "another project's audience", "wrong_audience", aud="other"),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
        near(USER, "a session cookie", "wrong_issuer", iss=f"https://session.firebase.google.com/{PROJECT}"),
        near(USER, "an ID token of Google", "wrong_issuer", iss="https://accounts.google.com"),
        Refused(
            what="a custom token, which the server made for signing in",
            code="wrong_issuer",
            key=KEY,
            header=without(HEADER, "kid"),
            claims=CUSTOM_TOKEN,
        ),
        near(USER, "a token without its subject", "missing_claim", sub=""),
        near(USER, "a token without the time of signing in", "missing_claim", "auth_time"),
    ),
)

OF_A_TENANT = Accepted(
    what="an ID token of a user in a tenant of Identity Platform",
    key=KEY,
    header=HEADER,
    claims=changed(CLAIMS, firebase={**CLAIMS["firebase"], "tenant": "acme-en2vw"}),  # type: ignore[dict-item]
    subject=USER.subject,
    tenant="acme-en2vw",
)
TENANTS = Provider(
    recipe="firebase_tenants",
    documents=DOCUMENTS,
    accepted=(OF_A_TENANT,),
    refused=(
        near(OF_A_TENANT, "a token without its subject", "missing_claim", sub=""),
        near(OF_A_TENANT, "a token without the time of signing in", "missing_claim", "auth_time"),
        near(OF_A_TENANT, "a user of the project itself", "bad_tenant", firebase=CLAIMS["firebase"]),
        near(
            OF_A_TENANT,
            "a tenant at the top, which the provider never writes",
            "bad_tenant",
            "firebase",
            tenant="x",
        ),
        near(OF_A_TENANT, "another project's audience", "wrong_audience", aud="other"),
    ),
)

PROVIDERS = (DEFAULT, TENANTS)
