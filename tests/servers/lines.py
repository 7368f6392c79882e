"""The servers, each by the line that starts it; `docs/servers.md` says what to know about each."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent

# Not hypercorn with several workers: once the first of them has ended, it kills the others.
RUN_EXIT_HOOKS = ("gunicorn", "hypercorn-trio", "daphne", "celery-gevent", "celery-solo", "lambda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How a server is started on a unix socket `{socket}`, and with how many processes that serve."""

    name: str
    command: str
    processes: int
    told: str | None = None  # what the library warns of under this line, in part

    @property
    def runs_exit_hooks(self) -> bool:
        """Whether SIGTERM ends the interpreters of those that serve, and does not just kill them."""
        return self.name.startswith(RUN_EXIT_HOOKS)

    @property
    def argv(self) -> list[str]:
        """The command by its words, the program in this environment."""
        program, *arguments = self.command.split()
        return [str(BIN / program), *arguments]


LATE = "gevent has replaced the threads after"
GUNICORN = "gunicorn service:wsgi --bind unix:{socket} --workers 2 --graceful-timeout 5"
UWSGI = (
    "uwsgi --module service:wsgi --http-socket {socket} --processes 2 --master --die-on-term --need-app"
    f" --virtualenv {sys.prefix}"
)
UVICORN = "uvicorn service:asgi --uds {socket} --no-access-log"
HYPERCORN = "hypercorn --bind unix:{socket} service:asgi"

SERVERS = [
    Line(name="gunicorn-sync", command=GUNICORN, processes=2),
    Line(name="gunicorn-preload", command=f"{GUNICORN} --preload", processes=2),
    Line(name="gunicorn-gthread", command=f"{GUNICORN} -k gthread --threads 4", processes=2),
    Line(name="gunicorn-gevent", command=f"{GUNICORN} -k gevent", processes=2),
    Line(
        name="gunicorn-gevent-late",
        command=f"{GUNICORN} -k gevent --preload",
        processes=2,
        told=LATE,
    ),
    Line(name="uwsgi", command=UWSGI, processes=2),
    Line(
        name="uwsgi-threads",
        command=f"{UWSGI} --enable-threads --threads 4",
        processes=2,
    ),
    Line(name="uwsgi-lazy-apps", command=f"{UWSGI} --enable-threads --lazy-apps", processes=2),
    Line(
        name="uwsgi-gevent",
        command=f"{UWSGI} --gevent 20 --gevent-early-monkey-patch",
        processes=2,
    ),
    Line(
        name="uwsgi-gevent-late",
        command=f"{UWSGI} --gevent 20 --gevent-monkey-patch",
        processes=2,
        told=LATE,
    ),
    Line(
        name="uwsgi-gevent-unpatched",
        command=f"{UWSGI} --gevent 20",
        processes=2,
        told="uWSGI runs with gevent, but nothing is patched",
    ),
    Line(name="waitress", command="waitress-serve --unix-socket {socket} service:wsgi", processes=1),
    Line(
        name="granian-wsgi",
        command="granian --interface wsgi --uds {socket} --workers 2 --blocking-threads 4 service:wsgi",
        processes=2,
    ),
    Line(
        name="granian-asgi",
        command="granian --interface asgi --uds {socket} --workers 2 service:asgi",
        processes=2,
    ),
    Line(name="uvicorn", command=f"{UVICORN} --loop asyncio --http h11", processes=1),
    Line(name="uvicorn-uvloop", command=f"{UVICORN} --loop uvloop --http httptools --workers 2", processes=2),
    Line(name="hypercorn", command=f"{HYPERCORN} --workers 2", processes=2),
    Line(name="hypercorn-trio", command=f"{HYPERCORN} --worker-class trio", processes=1),
    Line(name="daphne", command="daphne -u {socket} service:asgi", processes=1),
]

CELERY = "celery -A tasks worker --loglevel WARNING --without-gossip --without-mingle --without-heartbeat"

WORKERS = [
    Line(name="celery-prefork", command=f"{CELERY} --concurrency 2", processes=2),
    Line(name="celery-gevent", command=f"{CELERY} --pool gevent --concurrency 4", processes=1),
    Line(name="celery-solo", command=f"{CELERY} --pool solo", processes=1),
]

FUNCTION = Line(name="lambda", command="python function.py", processes=1)
