"""Mutations: each takes one mechanism out of the code, so that the proof of it can be seen to fail.

`SKELDIR_JWT_TEST_MUTATION` names the one to apply. It is applied to the process that imports the tests and,
through `prepare`, to every worker. A patch that finds no text to replace is an error, so a mutation cannot
outlive what it was written for. As a pytest plugin (`-p mutations`) this module serves tests outside of its
folder too.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import os
import sys
import textwrap
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

ANNOTATIONS_ARE_TEXT = __future__.annotations.compiler_flag
VARIABLE = "SKELDIR_JWT_TEST_MUTATION"
SQL = "stores/statements.sql"
TOGGLE = (("SKELDIR_B12_P3_DISABLE_PG_SINGLEFLIGHT", "1"), ("SKELDIR_JWT_ALLOW_MUTATIONS", "1"))

STAMPEDE = "tests/fleet/test_pg_fleet_stampede.py::"
LEADERS = "tests/fleet/test_fleet_leaders.py::"
ROTATION = "tests/fleet/test_fleet_rotation.py::"
LIVENESS = "tests/liveness/"
TAMPERING = "tests/fleet/test_fleet_tampering.py::"
TENANTS = "tests/adapters/test_tenant_context.py::"
OF_ASGI = "tests/adapters/test_asgi.py::"
PREFLIGHTS = "tests/adapters/test_preflights.py::"
OPTIONS = "tests/hostile/test_hostile_options.py::"
IN_EVERY_SHAPE = OPTIONS + "test_no_hostile_token_is_accepted_in_any_shape_under_any_option[everything]"
NOTHING_ELSE = OPTIONS + (
    "test_the_good_token_is_accepted_in_every_shape_and_nothing_else_is_a_token[the defaults]"
)
REQUESTS = "tests/adapters/test_request_table.py::"
REUSE = "tests/adapters/test_reuse.py::"
USERS = "tests/adapters/test_user_keys.py::"
STORE = "tests/stores/test_postgres_store.py::"
GIVEN_UP = "tests/stores/test_given_up.py::"
FOREIGN = "tests/stores/test_foreign_hands.py::"
SINGLEFLIGHT = STAMPEDE + "test_unknown_kid_refresh_is_fleet_singleflight_with_spawn_processes[8]"
KILLED = LEADERS + "test_a_killed_leader_is_taken_over_when_its_lease_ends"
TAMPERED = TAMPERING + "test_r55_a_tampered_row_is_refused_and_recovered_from[drop_the_seal]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Replace one piece of the text of a function (`core.leader:Leader.lead`) or of the statements."""

    where: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The text with the piece replaced."""
        if text.count(self.old) != 1:
            raise LookupError(f"{self.where} holds {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """What is taken out, and the proof that must fail without it."""

    proof: str
    patches: tuple[Patch, ...] = ()
    environ: tuple[tuple[str, str], ...] = ()


def one(proof: str, where: str, old: str, new: str) -> Mutation:
    """A mutation of one patch."""
    return Mutation(proof=proof, patches=(Patch(where=where, old=old, new=new),))


NO_DIGEST = 'raise TypeError("a token is looked up as an exact str or bytes")'
SUBCLASSES_COME_IN = (
    Patch(where="core.compact:exactly", old="return str.__str__(cast(str, raw))", new="return raw"),
    Patch(
        where="core.compact:exactly",
        old="return bytes.__getitem__(cast(bytes, raw), slice(None))",
        new="return raw",
    ),
)
SLOW_ANYWHERE = (
    Patch(where="pool:Pool._see_to_it", old=" and self._carried_slow() < MAX_SLOW", new=""),
    Patch(where="pool:Pool._pick", old=" and self._carried_slow() < MAX_SLOW", new=""),
)

MUTATIONS: dict[str, Mutation] = {
    # One fetch, by one leader.
    "coordination switched off, rotation": Mutation(proof=SINGLEFLIGHT, environ=TOGGLE),
    "coordination switched off, cold start": Mutation(
        proof=STAMPEDE + "test_a_cold_start_of_many_workers_is_one_fetch[advisory]", environ=TOGGLE
    ),
    "a lease keeps nobody out": one(
        SINGLEFLIGHT,
        SQL,
        "CASE WHEN c.lease_owner IS NOT NULL AND c.lease_until > n.t",
        "CASE WHEN false",
    ),
    "what a process has already is newer": one(
        SINGLEFLIGHT,
        SQL,
        "NOT (c.generation <= %(have)s OR c.generation = %(bad)s)",
        "NOT (c.generation = 0 OR c.generation = %(bad)s)",
    ),
    "no second look at the row when it is won": one(
        "tests/stores/test_hammer.py::test_leases_fences_and_floors_hold_under_fire[read committed-False]",
        SQL,
        "    AND NOT {NEWER} AND {DUE} AND NOT {LEASED} AND NOT {BACKED_OFF}"
        " AND NOT (%(force)s AND {FLOORED})\n",
        "",
    ),
    "a session's advisory lock": one(
        STAMPEDE + "test_a_stampede_through_pgbouncer_is_one_fetch_and_leaves_no_lock[advisory]",
        SQL,
        "OR pg_catalog.pg_try_advisory_xact_lock(",
        "OR pg_catalog.pg_try_advisory_lock(",
    ),
    "a connection held during the fetch": one(
        STAMPEDE + "test_no_connection_is_held_during_the_fetch_nor_between_refreshes",
        "driver:supervised",
        "isinstance(effect, Fetch) or (isinstance(effect, Wait) and effect.release)",
        "isinstance(effect, Wait) and effect.release",
    ),
    # Floor, backoff, jitter.
    "forced claims ignore the floor": one(
        STAMPEDE + "test_refresh_floor_blocks_repeated_unknown_kid_refresh",
        SQL,
        "CASE WHEN c.floor_until > n.t AND c.floor_set_at <= n.t + interval '1 s'",
        "CASE WHEN false",
    ),
    "a floor counts up to the reader's own": one(
        ROTATION + "test_the_floor_of_an_app_holds_for_an_app_with_a_shorter_one",
        SQL,
        "greatest(%(floor)s, 60)",
        "%(floor)s",
    ),
    "a scheduled claim arms the floor": one(
        ROTATION + "test_a_scheduled_refresh_does_not_make_a_new_key_wait",
        SQL,
        "CASE WHEN %(force)s THEN n.t + %(floor)s * interval '1 s' ELSE c.floor_until END",
        "n.t + %(floor)s * interval '1 s'",
    ),
    "nobody backs off": one(
        STAMPEDE + "test_refresh_backoff_applies_after_failure",
        SQL,
        "CASE WHEN c.backoff_until > n.t AND c.backoff_set_at <= n.t + interval '1 s'",
        "CASE WHEN false",
    ),
    "no jitter in the schedule": one(
        STAMPEDE + "test_refresh_jitter_changes_next_allowed_schedule",
        "core.schedule:Schedule.jitter",
        "self.policy.jitter * self.draw()",
        "self.policy.jitter",
    ),
    "no spread of the checks": one(
        STAMPEDE + "test_workers_that_start_together_look_at_the_row_apart",
        "core.schedule:Schedule.next_check",
        "(0.5 + 0.5 * self.draw())",
        "1.0",
    ),
    # Leaders that die.
    "an abandoned fetch is not counted": one(
        KILLED,
        SQL,
        "abandoned_count = (c.lease_owner IS NOT NULL)::int + least(",
        "abandoned_count = least(",
    ),
    "a lease never ends": one(
        KILLED,
        SQL,
        "CASE WHEN c.lease_owner IS NOT NULL AND c.lease_until > n.t",
        "CASE WHEN c.lease_until > 'epoch'",
    ),
    "no fence guards a write, processes": one(
        LEADERS + "test_a_leader_that_was_stopped_wakes_up_and_changes_nothing",
        SQL,
        "c.source_key = %(key)s AND c.fence = %(fence)s AND c.lease_owner = %(owner)s"
        " AND c.lease_until > {CLOCK}",
        "c.source_key = %(key)s",
    ),
    "no fence guards a write, store": one(
        "tests/stores/test_store_contract.py::test_a_stale_fence_changes_nothing[advisory]",
        SQL,
        "c.source_key = %(key)s AND c.fence = %(fence)s AND c.lease_owner = %(owner)s"
        " AND c.lease_until > {CLOCK}",
        "c.source_key = %(key)s AND c.lease_owner IS NOT NULL",
    ),
    "a publish is tried once": one(
        LEADERS + "test_a_leader_whose_database_restarts_serves_at_once_and_publishes_when_it_is_back",
        "core.leader:Leader._repeat",
        "pause = CONTENDED_PAUSE",
        "return False",
    ),
    "401 after a leader that died": one(
        LEADERS + "test_a_killed_leader_is_our_fault_until_its_floor_has_ended",
        "core.schedule:Schedule.as_the_row_says",
        "gate = self.gate(reply.received, closed_for, row.outcome)",
        "gate = self.gate(reply.received, closed_for, None)",
    ),
    "401 while a refresh runs": one(
        LEADERS + "test_a_refresh_that_runs_past_the_budget_is_our_fault",
        "verification:Verification._seek",
        'raise KeysUnavailable("running", self._policy.fetch_timeout)',
        'raise InvalidToken("unknown_kid")',
    ),
    "a forked child waits for its parent's refresh": Mutation(
        proof="tests/fleet/test_fleet_forks.py::"
        "test_forked_children_verify_a_new_key_by_claims_of_their_own[during a refresh]",
        patches=(  # two mechanisms, each of which is enough
            Patch(where="refresher:Refresher.renew", old="self._flight = self._course = None", new="pass"),
            Patch(where="flight:Flight.is_lost", old=" or self.process != os.getpid()", new=""),
        ),
    ),
    # What a request costs.
    "no gate": one(
        STAMPEDE + "test_a_flood_sends_no_statement_while_the_gate_is_closed",
        "refresher:Refresher._apply",
        "self.gate = ending.gate",
        "self.gate = OPEN_GATE",
    ),
    "a newer row does not close the gate": one(
        STAMPEDE + "test_a_rotation_closes_the_gate_of_those_who_only_adopt_it",
        "core.schedule:Schedule.as_the_row_says",
        'if row.outcome == "running" or closed_for <= 0:',
        'if kind == "adopted":',
    ),
    "who adopts looks at the row again at once": one(
        "tests/stores/test_store_contract.py::test_what_one_process_misses_does_not_change_the_schedule[advisory-wish0]",
        SQL,
        "CASE WHEN s.past_its_schedule THEN 0",
        "CASE WHEN s.due THEN 0",
    ),
    "a known kid waits for a check of the row": Mutation(
        proof=STAMPEDE + "test_verification_steady_state_never_waits_for_the_provider_or_the_database",
        patches=(
            Patch(
                where="refresher:Refresher.attend",
                old="return flight if waits else None",
                new="return flight",
            ),
        ),
    ),
    "polling in a hurry": one(
        STAMPEDE + "test_a_follower_of_a_fetch_of_200_ms_sends_six_statements_at_most",
        "core.schedule:Schedule.poll_pause",
        "return min(base, POLL_PAUSE_MAX)",
        "return min(base, 0.02)",
    ),
    "idle workers serve what they have": one(
        ROTATION + "test_an_idle_worker_looks_at_the_row_before_it_serves",
        "refresher:Refresher.attend",
        "waits = self.attention.missed_a_check(now) and (late or not flight.awaited)",
        "waits = False",
    ),
    "a token outlives its request": one(
        TENANTS + "test_every_part_of_concurrent_requests_sees_its_own_tenant_and_nobodys_afterwards[asgi]",
        "token:RequestScope.close",
        "outer, self._outer, self._token = self._outer, None, None",
        "outer = self._outer",
    ),
    # Remembered tokens.
    "subclasses are remembered under one digest": Mutation(
        proof=IN_EVERY_SHAPE,
        patches=(*SUBCLASSES_COME_IN, Patch(where="token_cache:_digest", old=NO_DIGEST, new='return b""')),
    ),
    "tokens are remembered by what they say they equal": Mutation(
        proof=IN_EVERY_SHAPE,
        patches=(*SUBCLASSES_COME_IN, Patch(where="token_cache:_digest", old=NO_DIGEST, new="return raw")),
    ),
    "whatever is no token is a token of no digest": Mutation(
        proof=NOTHING_ELSE,
        patches=(
            Patch(
                where="verification:exact",
                old='raise InvalidToken("malformed", "the token is neither str nor bytes")',
                new="return raw",
            ),
            Patch(where="token_cache:_digest", old=NO_DIGEST, new='return b""'),
        ),
    ),
    # Adapters.
    "a preflight passes without leave": one(
        PREFLIGHTS + "test_a_forged_preflight_gets_to_no_wsgi_app",
        "_http:Guard.admits",
        "self._exempt_preflight and ",
        "",
    ),
    "a preflight gets to Django's views": one(
        PREFLIGHTS + "test_a_forged_preflight_gets_to_no_view_in_django[True-/function-wsgi]",
        "django.middleware:JWTMiddleware._judge_view",
        "return None if visit.pending is None else answer(visit.pending)",
        "return None",
    ),
    "a preflight gets to Flask's views": one(
        PREFLIGHTS + "test_a_forged_preflight_gets_to_no_view_in_flask[True]",
        "flask:_answers_options",
        ' and getattr(request.url_rule, "provide_automatic_options", False)',
        "",
    ),
    "a preflight may ask for another method": one(
        PREFLIGHTS + "test_what_no_browser_sends_is_no_preflight[more0]",
        "exempt:overrides_method",
        'any("method" in name and "override" in name for name in request.headers)',
        "False",
    ),
    "a preflight may have a body": one(
        PREFLIGHTS + "test_what_no_browser_sends_is_no_preflight[more3]",
        "preflight:is_preflight",
        'headers.get("content-length", ("",)) in (("",), ("0",))',
        "True",
    ),
    "what is exempt for a method is for all": one(
        REQUESTS + "test_only_exempt_paths_need_no_token[asgi-POST where GET is exempt]",
        "exempt:ExemptPaths.__init__",
        "[by_method.setdefault(method, []) for method in methods] or [of_all]",
        "[of_all]",
    ),
    "a request names its method in a header": one(
        REQUESTS + "test_only_exempt_paths_need_no_token[asgi-GET that asks for DELETE]",
        "exempt:ExemptPaths.__contains__",
        " or overrides_method(request)",
        "",
    ),
    "root_path is looked for in front alone": one(
        OF_ASGI
        + "test_a_path_that_a_framework_may_cut_elsewhere_than_we_is_never_exempt[/public/api/admin-/api]",
        "exempt:ExemptPaths.__contains__",
        " and request.has_one_path",
        "",
    ),
    "a scope of any kind is served": one(
        OF_ASGI + "test_a_scope_of_an_unknown_kind_is_refused_by_name"
        "[options2-scope0-type 'webtransport' is not served]",
        "request:ScopeRequest.__init__",
        'if kind != "http" and kind != "websocket":',
        "if False:",
    ),
    "settings win over what is given": one(
        "tests/adapters/test_options.py::"
        "test_an_option_that_is_given_wins_over_the_settings_whatever_its_value[asgi]",
        "options:chosen",
        "        return given\n",
        "        given = Default(given)\n",
    ),
    "a token says itself what it equals": one(
        REUSE + "test_the_same_is_of_one_exact_type_and_equal",
        "_http:Guard.reused",
        "same = type(known) is type(raw) and (type(raw) is str or type(raw) is bytes) and known == raw",
        "same = known == raw",
    ),
    "another verifier's verdict is reused": one(
        REUSE + "test_another_verifier_judges_for_itself",
        "_http:Guard.reused",
        " or verified.verifier is not self.verifier",
        "",
    ),
    "REST framework believes request.jwt": one(
        REUSE + "test_what_somebody_else_leaves_in_request_jwt_authenticates_nobody[inside of ours-claims]",
        "django.rest_framework:JWTAuthentication.authenticate",
        "guard.reused(getattr(shown, VERIFIED, None), verdict)",
        'getattr(shown, "jwt", None)',
    ),
    "a getter may return anything": one(
        REUSE + "test_what_a_getter_returns_is_a_string_or_malformed",
        "_http:Guard._gotten",
        "return exact(found)",
        "return found",
    ),
    "a subject is unique among all issuers": one(
        USERS
        + "test_users_of_two_issuers_with_one_subject_are_two_unless_they_are_said_to_be_one[None-asgi]",
        "user_key:_as_needed",
        "(_subject if alone else _issuer_and_subject)",
        "_subject",
    ),
    "a bar in an issuer is a bar": one(
        USERS + "test_no_two_users_share_a_key", "user_key:_issuer_and_subject", '.replace("|", "%7C")', ""
    ),
    "REMOTE_USER carries everything": one(
        USERS + "test_remote_user_is_left_out_where_it_cannot_be_carried_and_never_somebody_else_s",
        "user_key:carried_in_environ",
        "if _CARRIED.fullmatch(name):",
        "if True:",
    ),
    "Authlib in Django sets no current token": one(
        "tests/adapters/test_parity.py::test_every_adapter_agrees_with_verify[authlib in django-by default]",
        "authlib:_let_be_current",
        "open_in_django(shown, token)",
        "pass",
    ),
    "Channels lets everybody in": one(
        "tests/adapters/test_channels.py::test_a_connection_without_a_good_token_is_closed",
        "django.channels:JWTMiddleware.__call__",
        "return await answer(outcome, scope, receive, send)",
        "outcome = None",
    ),
    "an API key is taken for a JWT": one(
        REQUESTS + "test_r40_credentials_come_once_in_one_place_and_in_one_form[asgi-an API key beside JWTs]",
        "credentials:JWTShaped.__call__",
        'text.count(".") < 2',
        "False",
    ),
    # Nothing is left without somebody who will end it.
    "a flight is believed in for ever": one(
        LIVENESS + "test_threads.py::test_a_thread_that_never_begins_is_given_up",
        "flight:Flight.is_lost",
        "now > self.deadline or ",
        "",
    ),
    "a child believes in its parent's threads": Mutation(
        proof=LIVENESS + "test_processes.py"
        "::test_a_child_that_was_forked_in_the_midst_of_everything_verifies_a_new_key[none]",
        patches=(
            Patch(where="flight:Flight.is_lost", old="self.process != os.getpid()", new="False"),
            Patch(where="fork:renew_if_forked", old="if thing.process == here:", new="if True:"),
        ),
    ),
    "a flight that nobody takes stays in the air": one(
        LIVENESS
        + "test_threads.py::test_a_thread_that_cannot_be_started_costs_a_request_and_no_more[1-once]",
        "refresher:Refresher._take_off",
        "self._fail_here(course.flight)",
        "pass",
    ),
    "whoever leaves keeps the lease": one(
        LIVENESS + "test_processes.py::test_a_process_that_ends_while_it_leads_gives_its_lease_back[closed]",
        "driver:supervised",
        "if lease is not None and clock() < lease_end:",
        "if False:",
    ),
    "a verifier that is gone keeps its lease": one(
        LIVENESS
        + "test_processes.py::test_a_process_that_ends_while_it_leads_gives_its_lease_back[left to itself]",
        "course:end_all",
        "course._owner.stop()",
        "pass",
    ),
    "one look after a freeze is nobody's": one(
        LIVENESS + "test_processes.py"
        "::test_after_a_freeze_in_any_act_a_revoked_key_is_refused_and_a_new_one_serves[a while-a look]",
        "refresher:Refresher.attend",
        "(late or not flight.awaited)",
        "(late or begun is not None)",
    ),
    "a remembered token heeds one clock": one(
        LIVENESS
        + "test_clocks.py::test_a_remembered_token_of_a_revoked_key_is_refused_after_the_clock_stood_still",
        "token_cache:TokenCache.recall",
        "or wall >= refresher.attention_by",
        "or False",
    ),
    "every flight has a thread": Mutation(
        proof=LIVENESS
        + "test_threads.py::test_hundreds_of_issuers_whose_store_hangs_hold_a_bounded_number_of_threads",
        patches=(
            Patch(where="pool:Pool._see_to_it", old="len(self._threads) >= MAX_WORKING", new="False"),
            *SLOW_ANYWHERE,
        ),
    ),
    "slow issuers may take every thread": Mutation(
        proof=LIVENESS
        + "test_threads.py::test_slow_issuers_that_forged_tokens_drive_do_not_delay_another_issuers_new_key",
        patches=SLOW_ANYWHERE,
    ),
    "a cancellation is swallowed": one(
        LIVENESS + "test_cancelling.py::test_a_cancellation_that_meets_the_end_of_a_flight_wins[landing-0]",
        "waiting:_wait_in_asyncio",
        "await asyncio.wait({told}, timeout=max(0.0, seconds))",
        "with contextlib.suppress(asyncio.CancelledError):\n"
        "            await asyncio.wait({told}, timeout=max(0.0, seconds))",
    ),
    "a log handler breaks off a refresh": one(
        LIVENESS + "test_callbacks.py::test_a_log_handler_that_raises_costs_no_request_its_answer",
        "log_lines:tell",
        "with contextlib.suppress(Exception):",
        "if True:",
    ),
    # Trust and truth.
    "keys count from the end of their fetch": one(
        ROTATION + "test_keys_are_not_taken_to_be_newer_than_the_start_of_their_fetch",
        "core.leader:Leader.lead",
        "fetched_us=row.claimed_us,",
        "fetched_us=row.claimed_us + round((fetched.received - claimed.sent) * MICROSECONDS),",
    ),
    "the seal is not checked": one(
        TAMPERED, "core.seal:Sealer.inspect", "if self._current is None:", "if True:"
    ),
    "a tampered row is not fetched over": one(
        TAMPERED,
        "core.refresh:Refresh._coordinated",
        'order = replace(order, force=True, reason="tampered")',
        "pass",
    ),
    "validators come from the row": Mutation(
        proof=TAMPERING + "test_r55_validators_come_from_checked_keys_and_never_from_the_row",
        patches=(
            Patch(
                where=SQL,
                old="CASE WHEN s.newer AND pg_catalog.octet_length(s.etag) <= 1024"
                " AND ({ENCODED} OR s.etag !~ '[^ -~]')\n            THEN s.etag END AS etag",
                new="s.etag AS etag",
            ),
            Patch(
                where="core.leader:Leader.lead",
                old="conditional=_conditional(order)",
                new="conditional=Conditional(etag=row.etag)",
            ),
        ),
    ),
    # Whoever else uses the database, and its clock.
    "a scheduled claim renews the moment of the floor": one(
        STORE + "test_a_clock_that_is_set_back_lengthens_no_deadline_and_no_claim_revives_one[50]",
        SQL,
        "floor_set_at = CASE WHEN %(force)s THEN n.t ELSE c.floor_set_at END",
        "floor_set_at = n.t",
    ),
    "a write counts after its lease": one(
        "tests/stores/test_store_contract.py::"
        "test_who_wakes_up_after_the_lease_changes_nothing_even_where_nobody_took_over[advisory]",
        SQL,
        "c.lease_owner = %(owner)s AND c.lease_until > {CLOCK}",
        "c.lease_owner = %(owner)s",
    ),
    "a lease that is given back leaves its floor": one(
        "tests/stores/test_store_contract.py::"
        "test_a_lease_that_is_given_back_costs_the_fleet_nothing[advisory-forced]",
        SQL,
        "CASE WHEN c.floor_set_at = c.claimed_at THEN 'epoch'",
        "CASE WHEN false THEN 'epoch'",
    ),
    "a claim that comes late leads": one(
        GIVEN_UP + "test_a_claim_that_was_not_cancelled_takes_no_lease_when_the_lock_ends[direct]",
        SQL,
        "pg_catalog.clock_timestamp() <= pg_catalog.transaction_timestamp() + %(patience)s * interval '1 s'",
        "%(patience)s > 0",
    ),
    "nobody cancels a statement": one(
        GIVEN_UP + "test_a_locked_table_leaves_no_backend_waiting_for_nobody[direct]",
        "stores.connection:DeadlineConnection._cancel",
        "lambda seconds: unblocked(self._driver.module, lambda: self._driver.cancel(connection, seconds))",
        "lambda _: None",
    ),
    "a connection beside a cancel": one(
        GIVEN_UP + "test_no_connection_is_opened_while_a_statement_waits_for_its_cancel",
        "stores.connection:DeadlineConnection._connected",
        "if self._driver.cancellations.under_way():",
        "if False:",
    ),
    "what a row holds is returned whole": one(
        FOREIGN + "test_no_worker_holds_what_somebody_put_there_before_the_limits[last_error]",
        SQL,
        "pg_catalog.left(s.last_error, 200)",
        "s.last_error",
    ),
    "a clock of whichever schema": one(
        FOREIGN + "test_a_poll_and_a_write_read_postgresqls_own_clock",
        SQL,
        "-- fragment: CLOCK\npg_catalog.clock_timestamp()",
        "-- fragment: CLOCK\nclock_timestamp()",
    ),
    "operators of whichever schema": one(
        FOREIGN
        + "test_a_search_path_that_could_redefine_operators_is_an_operators_to_mend[evil, pg_catalog]",
        "stores.session:row_of",
        'if not _BUILT_IN_FIRST.match(values.pop("schemas")):',
        'if values.pop("schemas") is None:',
    ),
    "an encoding that settings choose": one(
        FOREIGN + "test_no_setting_chooses_the_encoding_that_a_store_reads[role]",
        "stores.postgres:Psycopg.connect",
        "**REQUIRED",
        "**{}",
    ),
    "coordination switched off, Django": Mutation(
        proof="tests/django_app/test_store_fleet.py"
        "::test_an_unknown_kid_is_one_fetch_of_a_fleet_of_django_processes",
        environ=TOGGLE,
    ),
    "a claim in a transaction of its own": one(
        "tests/django_app/test_store.py"
        "::test_statements_are_committed_one_by_one_whatever_the_project_does[False]",
        "django.store:ProjectDriver.connect",
        '"AUTOCOMMIT": True, ',
        "",
    ),
    "a forced fetch may be answered from a cache": one(
        ROTATION + "test_a_forced_fetch_asks_for_everything_and_a_scheduled_one_for_what_has_changed",
        "core.leader:_conditional",
        "if order.force:",
        "if False:",
    ),
}


def prepare() -> None:
    """Apply the mutation that the environment names, once in a process."""
    global _prepared
    name = os.environ.get(VARIABLE)
    if name is None or _prepared:
        return
    _prepared = True
    apply(MUTATIONS[name])


def apply(mutation: Mutation) -> None:
    """Apply a mutation to this process, for good."""
    for patch in mutation.patches:
        if patch.where == SQL:
            _change_statements(patch)
        else:
            _change_function(patch)


_prepared = False


def pytest_configure() -> None:
    """Apply it where this module is a plugin of pytest."""
    prepare()


def check(mutation: Mutation) -> None:
    """Raise a LookupError where a patch does not find its place; changes nothing."""
    sources: dict[str, str] = {}
    for patch in mutation.patches:
        sources[patch.where] = patch.applied(sources.get(patch.where) or _source_of(patch.where))


def _source_of(where: str) -> str:
    if where == SQL:
        return resources.files("skeldir_jwt_mw").joinpath(SQL).read_text()
    owner, name = _place(where)
    return textwrap.dedent(inspect.getsource(getattr(owner, name)))


def _place(where: str) -> tuple[Any, str]:
    """What holds the function, and its name there."""
    module_name, _, path = where.partition(":")
    owner: Any = importlib.import_module(f"skeldir_jwt_mw.{module_name}")
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    if not hasattr(owner, name):
        raise LookupError(f"{where} is not there")
    return owner, name


_sources: dict[str, str] = {}  # what was changed already, where two patches go to one place


def _changed(patch: Patch) -> str:
    changed = _sources[patch.where] = patch.applied(_sources.get(patch.where) or _source_of(patch.where))
    return changed


def _change_statements(patch: Patch) -> None:
    from skeldir_jwt_mw.stores import session, statements

    composed = MappingProxyType(statements.compose(_changed(patch)))
    vars(statements)["STATEMENTS"] = vars(session)["STATEMENTS"] = composed


def _change_function(patch: Patch) -> None:
    owner, name = _place(patch.where)
    module = importlib.import_module(f"skeldir_jwt_mw.{patch.where.partition(':')[0]}")
    made: dict[str, Any] = {}
    exec(
        compile(_changed(patch), patch.where, "exec", flags=ANNOTATIONS_ARE_TEXT, dont_inherit=True),
        vars(module),
        made,
    )
    original = vars(owner)[name]
    setattr(owner, name, made[name])
    if owner is module:
        _rebind(original, made[name])


def _rebind(original: Any, changed: Any) -> None:
    """Change what other modules of the package have imported by name."""
    for module in [module for name, module in sys.modules.items() if name.startswith("skeldir_jwt_mw.")]:
        for name, value in list(vars(module).items()):
            if value is original:
                setattr(module, name, changed)
