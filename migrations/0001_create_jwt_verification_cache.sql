-- One row per source of signing keys, shared by every process of a fleet, so that a key rotation costs the
-- identity provider one fetch. The row holds the document with its seal, the lease of whoever fetches now,
-- and the times before which nobody should.
--
-- Harmless where the table is there already: Django, `skeldir-jwt migrate` and `psql -f` may come in any order.

CREATE TABLE IF NOT EXISTS public.jwt_verification_cache (
    source_key text PRIMARY KEY,

    -- What was fetched. The seal covers it with its times; bytea and not jsonb, since it covers exact bytes.
    payload bytea CHECK (octet_length(payload) <= 262144),
    seal bytea,
    etag text,
    last_modified text,
    generation bigint NOT NULL DEFAULT 0,  -- the fence under which payload was published

    -- 'epoch' and not '-infinity': PostgreSQL 15 cannot subtract infinite timestamps.
    fetched_at timestamptz NOT NULL DEFAULT 'epoch',
    next_refresh_at timestamptz NOT NULL DEFAULT 'epoch',
    expires_at timestamptz NOT NULL DEFAULT 'epoch',

    -- Who may write. The fence grows with every lease, so a stopped process that wakes up late changes nothing.
    fence bigint NOT NULL DEFAULT 0,
    lease_owner uuid,
    claimed_at timestamptz NOT NULL DEFAULT 'epoch',
    lease_until timestamptz NOT NULL DEFAULT 'epoch',

    -- Before these, no forced fetch and no fetch at all.
    floor_until timestamptz NOT NULL DEFAULT 'epoch',
    backoff_until timestamptz NOT NULL DEFAULT 'epoch',
    consecutive_failures int NOT NULL DEFAULT 0,
    last_error text,
    last_refresh_reason text,

    -- Evidence: attempts = refreshes + failures + abandoned, and one more while a lease is held.
    fetch_attempt_count bigint NOT NULL DEFAULT 0,
    refresh_event_count bigint NOT NULL DEFAULT 0,
    failure_event_count bigint NOT NULL DEFAULT 0,
    abandoned_count bigint NOT NULL DEFAULT 0,

    CHECK (generation <= fence)
) WITH (
    -- Few rows, rewritten often: leave room so that every update stays in its page, and clean up early.
    fillfactor = 50,
    autovacuum_vacuum_threshold = 50,
    autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 50,
    toast.autovacuum_vacuum_scale_factor = 0
);

-- Out of line and uncompressed: updates that leave the document alone do not copy it.
ALTER TABLE public.jwt_verification_cache ALTER COLUMN payload SET STORAGE EXTERNAL;
