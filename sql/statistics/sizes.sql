-- What the table takes on disk: with its indexes and what is kept out of line; and the indexes alone.
SELECT pg_total_relation_size(messages), pg_indexes_size(messages)
FROM (SELECT c.oid AS messages FROM pg_class AS c
  WHERE c.relname = 'messages' AND c.relnamespace = to_regnamespace(quote_ident(:'ns'))) AS found
