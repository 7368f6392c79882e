"""How API descriptions tell which credentials a service takes (OpenAPI 3.1 §4.8.27)."""

from __future__ import annotations

from .config import Issuer
from .credentials import CookieGetter, FirstOf, HeaderGetter, JWTShaped, TokenGetter, reads_authorization
from .sources import DiscoverySource

BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


def security_scheme(verifier: object, token_getter: TokenGetter | None = None) -> dict[str, str]:
    """The security scheme of a service, as an object of the description.

    Tokens in `Authorization` are `openIdConnect` where the verifier has one issuer and discovers it, else
    `http` with the scheme `bearer`; what `from_header` and `from_cookie` read is an `apiKey`. `first_of` is
    described by the first of its getters, `jwt_shaped` by the one that it has. A getter of the app's own can
    look anywhere, which OpenAPI has no words for, so it is told as a bearer token too.
    """
    match token_getter:
        case FirstOf((first, *_)):
            return security_scheme(verifier, first)
        case JWTShaped(getter):
            return security_scheme(verifier, getter)
        case HeaderGetter() if reads_authorization(token_getter, alone=True):
            return security_scheme(verifier)
        case HeaderGetter(name):
            return {"type": "apiKey", "in": "header", "name": name}
        case CookieGetter(name):
            return {"type": "apiKey", "in": "cookie", "name": name}
        case None:
            urls = [discovery_url(issuer) for issuer in getattr(verifier, "issuers", ())]
            if len(urls) == 1 and urls[0] is not None:
                return {"type": "openIdConnect", "openIdConnectUrl": urls[0]}
    return dict(BEARER)


def discovery_url(issuer: Issuer) -> str | None:
    """Where the issuer describes itself (OpenID Connect Discovery §4); None where its keys are found else."""
    if isinstance(issuer.source, DiscoverySource):
        base = issuer.source.issuer
    elif issuer.source is None and issuer.jwks_url is None:
        base = issuer.issuer
    else:
        return None
    return f"{base.rstrip('/')}/.well-known/openid-configuration"
