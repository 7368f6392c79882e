-- Undoes 0002_add_deadline_moments_and_limits.sql, for the workers of the version before it.
-- name: drop
ALTER TABLE IF EXISTS public.jwt_verification_cache
    DROP CONSTRAINT IF EXISTS jwt_verification_cache_limits,
    DROP COLUMN IF EXISTS floor_set_at,
    DROP COLUMN IF EXISTS backoff_set_at;
