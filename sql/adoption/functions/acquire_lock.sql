-- The lock of a store that is being adopted: Message DB's first, then evtool's. Message DB's write_message calls it too.
--
-- The two write_message lock a category by different keys. Were one simply replaced by the other, a writer who is in the
-- middle of the old one and a writer who has just begun the new one would both be in the category: the same position
-- twice, or a global position that appears behind a greater one. With this function in between, for as long as old
-- transactions last, whoever writes by either holds both keys. Taken in one order, so that nobody waits in a circle.
CREATE OR REPLACE FUNCTION :"ns".acquire_lock(stream_name varchar)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = :"ns", pg_temp
AS $$
DECLARE
  _category varchar := category(acquire_lock.stream_name);
  _category_name_hash bigint := hash_64(_category);
BEGIN
  PERFORM pg_advisory_xact_lock(_category_name_hash);
  PERFORM pg_advisory_xact_lock('messages'::regclass::oid::int, hashtext(_category));
  RETURN _category_name_hash;
END;
$$;
