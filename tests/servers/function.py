"""A function of AWS Lambda as its runtime runs it, through Mangum: one event at a time, a line is one."""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

from mangum import Mangum
from service import asgi

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of Mangum: it asks for the event loop
    handler = Mangum(asgi, lifespan="off")


def event_of(token: str) -> dict[str, Any]:
    """An event of an HTTP API, format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"authorization": f"Bearer {token}", "host": "function.example"},
        "requestContext": {
            "http": {"method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
            "stage": "$default",
        },
        "isBase64Encoded": False,
    }


for line in sys.stdin:
    answered = handler(event_of(line.strip()), None)  # type: ignore[arg-type]
    sys.stdout.write(json.dumps([answered["statusCode"], answered["body"]]) + "\n")
    sys.stdout.flush()
