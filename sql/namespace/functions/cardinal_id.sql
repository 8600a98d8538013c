-- The part of a stream's id that stands before the first '+'; consumer groups are partitioned by it.
-- cardinal_id('account-1+2') = '1'; NULL where the stream name has no id.
CREATE OR REPLACE FUNCTION :"ns".cardinal_id(stream_name varchar)
RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN split_part(right(stream_name, -NULLIF(strpos(stream_name, '-'), 0)), '+', 1);
