"""Settings of the example. Where provider and database are, the environment says: the stage sets it."""

from __future__ import annotations

import os

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "of an example; a service keeps its own to itself")
DEBUG = True  # which is what may fetch keys over plain http
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "project.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = ["skeldir_jwt_mw.django", "orders"]
MIDDLEWARE = ["skeldir_jwt_mw.django.JWTMiddleware"]

# The shared keys are in this database too, sealed with a key that derives from SECRET_KEY.
SKELDIR_JWT = {
    "ISSUER": os.environ["SKELDIR_JWT_ISSUER"],
    "AUDIENCE": os.environ["SKELDIR_JWT_AUDIENCE"],
    "TENANT_CLAIM": "tenant",  # a token without a well-formed one is refused
    "ALLOW_HTTP": DEBUG,
    "ALLOW_PRIVATE_HOSTS": DEBUG,
}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["PGHOST"],
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],  # no superuser: row level security holds for it
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 4}},  # requests of all tenants share connections
    }
}
