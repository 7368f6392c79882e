"""Strict JSON, document by document, as a header and as a payload; and JSONTestSuite where it is at hand.

For the latter clone https://github.com/nst/JSONTestSuite and set JSONTESTSUITE_DIR to its folder
test_parsing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from json_documents import NO, SETTLED, YES

from skeldir_jwt_mw.core.compact import MAX_HEADER_PARTS, SHORT_HEADER_BYTES, parse_header
from skeldir_jwt_mw.core.strict_json import MalformedJSON, parse_object, parse_with_stdlib, parts_of
from skeldir_jwt_mw.errors import InvalidToken
from skeldir_jwt_mw.testing.tokens import b64url

FOLDER = os.environ.get("JSONTESTSUITE_DIR")
LARGEST_HEADER = 2048
Parse = Callable[[bytes], dict[str, Any]]
BOTH: tuple[Parse, Parse] = (parse_object, parse_with_stdlib)

DOCUMENTS: dict[str, tuple[bytes, bool]] = {
    **{name: (document, True) for name, document in YES.items()},
    **{name: (document, False) for name, document in NO.items()},
    **SETTLED,
}


def files() -> Iterator[tuple[str, bytes]]:
    """The documents of a checked-out JSONTestSuite."""
    if FOLDER is not None:
        for path in sorted(Path(FOLDER).glob("[yni]_*.json")):
            yield path.name, path.read_bytes()


def reads(parse: Parse, data: bytes) -> bool:
    try:
        parse(data)
    except MalformedJSON:
        return False
    return True


def reads_as_header(data: bytes) -> bool:
    """Whether it is read as a header; one that is read and has no algorithm of ours counts as read."""
    try:
        parse_header(b64url(data).encode())
    except InvalidToken as error:
        return error.code in {"algorithm_not_allowed", "unsupported_header"}
    return True


def member(document: bytes) -> bytes:
    """The document as a member of an object, which is all that a header or a payload can be."""
    return b'{"x":' + document + b"}"


def header(document: bytes) -> bytes:
    return b'{"alg":"RS256","x":' + document + b"}"


def test_there_are_documents_of_all_kinds() -> None:
    assert len(YES) >= 60
    assert len(NO) >= 95
    assert len(SETTLED) >= 20
    assert all(name.startswith("y_") for name in YES)
    assert all(name.startswith("n_") for name in NO)
    assert all(name.startswith("i_") for name in SETTLED)


def fits_a_header(document: bytes) -> bool:
    """Whether it is within the limits of a header, which are narrower than a payload's."""
    data = header(document)
    if len(data) > LARGEST_HEADER:
        return False
    return len(data) <= SHORT_HEADER_BYTES or parts_of(data) <= MAX_HEADER_PARTS


@pytest.mark.parametrize(("document", "is_read"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_document_is_read_as_a_payload_or_refused(document: bytes, is_read: bool) -> None:
    for parse in BOTH:
        assert reads(parse, member(document)) is is_read
        if is_read and not document.startswith(b"["):
            assert parse(member(document)) == json.loads(member(document))


@pytest.mark.parametrize(("document", "is_read"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_document_is_read_as_a_header_or_refused(document: bytes, is_read: bool) -> None:
    if fits_a_header(document):
        assert reads_as_header(header(document)) is is_read
    else:
        assert not reads_as_header(header(document))


@pytest.mark.parametrize(("document", "is_read"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_nothing_but_an_object_is_a_payload_or_a_header(document: bytes, is_read: bool) -> None:
    stands_alone = is_read and document.strip().startswith(b"{")
    for parse in BOTH:
        assert reads(parse, document) is stands_alone
    assert not reads_as_header(document)  # none has an alg


def test_json_test_suite_is_read_where_it_must_be_and_refused_where_it_must_be() -> None:
    found = {name: reads(parse_object, member(document)) for name, document in files()}
    assert {name for name, is_read in found.items() if name.startswith("n_") and is_read} == set()
    # Strict where the suite is not: one member twice, 41 digits, nesting. None of that is in an honest token.
    refused = {name for name, is_read in found.items() if name.startswith("y_") and not is_read}
    assert refused <= {
        "y_object_duplicated_key.json",
        "y_object_duplicated_key_and_value.json",
        "y_number_double_close_to_zero.json",
    }
    for name, document in files():
        assert reads(parse_with_stdlib, member(document)) is found[name]
        if fits_a_header(document):
            assert reads_as_header(header(document)) is found[name]
