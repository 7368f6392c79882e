"""The shared rows in the admin: shown to who may view, refreshed by who may change, written by nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import psycopg
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from psycopg.conninfo import make_conninfo

from skeldir_jwt_mw.django import conf
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

pytestmark = pytest.mark.django_db

ROWS = reverse("admin:skeldir_jwt_mw_cachedkeyset_changelist")
TABLE = "public.jwt_verification_cache"


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as idp:
        yield idp


@pytest.fixture(autouse=True)
def configured(settings: Any, idp: LoopbackIssuer, db: None) -> None:
    execute(f"DELETE FROM {TABLE}")
    settings.SKELDIR_JWT = {
        "ISSUER": idp.issuer,
        "AUDIENCE": idp.audience,
        "JWKS_URL": idp.jwks_url,
        "ALGORITHMS": ["ES256"],
        "ALLOW_HTTP": True,
        "ALLOW_PRIVATE_HOSTS": True,
        "FLOOR": 0.2,
        "JITTER": 0.01,
    }


def place() -> dict[str, Any]:
    """Where the test database is."""
    given = connection.get_connection_params()
    return {name: given[name] for name in ("dbname", "host", "port", "user", "password") if name in given}


def execute(statement: str) -> list[tuple[Any, ...]]:
    """Run SQL in the test database, beside the test's transaction."""
    with psycopg.connect(make_conninfo(**place())) as other:
        cursor = other.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def client_of(*codenames: str) -> Client:
    """A browser of a member of staff with these permissions for cached key sets."""
    user = User.objects.create_user(f"user-{'-'.join(codenames)}", password="x", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=[f"{name}_cachedkeyset" for name in codenames])
    )
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    """The words of a page."""
    assert response.status_code == 200
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


def row_page() -> str:
    ((key,),) = execute(f"SELECT source_key FROM {TABLE}")
    return reverse("admin:skeldir_jwt_mw_cachedkeyset_change", args=[quote(key)])


def refresh(client: Client) -> str:
    """Choose the action for every row; the page after it."""
    keys = [key for (key,) in execute(f"SELECT source_key FROM {TABLE}")]
    return text_of(client.post(ROWS, {"action": "refresh_now", "_selected_action": keys}, follow=True))


def test_the_rows_are_shown_with_issuer_kids_and_times(idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    page = text_of(client_of("view").get(ROWS))
    assert idp.issuer in page
    assert idp.kids[0] in page
    assert str(conf.verifier().status()[idp.issuer]["generation"]) in page.replace(",", "")
    assert re.search(r"\b0:00:0\d\b", page)  # its age
    assert re.search(r"\b0:0[45]:\d\d\b", page)  # the next refresh


def test_one_row_is_shown_with_its_evidence(idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    execute(f"UPDATE {TABLE} SET last_error = 'no answer', consecutive_failures = 3, abandoned_count = 17")
    page = text_of(client_of("view").get(row_page()))
    for words in (idp.issuer, idp.kids[0], "no answer", "cold", "17", "Next refresh in", "Key ids"):
        assert words in page


def test_the_keys_that_were_left_out_are_shown_with_the_reason(idp: LoopbackIssuer) -> None:
    client = client_of("view")
    conf.verifier().warm()
    assert "Keys left out: -" in text_of(client.get(row_page()))
    unused = SigningKey.generate("ES256", kid="enc\u202e").jwk(use="enc")
    nameless = {"kty": "PQ"}
    idp.serve({"keys": [*idp.jwks()["keys"], unused, nameless]})
    conf.verifier().refresh()
    page = text_of(client.get(row_page()))
    assert "enc\\u202e (use is not sig), - (a key type that is not supported)" in page


def test_neither_key_material_nor_the_seal_is_shown(idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    ((payload, seal),) = execute(f"SELECT payload, seal FROM {TABLE}")
    client = client_of("view", "change")
    for page in (ROWS, row_page()):
        html = unescape(client.get(page).content.decode())
        for secret in (seal.hex(), repr(seal)[2:-1], *re.findall(rb'"[xyn]":\s*"([^"]+)"', bytes(payload))):
            words = secret if isinstance(secret, str) else secret.decode()
            assert words not in html


@pytest.mark.parametrize("key", ["right key", "wrong key"])
@pytest.mark.parametrize("happened", ["nothing", "due", "forged"])
def test_looking_changes_nothing_and_asks_nobody(
    happened: str, key: str, settings: Any, idp: LoopbackIssuer
) -> None:
    conf.verifier().warm()
    if happened == "due":
        execute(f"UPDATE {TABLE} SET next_refresh_at = 'epoch', expires_at = 'epoch'")
    if happened == "forged":
        execute(f"UPDATE {TABLE} SET payload = '{{}}'")
    before, asked = execute(f"SELECT xmin, ctid, * FROM {TABLE}"), len(idp.requests)
    if key == "wrong key":
        keys = {"NAMESPACE": conf.verifier().store.namespace, "SEAL_KEYS": [bytes(32)]}
        settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, **keys}
    client = client_of("view", "change")
    for page in (ROWS, row_page(), reverse("admin:index")):
        text_of(client.get(page))
    assert execute(f"SELECT xmin, ctid, * FROM {TABLE}") == before
    assert len(idp.requests) == asked


def test_what_others_have_written_into_a_row_is_shown_escaped(idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    kid = "a\u202eb\u2028c\u200b"
    jwks = {"keys": [{**key, "kid": kid} for key in idp.jwks()["keys"]]}
    with psycopg.connect(make_conninfo(**place())) as other:
        other.execute(
            f"UPDATE {TABLE} SET payload = %s, last_error = %s,"
            " last_refresh_reason = %s, source_key = %s".encode(),
            [json.dumps(jwks).encode(), *(f"{word}\x1b[2J\n\x9b1m\u202e" for word in ("err", "why", "key"))],
        )
    client = client_of("view")
    pages = [client.get(ROWS), client.get(row_page())]
    for response in pages:
        html = response.content.decode()
        assert not re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200b\u202a-\u202e\u2066-\u2069]", html
        )
        assert "a\\u202eb\\u2028c\\u200b" in html
        assert "err\\x1b[2J\\n\\x9b1m\\u202e" in html
    assert "why\\x1b[2J" in pages[1].content.decode()


def test_the_seal_is_not_even_read(idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    client = client_of("view")
    with CaptureQueriesContext(connection) as queries:
        client.get(ROWS)
        client.get(row_page())
    asked = [query["sql"] for query in queries if "jwt_verification_cache" in query["sql"]]
    assert asked
    assert [sql for sql in asked if '"seal"' in sql] == []


def test_a_row_of_another_service_says_so(settings: Any, idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, "ISSUER": "https://login.example.com/"}
    assert "(none of this project's)" in text_of(client_of("view").get(ROWS))


def test_settings_that_are_wrong_do_not_hide_the_rows(settings: Any) -> None:
    conf.verifier().warm()
    settings.SKELDIR_JWT = {"ISSUER": 7}
    assert "(none of this project's)" in text_of(client_of("view").get(ROWS))
    assert "No newer keys: SKELDIR_JWT['AUDIENCE']" in refresh(client_of("view", "change"))


def test_a_page_without_rows_is_shown() -> None:
    assert "0 cached key sets" in text_of(client_of("view").get(ROWS))


@pytest.mark.parametrize("value", ["infinity", "-infinity", "4714-11-24 BC", "294276-12-31"])
def test_times_that_no_driver_can_read_do_not_break_the_pages(value: str) -> None:
    conf.verifier().warm()
    execute(
        f"UPDATE {TABLE} SET lease_owner = gen_random_uuid(), "
        + ", ".join(
            f"{name} = '{value}'"
            for name in (
                "fetched_at",
                "next_refresh_at",
                "expires_at",
                "claimed_at",
                "lease_until",
                "floor_until",
                "floor_set_at",
                "backoff_until",
                "backoff_set_at",
            )
        )
    )
    client = client_of("view")
    text_of(client.get(ROWS))
    text_of(client.get(row_page()))


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"keys": 7}', b'{"keys":[]}', b"\xff\x00"])
def test_a_document_that_cannot_be_read_does_not_break_the_pages(payload: bytes) -> None:
    conf.verifier().warm()
    execute(f"UPDATE {TABLE} SET payload = '\\x{payload.hex()}'")
    client = client_of("view")
    assert "(not to be read)" in text_of(client.get(ROWS))
    text_of(client.get(row_page()))


def test_what_a_row_holds_is_escaped() -> None:
    conf.verifier().warm()
    execute(f"UPDATE {TABLE} SET last_error = '<script>alert(1)</script>'")
    for page in (ROWS, row_page()):
        assert b"<script>alert" not in client_of("view", page[-9:-1]).get(page).content


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        ("lease_owner = gen_random_uuid(), lease_until = now() + interval '1 h'", "at most"),
        ("lease_owner = gen_random_uuid(), lease_until = now() - interval '1 h'", "abandoned"),
        ("next_refresh_at = now() - interval '1 s'", "due"),
        ("expires_at = now() - interval '1 s'", "expired"),
        ("backoff_until = now() + interval '90 min'", r"1:(29:5\d|30:00)"),
    ],
)
def test_what_goes_on_is_told_by_the_database_s_clock(assignments: str, words: str) -> None:
    conf.verifier().warm()
    execute(f"UPDATE {TABLE} SET {assignments}")
    assert re.search(words, text_of(client_of("view").get(row_page())))


# -- who may ----------------------------------------------------------------------------------------------


def test_who_may_not_view_sees_nothing() -> None:
    client = client_of()
    assert client.get(ROWS).status_code == 403
    assert "Cached key sets" not in text_of(client.get(reverse("admin:index")))


def test_who_may_view_is_offered_no_action_and_can_take_none(idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    client = client_of("view")
    assert "refresh_now" not in client.get(ROWS).content.decode()
    refresh(client)
    assert idp.fetches == 1


@pytest.mark.parametrize("codenames", [("view",), ("change",), ("view", "change")])
def test_nobody_adds_changes_or_deletes(codenames: tuple[str, ...]) -> None:
    conf.verifier().warm()
    before = execute(f"SELECT * FROM {TABLE}")
    client = client_of(*codenames)
    page = row_page()
    html = client.get(page).content.decode()
    assert 'name="_save"' not in html
    assert "deletelink" not in html
    assert client.post(page, {"last_error": "x", "generation": 1}).status_code == 403
    assert client.get(reverse("admin:skeldir_jwt_mw_cachedkeyset_add")).status_code == 403
    assert client.post(page.replace("change", "delete"), {"post": "yes"}).status_code == 403
    client.post(ROWS, {"action": "delete_selected", "_selected_action": [before[0][0]], "post": "yes"})
    assert execute(f"SELECT * FROM {TABLE}") == before


def test_a_superuser_may_not_either(admin_client: Client) -> None:
    conf.verifier().warm()
    assert admin_client.get(reverse("admin:skeldir_jwt_mw_cachedkeyset_add")).status_code == 403
    assert admin_client.post(row_page(), {"generation": 1}).status_code == 403


# -- refresh now ------------------------------------------------------------------------------------------


def test_refresh_now_fetches_once_and_says_so(idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    kid = idp.rotate(keep_previous=False)
    client = client_of("change")
    page = refresh(client)
    assert f"Newer keys are in use: {idp.issuer}" in page
    assert kid in page
    assert idp.fetches == 2
    assert execute(f"SELECT last_refresh_reason FROM {TABLE}") == [("manual",)]
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.change_message) == ("user-change", "Asked for newer keys.")


def test_a_provider_that_is_down_is_told_and_no_error_page(idp: LoopbackIssuer) -> None:
    conf.verifier().warm()
    idp.down()
    page = refresh(client_of("view", "change"))
    assert re.search(r"No newer keys: .*try again in \d+ s", page)
    assert idp.kids[0] in page


def test_a_database_that_is_read_only_is_told_and_no_error_page(
    idp: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf.verifier().warm()
    options = {"options": "-c default_transaction_read_only=on"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    assert "No newer keys: the database is read-only" in refresh(client_of("view", "change"))


def test_where_the_project_has_no_such_table_the_admin_shows_none(
    settings: Any, admin_client: Client
) -> None:
    elsewhere = {"DATABASE_URL": "postgresql://app@db/app", "SEAL_KEYS": [bytes(32)]}
    settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, **elsewhere}
    assert admin_client.get(ROWS).status_code == 403
    assert "Cached key sets" not in text_of(admin_client.get(reverse("admin:index")))
