"""The Django example under gunicorn and uvicorn: whatever comes at once, a tenant sees its own rows alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from staging import Staged, start_commands
from traffic import assert_a_rotation_under_load_fails_no_request_and_costs_one_fetch

SERVERS = {"gunicorn": 0, "uvicorn": 1}  # by the order of the README's start commands
TENANTS = ("north", "south", "west")
READS = ("/orders", "/orders/export", "/orders/summary")
SET_TENANT = "SELECT set_config('app.tenant', %s, true)"
COUNT = "SELECT count(*) FROM orders_order"
INSERT = "INSERT INTO orders_order (tenant, owner, item) VALUES (%s, 'eve', 'gold')"


@pytest.fixture(scope="module", params=SERVERS)
def shop(request: pytest.FixtureRequest) -> Iterator[Staged]:
    assert request.param in start_commands("django_app")[SERVERS[request.param]]
    hasty = {"DJANGO_SETTINGS_MODULE": "hasty_settings"}
    with Staged("django_app", start=SERVERS[request.param], environ=hasty) as running:
        yield running


def test_the_lines_of_the_readme_print_what_it_says(shop: Staged) -> None:
    assert shop.surprises() == []


def test_a_rotation_under_load_fails_no_request_and_costs_one_fetch(shop: Staged) -> None:
    assert_a_rotation_under_load_fails_no_request_and_costs_one_fetch(shop)


def test_concurrent_requests_on_shared_connections_see_their_own_tenant_alone(shop: Staged) -> None:
    tokens = {tenant: shop.token("ada", "orders:read orders:write", tenant=tenant) for tenant in TENANTS}
    placed = shop.get("/orders", tokens["north"], body={"item": "first"}).json["id"]

    def visit(number: int) -> None:
        tenant = TENANTS[number % len(TENANTS)]
        if number % 4 == 0:
            answer = shop.get("/orders", tokens[tenant], body={"item": f"of-{tenant}"})
            assert answer.status == 201, answer
            return
        path = READS[number % len(READS)]
        answer = shop.get(path, tokens[tenant])
        assert answer.status == 200, answer
        text = answer.body.decode()
        assert [other for other in TENANTS if other != tenant and other in text] == []

    with ThreadPoolExecutor(12) as pool:
        for visited in [pool.submit(visit, number) for number in range(240)]:
            visited.result()
    for tenant in TENANTS:
        rows = shop.get("/orders", tokens[tenant]).json
        assert {row["tenant"] for row in rows} == {tenant}
        assert len(rows) == 20 + (tenant == "north")
        assert (placed in {row["id"] for row in rows}) is (tenant == "north")
    assert connections_of(shop) <= 2 * 4, "each worker's requests share the four of its pool"


def connections_of(shop: Staged) -> int:
    with psycopg.connect(shop.database, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_without_a_tenant_nothing_is_visible_and_nothing_can_be_made(shop: Staged) -> None:
    token = shop.token("ada", "orders:write", tenant="north")
    assert shop.get("/orders", token, body={"item": "tea"}).status == 201
    with psycopg.connect(shop.database, autocommit=True) as connection:
        assert connection.execute(COUNT).fetchone() == (0,)
        with connection.transaction():
            connection.execute(SET_TENANT, ["north"])
            assert connection.execute(COUNT).fetchone() != (0,)
        # The same connection, as the next request gets it.
        assert connection.execute(COUNT).fetchone() == (0,)
        for tenant in ("", "north"):
            with pytest.raises(InsufficientPrivilege, match="row-level security"):
                connection.execute(INSERT, [tenant])


def test_a_tenant_cannot_write_for_another(shop: Staged) -> None:
    with psycopg.connect(shop.database) as connection:
        connection.execute(SET_TENANT, ["south"])
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            connection.execute(
                "INSERT INTO orders_order (tenant, owner, item) VALUES ('north', 'eve', 'gold')"
            )


# On one connection, as requests that follow each other are.
BEFORE_IN_AND_AFTER = """if True:
    import os
    from orders.models import Order
    from orders.tenancy import tenant_transaction
    from skeldir_jwt_mw.django import conf
    from skeldir_jwt_mw.token import RequestScope
    print(Order.objects.count())
    with tenant_transaction():
        print(Order.objects.count())
    with RequestScope(conf.verifier().verify(os.environ["TOKEN"])), tenant_transaction():
        print(Order.objects.filter(item="seen").count())
    print(Order.objects.count())
    with tenant_transaction():
        print(Order.objects.count())
"""


def manage(shop: Staged, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` on the database of the running example."""
    environ = {
        **shop.environ,
        "PGHOST": parse_qs(urlsplit(shop.database).query)["host"][0],
        "PGDATABASE": "app",
        "PGUSER": "app",
        "SKELDIR_JWT_ISSUER": shop.provider,
        "SKELDIR_JWT_AUDIENCE": "orders-api",
        **variables,
    }
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=shop.folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_connection_takes_no_tenant_along(shop: Staged) -> None:
    token = shop.token("ada", "orders:write", tenant="east")
    assert shop.get("/orders", token, body={"item": "seen"}).status == 201
    done = manage(shop, "shell", "--command", BEFORE_IN_AND_AFTER, TOKEN=token)
    assert (done.returncode, done.stdout.splitlines()[-5:]) == (0, ["0", "0", "1", "0", "0"]), done.stderr


def test_a_role_that_bypasses_row_level_security_is_noticed(shop: Staged) -> None:
    done = manage(shop, "shell", "--command", BEFORE_IN_AND_AFTER, PGUSER="postgres")
    assert done.returncode != 0
    assert "row level security does not hold" in done.stderr


def test_the_project_is_in_order(shop: Staged) -> None:
    for arguments in (
        ["makemigrations", "--check"],
        ["check", "--database", "default", "--fail-level", "WARNING"],
    ):
        done = manage(shop, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
