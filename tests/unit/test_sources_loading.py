"""A fetch imports nothing: first fetches run side by side, and would meet each other's half-made modules."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

CODE = """if True:
    import json, sys
    from skeldir_jwt_mw import Issuer, Verifier
    from skeldir_jwt_mw.sources import CallableSource
    kind, issuer, jwks_url, ring = json.loads(sys.argv[1])
    more = {
        "url": {"jwks_url": jwks_url},
        "discovery": {},
        "callable": {"source": CallableSource(lambda: ring, identity="ring")},
    }[kind]
    verifier = Verifier(
        Issuer(issuer, audience="orders-api", allow_http=True, allow_private_hosts=True, **more)
    )
    before = set(sys.modules)
    verifier.warm()
    print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("kind", ["url", "discovery", "callable"])
def test_a_first_fetch_imports_nothing(kind: str) -> None:
    with LoopbackIssuer() as idp:
        ring = json.dumps({"keys": {"a": SigningKey.generate(kid="a").public_pem()}})
        arguments = json.dumps([kind, idp.issuer, idp.jwks_url, ring])
        command = [sys.executable, "-c", CODE, arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    # What the interpreter itself needs to look a name up has no modules that import each other.
    imported = [
        name
        for name in json.loads(done.stdout)
        if name not in ("encodings.idna", "stringprep", "unicodedata")
    ]
    assert imported == []
