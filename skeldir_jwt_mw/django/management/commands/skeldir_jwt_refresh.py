"""`manage.py skeldir_jwt_refresh`."""

from __future__ import annotations

from skeldir_jwt_mw.django.management.operating import OperatorCommand
from skeldir_jwt_mw.verifier import Verifier


class Command(OperatorCommand):
    """Fetches the keys now."""

    help = "Fetch the keys now, once for the whole fleet; obeys its floor and backoff."

    def operate(self, verifier: Verifier, *, as_json: bool) -> None:
        """Refresh every issuer and show what is in use then."""
        verifier.refresh()
        self.show(verifier.status(), as_json=as_json)
