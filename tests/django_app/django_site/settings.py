"""Settings of the project; where its database is, the fixture `django_db_modify_db_settings` tells."""

from __future__ import annotations

SECRET_KEY = "a key that guards nothing but these tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "django_site.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "drf_spectacular",
    "rest_framework",
    "skeldir_jwt_mw.django",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # slow ones guard nothing here
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres"}}

SKELDIR_JWT = {"ISSUER": "https://login.example.com/", "AUDIENCE": "orders-api"}
REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
