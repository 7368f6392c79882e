-- Who besides the owner may use the tables without having been chosen for it: everybody (PUBLIC), the roles that
-- default privileges name (ALTER DEFAULT PRIVILEGES, as hosted PostgreSQL with a REST interface sets them), and
-- the roles of such interfaces by their usual names. Grants on single columns count.
-- name: exposures
WITH ours AS (
  SELECT c.oid, c.relname, c.relowner, c.relacl
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE n.nspname OPERATOR(pg_catalog.=) 'public'
    AND (c.relname OPERATOR(pg_catalog.=) 'skeldir_jwt_migrations'
      OR c.relname OPERATOR(pg_catalog.=) 'jwt_verification_cache')),
by_default AS (
  SELECT o.oid, a.grantee
  FROM ours o
  JOIN pg_catalog.pg_default_acl d ON d.defaclrole OPERATOR(pg_catalog.=) o.relowner
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) d.defaclnamespace
  CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) a
  WHERE d.defaclobjtype OPERATOR(pg_catalog.=) 'r'
    AND (n.nspname IS NULL OR n.nspname OPERATOR(pg_catalog.=) 'public')),
granted AS (
  SELECT o.oid, o.relname, o.relowner, a.grantee, a.privilege_type
  FROM ours o CROSS JOIN LATERAL pg_catalog.aclexplode(o.relacl) a
  UNION
  SELECT o.oid, o.relname, o.relowner, a.grantee, a.privilege_type
  FROM ours o
  JOIN pg_catalog.pg_attribute t ON t.attrelid OPERATOR(pg_catalog.=) o.oid
  CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) a)
SELECT g.relname::text AS relation,
       r.rolname::text AS role,
       pg_catalog.string_agg(DISTINCT g.privilege_type, ', ' ORDER BY g.privilege_type) AS privileges
FROM granted g
LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) g.grantee
WHERE g.grantee OPERATOR(pg_catalog.<>) g.relowner
  AND (g.grantee OPERATOR(pg_catalog.=) 0::oid
    OR r.rolname IN ('anon', 'anonymous', 'authenticated', 'web_anon', 'web_user')
    OR EXISTS (SELECT FROM by_default b WHERE b.oid OPERATOR(pg_catalog.=) g.oid
                                          AND b.grantee OPERATOR(pg_catalog.=) g.grantee))
GROUP BY g.relname, r.rolname
ORDER BY g.relname, r.rolname NULLS FIRST
