"""AWS Cognito: access tokens of a user pool, which name a client and, as a rule, no audience."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, changed, near, rsa_key, without

ISSUER = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab129faBb"
WEB, BATCH = "57cbishk4j24pabc1234567890", "7n0qd3o4vlqk1abc1234567890"
RESOURCE = "https://orders.example.com/api"

# Cognito signs ID tokens and access tokens with two different keys.
ID_KEY = rsa_key(0, "1234example2Zl0sT9Xm4Pk7Qw3Er6Ty8Ui1Op5As=")
KEY = rsa_key(1, "abcdefghijklmnopqrsexample5Df7Gh9Jk2Lz4Xc=")

JWKS = {
    "keys": [
        {"alg": "RS256", "e": "AQAB", "kid": key.kid, "kty": "RSA", "n": key.jwk()["n"], "use": "sig"}
        for key in (ID_KEY, KEY)
    ]
}
HOSTED = "https://shop.auth.eu-west-1.amazoncognito.com"
METADATA = {
    "authorization_endpoint": f"{HOSTED}/oauth2/authorize",
    "end_session_endpoint": f"{HOSTED}/logout",
    "id_token_signing_alg_values_supported": ["RS256"],
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
    "response_types_supported": ["code", "token"],
    "revocation_endpoint": f"{HOSTED}/oauth2/revoke",
    "scopes_supported": ["openid", "email", "phone", "profile"],
    "subject_types_supported": ["public"],
    "token_endpoint": f"{HOSTED}/oauth2/token",
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    "userinfo_endpoint": f"{HOSTED}/oauth2/userInfo",
}
DOCUMENTS = {f"{ISSUER}/.well-known/openid-configuration": METADATA, f"{ISSUER}/.well-known/jwks.json": JWKS}

HEADER = {"kid": KEY.kid, "alg": "RS256"}
CLAIMS = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "cognito:groups": ["buyers"],
    "iss": ISSUER,
    "version": 2,
    "client_id": WEB,
    "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-ffffffffffff",
    "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
    "token_use": "access",
    "scope": "openid orders/read",
    "auth_time": In(-60),
    "exp": In(3600),
    "iat": In(-5),
    "jti": "aaaaaaaa-bbbb-cccc-dddd-000000000000",
    "username": "ada",
}
ID_TOKEN = changed(
    without(CLAIMS, "client_id", "scope", "version", "username"),
    aud=WEB,
    token_use="id",
    email="ada@example.com",
    email_verified=True,
    **{"cognito:username": "ada"},
)

USER = Accepted(
    what="a user's token from the hosted sign-in",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    scopes=frozenset({"openid", "orders/read", "buyers"}),
)
DEFAULT = Provider(
    recipe="cognito",
    documents=DOCUMENTS,
    accepted=(
        USER,
        Accepted(
            what="a user's token from the API of the user pool, which has one scope, and no groups",
            key=KEY,
            header=HEADER,
            claims=changed(
                without(CLAIMS, "cognito:groups", "version"), scope="aws.cognito.signin.user.admin"
            ),
            subject=USER.subject,
            scopes=frozenset({"aws.cognito.signin.user.admin"}),
        ),
        Accepted(
            what="a machine's token, whose subject is its client",
            key=KEY,
            header=HEADER,
            claims={
                "sub": BATCH,
                "token_use": "access",
                "scope": "orders/read",
                "auth_time": In(-5),
                "iss": ISSUER,
                "exp": In(3600),
                "iat": In(-5),
                "version": 2,
                "jti": "bbbbbbbb-bbbb-cccc-dddd-000000000000",
                "client_id": BATCH,
            },
            subject=BATCH,
            scopes=frozenset({"orders/read"}),
        ),
    ),
    refused=(
        Refused(
            what="the ID token",
            code="wrong_audience",
            key=ID_KEY,
            header=changed(HEADER, kid=ID_KEY.kid),
            claims=ID_TOKEN,
        ),
        near(USER, "what says that it is an ID token", "claim_mismatch", token_use="id"),
        near(USER, "another client of the pool", "claim_mismatch", client_id="1example23456789"),
        near(USER, "a token without its client", "missing_claim", "client_id"),
        near(USER, "a token without its use", "missing_claim", "token_use"),
        near(USER, "another pool", "wrong_issuer", iss=f"{ISSUER[:-9]}Zz999zzZz"),
        near(USER, "another region", "wrong_issuer", iss=ISSUER.replace("eu-west-1", "eu-west-2")),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
        near(USER, "a token bound to a resource", "wrong_audience", aud=RESOURCE),
    ),
)

BOUND = Accepted(
    what="a user's token from a request with a resource",
    key=KEY,
    header=HEADER,
    claims=changed(CLAIMS, aud=RESOURCE),
    subject=USER.subject,
    scopes=frozenset({"openid", "orders/read"}),
)
RESOURCE_BOUND = Provider(
    recipe="cognito_resource",
    documents=DOCUMENTS,
    accepted=(BOUND,),
    refused=(
        near(BOUND, "a token for another resource", "wrong_audience", aud="https://stock.example.com/api"),
        near(BOUND, "a token that is bound to none", "wrong_audience", "aud"),
        near(BOUND, "what says that it is an ID token", "claim_mismatch", token_use="id"),
        Refused(
            what="the ID token",
            code="wrong_audience",
            key=ID_KEY,
            header=changed(HEADER, kid=ID_KEY.kid),
            claims=ID_TOKEN,
        ),
    ),
)

PROVIDERS = (DEFAULT, RESOURCE_BOUND)
