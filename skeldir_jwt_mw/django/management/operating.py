"""What the commands of the app have in common: the project's verifier, output, and the exit codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from skeldir_jwt_mw.django import conf
from skeldir_jwt_mw.printable import printable
from skeldir_jwt_mw.report import EXPECTED, MISCONFIGURED, exit_of, printed
from skeldir_jwt_mw.verifier import Verifier


class OperatorCommand(BaseCommand, ABC):
    """A command over the project's verifier; ends with the exit codes of `skeldir-jwt`.

    0 done, 1 refused or not ready, 2 wrong usage or settings, 3 keys or database not to be had.
    """

    requires_system_checks = ()  # what is wrong elsewhere in the project must not keep an operator from this

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`--json`."""
        parser.add_argument("--json", action="store_true", dest="as_json", help="Print JSON, for machines.")

    def handle(self, *, as_json: bool, **_options: Any) -> None:
        """Run the command with the project's verifier."""
        try:
            self.operate(conf.verifier(), as_json=as_json)
        except ImproperlyConfigured as error:
            raise CommandError(printable(error), returncode=MISCONFIGURED) from None
        except EXPECTED as error:
            code, text = exit_of(error)
            raise CommandError(text, returncode=code) from None

    @abstractmethod
    def operate(self, verifier: Verifier, *, as_json: bool) -> None:
        """What the command does."""

    def show(self, status: Mapping[str, Any], *, as_json: bool) -> None:
        """Print what is known per issuer."""
        self.stdout.write(printed(status, as_json=as_json))
