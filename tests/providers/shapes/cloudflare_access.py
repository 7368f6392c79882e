"""Cloudflare Access: the application token that it puts in front of a request to the origin."""

from __future__ import annotations

from provider import Accepted, In, Provider, changed, near, rsa_key

ISSUER = "https://example.cloudflareaccess.com"
CERTS = f"{ISSUER}/cdn-cgi/access/certs"
APP = "32eafc7626e974616deaf0dc3ce63d7bcbed58a2731e84d06bc3cdf1b53c4228"

KEY = rsa_key(0, "9338abe1baf2fe492f646a736f25afbf7b025e35c627be4f60c414d4c73069b8")
PREVIOUS = rsa_key(1, "6c3bffef71bb0a90c9cbef3b7c0d4a1c7b4b8b76b80292a623afd9dac45d1c65")


def pem(key_id: str) -> dict[str, str]:
    """The same key once more, as Cloudflare writes it beside the JWKS."""
    return {"kid": key_id, "cert": "-----BEGIN CERTIFICATE-----\nMIIDTTCCAjWg\n-----END CERTIFICATE-----\n"}


JWKS = {
    "keys": [
        {"kid": key.kid, "kty": "RSA", "alg": "RS256", "use": "sig", "e": "AQAB", "n": key.jwk()["n"]}
        for key in (KEY, PREVIOUS)
    ],
    "public_cert": pem(KEY.kid),
    "public_certs": [pem(KEY.kid), pem(PREVIOUS.kid)],
}
DOCUMENTS = {CERTS: JWKS}

HEADER = {"alg": "RS256", "kid": KEY.kid, "typ": "JWT"}
CLAIMS = {
    "aud": [APP],
    "email": "ada@example.com",
    "exp": In(86400),
    "iat": In(-5),
    "nbf": In(-5),
    "iss": ISSUER,
    "type": "app",
    "identity_nonce": "6ei69kawdKzMIAPF",
    "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
    "country": "US",
}

USER = Accepted(
    what="a user's token",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject="7335d417-61da-459d-899c-0a01c76a2f94",
)
DEFAULT = Provider(
    recipe="cloudflare_access",
    documents=DOCUMENTS,
    accepted=(
        USER,
        Accepted(
            what="a service token's, whose subject is empty",
            key=KEY,
            header=HEADER,
            claims={
                "type": "app",
                "aud": APP,
                "exp": In(86400),
                "iss": ISSUER,
                "common_name": "e367826f93b8d71185e03fe518aff3b4.access",
                "iat": In(-5),
                "sub": "",
            },
            subject="",
        ),
        Accepted(
            what="a token in the week after a rotation",
            key=PREVIOUS,
            header=changed(HEADER, kid=PREVIOUS.kid),
            claims=CLAIMS,
            subject=USER.subject,
        ),
    ),
    refused=(
        near(USER, "another application of the team", "wrong_audience", aud=["4714c1358e65fe4b408ad6d4"]),
        near(USER, "the global session's token", "claim_mismatch", type="org"),
        near(USER, "a token that does not say what it is", "missing_claim", "type"),
        near(USER, "another team", "wrong_issuer", iss="https://another.cloudflareaccess.com"),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{ISSUER}/"),
        near(USER, "the issuer without https", "wrong_issuer", iss=ISSUER.removeprefix("https://")),
    ),
)

PROVIDERS = (DEFAULT,)
