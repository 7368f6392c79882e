"""`manage.py skeldir_jwt_status`."""

from __future__ import annotations

from django.core.management.base import CommandError

from skeldir_jwt_mw import picture
from skeldir_jwt_mw.django.management.operating import OperatorCommand
from skeldir_jwt_mw.report import REFUSED
from skeldir_jwt_mw.verifier import Verifier


class Command(OperatorCommand):
    """Reads the shared keys and shows them."""

    help = (
        "Read the shared keys and show them: claims nothing, fetches nothing."
        " Exit code 1 where no key fits, 3 where there are no keys."
    )

    def operate(self, verifier: Verifier, *, as_json: bool) -> None:
        """Show what there is, also where keys are away; of a verifier of another make, its own status."""
        found = picture.look(verifier) if isinstance(verifier, Verifier) else []
        shown = picture.statuses(verifier, found)
        self.show(shown, as_json=as_json)
        picture.require_keys(found)
        if not all(one.get("ready") for one in shown.values()):
            raise CommandError("not ready: an issuer has no usable key", returncode=REFUSED)
