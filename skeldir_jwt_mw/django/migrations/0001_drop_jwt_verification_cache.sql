-- Undoes 0001_create_jwt_verification_cache.sql. What goes with the table is fetched anew.
-- name: drop
DROP TABLE IF EXISTS public.jwt_verification_cache;
