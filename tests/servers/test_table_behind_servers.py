"""Behind every common server each request of the table gets the answer that it gets in process."""

from __future__ import annotations

from dataclasses import replace
from http.client import HTTPException

import pytest
from comparing import judge
from identity import Signer
from lines import SERVERS, Line
from live_servers import OverSocket
from request_table import CASES, PLAIN, Case
from running import Server, running


class TableServer(Server, OverSocket):
    """A server with the app of the request table."""


TRIES = 3  # of a request whose connection breaks before there is an answer; an answer counts at once
# What these servers make of a path before anybody sees it: it is exempt by what it has become.
BECOMES: dict[str, dict[str, str]] = {
    "uwsgi": {"/orders/../health": "/health", "/public/.": "/public/", "/public/./a": "/public/a"},
    "waitress": {"//public/a": "/public/a"},
}


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.mark.parametrize("everything", [False, True], ids=["plain", "everything"])
@pytest.mark.parametrize("line", SERVERS, ids=[line.name for line in SERVERS])
def test_each_request_of_the_table_gets_its_answer_behind_every_server(
    line: Line, everything: bool, signer: Signer
) -> None:
    signing = signer.with_everything() if everything else signer
    tokens = signer.tokens()
    wrong: dict[str, str] = {}
    with running(TableServer, _with_the_table(line), signing.environ) as server:
        server.everything = everything
        server.wait_until_it_listens()
        for case in CASES:
            for _ in range(TRIES):
                try:
                    _judge_behind(server, case, tokens)
                except (OSError, HTTPException) as error:  # no answer: a worker may have just begun
                    wrong[case.name] = f"{type(error).__name__}: {error}"
                except AssertionError as error:
                    wrong[case.name] = f"{type(error).__name__}: {error}"
                    break
                else:
                    wrong.pop(case.name, None)
                    break
        server.stop()  # another worker may still be loading the app: how it ends is not asked here
    assert wrong == {}


def _judge_behind(server: TableServer, case: Case, tokens: dict[str, str]) -> None:
    kind, _, variant = server.line.name.partition("-")
    if (path := BECOMES.get(kind, {}).get(case.path)) is not None:
        result = server.call(case, tokens)
        assert result.status == 200
        assert result.seen is not None
        assert (result.seen["path"], result.seen["subject"]) == (path, None)
    elif (kind, variant) == ("granian", "wsgi") and not all(value.isascii() for _, value in case.headers):
        result = server.call(case, tokens)  # it has dropped that line
        assert (result.status, result.header("www-authenticate")) == (401, PLAIN)
    else:
        judge(server, case, tokens)


def _with_the_table(line: Line) -> Line:
    app = "live_app:wsgi_at_once" if line.name == "granian-wsgi" else "live_app:wsgi"
    command = line.command.replace("service:wsgi", app).replace("service:asgi", "live_app:asgi")
    return replace(line, command=command)
