"""The providers, each described in a module of its own, exactly as its tokens and keys look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provider import Provider

from . import (
    adfs,
    auth0,
    clerk,
    cloudflare_access,
    cognito,
    entra,
    firebase,
    github_actions,
    google,
    keycloak,
    okta,
    supabase,
)

BY_SECTION: Mapping[str, Sequence[Provider]] = {
    "Auth0": auth0.PROVIDERS,
    "Keycloak": keycloak.PROVIDERS,
    "AWS Cognito": cognito.PROVIDERS,
    "Microsoft Entra ID": entra.PROVIDERS,
    "Okta": okta.PROVIDERS,
    "Google": google.PROVIDERS,
    "Firebase": firebase.PROVIDERS,
    "Clerk": clerk.PROVIDERS,
    "Supabase": supabase.PROVIDERS,
    "GitHub Actions": github_actions.PROVIDERS,
    "Cloudflare Access": cloudflare_access.PROVIDERS,
    "AD FS": adfs.PROVIDERS,
}
"""By the section of the page (docs/providers.md) that tells the recipes."""

PROVIDERS = tuple(provider for providers in BY_SECTION.values() for provider in providers)
