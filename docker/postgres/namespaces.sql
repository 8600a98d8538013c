-- Makes the namespace that stands first in the list `names`, and then those of the rest. Nothing between two commas is
-- no namespace; spaces around a name don't count.
SELECT btrim(split_part(:'names', ',', 1)) AS ns, btrim(split_part(:'names', ',', 1)) <> '' AS is_named,
  substr(:'names', strpos(:'names' || ',', ',') + 1) AS names, strpos(:'names', ',') > 0 AS has_more \gset
\if :is_named
\ir sql/namespace/install.sql
\endif
\if :has_more
\ir namespaces.sql
\endif
