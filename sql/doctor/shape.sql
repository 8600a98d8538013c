-- What the tables, types and sequences of a schema are made of: kind, name, definition, and for an index whether it can be
-- used. Definitions hold the schema's name where PostgreSQL writes it.
SELECT 'table' AS kind, c.relname::text AS name,
  CASE c.relpersistence WHEN 'p' THEN 'permanent' ELSE 'unlogged' END
    || CASE WHEN c.relrowsecurity THEN ', with row-level security' ELSE '' END AS definition,
  true AS usable
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace(quote_ident(:'ns')) AND c.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'column', c.relname || '.' || a.attname,
  format_type(a.atttypid, a.atttypmod)
    || COALESCE(' collate ' || NULLIF(l.collname, 'default'), '')
    || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
    || CASE WHEN a.attidentity <> '' THEN ' identity' ELSE '' END
    || CASE WHEN a.attgenerated <> '' THEN ' generated' ELSE '' END
    || COALESCE(' default ' || pg_get_expr(d.adbin, d.adrelid), ''),
  true
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
WHERE c.relnamespace = to_regnamespace(quote_ident(:'ns')) AND c.relkind IN ('r', 'p', 'f', 'c')
UNION ALL
SELECT 'index', x.relname, pg_get_indexdef(i.indexrelid), i.indisvalid AND i.indisready
FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.oid JOIN pg_class AS x ON x.oid = i.indexrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(:'ns'))
UNION ALL
-- NOT NULL is told with its column: it is a constraint only from PostgreSQL 18 on
SELECT 'constraint', c.relname || '.' || o.conname, pg_get_constraintdef(o.oid), true
FROM pg_class AS c JOIN pg_constraint AS o ON o.conrelid = c.oid
WHERE c.relnamespace = to_regnamespace(quote_ident(:'ns')) AND o.contype IN ('p', 'u', 'c', 'f', 'x')
UNION ALL
SELECT 'sequence', c.relname,
  format('increment %s cache %s%s', s.seqincrement, s.seqcache, CASE WHEN s.seqcycle THEN ' cycle' ELSE '' END)
    || CASE WHEN s.seqmin = 1 AND s.seqmax = 9223372036854775807 THEN ''
      ELSE format(' from %s to %s', s.seqmin, s.seqmax) END, true
FROM pg_class AS c JOIN pg_sequence AS s ON s.seqrelid = c.oid
WHERE c.relnamespace = to_regnamespace(quote_ident(:'ns'))
UNION ALL
SELECT 'trigger', c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid), true
FROM pg_class AS c JOIN pg_trigger AS t ON t.tgrelid = c.oid
WHERE c.relnamespace = to_regnamespace(quote_ident(:'ns')) AND NOT t.tgisinternal
UNION ALL
SELECT 'rule', c.relname || '.' || r.rulename, pg_get_ruledef(r.oid), true
FROM pg_class AS c JOIN pg_rewrite AS r ON r.ev_class = c.oid
WHERE c.relnamespace = to_regnamespace(quote_ident(:'ns')) AND c.relkind IN ('r', 'p', 'f')
ORDER BY 1, 2
