-- The statements by which a fleet shares a row, and the fragments that they are composed of.
--
-- `{NAME}` stands for the fragment of that name. Parameters are in pyformat, which psycopg 3 and psycopg2 both
-- read. Durations are float seconds: floor includes its jitter, refresh is refresh_interval + jitter. need: no
-- usable snapshot; have: generation of the trusted snapshot, 0 if none; bad: a rejected generation, else -1.
--
-- Each is one autocommit statement without SET, LISTEN or a session lock, so that it works through a pooler in
-- transaction mode and at every isolation level. Only the database's clock counts. A deadline in the row counts
-- only if it was set in the past and is no longer than a fixed horizon: so neither a clock that was set back nor
-- a hostile value stalls the fleet. Every expression is total, for infinite times and for those at the ends of
-- the calendar too.
--
-- Whoever may choose the role's search_path must not choose what a statement means. So functions are named with
-- their schema, and types by the words of the grammar; a path in which any schema comes before pg_catalog, which
-- could hold operators, is told with the answer and refused by the reader. What a statement returns is cut
-- to what workers write, whoever has written it.

-- fragment: NEWER
NOT (c.generation <= %(have)s OR c.generation = %(bad)s)

-- fragment: DUE
(%(force)s OR %(need)s OR {PAST_ITS_SCHEDULE})

-- fragment: PAST_ITS_SCHEDULE
(c.payload IS NULL OR c.generation = 0 OR c.generation < %(have)s
        OR n.t >= c.next_refresh_at OR c.fetched_at <= n.t - {REFRESH} OR c.fetched_at > n.t + interval '1 s')

-- fragment: LEASED
-- A lease that names nobody, which no worker writes, is none: nobody would end it.
CASE WHEN c.lease_owner IS NOT NULL AND c.lease_until > n.t AND c.claimed_at <= n.t + interval '1 s'
             THEN c.lease_until <= c.claimed_at + interval '60 s' ELSE false END

-- fragment: FLOORED
CASE WHEN c.floor_until > n.t AND c.floor_set_at <= n.t + interval '1 s'
             THEN c.floor_until <= c.floor_set_at + greatest(%(floor)s, 60) * interval '1 s' ELSE false END

-- fragment: BACKED_OFF
CASE WHEN c.backoff_until > n.t AND c.backoff_set_at <= n.t + interval '1 s'
             THEN c.backoff_until <= c.backoff_set_at + interval '3700 s' ELSE false END

-- fragment: REFRESH
%(refresh)s * interval '1 s'

-- fragment: RESTART_FROM
1152921504606846976 /* 2^60: numbers from here on are nobody's clock and are restarted. What is adopted
  lies below 2^61, or a fence just below the limit would lead to generations that nobody adopts */

-- fragment: CLOCK
pg_catalog.clock_timestamp()

-- fragment: NOW
n AS MATERIALIZED (SELECT {CLOCK} AS t)

-- fragment: STATE
state AS MATERIALIZED (
  SELECT c.*, n.t,
         {NEWER} AS newer,
         {DUE} AS due,
         {PAST_ITS_SCHEDULE} AS past_its_schedule,
         {LEASED} AS leased,
         {FLOORED} AS floored,
         {BACKED_OFF} AS backed_off
  FROM public.jwt_verification_cache c, n
  WHERE c.source_key = %(key)s)

-- fragment: ANSWER
s.generation,
       least(greatest(s.consecutive_failures, 0), 1000) AS failures,
       pg_catalog.regexp_replace(pg_catalog.left(s.last_error, 200), '[^ -~]', '?', 'g') AS last_error,
       pg_catalog.regexp_replace(pg_catalog.left(s.last_refresh_reason, 200), '[^ -~]', '?', 'g')
         AS last_refresh_reason,
       CASE WHEN s.leased THEN 'running'
            WHEN s.lease_owner IS NOT NULL THEN 'abandoned'
            WHEN s.consecutive_failures > 0 THEN 'failed'
            ELSE 'ok' END AS outcome,
       CASE WHEN s.leased THEN extract(epoch FROM s.lease_until - s.t)::double precision ELSE 0 END AS lease_left,
       CASE WHEN s.floored THEN extract(epoch FROM s.floor_until - s.t)::double precision ELSE 0 END AS floor_left,
       CASE WHEN s.backed_off THEN extract(epoch FROM s.backoff_until - s.t)::double precision ELSE 0 END
         AS backoff_left,
       CASE WHEN s.past_its_schedule THEN 0
            ELSE extract(epoch FROM least(s.next_refresh_at, s.fetched_at + {REFRESH}) - s.t)::double precision
            END AS refresh_left,
       CASE WHEN s.t {IS_SANE} THEN (extract(epoch FROM s.t) * 1000000)::bigint END AS now_us,
       CASE WHEN s.fetched_at {IS_SANE} THEN (extract(epoch FROM s.fetched_at) * 1000000)::bigint END AS fetched_us,
       CASE WHEN s.expires_at {IS_SANE} THEN (extract(epoch FROM s.expires_at) * 1000000)::bigint END AS expires_us,
       CASE WHEN s.newer AND pg_catalog.octet_length(s.payload) <= 262144 THEN s.payload END AS payload,
       CASE WHEN s.newer AND pg_catalog.octet_length(s.seal) <= 256 THEN s.seal END AS seal,
       CASE WHEN s.newer AND pg_catalog.octet_length(s.etag) <= 1024 AND ({ENCODED} OR s.etag !~ '[^ -~]')
            THEN s.etag END AS etag,
       CASE WHEN s.newer AND pg_catalog.octet_length(s.last_modified) <= 1024
              AND ({ENCODED} OR s.last_modified !~ '[^ -~]')
            THEN s.last_modified END AS last_modified,
       pg_catalog.array_to_string(pg_catalog.current_schemas(true), ' ') AS schemas

-- fragment: ENCODED
-- SQL_ASCII holds any octets, and what is no text must not reach anybody.
pg_catalog.getdatabaseencoding() <> 'SQL_ASCII'

-- fragment: IS_SANE
BETWEEN timestamp with time zone 'epoch' AND timestamp with time zone '2200-01-01 00:00+00'

-- fragment: CONTENT
payload = %(payload)s, seal = %(seal)s, etag = %(etag)s, last_modified = %(last_modified)s,
  fetched_at = timestamp with time zone 'epoch' + %(fetched_us)s * interval '1 microsecond',
  next_refresh_at = timestamp with time zone 'epoch' + %(next_us)s * interval '1 microsecond',
  expires_at = timestamp with time zone 'epoch' + %(expires_us)s * interval '1 microsecond',
  lease_owner = NULL, lease_until = 'epoch', backoff_until = 'epoch', consecutive_failures = 0, last_error = NULL,
  refresh_event_count = 1 + least(c.refresh_event_count, {RESTART_FROM})

-- fragment: HELD
c.source_key = %(key)s AND c.fence = %(fence)s AND c.lease_owner = %(owner)s AND c.lease_until > {CLOCK}

-- fragment: IN_TIME
pg_catalog.clock_timestamp() <= pg_catalog.transaction_timestamp() + %(patience)s * interval '1 s'

-- Read the row, and take the lease where a fetch is due and nobody holds it. The predicates stand twice: on the
-- statement's snapshot, which cannot block, and in `won` on the newest version of the row, without which two
-- processes would fetch. The advisory lock lets one candidate at a time through to the row; it is let go with the
-- statement and decides nothing, so a stranger's lock on its number only costs retries without it. Whoever sent
-- the claim has given it up after patience seconds; if it was kept waiting for longer (by a lock on the table), it
-- takes no lease. Its transaction began when it arrived.
-- name: claim
WITH {NOW},
{STATE},
candidate AS MATERIALIZED (
  SELECT source_key FROM state
  WHERE NOT newer AND due AND NOT leased AND NOT backed_off AND NOT (%(force)s AND floored) AND {IN_TIME}),
gate AS MATERIALIZED (
  SELECT source_key FROM candidate
  WHERE NOT %(use_gate)s OR pg_catalog.pg_try_advisory_xact_lock(%(advisory_key)s)),
pick AS MATERIALIZED (
  SELECT c.source_key FROM public.jwt_verification_cache c JOIN gate ON c.source_key = gate.source_key
  FOR NO KEY UPDATE OF c SKIP LOCKED),
won AS (
  UPDATE public.jwt_verification_cache c SET
    lease_owner = %(owner)s,
    claimed_at = n.t,
    lease_until = n.t + %(lease)s * interval '1 s',
    floor_until = CASE WHEN %(force)s THEN n.t + %(floor)s * interval '1 s' ELSE c.floor_until END,
    floor_set_at = CASE WHEN %(force)s THEN n.t ELSE c.floor_set_at END,
    generation = CASE WHEN c.generation <= %(have)s OR c.generation < {RESTART_FROM} THEN c.generation ELSE 0 END,
    fence = 1 + greatest(
      CASE WHEN c.fence < {RESTART_FROM} THEN c.fence ELSE 0 END,
      CASE WHEN c.generation < {RESTART_FROM} THEN c.generation ELSE 0 END,
      %(have)s,
      (extract(epoch FROM n.t) * 1000000)::bigint),
    fetch_attempt_count = 1 + least(c.fetch_attempt_count, {RESTART_FROM}),
    abandoned_count = (c.lease_owner IS NOT NULL)::int + least(c.abandoned_count, {RESTART_FROM}),
    last_refresh_reason = %(reason)s
  FROM pick, n
  WHERE c.source_key = pick.source_key
    AND NOT {NEWER} AND {DUE} AND NOT {LEASED} AND NOT {BACKED_OFF} AND NOT (%(force)s AND {FLOORED})
  RETURNING c.fence, c.claimed_at)
SELECT CASE WHEN w.fence IS NOT NULL OR (s.lease_owner = %(owner)s AND s.leased) THEN 'leader'
            WHEN s.newer THEN 'newer'
            WHEN NOT s.due THEN 'fresh'
            WHEN s.leased THEN 'wait'
            WHEN s.backed_off THEN 'backoff'
            WHEN %(force)s AND s.floored THEN 'floor'
            ELSE 'contended' END AS verdict,
       coalesce(w.fence, s.fence) AS fence,
       CASE WHEN coalesce(w.claimed_at, s.claimed_at) {IS_SANE}
            THEN (extract(epoch FROM coalesce(w.claimed_at, s.claimed_at)) * 1000000)::bigint END AS claimed_us,
       pg_catalog.row_security_active('public.jwt_verification_cache') AS guarded,
       {ANSWER}
FROM state s LEFT JOIN won w ON true

-- For status, and after a publish that changed nothing.
-- name: read
WITH {NOW},
{STATE}
SELECT s.fence, {ANSWER}
FROM state s

-- A poll: claim again once generation changes or running is false.
-- name: peek
SELECT c.generation, c.lease_owner IS NOT NULL AND c.lease_until > {CLOCK} AS running
FROM public.jwt_verification_cache c
WHERE c.source_key = %(key)s

-- After a 200 and a 304 alike; times in microseconds, the same integers that the seal covers.
-- name: publish
UPDATE public.jwt_verification_cache c SET
  generation = c.fence, {CONTENT}
WHERE {HELD}
RETURNING c.generation

-- The negative control, on its own so that the statement above has no back door: nothing guards it.
-- name: publish_uncoordinated
UPDATE public.jwt_verification_cache c SET
  generation = %(fence)s, fence = greatest(c.fence, %(fence)s), {CONTENT}
WHERE c.source_key = %(key)s
RETURNING c.generation

-- After a failure that is everybody's: the whole fleet backs off together.
-- name: fail
UPDATE public.jwt_verification_cache c SET
  lease_owner = NULL, lease_until = 'epoch',
  consecutive_failures = 1 + least(greatest(c.consecutive_failures, 0), 1000000),
  failure_event_count = 1 + least(c.failure_event_count, {RESTART_FROM}),
  last_error = pg_catalog.left(%(error)s, 200),
  backoff_set_at = {CLOCK},
  backoff_until = {CLOCK} + interval '1 s' * least(3600, greatest(%(retry_after)s,
    least(%(backoff_max)s, %(backoff_base)s * pg_catalog.power(2, least(greatest(c.consecutive_failures, 0), 20)))
      + %(jitter)s))
WHERE {HELD}
RETURNING extract(epoch FROM c.backoff_until - {CLOCK})::double precision AS backoff_left

-- After trouble that is the leader's own, or on its way out: nobody backs off and no failure is counted. The
-- floor that this lease has armed goes with it. The attempt stays counted, as abandoned, so that counters only grow.
-- name: release
UPDATE public.jwt_verification_cache c SET
  lease_owner = NULL, lease_until = 'epoch',
  floor_until = CASE WHEN c.floor_set_at = c.claimed_at THEN 'epoch' ELSE c.floor_until END,
  abandoned_count = 1 + least(c.abandoned_count, {RESTART_FROM})
WHERE {HELD}
RETURNING c.source_key

-- For configured issuers only.
-- name: create
INSERT INTO public.jwt_verification_cache (source_key) VALUES (%(key)s) ON CONFLICT DO NOTHING
RETURNING source_key
