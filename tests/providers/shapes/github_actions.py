"""GitHub Actions: the OIDC token of a workflow's job."""

from __future__ import annotations

from provider import Accepted, In, Provider, Refused, certificate, changed, near, rsa_key

ISSUER = "https://token.actions.githubusercontent.com"
AUDIENCE = "https://deploy.example.com"
REPOSITORY = "octo-org/octo-repo"

KEY, OTHER = (
    rsa_key(0, "38826b17-6a30-5f9b-b169-8beb8202f723"),
    rsa_key(1, "1F2AB83404C08EC9EA0BB99DAED02186B091DBF4"),
)

JWKS = {
    "keys": [
        {
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "kid": key.kid,
            "n": key.jwk()["n"],
            "e": "AQAB",
            "x5c": certificate(number).x5c,
            "x5t": certificate(number).x5t,
        }
        for number, key in enumerate((KEY, OTHER))
    ]
}
METADATA = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/.well-known/jwks",
    "subject_types_supported": ["public", "pairwise"],
    "response_types_supported": ["id_token"],
    "claims_supported": ["sub", "aud", "exp", "iat", "iss", "jti", "nbf", "ref", "repository", "environment"],
    "id_token_signing_alg_values_supported": ["RS256"],
    "scopes_supported": ["openid"],
}
DOCUMENTS = {f"{ISSUER}/.well-known/openid-configuration": METADATA, f"{ISSUER}/.well-known/jwks": JWKS}

HEADER = {"typ": "JWT", "alg": "RS256", "x5t": certificate(0).x5t, "kid": KEY.kid}
CLAIMS = {
    "jti": "c06fb7e4-8bd2-4b2f-9a2e-0c1d2e3f4a5b",
    "sub": f"repo:{REPOSITORY}:environment:production",
    "aud": AUDIENCE,
    "ref": "refs/heads/main",
    "sha": "e2fa2e63ba9c3f4d5e6f7a8b9c0d1e2f3a4b5c6d",
    "repository": REPOSITORY,
    "repository_owner": "octo-org",
    "repository_owner_id": "65",
    "run_id": "1682358974",
    "run_number": "57",
    "run_attempt": "1",
    "repository_visibility": "private",
    "repository_id": "74",
    "actor_id": "12",
    "actor": "octocat",
    "workflow": "deploy",
    "head_ref": "",
    "base_ref": "",
    "event_name": "push",
    "ref_protected": "true",
    "ref_type": "branch",
    "workflow_ref": f"{REPOSITORY}/.github/workflows/deploy.yml@refs/heads/main",
    "workflow_sha": "e2fa2e63ba9c3f4d5e6f7a8b9c0d1e2f3a4b5c6d",
    "job_workflow_ref": f"{REPOSITORY}/.github/workflows/deploy.yml@refs/heads/main",
    "job_workflow_sha": "e2fa2e63ba9c3f4d5e6f7a8b9c0d1e2f3a4b5c6d",
    "runner_environment": "github-hosted",
    "environment": "production",
    "iss": ISSUER,
    "nbf": In(-600),
    "exp": In(300),
    "iat": In(0),
}

JOB = Accepted(
    what="a job in the environment, on the branch",
    key=KEY,
    header=HEADER,
    claims=CLAIMS,
    subject=f"repo:{REPOSITORY}:environment:production",
)
DEFAULT = Provider(
    recipe="github_actions",
    documents=DOCUMENTS,
    accepted=(
        JOB,
        Accepted(
            what="the same in a repository with immutable subjects",
            key=KEY,
            header=HEADER,
            claims=changed(CLAIMS, sub="repo:octo-org@65/octo-repo@74:environment:production"),
            subject="repo:octo-org@65/octo-repo@74:environment:production",
        ),
        Accepted(
            what="a token under the other of the listed keys",
            key=OTHER,
            header=changed(HEADER, kid=OTHER.kid, x5t=certificate(1).x5t),
            claims=CLAIMS,
            subject=JOB.subject,
        ),
    ),
    refused=(
        near(JOB, "another repository", "claim_mismatch", repository="octo-org/website", repository_id="75"),
        near(
            JOB, "a repository of the old name, under a new owner", "claim_mismatch", repository_owner_id="99"
        ),
        near(JOB, "a repository made anew under the old name", "claim_mismatch", repository_id="99"),
        near(JOB, "an id that is a number", "claim_mismatch", repository_id=74),
        near(JOB, "the repository under another name", "claim_mismatch", repository="octo-org/renamed"),
        near(JOB, "another branch", "claim_mismatch", ref="refs/heads/fix"),
        near(JOB, "a tag of the branch's name", "claim_mismatch", ref="refs/tags/main"),
        near(
            JOB,
            "a pull request",
            "claim_mismatch",
            ref="refs/pull/7/merge",
            event_name="pull_request",
            head_ref="fix",
            base_ref="main",
        ),
        near(JOB, "another environment", "claim_mismatch", environment="staging"),
        near(
            JOB,
            "a job without an environment",
            "missing_claim",
            "environment",
            sub=f"repo:{REPOSITORY}:ref:refs/heads/main",
        ),
        near(JOB, "the audience that comes unasked", "wrong_audience", aud="https://github.com/octo-org"),
        near(JOB, "a token for another service", "wrong_audience", aud="sts.amazonaws.com"),
        near(JOB, "an enterprise's own issuer", "wrong_issuer", iss=f"{ISSUER}/octo-corp"),
        Refused(
            what="a GitHub token, which is opaque",
            code="malformed",
            raw="ghs_16C7e42F292c6912E7710c838347Ae178B4a",
        ),
    ),
)

PROVIDERS = (DEFAULT,)
