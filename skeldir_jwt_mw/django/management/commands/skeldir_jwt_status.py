"""`manage.py skeldir_jwt_status`."""

from __future__ import annotations

from django.core.management.base import CommandError

from skeldir_jwt_mw.django.management.operating import OperatorCommand
from skeldir_jwt_mw.errors import ConfigurationError, JWTError
from skeldir_jwt_mw.report import REFUSED
from skeldir_jwt_mw.verifier import Verifier


class Command(OperatorCommand):
    """Loads the shared keys without forcing a fetch and shows them."""

    help = "Load the shared keys without forcing a fetch and show them; exit code 1 if there are none."

    def operate(self, verifier: Verifier, *, as_json: bool) -> None:
        """Show what there is, also where loading has failed."""
        try:
            verifier.warm()
        except ConfigurationError:
            raise
        except JWTError:
            self.show(verifier, as_json=as_json)
            raise
        self.show(verifier, as_json=as_json)
        if not verifier.ready:
            raise CommandError("not ready: an issuer has no usable key", returncode=REFUSED)
