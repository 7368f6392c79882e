"""Microsoft Entra ID: access tokens of one tenant in both versions, and of every tenant in version 2."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, certificate, changed, near, rsa_key, without

TENANT, OTHER = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490", "82229342-1101-4ab6-817b-70c0747630f3"
SECOND = "0c7eb7c3-5d3f-4a2e-8a55-6f1f4c1d7b10"
CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"  # the tenant of all personal accounts
API, CLIENT = "6e74172b-be56-4843-9ff4-e66a39bb12e3", "75dbe77f-10a3-4e59-85fd-8c127544f17c"
LOGIN = "https://login.microsoftonline.com"

KEY, CONSUMER_KEY = rsa_key(0), rsa_key(1)


def issuer_v2(tenant: str) -> str:
    """What a token of version 2 names as its issuer."""
    return f"{LOGIN}/{tenant}/v2.0"


def issuer_v1(tenant: str) -> str:
    """What a token of version 1 names: another host, and a slash."""
    return f"https://sts.windows.net/{tenant}/"


def jwks(*issuers: str | None) -> dict[str, object]:
    """A key for each issuer. No key has an alg; those of version 2 say which tokens they are for."""
    keys = []
    for number, issuer in enumerate(issuers):
        made = certificate(number)
        jwk = {
            "kty": "RSA",
            "use": "sig",
            "kid": made.x5t,
            "x5t": made.x5t,
            "n": rsa_key(number).jwk()["n"],
            "e": "AQAB",
            "x5c": made.x5c,
        }
        keys.append(jwk if issuer is None else {**jwk, "issuer": issuer})
    return {"keys": keys}


def metadata(tenant: str) -> dict[str, object]:
    """The document of version 2."""
    return {
        "token_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "jwks_uri": f"{LOGIN}/{tenant}/discovery/v2.0/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer_v2(tenant),
        "request_uri_parameter_supported": False,
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "authorization_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/authorize",
        "http_logout_supported": True,
        "frontchannel_logout_supported": True,
        "end_session_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/logout",
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "name", "tid", "ver"],
        "kerberos_endpoint": f"{LOGIN}/{tenant}/kerberos",
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
    }


HEADER_V2 = {"typ": "JWT", "alg": "RS256", "kid": KEY.kid}
CLAIMS_V2 = {
    "aud": API,
    "iss": issuer_v2(TENANT),
    "iat": In(-5),
    "nbf": In(-5),
    "exp": In(4500),
    "aio": "AXQAi/8IAAAAtAaZLo3ChMif6KOnttRB7eBq4/DccQzjcJGxPYy",
    "azp": CLIENT,
    "azpacr": "0",
    "name": "Ada Lovelace",
    "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
    "preferred_username": "ada@example.com",
    "rh": "0.AXkAI_CujjQroU2bqovIydakkCsXdG5WvkNIn_TmajmLEuN5AAA.",
    "scp": "Orders.Read Orders.Write",
    "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
    "tid": TENANT,
    "uti": "fqiBqXLPj0eQa82S-IYFAA",
    "ver": "2.0",
}
HEADER_V1 = changed(HEADER_V2, x5t=KEY.kid)
CLAIMS_V1 = changed(
    without(CLAIMS_V2, "azp", "azpacr", "preferred_username"),
    aud=f"api://{API}",
    iss=issuer_v1(TENANT),
    acr="1",
    amr=["pwd", "mfa"],
    appid=CLIENT,
    appidacr="0",
    family_name="Lovelace",
    given_name="Ada",
    ipaddr="192.0.2.7",
    unique_name="ada@example.com",
    upn="ada@example.com",
    ver="1.0",
)
ID_TOKEN_V2 = changed(without(CLAIMS_V2, "azp", "azpacr", "scp"), aud=API, nonce="c2hhcGVz")
APP_ONLY = ("scp", "name", "preferred_username")

USER = Accepted(
    what="a user's token",
    key=KEY,
    header=HEADER_V2,
    claims=CLAIMS_V2,
    subject="HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
    scopes=frozenset({"Orders.Read", "Orders.Write"}),
    tenant=TENANT,
)
APPLICATION = Accepted(
    what="an application's token, which has roles and no scp",
    key=KEY,
    header=HEADER_V2,
    claims=changed(
        without(CLAIMS_V2, *APP_ONLY), azpacr="1", idtyp="app", roles=["Orders.Read.All"], sub=CLIENT
    ),
    subject=CLIENT,
    scopes=frozenset({"Orders.Read.All"}),
    tenant=TENANT,
)
V1_USER = Accepted(
    what="a user's token",
    key=KEY,
    header=HEADER_V1,
    claims=CLAIMS_V1,
    subject=USER.subject,
    scopes=USER.scopes,
    tenant=TENANT,
)
V1_BY_GUID = Accepted(
    what="a token that was asked for by the API's client id",
    key=KEY,
    header=HEADER_V1,
    claims=changed(CLAIMS_V1, aud=API),
    subject=USER.subject,
    scopes=USER.scopes,
    tenant=TENANT,
)

SINGLE_V2 = Provider(
    recipe="entra",
    documents={
        f"{issuer_v2(TENANT)}/.well-known/openid-configuration": metadata(TENANT),
        f"{LOGIN}/{TENANT}/discovery/v2.0/keys": jwks(issuer_v2(TENANT), issuer_v2(CONSUMERS)),
    },
    accepted=(USER, APPLICATION),
    refused=(
        Refused(
            what="a token of version 1", code="wrong_issuer", key=KEY, header=HEADER_V1, claims=CLAIMS_V1
        ),
        Refused(
            what="the ID token of an app that is the API itself",
            code="missing_claim",
            key=KEY,
            header=HEADER_V2,
            claims=ID_TOKEN_V2,
        ),
        near(USER, "the ID token of another app", "wrong_audience", aud=CLIENT),
        near(USER, "another tenant", "wrong_issuer", iss=issuer_v2(OTHER), tid=OTHER),
        near(USER, "the issuer with a slash", "wrong_issuer", iss=f"{issuer_v2(TENANT)}/"),
        near(USER, "the audience as version 1 writes it", "wrong_audience", aud=f"api://{API}"),
        near(
            USER, "a token for Microsoft Graph", "wrong_audience", aud="00000003-0000-0000-c000-000000000000"
        ),
        near(USER, "a token without tid", "bad_tenant", "tid"),
        Refused(
            what="a token signed by the key of personal accounts",
            code="wrong_issuer",
            key=CONSUMER_KEY,
            header=changed(HEADER_V2, kid=CONSUMER_KEY.kid),
            claims=CLAIMS_V2,
        ),
    ),
)

SINGLE_V1 = Provider(
    recipe="entra_v1",
    documents={f"{LOGIN}/common/discovery/keys": jwks(None, None)},
    accepted=(
        V1_USER,
        V1_BY_GUID,
        Accepted(
            what="an application's token, which has roles and no scp",
            key=KEY,
            header=HEADER_V1,
            claims=changed(without(CLAIMS_V1, "scp", "amr", "upn", "unique_name"), roles=["Orders.Read.All"]),
            subject=USER.subject,
            scopes=frozenset({"Orders.Read.All"}),
            tenant=TENANT,
        ),
    ),
    refused=(
        Refused(
            what="a token of version 2", code="wrong_issuer", key=KEY, header=HEADER_V2, claims=CLAIMS_V2
        ),
        near(V1_USER, "the issuer without its slash", "wrong_issuer", iss=issuer_v1(TENANT).rstrip("/")),
        near(V1_USER, "another tenant", "wrong_issuer", iss=issuer_v1(OTHER), tid=OTHER),
        near(V1_USER, "a token for another API", "wrong_audience", aud="https://graph.microsoft.com"),
        near(V1_BY_GUID, "an ID token", "missing_claim", "appid", "scp"),
    ),
)

ELSEWHERE = Accepted(
    what="a user's token of any tenant",
    key=KEY,
    header=HEADER_V2,
    claims=changed(CLAIMS_V2, iss=issuer_v2(OTHER), tid=OTHER),
    subject=USER.subject,
    scopes=USER.scopes,
    tenant=OTHER,
)
PERSONAL = Accepted(
    what="a token of a personal account, whose tenant has a key of its own",
    key=CONSUMER_KEY,
    header=changed(HEADER_V2, kid=CONSUMER_KEY.kid),
    claims=changed(CLAIMS_V2, iss=issuer_v2(CONSUMERS), tid=CONSUMERS),
    subject=USER.subject,
    scopes=USER.scopes,
    tenant=CONSUMERS,
)
MULTI_TENANT = Provider(
    recipe="entra_multi_tenant",
    documents={
        f"{LOGIN}/common/discovery/v2.0/keys": jwks(f"{LOGIN}/{{tenantid}}/v2.0", issuer_v2(CONSUMERS))
    },
    accepted=(ELSEWHERE, USER, APPLICATION, PERSONAL),
    refused=(
        near(ELSEWHERE, "an issuer that is not the token's tenant", "wrong_issuer", tid=TENANT),
        near(ELSEWHERE, "a token without tid", "wrong_issuer", "tid"),
        near(ELSEWHERE, "a tid that is no segment", "wrong_issuer", iss=f"{LOGIN}/a/b/v2.0", tid="a/b"),
        near(ELSEWHERE, "the template itself", "wrong_issuer", iss=f"{LOGIN}/{{tid}}/v2.0", tid="{tid}"),
        near(ELSEWHERE, "a token for another API", "wrong_audience", aud=CLIENT),
        near(ELSEWHERE, "an ID token", "missing_claim", "azp", "scp"),
        Refused(
            what="a token of version 1", code="wrong_issuer", key=KEY, header=HEADER_V1, claims=CLAIMS_V1
        ),
        Refused(
            what="an organization's token signed by the key of personal accounts",
            code="wrong_issuer",
            key=CONSUMER_KEY,
            header=changed(HEADER_V2, kid=CONSUMER_KEY.kid),
            claims=CLAIMS_V2,
        ),
    ),
)

CUSTOMER = Accepted(
    what="a user's token of a tenant on the list",
    key=KEY,
    header=HEADER_V2,
    claims=CLAIMS_V2,
    subject=USER.subject,
    scopes=USER.scopes,
    tenant=TENANT,
)
LISTED = Provider(
    recipe="entra_customers",
    documents=MULTI_TENANT.documents,
    accepted=(
        CUSTOMER,
        APPLICATION,
        Accepted(
            what="a user's token of the other tenant on the list",
            key=KEY,
            header=HEADER_V2,
            claims=changed(CLAIMS_V2, iss=issuer_v2(SECOND), tid=SECOND),
            subject=USER.subject,
            scopes=USER.scopes,
            tenant=SECOND,
        ),
    ),
    refused=(
        near(CUSTOMER, "an ID token", "missing_claim", "azp", "scp"),
        near(CUSTOMER, "a tenant off the list", "claim_mismatch", iss=issuer_v2(OTHER), tid=OTHER),
        near(CUSTOMER, "an issuer off the list for a tid on it", "wrong_issuer", iss=issuer_v2(OTHER)),
        near(CUSTOMER, "a token for another API", "wrong_audience", aud=CLIENT),
    ),
)

PROVIDERS = (SINGLE_V2, SINGLE_V1, MULTI_TENANT, LISTED)
