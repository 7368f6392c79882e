"""AD FS: access tokens for a web API, under a name of the federation service that is no address."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, certificate, changed, near, rsa_key, without

ISSUER = "http://adfs.example.com/adfs/services/trust"
KEYS = "https://adfs.example.com/adfs/discovery/keys"
API = "microsoft:identityserver:orders-api"
CLIENT = "50ce8764-1f3b-4d2a-96c0-39cc601ea154"

KEY, PROMOTED = rsa_key(0), rsa_key(1)

JWKS = {
    "keys": [
        {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": key.kid,
            "x5t": certificate(number).x5t,
            "n": key.jwk()["n"],
            "e": "AQAB",
            "x5c": certificate(number).x5c,
        }
        for number, key in enumerate((KEY, PROMOTED))
    ]
}
DOCUMENTS = {KEYS: JWKS}

HEADER = {"typ": "JWT", "alg": "RS256", "x5t": KEY.kid, "kid": KEY.kid}
CLAIMS = {
    "aud": API,
    "iss": ISSUER,
    "iat": In(-5),
    "nbf": In(-5),
    "exp": In(3600),
    "upn": "ada@corp.example.com",
    "unique_name": "CORP\\ada",
    "sub": "9KXlX-U6LsrU9b3K5sUXa8Shnj+2ZmQ=",
    "apptype": "Confidential",
    "appid": CLIENT,
    "authmethod": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
    "auth_time": In(-60, text=True),
    "ver": "1.0",
    "scp": "openid orders.read",
}
ID_TOKEN = changed(
    without(CLAIMS, "scp"),
    iss="https://adfs.example.com/adfs",
    aud=CLIENT,
    auth_time=In(-60),
    sid="S-1-5-21-7",
)

USER = Accepted(
    what="a user's token",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="9KXlX-U6LsrU9b3K5sUXa8Shnj+2ZmQ=",
    scopes=frozenset({"openid", "orders.read"}),
)
DEFAULT = Provider(
    recipe="adfs",
    documents=DOCUMENTS,
    accepted=(
        USER,
        Accepted(
            what="a token whose claim rules leave sub out",
            key=KEY,
            header=HEADER,
            claims=without(CLAIMS, "sub"),
            subject="",
            scopes=USER.scopes,
        ),
        Accepted(
            what="a token under the certificate that was promoted",
            key=PROMOTED,
            header=changed(HEADER, kid=PROMOTED.kid, x5t=PROMOTED.kid),
            claims=CLAIMS,
            subject=USER.subject,
            scopes=USER.scopes,
        ),
    ),
    refused=(
        Refused(what="the ID token", code="wrong_issuer", key=KEY, header=HEADER, claims=ID_TOKEN),
        near(USER, "the issuer with https", "wrong_issuer", iss=ISSUER.replace("http:", "https:")),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
        near(USER, "another farm", "wrong_issuer", iss="http://adfs.example.org/adfs/services/trust"),
        near(USER, "the identifier without its prefix", "wrong_audience", aud="orders-api"),
        near(USER, "a token for the userinfo endpoint", "wrong_audience", aud="urn:microsoft:userinfo"),
        near(USER, "another client", "claim_mismatch", appid="00000000-0000-0000-0000-000000000000"),
        near(USER, "a token without its client", "missing_claim", "appid"),
    ),
)

PROVIDERS = (DEFAULT,)
