"""The token's tenant, handed to PostgreSQL: row level security then decides what a transaction sees."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from skeldir_jwt_mw.django import current_token

# `true`: until the transaction ends, however it ends, so that a connection takes no tenant along.
SET_TENANT = "SELECT set_config('app.tenant', %s, true), row_security_active('orders_order')"


@contextlib.contextmanager
def tenant_transaction() -> Iterator[None]:
    """A transaction that sees and makes rows of the request's tenant alone; without a tenant, none."""
    token = current_token()
    tenant = "" if token is None else token.tenant or ""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(SET_TENANT, [tenant])
            _, active = cursor.fetchone()
        if not active:  # a superuser, or a role with BYPASSRLS
            raise ImproperlyConfigured("row level security does not hold for the database's role")
        yield


def in_tenant(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run in a transaction of the request's tenant."""

    @functools.wraps(function)
    def within(*args: Any, **kwargs: Any) -> Any:
        with tenant_transaction():
            return function(*args, **kwargs)

    return within


def ain_tenant(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for `async` views: Django's transactions are for threads, and the token goes along to one."""
    return sync_to_async(in_tenant(function))
