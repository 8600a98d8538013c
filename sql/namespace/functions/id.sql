-- The id of a stream name: what stands behind the first hyphen; NULL where there is none.
-- id('account-1+2-3') = '1+2-3'; id('account') is NULL.
CREATE OR REPLACE FUNCTION :"ns".id(stream_name varchar)
RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN right(stream_name, -NULLIF(strpos(stream_name, '-'), 0));
