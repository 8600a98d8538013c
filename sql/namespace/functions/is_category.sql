-- Whether a name is a category's, that is, holds no hyphen. True for '' and, as in Message DB, for NULL.
CREATE OR REPLACE FUNCTION :"ns".is_category(stream_name varchar)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN COALESCE(strpos(stream_name, '-') = 0, true);
