-- The position of the last message of a stream; NULL where there is no such stream.
CREATE OR REPLACE FUNCTION :"ns".stream_version(stream_name varchar)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT max(messages.position)
  FROM :"ns".messages
  WHERE messages.stream_name = stream_version.stream_name;
END;
