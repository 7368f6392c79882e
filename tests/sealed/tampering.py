"""What somebody with write access to the table may do to it, by name."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
from collections.abc import Callable

from attack import AHEAD, ATTACKER, CONTENT, Attack, document

from skeldir_jwt_mw.core.effects import Content
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.testing import SigningKey

Tamper = Callable[[Attack], None]
THEIRS = document(ATTACKER)
HUGE = 1 << 20
SEALED = "payload, seal, etag, last_modified, generation, fetched_at, expires_at, fence"


def sets(assignments: str, *values: object) -> Tamper:
    """Changes the row, whatever is in it."""
    return lambda attack: attack.write(assignments, *values)


def does(statement: str, **values: object) -> Tamper:
    return lambda attack: attack.execute(statement, **values)


def copies(columns: str, *, source: str = "public.jwt_verification_cache", theirs: bool = False) -> Tamper:
    """Copies columns of the attacker's own row, or of a table of rows that were kept."""

    def tamper(attack: Attack) -> None:
        attack.copy(columns, source=source, of=attack.their_source_key if theirs else attack.source_key)

    return tamper


def both(first: Tamper, second: Tamper) -> Tamper:
    def tamper(attack: Attack) -> None:
        first(attack)
        second(attack)

    return tamper


def payload(made_of: Callable[[bytes], bytes], *, ahead: bool = True) -> Tamper:
    """Replaces the document by what is made of it, and raises the generation so that all look at it."""

    def tamper(attack: Attack) -> None:
        changed = made_of(attack.row()["payload"])
        attack.write(f"payload = %s{', ' + AHEAD if ahead else ''}", changed)

    return tamper


def seal(made_of: Callable[[bytes], bytes]) -> Tamper:
    """The attacker's document under a seal that is made of the good one."""

    def tamper(attack: Attack) -> None:
        attack.write(f"payload = %s, seal = %s, {AHEAD}", THEIRS, made_of(attack.row()["seal"]))

    return tamper


def with_their_key_added(good: bytes) -> bytes:
    return json.dumps({"keys": [*json.loads(good)["keys"], ATTACKER.jwk()]}).encode()


def with_their_key_under_our_kid(good: bytes) -> bytes:
    (ours,) = json.loads(good)["keys"]
    return json.dumps({"keys": [ATTACKER.jwk(kid=ours["kid"])]}).encode()


def with_a_symmetric_key(good: bytes) -> bytes:
    secret = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    return json.dumps({"keys": [{"kty": "oct", "kid": "attacker", "alg": "HS256", "k": secret}]}).encode()


def as_a_key_ring(good: bytes) -> bytes:
    return json.dumps({"keys": {ATTACKER.kid: ATTACKER.public_pem()}}).encode()


def nested(good: bytes) -> bytes:
    return b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def sealed_with_a_key_of_their_own(attack: Attack) -> None:
    """All of it consistent, and well sealed with a key that the service does not know."""
    attack.write(f"payload = %s, {AHEAD}", THEIRS)
    row = attack.row()
    content = Content(
        generation=row["generation"],
        fetched_us=round(row["fetched_at"].timestamp() * 1_000_000),
        expires_us=round(row["expires_at"].timestamp() * 1_000_000),
        etag=row["etag"],
        last_modified=row["last_modified"],
        payload=row["payload"],
    )
    attack.write("seal = %s", Sealer([secrets.token_bytes(32)]).seal(attack.source_key, content))


def rename_the_rows(attack: Attack) -> None:
    """Each is now under the other's key."""
    attack.execute(
        "UPDATE public.jwt_verification_cache SET source_key = 'aside' WHERE source_key = %(ours)s"
    )
    attack.execute(
        "UPDATE public.jwt_verification_cache SET source_key = %(ours)s WHERE source_key = %(theirs)s"
    )
    attack.execute(
        "UPDATE public.jwt_verification_cache SET source_key = %(theirs)s WHERE source_key = 'aside'"
    )


def copy_the_row_of_another_namespace(attack: Attack) -> None:
    """The same provider and seal key, and another row; made while the provider published their key."""
    attack.idp.serve({"keys": [ATTACKER.jwk()]})
    neighbour = attack.worker(namespace="neighbour")
    neighbour.warm()
    attack.idp.serve(None)
    attack.copy(CONTENT, of=neighbour.source_keys()[0])


def plant(good: bytes) -> bytes:
    return good.replace(b'"keys"', b'"KEYS": [], "keys"')


KEYS: dict[str, Tamper] = {
    "their document": payload(lambda good: THEIRS),
    "their document, in place": payload(lambda good: THEIRS, ahead=False),
    "their key beside ours": payload(with_their_key_added),
    "their key beside ours, in place": payload(with_their_key_added, ahead=False),
    "their key under our kid": payload(with_their_key_under_our_kid),
    "their key under our kid, in place": payload(with_their_key_under_our_kid, ahead=False),
    "a symmetric key": payload(with_a_symmetric_key),
    "a key ring": payload(as_a_key_ring),
    "white space behind the document": payload(lambda good: good + b" "),
    "another member": payload(plant),
    "one octet less": payload(lambda good: good[:-1]),
    "a NUL behind the document": payload(lambda good: good + b"\0"),
    "a byte order mark": payload(lambda good: b"\xef\xbb\xbf" + good),
    "UTF-16": payload(lambda good: good.decode().encode("utf-16")),
    "compressed": payload(gzip.compress),
    "a million brackets": payload(nested),
    "256 KiB of noise": payload(lambda good: secrets.token_bytes(262_144)),
    "an empty document": payload(lambda good: b""),
    "no document": sets("payload = NULL"),
    "no document, ahead": sets(f"payload = NULL, {AHEAD}"),
}

SEALS: dict[str, Tamper] = {
    "no seal": sets("seal = NULL"),
    "no seal on their document": sets(f"payload = %s, seal = NULL, {AHEAD}", THEIRS),
    "an empty seal": seal(lambda good: b""),
    "half a seal": seal(lambda good: good[: len(good) // 2]),
    "a seal of one octet less": seal(lambda good: good[:-1]),
    "a seal of one octet more": seal(lambda good: good + b"\0"),
    "a seal of an odd length": seal(lambda good: good[:17]),
    "the tag alone": seal(lambda good: good[9:]),
    "a seal of another format": seal(lambda good: b"\x02" + good[1:]),
    "a seal of format 0": seal(lambda good: b"\x00" + good[1:]),
    "an unknown key id": seal(lambda good: good[:1] + secrets.token_bytes(8) + good[9:]),
    "key id 0": seal(lambda good: good[:1] + bytes(8) + good[9:]),
    "a tag of zeros": seal(lambda good: good[:9] + bytes(32)),
    "a made-up tag": seal(lambda good: good[:9] + secrets.token_bytes(32)),
    "the good seal": seal(lambda good: good),
    "the seal twice": seal(lambda good: good * 2),
    "a seal in hex": seal(lambda good: good.hex().encode()),
    "a seal of 256 octets": seal(lambda good: good + bytes(256 - len(good))),
    "the last bit of the seal": sets(f"seal = set_byte(seal, 40, get_byte(seal, 40) # 1), {AHEAD}"),
    "the last bit of the seal, in place": sets("seal = set_byte(seal, 40, get_byte(seal, 40) # 1)"),
    "sealed with a key of their own": sealed_with_a_key_of_their_own,
    "the seal of an older row": copies("seal", source="kept"),
    "the seal of their row": copies("seal", theirs=True),
}

SWAPS: dict[str, Tamper] = {
    "their whole row": copies(CONTENT, theirs=True),
    "all that is sealed of their row": copies(SEALED, theirs=True),
    "document and seal of their row": both(copies("payload, seal", theirs=True), sets(AHEAD)),
    "both rows exchanged": rename_the_rows,
    "the row of another namespace": copy_the_row_of_another_namespace,
    "an older document under a new generation": both(copies("payload", source="kept"), sets(AHEAD)),
    "an older row under a new generation": both(copies(CONTENT, source="kept"), sets(AHEAD)),
    "an older row with our times": copies("payload, seal, generation, etag", source="kept"),
    "an older row and a fence far ahead": both(
        copies(CONTENT, source="kept"), sets("fence = fence + 1000000000")
    ),
}

TIMES: dict[str, Tamper] = {
    "a year more to live": sets("expires_at = expires_at + interval '1 year'"),
    "a year more to live, ahead": sets(f"expires_at = expires_at + interval '1 year', {AHEAD}"),
    "one microsecond more to live": sets(f"expires_at = expires_at + interval '1 microsecond', {AHEAD}"),
    "no end": sets("expires_at = 'infinity'"),
    "no end, ahead": sets(f"expires_at = 'infinity', {AHEAD}"),
    "an end before all time": sets("expires_at = '-infinity'"),
    "an end in the year 294276": sets(f"expires_at = '294276-12-31 23:59:59+00', {AHEAD}"),
    "an end before Christ": sets(f"expires_at = '4713-01-01 00:00:00+00 BC', {AHEAD}"),
    "fetched later": sets(f"fetched_at = fetched_at + interval '1 microsecond', {AHEAD}"),
    "fetched in the future": sets("fetched_at = now() + interval '1 year'"),
    "fetched at infinity": sets("fetched_at = 'infinity'"),
    "fetched before all time": sets(f"fetched_at = '-infinity', {AHEAD}"),
    "due at infinity": sets("next_refresh_at = 'infinity'"),
    "due before all time": sets("next_refresh_at = '-infinity'"),
    "due in the year 294276": sets("next_refresh_at = '294276-12-31 23:59:59+00'"),
    "claimed at infinity": sets("claimed_at = 'infinity'"),
    "all times at infinity": sets(
        "fetched_at = 'infinity', next_refresh_at = 'infinity', expires_at = 'infinity', lease_until ="
        " 'infinity', claimed_at = 'infinity', floor_until = 'infinity', backoff_until = 'infinity'"
    ),
    "all times before all time": sets(
        "fetched_at = '-infinity', next_refresh_at = '-infinity', expires_at = '-infinity', lease_until ="
        " '-infinity', claimed_at = '-infinity', floor_until = '-infinity', backoff_until = '-infinity'"
    ),
}

NUMBERS: dict[str, Tamper] = {
    "generation 0": sets("generation = 0"),
    "generation 0 and fence 0": sets("generation = 0, fence = 0"),
    "generation 1": sets("generation = 1"),
    "generation -1": sets("generation = -1, fence = 0"),
    "the least generation and fence": sets("generation = -9223372036854775808, fence = -9223372036854775808"),
    "one generation ahead": sets("generation = fence + 1, fence = fence + 1"),
    "a million generations ahead": sets("generation = fence + 1000000, fence = fence + 1000000"),
    "one generation back": sets("generation = generation - 1"),
    "a generation just below the limit": sets(
        "generation = 2305843009213693951, fence = 2305843009213693951"
    ),
    "a generation at the limit": sets("generation = 2305843009213693952, fence = 2305843009213693952"),
    "the greatest generation": sets("generation = 9223372036854775807, fence = 9223372036854775807"),
    "a fence ahead": sets("fence = fence + 1000000"),
    "a fence two below the limit": sets("fence = 2305843009213693950"),
    "a fence just below the limit": sets("fence = 2305843009213693951"),
    "a fence at the limit": sets("fence = 2305843009213693952"),
    "the greatest fence": sets("fence = 9223372036854775807"),
    "the greatest counters": sets(
        "fetch_attempt_count = 9223372036854775807, refresh_event_count = 9223372036854775807,"
        " failure_event_count = 9223372036854775807, abandoned_count = 9223372036854775807,"
        " consecutive_failures = 2147483647"
    ),
    "the least counters": sets(
        "fetch_attempt_count = -9223372036854775808, refresh_event_count = -9223372036854775808,"
        " failure_event_count = -9223372036854775808, abandoned_count = -9223372036854775808,"
        " consecutive_failures = -2147483648"
    ),
}

TEXTS: dict[str, Tamper] = {
    "a planted ETag": sets("etag = '\"planted\"'"),
    "a planted ETag, ahead": sets(f"etag = '\"planted\"', {AHEAD}"),
    "a planted Last-Modified": sets(f"last_modified = 'Sun, 01 Nov 2026 00:00:00 GMT', {AHEAD}"),
    "the validators exchanged": sets(f"etag = last_modified, last_modified = etag, {AHEAD}"),
    "no ETag": sets(f"etag = NULL, {AHEAD}"),
    "an empty ETag": sets(f"etag = '', {AHEAD}"),
    "an ETag with a header in it": sets(f"etag = E'\"x\"\\r\\nX-Injected: 1', {AHEAD}"),
    "an ETag of 1 KiB": sets(f"etag = repeat('x', 1024), {AHEAD}"),
    "an error of 1 KiB": sets("last_error = repeat('x', 1024), consecutive_failures = 1"),
    "an error that steers terminals": sets("last_error = E'\\x1b[2J\\x1b]0;pwned\\x07'"),
    "a reason that nobody has": sets("last_refresh_reason = E'\\x1b[2J; DROP TABLE x'"),
}

# Deadlines beyond their horizon do not count, nor do those that were set in the future.
DEADLINES: dict[str, Tamper] = {
    "an endless lease": sets("lease_owner = gen_random_uuid(), lease_until = 'infinity'"),
    "a lease of an hour": sets("lease_owner = gen_random_uuid(), lease_until = now() + interval '1 hour'"),
    "a lease from the future": sets(
        "lease_owner = gen_random_uuid(), lease_until = now() + interval '30 s',"
        " claimed_at = now() + interval '1 hour'"
    ),
    "a lease of nobody that has ended": sets("lease_owner = gen_random_uuid(), lease_until = '-infinity'"),
    "a lease without owner": sets("lease_owner = NULL, lease_until = 'infinity'"),
    "an endless floor": sets("floor_until = 'infinity'"),
    "an endless floor since always": sets("floor_until = 'infinity', floor_set_at = '-infinity'"),
    "an endless floor set at the end of time": sets("floor_until = 'infinity', floor_set_at = 'infinity'"),
    "a floor from the future": sets(
        "floor_until = now() + interval '2 h', floor_set_at = now() + interval '2 h'"
    ),
    "a backoff from the future": sets(
        "backoff_until = now() + interval '2 h', backoff_set_at = now() + interval '2 h'"
    ),
    "a floor of an hour": sets("floor_until = now() + interval '1 hour'"),
    "an endless backoff": sets("backoff_until = 'infinity', consecutive_failures = 2147483647"),
    "a backoff of two hours": sets("backoff_until = now() + interval '2 hours', consecutive_failures = 9"),
    "failures without backoff": sets("consecutive_failures = 2147483647, last_error = 'made up'"),
}

ROWS: dict[str, Tamper] = {
    "the row deleted": does("DELETE FROM public.jwt_verification_cache WHERE source_key = %(ours)s"),
    "all rows deleted": does("TRUNCATE public.jwt_verification_cache"),
    "the row moved away": does(
        "UPDATE public.jwt_verification_cache SET source_key = upper(source_key) || ' '"
        " WHERE source_key = %(ours)s"
    ),
    "a row made by the attacker": both(
        does("DELETE FROM public.jwt_verification_cache WHERE source_key = %(ours)s"),
        does(
            "INSERT INTO public.jwt_verification_cache (source_key, payload, seal, generation, fence,"
            " fetched_at, next_refresh_at, expires_at) VALUES (%(ours)s, %(document)s, %(seal)s, 7, 7,"
            " now(), now() + interval '1 h', now() + interval '1 h')",
            document=THEIRS,
            seal=secrets.token_bytes(41),
        ),
    ),
    "a thousand rows beside it": does(
        "INSERT INTO public.jwt_verification_cache (source_key, payload, generation, fence)"
        " SELECT %(ours)s || n, %(document)s, 9, 9 FROM generate_series(1, 1000) n",
        document=THEIRS,
    ),
}

ALL: dict[str, Tamper] = {
    f"{kind}: {name}": tamper
    for kind, tampers in {
        "keys": KEYS,
        "seals": SEALS,
        "swaps": SWAPS,
        "times": TIMES,
        "numbers": NUMBERS,
        "texts": TEXTS,
        "deadlines": DEADLINES,
        "rows": ROWS,
    }.items()
    for name, tamper in tampers.items()
}

# What the schema itself refuses, so that no verifier ever meets it.
REFUSED_BY_THE_TABLE: dict[str, Tamper] = {
    "a document beyond 256 KiB": sets("payload = %s", bytes(262_145)),
    "a seal of 1 MiB": sets(f"seal = repeat('x', {HUGE})::bytea"),
    "an ETag of 1 MiB": sets(f"etag = repeat('x', {HUGE}), {AHEAD}"),
    "a Last-Modified of 1 MiB": sets(f"last_modified = repeat('x', {HUGE}), {AHEAD}"),
    "an error of 1 MiB": sets(f"last_error = repeat('x', {HUGE}), consecutive_failures = 1"),
    "a reason of 1 MiB": sets(f"last_refresh_reason = repeat('x', {HUGE})"),
    "a generation above the fence": sets("generation = fence + 1"),
    "no generation": sets("generation = NULL"),
    "no fence": sets("fence = NULL"),
    "no fetch time": sets("fetched_at = NULL"),
    "no schedule": sets("next_refresh_at = NULL"),
    "no expiry": sets("expires_at = NULL"),
    "no lease": sets("lease_until = NULL"),
    "no claim time": sets("claimed_at = NULL"),
    "no floor": sets("floor_until = NULL"),
    "no backoff": sets("backoff_until = NULL"),
    "no moment of the floor": sets("floor_set_at = NULL"),
    "no moment of the backoff": sets("backoff_set_at = NULL"),
    "no failures": sets("consecutive_failures = NULL"),
    "no counter": sets("refresh_event_count = NULL"),
    "the row twice": does(
        "INSERT INTO public.jwt_verification_cache SELECT * FROM public.jwt_verification_cache"
        " WHERE source_key = %(ours)s"
    ),
    "their row under our key too": does(
        "UPDATE public.jwt_verification_cache SET source_key = %(ours)s WHERE source_key = %(theirs)s"
    ),
    "a fence that is no number": sets("fence = 'infinity'"),
    "a time that is no time": sets("expires_at = 'tomorrow-ish'"),
    "a text with a NUL": sets("etag = %s", "a\0b"),
}

__all__ = ["ALL", "REFUSED_BY_THE_TABLE", "THEIRS", "SigningKey", "Tamper", "sets"]
