"""What is Flask's own: factories, app.config, views and blueprints, error handlers, contexts, streams."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flask
import pytest
from flask.views import MethodView
from identity import AUDIENCE, ISSUER, Signer, Verifiers
from request_table import INVALID_TOKEN, PLAIN
from werkzeug.exceptions import HTTPException

from skeldir_jwt_mw import ConfigurationError, Issuer, Verifier
from skeldir_jwt_mw.flask import JWT, current_token, from_cookie, jwt_exempt, jwt_required
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.wsgi import JWTMiddleware

SCOPE_MISSING = (
    f'{PLAIN}, error="insufficient_scope", error_description="The access token lacks a required scope"'
)


def subject() -> str | None:
    """Whose request this is."""
    token = current_token()
    return None if token is None else token.subject


def whose() -> dict[str, str | None]:
    """A view that tells whose request it serves."""
    return {"subject": subject()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def app() -> flask.Flask:
    """An app that is not guarded yet."""
    app = flask.Flask("orders")
    app.add_url_rule("/", view_func=whose)
    return app


def ask(
    app: flask.Flask, token: str | None = None, path: str = "/", method: str = "GET"
) -> tuple[int, str | None, Any]:
    """Status, challenge and JSON of the answer; whose request it was is forgotten after every one."""
    headers = {} if token is None else bearer(token)
    with app.test_client().open(path, method=method, headers=headers) as response:
        answer = (
            response.status_code,
            response.headers.get("WWW-Authenticate"),
            response.get_json(silent=True),
        )
    assert current_token() is None
    return answer


def test_apps_of_one_factory_have_options_and_state_of_their_own(
    verifiers: Verifiers, tokens: dict[str, str]
) -> None:
    def create(**options: Any) -> flask.Flask:
        app = flask.Flask("orders")
        app.add_url_rule("/", view_func=whose)
        JWT(app, **options)
        return app

    strict = create(verifier=verifiers.get())
    lenient = create(verifier=verifiers.get(), required=False, realm="lenient")
    keyless = create(verifier=verifiers.get(keys=False))
    for _ in range(2):
        assert ask(strict)[:2] == (401, PLAIN)
        assert ask(lenient) == (200, None, {"subject": None})
        assert ask(strict, tokens["valid"])[2] == ask(lenient, tokens["valid"])[2] == {"subject": "user-1"}
        assert ask(keyless, tokens["valid"])[0] == 503
    states = [app.extensions["skeldir_jwt"] for app in (strict, lenient, keyless)]
    assert len({id(state) for state in states}) == 3
    assert [state.verifier.ready for state in states] == [True, True, False]


def test_one_extension_guards_several_apps(verifier: Verifier, tokens: dict[str, str]) -> None:
    jwt = JWT(verifier=verifier, exempt=["/health"])
    apps = [flask.Flask(name) for name in ("one", "two")]
    for app in apps:
        jwt.init_app(app)
        app.add_url_rule("/", view_func=whose)
        app.add_url_rule("/health", endpoint="health", view_func=whose)
    for app in apps:
        assert ask(app)[0] == 401
        assert ask(app, path="/health")[0] == 200
        assert ask(app, tokens["valid"])[2] == {"subject": "user-1"}


def test_an_app_is_guarded_once(app: flask.Flask, verifier: Verifier) -> None:
    jwt = JWT(app, verifier)
    with pytest.raises(ConfigurationError, match="init_app once"):
        jwt.init_app(app)


def a_verifier() -> Verifier:
    """What a dotted path in the settings leads to."""
    return Verifier([Issuer(ISSUER, audience=AUDIENCE)])


def test_the_app_s_settings_describe_its_verifier_and_its_options(
    app: flask.Flask, signer: Signer, tokens: dict[str, str]
) -> None:
    source = StaticSource(signer.jwks)
    settings = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "SOURCE": source, "REALM": "orders", "EXEMPT": ["/a"]}
    app.config["SKELDIR_JWT"] = settings
    JWT(app)
    assert ask(app)[:2] == (401, 'Bearer realm="orders"')
    assert ask(app, path="/a")[0] == 404
    assert ask(app, tokens["valid"])[2] == {"subject": "user-1"}
    app.extensions["skeldir_jwt"].verifier.close()


@pytest.mark.parametrize("form", ["itself", "callable", "path"])
def test_the_app_s_settings_may_hold_a_verifier(app: flask.Flask, form: str) -> None:
    forms = {"itself": a_verifier(), "callable": a_verifier, "path": f"{__name__}.a_verifier"}
    app.config["SKELDIR_JWT"] = {"VERIFIER": forms[form], "REQUIRED": False}
    JWT(app)
    assert ask(app) == (200, None, {"subject": None})
    assert isinstance(app.extensions["skeldir_jwt"].verifier, Verifier)


def test_arguments_come_before_the_app_s_settings(app: flask.Flask, verifier: Verifier) -> None:
    app.config["SKELDIR_JWT"] = {"VERIFIER": a_verifier, "REALM": "configured", "EXEMPT": ["/health"]}
    JWT(app, verifier, realm="given")
    assert ask(app)[:2] == (401, 'Bearer realm="given"')
    assert ask(app, path="/health")[0] == 404
    assert app.extensions["skeldir_jwt"].verifier is verifier


def test_settings_come_from_prefixed_variables_as_flask_reads_them(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_SKELDIR_JWT__ISSUER", ISSUER)
    monkeypatch.setenv("FLASK_SKELDIR_JWT__AUDIENCE", AUDIENCE)
    monkeypatch.setenv("FLASK_SKELDIR_JWT__EXEMPT", '["/"]')
    app.config.from_prefixed_env()
    JWT(app)
    assert ask(app)[0] == 200
    assert list(app.extensions["skeldir_jwt"].verifier.status()) == [ISSUER]


def test_without_settings_the_environment_speaks(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="SKELDIR_JWT_ISSUER"):
        JWT(app)
    assert "skeldir_jwt" not in app.extensions
    monkeypatch.setenv("SKELDIR_JWT_ISSUER", ISSUER)
    monkeypatch.setenv("SKELDIR_JWT_AUDIENCE", AUDIENCE)
    JWT(app)
    assert ask(app)[0] == 401


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"ISUER": ISSUER}, r"app.config\['SKELDIR_JWT'\]\['ISUER'\].*did you mean 'ISSUER'"),
        ({"ISSUER": ISSUER}, r"app.config\['SKELDIR_JWT'\]\['AUDIENCE'\] is missing"),
        ({"VERIFIER": a_verifier, "EXEMPT": "health"}, "exempt"),
        ({"VERIFIER": a_verifier, "REMOTE_USER": True}, "REMOTE_USER"),
        ({"VERIFIER": a_verifier, "USER_RESOLVER": "a.b"}, "USER_RESOLVER"),
        ({"VERIFIER": "nowhere.at.all"}, "nowhere"),
        ("https://login.example.com/", "must be a dict"),
        ([], "must be a dict"),
    ],
)
def test_a_wrong_setting_is_named_when_the_app_is_made(app: flask.Flask, settings: Any, text: str) -> None:
    app.config["SKELDIR_JWT"] = settings
    with pytest.raises(ConfigurationError, match=text):
        JWT(app)


def test_a_verifier_beside_the_settings_of_another_is_refused(app: flask.Flask, verifier: Verifier) -> None:
    app.config["SKELDIR_JWT"] = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE}
    with pytest.raises(ConfigurationError, match="contradict"):
        JWT(app, verifier)
    app.config["SKELDIR_JWT"] = "elsewhere"
    with pytest.raises(ConfigurationError, match="must be a dict"):
        JWT(app, verifier)


@pytest.mark.parametrize(
    "options", [{"exempt": "/health"}, {"required": 1}, {"realm": ""}, {"verifier": object()}]
)
def test_a_wrong_option_is_refused_when_the_app_is_guarded(
    app: flask.Flask, verifier: Verifier, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        JWT(app, **{"verifier": verifier, **options})


def test_whatever_the_app_routes_needs_a_token(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str], tmp_path: Path
) -> None:
    tmp_path.joinpath("style.css").write_text("body {}")
    app.static_folder = str(tmp_path)
    orders = flask.Blueprint("orders", "orders", url_prefix="/orders")
    orders.add_url_rule("/", view_func=whose)
    app.register_blueprint(orders)
    JWT(app, verifier)
    paths = {"/": 200, "/orders/": 200, "/orders": 308, "/static/style.css": 200, "/unknown": 404}
    for path, status in paths.items():
        assert ask(app, path=path)[:2] == (401, PLAIN)
        assert ask(app, tokens["expired"], path=path)[:2] == (401, INVALID_TOKEN)
        assert ask(app, tokens["valid"], path=path)[0] == status
    assert ask(app, path="/", method="PUT")[0] == 401
    assert ask(app, tokens["valid"], path="/", method="PUT")[0] == 405


def test_error_handlers_do_not_see_refusals_and_after_request_functions_do(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    handled: list[object] = []
    for kind in (401, 403, HTTPException, Exception):
        app.register_error_handler(kind, lambda error: handled.append(error) or ("handled", 418))

    @app.after_request
    def allow_origin(response: flask.Response) -> flask.Response:
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    JWT(app, verifier)
    app.add_url_rule("/admin", view_func=jwt_required(scopes=["admin"])(whose), endpoint="admin")
    client = app.test_client()
    for path, headers, status, error in [
        ("/", {}, 401, "unauthorized"),
        ("/", bearer(tokens["expired"]), 401, "invalid_token"),
        ("/", {"Authorization": "Bearer"}, 400, "invalid_request"),
        ("/admin", bearer(tokens["valid"]), 403, "insufficient_scope"),
    ]:
        with client.get(path, headers=headers) as response:
            assert (response.status_code, response.get_json()["error"]) == (status, error)
            assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert handled == []
    assert ask(app, tokens["valid"], "/unknown")[0] == 418
    assert len(handled) == 1


def test_functions_before_the_view_see_the_token(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    seen: list[str | None] = []
    JWT(app, verifier)
    app.before_request(lambda: seen.append(subject()))
    app.teardown_request(lambda _: seen.append(subject()))
    ask(app)
    ask(app, tokens["valid"])
    assert seen == [None, "user-1", "user-1"]


def test_the_token_is_in_the_environ_as_it_is_with_the_wsgi_middleware(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    JWT(app, verifier)
    app.add_url_rule(
        "/environ",
        view_func=lambda: {"is": flask.request.environ["skeldir_jwt"] is current_token()},
        endpoint="environ",
    )
    assert ask(app, tokens["valid"], "/environ")[2] == {"is": True}


def test_errors_of_the_app_stay_its_own(app: flask.Flask, verifier: Verifier, tokens: dict[str, str]) -> None:
    def fail() -> str:
        raise LookupError(subject())

    JWT(app, verifier)
    app.add_url_rule("/fail", view_func=fail)
    app.register_error_handler(ZeroDivisionError, lambda error: {"whose": subject()})
    app.add_url_rule("/handled", view_func=lambda: {"never": 1 // 0}, endpoint="handled")
    assert ask(app, tokens["valid"], "/fail")[0] == 500
    assert ask(app, tokens["valid"], "/handled")[2] == {"whose": "user-1"}
    app.testing = True
    with pytest.raises(LookupError, match="user-1"):
        ask(app, tokens["valid"], "/fail")
    assert current_token() is None


def test_a_getter_that_raises_is_an_error_of_the_app(app: flask.Flask, verifier: Verifier) -> None:
    JWT(app, verifier, required=False, token_getter=lambda headers: headers["x-token"][0])
    assert ask(app)[0] == 500


def test_a_token_may_come_in_a_cookie(app: flask.Flask, verifier: Verifier, tokens: dict[str, str]) -> None:
    JWT(app, verifier, token_getter=from_cookie("__session"))
    client = app.test_client()
    client.set_cookie("__session", tokens["valid"])
    with client.get("/") as response:
        assert response.get_json() == {"subject": "user-1"}


class Listing(MethodView):
    """A view in the form of a class."""

    def get(self) -> dict[str, str | None]:
        """Whose request it is."""
        return whose()


class OpenListing(Listing):
    """The same, for everybody."""

    decorators = [jwt_exempt]  # noqa: RUF012  # as Flask has it


class ReadersListing(Listing):
    """The same, for readers."""

    decorators = [jwt_required(scopes=["orders:read"])]  # noqa: RUF012


def test_an_exempt_view_ignores_credentials(
    app: flask.Flask, verifiers: Verifiers, tokens: dict[str, str]
) -> None:
    pages = flask.Blueprint("pages", "pages", url_prefix="/pages")

    @pages.get("/health")
    @jwt_exempt
    def health() -> dict[str, str | None]:
        return whose()

    app.register_blueprint(pages)
    app.add_url_rule("/listing", view_func=OpenListing.as_view("open"))
    app.add_url_rule("/closed", view_func=Listing.as_view("closed"))
    JWT(app, verifiers.get(keys=False))
    for path in ("/pages/health", "/listing"):
        for token in (None, tokens["valid"], tokens["expired"], "a b"):
            assert ask(app, token, path) == (200, None, {"subject": None})
    for path in ("/", "/closed"):
        assert ask(app, path=path)[0] == 401
    assert ask(app, path="/listing", method="POST")[0] == 401


def test_exempting_a_class_says_how_that_is_done() -> None:
    with pytest.raises(ConfigurationError, match="decorators"):
        jwt_exempt(Listing)


def test_a_view_that_requires_a_token_is_closed_to_anonymous_requests(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    JWT(app, verifier, required=False)
    app.add_url_rule("/bare", view_func=jwt_required(whose), endpoint="bare")
    app.add_url_rule("/called", view_func=jwt_required()(whose), endpoint="called")
    app.add_url_rule("/listing", view_func=ReadersListing.as_view("listing"))
    assert ask(app)[0] == 200
    for path in ("/bare", "/called", "/listing"):
        assert ask(app, path=path) == (
            401,
            PLAIN,
            {"error": "unauthorized", "error_description": "The request has no access token"},
        )
        assert ask(app, path=path, method="HEAD") == (401, PLAIN, None)
        assert ask(app, tokens["valid"], path)[2] == {"subject": "user-1"}
        assert ask(app, tokens["expired"], path)[:2] == (401, INVALID_TOKEN)


@pytest.mark.parametrize(
    ("scopes", "status", "named"),
    [
        (["orders:read"], 200, ""),
        ("orders:read", 200, ""),
        (["orders:read", "orders:write"], 200, ""),
        ((scope for scope in ("orders:read", "admin")), 403, "orders:read admin"),
        (["admin"], 403, "admin"),
        ("admin", 403, "admin"),
        (['a"b'], 403, r"a\"b"),
    ],
)
def test_a_view_requires_all_scopes(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str], scopes: Any, status: int, named: str
) -> None:
    JWT(app, verifier)
    app.add_url_rule("/scoped", view_func=jwt_required(scopes=scopes)(whose), endpoint="scoped")
    for _ in range(2):
        answer = ask(app, tokens["valid"], "/scoped")
        assert answer[0] == status
        assert answer[1] == (f'{SCOPE_MISSING}, scope="{named}"' if status == 403 else None)
    assert ask(app, path="/scoped")[:2] == (401, PLAIN)


def test_a_decorated_view_keeps_its_name_and_its_arguments(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    JWT(app, verifier)

    @app.get("/orders/<int:number>")
    @jwt_required
    def order(number: int) -> dict[str, Any]:
        """One order."""
        return {"number": number, "subject": subject()}

    assert app.view_functions["order"].__doc__ == "One order."
    assert ask(app, tokens["valid"], "/orders/7")[2] == {"number": 7, "subject": "user-1"}


@pytest.mark.platform
def test_async_views_know_whose_request_it_is(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    pytest.importorskip("asgiref")
    JWT(app, verifier)

    @app.get("/async")
    @jwt_required(scopes=["orders:read"])
    async def later() -> dict[str, str | None]:
        return whose()

    assert ask(app, tokens["valid"], "/async")[2] == {"subject": "user-1"}
    assert ask(app, path="/async")[0] == 401


def test_a_view_that_requires_a_token_needs_a_guarded_app(app: flask.Flask, tokens: dict[str, str]) -> None:
    app.testing = True
    app.add_url_rule("/bare", view_func=jwt_required(whose), endpoint="bare")
    with pytest.raises(RuntimeError, match="init_app"):
        ask(app, tokens["valid"], "/bare")


@pytest.mark.parametrize("with_context", [False, True])
def test_a_stream_knows_whose_it_is_until_it_is_closed(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str], with_context: bool
) -> None:
    ended: list[str | None] = []

    def parts() -> Iterator[str]:
        yield f"{subject()} "
        yield f"{subject()} {flask.has_request_context()}"

    def stream() -> flask.Response:
        response = flask.Response(flask.stream_with_context(parts()) if with_context else parts())
        response.call_on_close(lambda: ended.append(subject()))
        return response

    JWT(app, verifier)
    app.add_url_rule("/stream", view_func=stream)
    response = app.test_client().get("/stream", headers=bearer(tokens["valid"]))
    assert response.text == f"user-1 user-1 {with_context}"
    response.close()
    assert ended == ["user-1"]
    assert current_token() is None


def test_a_stream_that_fails_or_is_left_leaves_nothing_behind(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    def parts() -> Iterator[str]:
        yield f"{subject()}"
        raise LookupError(subject())

    JWT(app, verifier)
    app.add_url_rule("/stream", view_func=lambda: flask.Response(parts()), endpoint="stream")
    response = app.test_client().get("/stream", headers=bearer(tokens["valid"]))
    with pytest.raises(LookupError, match="user-1"):
        response.get_data()
    response.close()
    assert current_token() is None
    left = app.test_client().get("/stream", headers=bearer(tokens["valid"]))
    assert current_token() is not None
    left.close()
    assert current_token() is None


def test_a_file_reaches_the_server_as_flask_sends_it(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    JWT(app, verifier)
    app.add_url_rule(
        "/file", view_func=lambda: flask.send_file(io.BytesIO(b"file"), "text/plain"), endpoint="file"
    )
    with app.test_client().get("/file", headers=bearer(tokens["valid"])) as response:
        assert response.data == b"file"
    assert current_token() is None


def test_a_request_context_without_a_server_has_its_token_until_it_ends(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    JWT(app, verifier)
    with app.test_request_context("/", headers=bearer(tokens["valid"])):
        assert current_token() is None
        assert app.preprocess_request() is None
        assert subject() == "user-1"
    assert current_token() is None
    with app.test_request_context("/"):
        refusal = app.preprocess_request()
        assert isinstance(refusal, flask.Response)
        assert refusal.status_code == 401
    assert current_token() is None


def test_an_app_that_calls_another_gets_its_own_token_back(
    app: flask.Flask, verifier: Verifier, signer: Signer
) -> None:
    inner = flask.Flask("inner")
    inner.add_url_rule("/inner", view_func=whose)
    JWT(inner, verifier)

    @app.get("/outer")
    def outer() -> dict[str, Any]:
        before = subject()
        headers = bearer(signer.token(sub="inner"))
        with inner.test_client().get("/inner", headers=headers) as response:
            found = response.get_json()["subject"]
        return {"inner": found, "before": before, "after": subject()}

    @app.get("/inner")
    def forwarding() -> Any:
        return flask.Response.from_app(inner, flask.request.environ, buffered=True)

    JWT(app, verifier)
    token = signer.token(sub="outer")
    assert ask(app, token, "/outer")[2] == {"inner": "inner", "before": "outer", "after": "outer"}
    assert ask(app, token, "/inner")[2] == {"subject": "outer"}


def test_a_guarded_app_behind_the_wsgi_middleware_is_guarded_still(
    app: flask.Flask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    JWT(app, verifier)
    app.add_url_rule("/open", view_func=jwt_exempt(lambda: whose()), endpoint="open")
    app.wsgi_app = JWTMiddleware(app.wsgi_app, verifier, required=False)  # type: ignore[method-assign]
    assert ask(app)[0] == 401
    assert ask(app, tokens["valid"])[2] == {"subject": "user-1"}
    assert ask(app, tokens["valid"], "/open")[2] == {"subject": None}


def test_requests_in_many_threads_see_their_own_tokens(
    app: flask.Flask, verifier: Verifier, signer: Signer
) -> None:
    JWT(app, verifier)

    def slowly(name: str) -> bool:
        with app.test_client().get("/", headers=bearer(signer.token(sub=name))) as response:
            return json.loads(response.data) == {"subject": name}

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(slowly, [f"user-{number}" for number in range(200)]))
