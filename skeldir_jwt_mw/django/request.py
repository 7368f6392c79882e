"""Django's requests and responses, in the terms that all adapters share."""

from __future__ import annotations

import re

from django.http import HttpRequest, HttpResponse

from skeldir_jwt_mw._http import EnvironRequest, Response

_UNDECODED = re.compile("%[89A-F][0-9A-F]")  # as the handler for WSGI spells bytes that are not UTF-8


class DjangoRequest(EnvironRequest):
    """A request as Django shows it, whichever of its handlers made it."""

    __slots__ = ("_request",)

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.META)
        self._request = request

    @property
    def method(self) -> str:
        """The method; empty in a request that no handler has made."""
        return self._request.method or ""

    @property
    def path(self) -> str:
        """`path_info`, which Django routes on, with one mark for what was not UTF-8 in either handler."""
        return _UNDECODED.sub("\ufffd", self._request.path_info)


def answer(response: Response) -> HttpResponse:
    """The response, as Django's."""
    return HttpResponse(response.body, status=response.status, headers=dict(response.headers))
