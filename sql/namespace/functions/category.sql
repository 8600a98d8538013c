-- The category of a stream name: what stands before the first hyphen.
-- category('account-123') = 'account'; category('account') = 'account'; NULL for NULL.
-- The index messages_category is built on it: a change of its result is a migration, not an edit.
-- A body in standard SQL and no SET clause, so that the planner inlines it, into queries and into index entries.
CREATE OR REPLACE FUNCTION :"ns".category(stream_name varchar)
RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN split_part(stream_name, '-', 1);
