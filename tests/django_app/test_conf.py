"""`SKELDIR_JWT`: read once, dropped when a test overrides it; what derives from SECRET_KEY."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from skeldir_jwt_mw import Issuer, KeysUnavailable, MemoryStore, PostgresStore, Verifier
from skeldir_jwt_mw.core.effects import Content
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.django import conf
from skeldir_jwt_mw.django.store import DjangoStore
from skeldir_jwt_mw.sources import FetchFailed, StaticSource
from skeldir_jwt_mw.testing import SigningKey

ISSUER = {"ISSUER": "https://login.example.com/", "AUDIENCE": "orders-api"}
JWKS = {"keys": [SigningKey.generate("ES256", kid="a").jwk()]}
CONTENT = Content(payload=b"{}", generation=1, fetched_us=1, expires_us=2, etag=None, last_modified=None)


KEY = bytes(range(32))


class DownSource:
    """A source that never has keys."""

    identity = "down"

    def fetch(self, conditional: object) -> Any:
        """Fail."""
        raise FetchFailed("it is down")


class SharedStore(MemoryStore):
    """A store that, as it says, leaves the process."""

    shared = True


@pytest.fixture
def configured() -> Iterator[Callable[..., None]]:
    """Overrides SKELDIR_JWT, beside the issuer, and settings of the project."""
    overridden: list[override_settings] = []

    def configure(given: dict[str, Any] | None = None, **project: Any) -> None:
        override = override_settings(SKELDIR_JWT={**ISSUER, **(given or {})}, **project)
        override.enable()
        overridden.append(override)

    yield configure
    while overridden:
        overridden.pop().disable()


def test_settings_guard_and_verifier_are_made_once(configured: Callable[..., None]) -> None:
    configured({"STORE": MemoryStore()})
    assert conf.settings() is conf.settings()
    assert conf.guard() is conf.guard()
    assert conf.verifier() is conf.guard().verifier
    assert conf.user_resolver() is None


def test_threads_that_ask_at_the_same_time_get_one_verifier(configured: Callable[..., None]) -> None:
    made: list[Verifier] = []

    def factory() -> Verifier:
        made.append(Verifier(Issuer("https://login.example.com/", audience="a", source=StaticSource(JWKS))))
        return made[-1]

    with override_settings(SKELDIR_JWT={"VERIFIER": factory}):
        starting = threading.Barrier(8)
        seen: list[Verifier] = []

        def ask() -> None:
            starting.wait(10)
            seen.append(conf.verifier())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(made) == 1
    assert seen == made * 8


def test_an_overridden_setting_makes_a_new_verifier_and_closes_the_old_one(
    configured: Callable[..., None],
) -> None:
    configured({"STORE": MemoryStore(), "SOURCE": DownSource(), "REALM": "one"})
    before = conf.verifier()
    configured({"STORE": MemoryStore(), "SOURCE": DownSource(), "REALM": "two"})
    with pytest.raises(KeysUnavailable, match="closed"):
        before.warm()
    assert conf.verifier() is not before
    assert conf.settings().middleware["realm"] == "two"


@pytest.mark.parametrize("setting", ["SECRET_KEY", "SECRET_KEY_FALLBACKS"])
def test_another_secret_key_makes_a_new_verifier(configured: Callable[..., None], setting: str) -> None:
    configured()
    before = conf.verifier()
    with override_settings(**{setting: "another" if setting == "SECRET_KEY" else ["another"]}):
        assert conf.verifier() is not before


def test_a_setting_that_has_no_part_in_it_changes_nothing(configured: Callable[..., None]) -> None:
    configured()
    before = conf.verifier()
    with override_settings(DEBUG=True):
        assert conf.verifier() is before


def test_a_verifier_that_was_given_is_not_closed() -> None:
    given = Verifier(Issuer(issuer="https://login.example.com/", audience="a", source=DownSource()))
    with override_settings(SKELDIR_JWT={"VERIFIER": given}):
        assert conf.verifier() is given
    with pytest.raises(KeysUnavailable) as unavailable:
        given.warm()
    assert unavailable.value.reason == "failed"
    given.close()


def sealer_of(verifier: Verifier) -> Sealer:
    return verifier._setup.sealer


def rows_of(verifier: Verifier) -> list[str]:
    return verifier.source_keys()


def test_rows_are_sealed_with_what_derives_from_the_secret_key(configured: Callable[..., None]) -> None:
    configured(SECRET_KEY="a" * 50)
    ours = conf.verifier()
    seal = sealer_of(ours).seal("row", CONTENT)
    configured(SECRET_KEY="b" * 50)
    theirs = conf.verifier()
    assert sealer_of(theirs).inspect("row", CONTENT, seal) == "stranger"
    assert rows_of(ours) != rows_of(theirs)
    for key in (b"a" * 50, "a" * 50):
        configured(SECRET_KEY=key)
        assert sealer_of(conf.verifier()).inspect("row", CONTENT, seal) == "good"
        assert rows_of(conf.verifier()) == rows_of(ours)


def test_while_a_new_secret_key_is_rolled_out_all_share_one_row_and_accept_its_seals(
    configured: Callable[..., None],
) -> None:
    def started_with(key: str, *fallbacks: str) -> Verifier:
        configured(SECRET_KEY=key, SECRET_KEY_FALLBACKS=list(fallbacks))
        return conf.verifier()

    rollouts = [
        (started_with("a" * 50), started_with("b" * 50, "a" * 50)),
        (started_with("b" * 50, "a" * 50), started_with("c" * 50, "b" * 50, "a" * 50)),
    ]
    for old, new in rollouts:
        assert rows_of(old) == rows_of(new)
        for writer, reader in ((old, new), (new, old)):
            seal = sealer_of(writer).seal("row", CONTENT)
            assert sealer_of(reader).inspect("row", CONTENT, seal) == "good"
    # Once the fallback goes, the two kinds of processes have a row each and disturb no one's.
    assert rows_of(started_with("b" * 50, "a" * 50)) != rows_of(started_with("b" * 50))


def test_a_namespace_that_is_given_stays_with_derived_keys(configured: Callable[..., None]) -> None:
    configured({"NAMESPACE": "shared"}, SECRET_KEY="a" * 50)
    before = rows_of(conf.verifier())
    configured({"NAMESPACE": "shared"}, SECRET_KEY="b" * 50)
    assert rows_of(conf.verifier()) == before


def test_who_gives_the_seal_keys_shares_rows_with_all_who_have_them(configured: Callable[..., None]) -> None:
    configured({"SEAL_KEYS": [KEY]}, SECRET_KEY="a" * 50)
    before = rows_of(conf.verifier())
    configured({"SEAL_KEYS": [KEY]}, SECRET_KEY="b" * 50)
    assert rows_of(conf.verifier()) == before
    elsewhere = Verifier(
        Issuer(ISSUER["ISSUER"], audience="orders-api"), store=SharedStore(), seal_keys=[KEY]
    )
    assert rows_of(elsewhere) == before


def test_the_store_is_the_project_s_default_database(configured: Callable[..., None]) -> None:
    configured()
    store = conf.verifier()._setup.store
    assert isinstance(store, DjangoStore)
    assert store.alias == "default"


def test_another_store_can_be_given(configured: Callable[..., None]) -> None:
    given = SharedStore()
    configured({"STORE": given})
    assert conf.verifier()._setup.store is given
    configured({"DATABASE_URL": "postgresql://db.example.com/app"})
    assert isinstance(conf.verifier()._setup.store, PostgresStore)


def test_a_url_shares_rows_between_projects_with_the_same_secret_key_alone(
    configured: Callable[..., None],
) -> None:
    url = {"DATABASE_URL": "postgresql://db.example.com/app"}
    configured(url, SECRET_KEY="a" * 50)
    one = conf.verifier()
    configured(url, SECRET_KEY="b" * 50)
    assert rows_of(conf.verifier()) != rows_of(one)
    configured(SECRET_KEY="a" * 50)
    assert rows_of(conf.verifier()) == rows_of(one)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ISUER": "x"}, r"SKELDIR_JWT\['ISUER'\] is not a setting, did you mean 'ISSUER'"),
        ({"AUDIENCE": 3}, r"SKELDIR_JWT\['AUDIENCE'\] \(3\)"),
        ({"FLOOR": -1}, r"SKELDIR_JWT\['FLOOR'\]"),
        ({"EXEMPT": "health"}, r"SKELDIR_JWT\['EXEMPT'\] \('health'\)"),
        ({"EXEMPT": ["health"]}, r"SKELDIR_JWT\['EXEMPT'\] \('health'\)"),
        ({"REALM": "\n"}, r"SKELDIR_JWT\['REALM'\]"),
        ({"REQUIRED": "yes"}, r"SKELDIR_JWT\['REQUIRED'\] \('yes'\)"),
        ({"RESOURCE": "/orders"}, r"SKELDIR_JWT\['RESOURCE'\]"),
        ({"REMOTE_USER": True}, r"SKELDIR_JWT\['REMOTE_USER'\] \(True\)"),
        (
            {"DATABASE": "defualt"},
            r"SKELDIR_JWT\['DATABASE'\] \('defualt'\) is not in DATABASES, did you mean",
        ),
        ({"USER_RESOLVER": "no.such"}, r"SKELDIR_JWT\['USER_RESOLVER'\] \('no.such'\) cannot be imported"),
        ({"USER_RESOLVER": "os.name"}, r"SKELDIR_JWT\['USER_RESOLVER'\] \('os.name'\) must be a callable"),
        ({"TOKEN_GETTER": "os.nothing"}, r"SKELDIR_JWT\['TOKEN_GETTER'\]"),
        ({"SEAL_KEYS": ["c2hvcnQ="]}, r"SKELDIR_JWT\['SEAL_KEYS'\] \(entry 1, 5 bytes\)"),
    ],
)
def test_what_is_wrong_is_told_by_the_setting_s_name(
    configured: Callable[..., None], given: dict[str, Any], text: str
) -> None:
    configured(given)
    for _ in range(2):  # a failure is not remembered as something else
        with pytest.raises(ImproperlyConfigured, match=text):
            conf.guard()


def test_a_project_without_the_setting_is_told_what_is_missing() -> None:
    missing = pytest.raises(ImproperlyConfigured, match=r"SKELDIR_JWT\['ISSUER'\] is missing")
    with override_settings(SKELDIR_JWT=None), missing:
        conf.settings()


def test_the_variables_stand_in_for_a_setting_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKELDIR_JWT_ISSUER", "https://other.example.com/")
    monkeypatch.setenv("SKELDIR_JWT_AUDIENCE", "orders-api")
    assert conf.settings().issuers[0].issuer == "https://login.example.com/"
    with override_settings(SKELDIR_JWT=None):
        assert conf.settings().issuers[0].issuer == "https://other.example.com/"
        assert isinstance(conf.verifier()._setup.store, DjangoStore)
    assert conf.settings().issuers[0].issuer == "https://login.example.com/"


# -- processes ---------------------------------------------------------------------------------------------


def run_alone(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_can_be_imported_where_no_settings_and_no_apps_are() -> None:
    code = """
        import warnings
        warnings.simplefilter("error")
        from skeldir_jwt_mw.django import JWTMiddleware, from_header, jwt_required
        from django.conf import settings
        print(settings.configured)
    """
    assert run_alone(code) == "False"


def test_a_child_that_is_forked_while_a_guard_is_made_makes_its_own() -> None:
    code = """
        import os, threading
        from django.conf import settings
        settings.configure(SECRET_KEY="k", SKELDIR_JWT={"ISSUER": "https://a.example.com", "AUDIENCE": "a"})
        from skeldir_jwt_mw.django import conf
        making, forked = threading.Event(), threading.Event()

        def make():
            with conf._lock:
                making.set()
                forked.wait(30)

        threading.Thread(target=make).start()
        making.wait(30)
        child = os.fork()
        if child == 0:
            conf.guard()
            os._exit(7)
        _, status = os.waitpid(child, 0)
        forked.set()
        print(os.waitstatus_to_exitcode(status))
    """
    assert run_alone(code) == "7"
