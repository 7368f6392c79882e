"""The guard behind every advisory's test, and how it is taken out (`tests/guard_removals.py` does it).

One patch of one function each. Where guards stand behind one another, the test asks the one in front as well,
so each of them is missed when it is gone.
"""

from __future__ import annotations

from mutations import Mutation, Patch, one

ALGORITHMS = "tests/advisories/test_advised_algorithms.py::test_t_"
CLAIMS = "tests/advisories/test_advised_claims.py::test_t_"
FRAMING = "tests/advisories/test_advised_framing.py::test_t_"
KEYS = "tests/advisories/test_advised_keys.py::test_t_"
REFRESHING = "tests/advisories/test_advised_refreshing.py::test_t_"
SECRETS = "tests/advisories/test_advised_secrets.py::test_t_"

_ANY_NAME = ("core.compact:parse_header", "if algorithm not in SUPPORTED_ALGORITHMS:", "if False:")
_EXTENSIONS = "not _CHANGES_READING.isdisjoint(members)"

GUARDS: dict[str, Mutation] = {
    "T-ALG: the header may name any algorithm": one(
        ALGORITHMS + "alg_no_form_of_a_public_key_is_a_secret", *_ANY_NAME
    ),
    "T-ALG: an issuer may allow HMAC": one(
        ALGORITHMS + "alg_no_form_of_a_public_key_is_a_secret",
        "rules:algorithms_of",
        "if _SYMMETRIC.match(name):",
        "if _SYMMETRIC.match(name):\n            continue\n        if False:",
    ),
    "T-KEYALG: a key is found by its kid alone": one(
        ALGORITHMS + "keyalg_a_key_answers_to_its_own_algorithm_and_only_where_that_is_allowed",
        "core.keys:KeySet.find",
        "self._index.get((kid, algorithm))",
        "next((key for (name, _), key in self._index.items() if name == kid), None)",
    ),
    "T-KEYALG: an issuer allows every algorithm": one(
        ALGORITHMS + "keyalg_a_key_answers_to_its_own_algorithm_and_only_where_that_is_allowed",
        "core.compact:compile_header_check",
        "if canonical_algorithm(header.algorithm) not in algorithms:",
        "if False:",
    ),
    "T-KEYALG: a key without alg is for all that fit": one(
        ALGORITHMS + "keyalg_a_key_without_alg_is_not_for_what_the_token_says",
        "core.keys:ImportedJWKS.for_algorithms",
        "for jwk in self.keys:\n"
        "        algorithm = next((name for name in names if name in jwk.algorithms), None)",
        "for jwk, algorithm in [(j, name) for j in self.keys for name in names if name in j.algorithms]:",
    ),
    "T-NONE: the header may name any algorithm": one(
        ALGORITHMS + "none_no_token_without_a_signature_is_accepted", *_ANY_NAME
    ),
    "T-NONE: a signature may be empty": one(
        ALGORITHMS + "none_no_token_without_a_signature_is_accepted",
        "core.compact:split",
        "        or not signature\n",
        "",
    ),
    "T-HDRKEY: a key in the header is passed over": one(
        ALGORITHMS + "hdrkey_a_key_that_the_token_brings_is_never_used",
        "core.compact:compile_header_check",
        "if not refused.isdisjoint(header.members):",
        "if False:",
    ),
    "T-FAILOPEN: an algorithm that no key is for verifies": one(
        ALGORITHMS + "failopen_what_is_not_known_is_refused_and_never_passed_over",
        "core.signature:bind",
        'raise ValueError("the key is not one for the algorithm")',
        "return lambda signature, signing_input: True",
    ),
    "T-OCT: a published secret is no alarm": one(
        ALGORITHMS + "oct_a_symmetric_key_is_dropped_and_reported",
        "core.jwk:has_private_members",
        "for name in PRIVATE_MEMBERS",
        "for name in PRIVATE_MEMBERS[:-1]",
    ),
    "T-OCT: a symmetric key without its secret is a key": one(
        ALGORITHMS + "oct_a_symmetric_key_is_dropped_and_reported",
        "core.jwk:import_jwk",
        'raise UnusableKey("a symmetric key")',
        "return None",
    ),
    "T-CRIT: crit is passed over": one(
        FRAMING + "crit_every_crit_is_refused",
        "core.compact:parse_header",
        _EXTENSIONS,
        'not (_CHANGES_READING - {"crit"}).isdisjoint(members)',
    ),
    "T-B64: b64 is passed over": one(
        FRAMING + "b64_a_payload_that_is_not_encoded_is_never_read",
        "core.compact:parse_header",
        _EXTENSIONS,
        'not (_CHANGES_READING - {"b64"}).isdisjoint(members)',
    ),
    "T-JWE: zip and the members of a password are passed over": one(
        FRAMING + "jwe_no_encrypted_or_compressed_token_costs_anything",
        "core.compact:parse_header",
        _EXTENSIONS,
        'not {"crit", "b64"}.isdisjoint(members)',
    ),
    "T-JWE: five parts are nothing of their own": one(
        FRAMING + "jwe_no_encrypted_or_compressed_token_costs_anything",
        "core.compact:_unframed",
        'token.count(b".") == JWE_DOTS',
        "False",
    ),
    "T-SIZE: a token of any size": one(
        FRAMING + "size_nothing_large_is_decoded",
        "core.compact:split",
        "if len(token) > max_bytes:",
        "if False:",
    ),
    "T-SIZE: a header of any size": one(
        FRAMING + "size_nothing_large_is_decoded",
        "core.compact:parse_header",
        "if len(segment) > MAX_HEADER_CHARACTERS or len(segment) * 6 // 8 > max_bytes:",
        "if False:",
    ),
    "T-DOTS: a token is split at its dots": one(
        FRAMING + "dots_any_number_of_dots_is_cheap",
        "core.compact:split",
        'header_end = token.find(b".")',
        'parts = token.split(b".")\n    header_end = len(parts[0])',
    ),
    "T-DEPTH: JSON of any depth": one(
        FRAMING + "depth_deep_json_is_refused_and_crashes_nothing",
        "core.strict_json:_refuse_excess",
        "raise MalformedJSON(_DEPTH)",
        "return",
    ),
    "T-DEPTH: an exhausted stack is raised on": one(
        FRAMING + "depth_deep_json_is_refused_and_crashes_nothing",
        "core.strict_json:parse_with_stdlib",
        "except (ValueError, RecursionError) as error:",
        "except ValueError as error:",
    ),
    "T-B64URL: spare bits of a signature may be anything": one(
        FRAMING + "b64url_one_token_has_one_spelling",
        "core.compact:split",
        "        or signature[-1] not in _LAST[len(signature) & 3]\n",
        "",
    ),
    "T-B64URL: spare bits of a payload may be anything": one(
        FRAMING + "b64url_one_token_has_one_spelling",
        "core.compact:split",
        "        or payload[-1] not in _LAST[len(payload) & 3]\n",
        "",
    ),
    "T-POLYGLOT: what is not base64url is skipped": one(
        FRAMING + "polyglot_no_token_is_compact_and_json_at_once",
        "core.compact:split",
        "payload = binascii.a2b_base64(payload + _PADDING[len(payload) & 3], strict_mode=True)",
        "payload = binascii.a2b_base64(payload + b'==', strict_mode=False)",
    ),
    "T-JSONSER: what is not base64url is skipped": one(
        FRAMING + "jsonser_the_json_serialization_is_not_read",
        "core.compact:decode_segment",
        "strict_mode=True",
        "strict_mode=False",
    ),
    "T-FUZZ: what cannot be decoded is raised on": one(
        FRAMING + "fuzz_a_spoilt_token_is_refused_and_raises_nothing_foreign",
        "core.compact:split",
        "except binascii.Error:",
        "except KeyError:",
    ),
    "T-ISS: an issuer may begin like another": one(
        CLAIMS + "iss_an_issuer_is_equal_or_it_is_another",
        "core.claims:compile_claims",
        "if iss != expected:",
        "if not expected.startswith(str(iss)):",
    ),
    "T-ISS: an issuer may be in a list": one(
        CLAIMS + "iss_an_issuer_is_equal_or_it_is_another",
        "core.claims:compile_claims",
        "if iss != expected:",
        "if iss != expected and not (type(iss) is list and expected in iss):",
    ),
    "T-ISS: a token is routed by the beginning of its issuer": one(
        CLAIMS + "iss_an_issuer_is_equal_or_it_is_another",
        "core.issuer:IssuerRoutes.position",
        "found = self._exact.get(iss)",
        "found = next((at for name, at in self._exact.items() if name.startswith(iss)), None)",
    ),
    "T-NUMDATE: exp may be of any type": one(
        CLAIMS + "numdate_a_time_is_a_number",
        "core.claims:compile_claims",
        "(type(exp) is not int and type(exp) is not float) or not 0 <= exp < TIME_LIMIT",
        "type(exp) is int and not 0 <= exp < TIME_LIMIT",
    ),
    "T-NUMDATE: nbf may be of any type": one(
        CLAIMS + "numdate_a_time_is_a_number",
        "core.claims:compile_claims",
        "(type(nbf) is not int and type(nbf) is not float) or not 0 <= nbf < TIME_LIMIT",
        "False",
    ),
    "T-NUMDATE: iat may be of any type": one(
        CLAIMS + "numdate_a_time_is_a_number",
        "core.claims:compile_claims",
        "(type(iat) is not int and type(iat) is not float) or not 0 <= iat < TIME_LIMIT",
        "False",
    ),
    "T-XISS: keys are those of the first issuer": one(
        CLAIMS + "xiss_keys_of_one_issuer_are_nothing_to_another",
        "served:Roster.claimed_by",
        "return named[0] if len(named) == 1 else None",
        "return self.served[0]",
    ),
    "T-PSYCHIC: r and s may be any number": one(
        KEYS + "psychic_zero_is_no_signature",
        "core.signature:_bind_ecdsa",
        "if not (zero < r < limit and zero < s < limit):",
        "if False:",
    ),
    "T-KEYSIZE: a modulus of any size": one(
        KEYS + "keysize_a_short_rsa_key_verifies_nothing",
        "core.jwk:_import_rsa",
        "if n.bit_length() < MIN_RSA_BITS:",
        "if False:",
    ),
    "T-BADKEY: a bad key spoils the set": one(
        KEYS + "badkey_one_bad_key_costs_that_key_alone",
        "core.keys:import_jwks",
        'kid = jwk.get("kid") if isinstance(jwk, dict) else None',
        "raise UnusableDocument(str(error)) from None",
    ),
    "T-URL: a URL of any scheme": one(
        REFRESHING + "url_keys_come_over_https_alone",
        "rules:url_of",
        'if parts.scheme not in ("https", "http"):',
        "if False:",
    ),
    "T-REDIR: a redirect holds a document": one(
        REFRESHING + "redir_a_redirect_is_not_followed",
        "sources.transport:Transport._get",
        "if response.status not in (200, 304):",
        "if response.status >= 400:",
    ),
    "T-AMP: no gate": one(
        REFRESHING + "amp_unknown_kids_cost_one_fetch_and_then_nothing",
        "refresher:Refresher._apply",
        "self.gate = ending.gate",
        "self.gate = OPEN_GATE",
    ),
    "T-AMP: no floor": one(
        REFRESHING + "amp_a_fleet_that_shares_a_store_fetches_once",
        "core.row:_verdict",
        "if asked.force and row.is_floored(asked.floor, now):",
        "if False:",
    ),
    "T-KEEP: a failed refresh takes the keys away": one(
        REFRESHING + "keep_a_bad_refresh_keeps_the_good_keys",
        "refresher:Refresher._apply",
        "self.gate = ending.gate",
        'if ending.kind == "failed":\n        self.snapshot = None\n    self.gate = ending.gate',
    ),
    "T-KEEP: a set without a usable key replaces a good one": one(
        REFRESHING + "keep_a_bad_refresh_keeps_the_good_keys",
        "core.keys:import_jwks",
        "if not any(len(imported.for_algorithms((name,))) for name in SUPPORTED_ALGORITHMS):",
        "if False:",
    ),
    "T-REVOKE: what a removed key answered to is remembered": one(
        REFRESHING + "revoke_a_key_that_was_removed_verifies_nothing_more",
        "snapshot:Snapshot.after",
        "bindings={},",
        "bindings=old.bindings if old else {},",
    ),
    "T-CANCEL: who goes away takes the keys along": Mutation(
        proof=REFRESHING + "cancel_a_client_that_goes_away_leaves_the_others_their_keys",
        patches=(
            Patch(
                where="waiting:Errand.wait_async",
                old="    if not await wait_without_blocking"
                "(self.flight.landed, self.until - clock.monotonic()):\n        return\n",
                new="    try:\n"
                "        await wait_without_blocking(self.flight.landed, self.until - clock.monotonic())\n"
                "    except asyncio.CancelledError:\n"
                "        self.flight.settled = True\n"
                "        raise\n",
            ),
            Patch(  # with the gate open another flight would bring the keys from the row, without a fetch
                where="refresher:Refresher.settle",
                old="if ending.adopted is not None:  # a lost flight, too, may find its way home",
                new="self.gate = self.gate if first else Gate(until=float('inf'), reason='failed')\n"
                "            if first and ending.adopted is not None:",
            ),
        ),
    ),
    "T-LOG: a hint says what the audience is": one(
        SECRETS + "log_no_error_or_record_holds_anything_of_a_token",
        "core.claims:compile_claims",
        "_audience_hint(aud, audiences)",
        "aud",
    ),
    "T-LOG: an error leads on to what could not be read": one(
        SECRETS + "log_no_error_or_record_holds_anything_of_a_token",
        "core.compact:parse_header",
        'raise InvalidToken("bad_header", error.hint) from None',
        'raise InvalidToken("bad_header", error.hint) from ValueError(data)',
    ),
    "T-VCACHE: tokens that begin alike are one": one(
        SECRETS + "vcache_a_remembered_verdict_is_for_that_very_token",
        "token_cache:_digest",
        'sha256(raw.encode("utf-8", "surrogatepass")).digest()',
        'sha256(raw[:-8].encode("utf-8", "surrogatepass")).digest()',
    ),
    "T-VCACHE: a verdict outlives its token": one(
        SECRETS + "vcache_a_remembered_verdict_ends_with_the_token",
        "token_cache:TokenCache.recall",
        "        or wall >= refresher.attention_by  # … also where that clock stood still\n"
        "        or not entry.starts <= wall < entry.ends\n",
        "",
    ),
    "T-VCACHE: a verdict outlives its key": one(
        SECRETS + "vcache_a_remembered_verdict_ends_with_the_key",
        "token_cache:TokenCache.recall",
        "        or snapshot.keys is not entry.keys\n",
        "",
    ),
    "T-VCACHE: all verifiers remember together": one(
        SECRETS + "vcache_every_verifier_remembers_for_itself",
        "token_cache:TokenCache.__init__",
        "self._entries: dict[bytes, Remembered] = {}",
        "self._entries = type(self).__dict__.get('shared') or {}\n"
        "    if 'shared' not in type(self).__dict__:\n"
        "        type(self).shared = self._entries",
    ),
}
