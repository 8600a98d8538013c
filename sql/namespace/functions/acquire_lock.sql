-- Takes the lock of the stream's category until the transaction ends, and returns hash_64(category).
-- NULL takes no lock and returns NULL.
--
-- The key is (oid of this namespace's messages, hash of the category), so namespaces of one database never wait
-- for each other. Two categories whose hashes are equal do: that costs a wait, never a wrong result.
CREATE OR REPLACE FUNCTION :"ns".acquire_lock(stream_name varchar)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = :"ns", pg_temp
AS $$
DECLARE
  _category varchar := category(acquire_lock.stream_name);
  _category_name_hash bigint := hash_64(_category);
BEGIN
  PERFORM pg_advisory_xact_lock('messages'::regclass::oid::int, hashtext(_category));

  IF current_setting('message_store.debug_write', true) = 'on' OR current_setting('message_store.debug', true) = 'on' THEN
    RAISE NOTICE '» acquire_lock';
    RAISE NOTICE 'stream_name: %', acquire_lock.stream_name;
    RAISE NOTICE '_category: %', _category;
    RAISE NOTICE '_category_name_hash: %', _category_name_hash;
  END IF;

  RETURN _category_name_hash;
END;
$$;
