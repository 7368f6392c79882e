-- Each deadline gets a moment of setting of its own, so that a database clock that was set back revives none of
-- them; and what is in a row gets limits, so that a role that may write one column cannot fill every worker.
--
-- Apply it before workers of the new version start; old workers go on with it. While both run: an old worker does
-- not write the moments. What it sets counts for new workers while the moment in the row, an earlier one, is less
-- than a minute (floor) or 3700 s (backoff) before the deadline. Otherwise a new worker may fetch once in spite of
-- it, and writes the moment: one fetch more per minute, and one in spite of a backoff per hour, is all that a mixed
-- fleet costs the provider. Old workers obey every deadline, as before. The lease has had its moment, claimed_at,
-- from the beginning, so two never fetch at once.
--
-- Harmless where it was applied already, and where a foreign hand has filled a row: a constraint judges every new
-- version of a row, also where other columns change, so what is too long is emptied
-- before it is declared valid.

ALTER TABLE public.jwt_verification_cache
    ADD COLUMN IF NOT EXISTS floor_set_at timestamp with time zone NOT NULL DEFAULT 'epoch',
    ADD COLUMN IF NOT EXISTS backoff_set_at timestamp with time zone NOT NULL DEFAULT 'epoch',
    DROP CONSTRAINT IF EXISTS jwt_verification_cache_limits,
    ADD CONSTRAINT jwt_verification_cache_limits CHECK (
        pg_catalog.octet_length(seal) OPERATOR(pg_catalog.<=) 256
        AND pg_catalog.octet_length(etag) OPERATOR(pg_catalog.<=) 1024
        AND pg_catalog.octet_length(last_modified) OPERATOR(pg_catalog.<=) 1024
        AND pg_catalog.octet_length(last_error) OPERATOR(pg_catalog.<=) 1024
        AND pg_catalog.octet_length(last_refresh_reason) OPERATOR(pg_catalog.<=) 1024
    ) NOT VALID;

UPDATE public.jwt_verification_cache
SET seal = CASE WHEN pg_catalog.octet_length(seal) OPERATOR(pg_catalog.<=) 256 THEN seal END,
    etag = CASE WHEN pg_catalog.octet_length(etag) OPERATOR(pg_catalog.<=) 1024 THEN etag END,
    last_modified = CASE WHEN pg_catalog.octet_length(last_modified) OPERATOR(pg_catalog.<=) 1024 THEN last_modified END,
    last_error = CASE WHEN pg_catalog.octet_length(last_error) OPERATOR(pg_catalog.<=) 1024 THEN last_error END,
    last_refresh_reason = CASE WHEN pg_catalog.octet_length(last_refresh_reason) OPERATOR(pg_catalog.<=) 1024 THEN last_refresh_reason END
WHERE pg_catalog.octet_length(seal) OPERATOR(pg_catalog.>) 256
   OR pg_catalog.octet_length(etag) OPERATOR(pg_catalog.>) 1024
   OR pg_catalog.octet_length(last_modified) OPERATOR(pg_catalog.>) 1024
   OR pg_catalog.octet_length(last_error) OPERATOR(pg_catalog.>) 1024
   OR pg_catalog.octet_length(last_refresh_reason) OPERATOR(pg_catalog.>) 1024;

ALTER TABLE public.jwt_verification_cache VALIDATE CONSTRAINT jwt_verification_cache_limits;

-- Whoever may set a deadline may say when: a role with UPDATE on columns is not locked out by the upgrade.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT CASE WHEN acl.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'
                    ELSE pg_catalog.format('%I', pg_catalog.pg_get_userbyid(acl.grantee)) END
        FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) acl
        WHERE a.attrelid OPERATOR(pg_catalog.=) 'public.jwt_verification_cache'::pg_catalog.regclass
          AND a.attname OPERATOR(pg_catalog.=) 'floor_until'
          AND acl.privilege_type OPERATOR(pg_catalog.=) 'UPDATE'
    LOOP
        EXECUTE pg_catalog.format(
            'GRANT UPDATE (floor_set_at, backoff_set_at) ON public.jwt_verification_cache TO %s', role);
    END LOOP;
END
$$;
