-- Writes one message at the end of a stream and returns its position in the stream; the first is 0.
--
-- expected_version: NULL for any, -1 for "there must be no such stream", else the stream's last position.
-- Order of the steps, which clients rely on: lock the category, read the stream's version, compare it, read the id
-- as a uuid, insert. A wrong version or id is so found before a global position is spent.
--
-- Why the lock comes first and lasts until commit: the global position is drawn under it, so within a category the
-- order of commits is the order of global positions, and a consumer that has seen 18 can't be shown 17 afterwards.
-- Each statement takes a snapshot of its own (VOLATILE, READ COMMITTED), so the version is read as of after the wait.
--
-- SECURITY DEFINER: writers have no right on the table, so there is no way to a message around the lock.
-- One function and not four that call each other: a PL/pgSQL call costs more than what most of them would do. For the
-- same reason the lock is taken by an assignment, which PL/pgSQL evaluates without opening a query.
-- The header settles how the version is read. In the order of the index messages_stream: a session keeps its plan, and
-- one that scans and sorts, made while the table was small, would stay as it grows. Not from the index alone: vacuum
-- has not yet marked the page of a stream's last message, so the table would be looked up all the same.
CREATE OR REPLACE FUNCTION :"ns".write_message(
  id varchar,
  stream_name varchar,
  "type" varchar,
  data jsonb,
  metadata jsonb DEFAULT NULL,
  expected_version bigint DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = :"ns", pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_indexonlyscan = off
AS $$
DECLARE
  _message_id uuid;
  _stream_version bigint;
  _locked text;
BEGIN
  _locked := pg_advisory_xact_lock(
    'messages'::regclass::oid::int, hashtext(split_part(write_message.stream_name, '-', 1)));

  SELECT messages.position INTO _stream_version
  FROM messages
  WHERE messages.stream_name = write_message.stream_name
  ORDER BY messages.position DESC
  LIMIT 1;

  IF write_message.expected_version <> COALESCE(_stream_version, -1) THEN
    -- Clients match the text. evtool's own reads the mark in CONSTRAINT and the version in COLUMN instead:
    -- fields of the error that psql doesn't print.
    RAISE EXCEPTION 'Wrong expected version: % (Stream: %, Stream Version: %)',
      write_message.expected_version, write_message.stream_name, COALESCE(_stream_version, -1)
      USING CONSTRAINT = 'expected_version', COLUMN = COALESCE(_stream_version, -1)::text;
  END IF;

  _stream_version := COALESCE(_stream_version, -1) + 1;
  -- apart from the INSERT, whose defaults draw a global position before its values are read
  _message_id := write_message.id::uuid;

  INSERT INTO messages (id, stream_name, position, type, data, metadata)
  VALUES (_message_id, write_message.stream_name, _stream_version,
    write_message.type, write_message.data, write_message.metadata);

  IF current_setting('message_store.debug_write', true) = 'on' OR current_setting('message_store.debug', true) = 'on' THEN
    RAISE NOTICE '» write_message';
    RAISE NOTICE 'id ($1): %', write_message.id;
    RAISE NOTICE 'stream_name ($2): %', write_message.stream_name;
    RAISE NOTICE 'type ($3): %', write_message.type;
    RAISE NOTICE 'data ($4): %', write_message.data;
    RAISE NOTICE 'metadata ($5): %', write_message.metadata;
    RAISE NOTICE 'expected_version ($6): %', write_message.expected_version;
    RAISE NOTICE '_stream_version: %', _stream_version - 1;
    RAISE NOTICE '_next_position: %', _stream_version;
  END IF;

  RETURN _stream_version;
END;
$$;
