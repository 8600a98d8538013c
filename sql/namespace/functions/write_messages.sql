-- Writes a batch of messages at the end of one stream, all or none, and returns their positions in order.
-- Not in Message DB.
--
-- ids, types, data, metadata: one element a message, all of the same length; metadata may be NULL as a whole.
-- expected_version: what write_message takes, for the batch as a whole.
-- The steps and their order are write_message's, once for the batch. Global positions ascend in the batch's order.
-- The header leaves the version's plan no way but the index, as in write_message; sorting stays allowed here.
CREATE OR REPLACE FUNCTION :"ns".write_messages(
  ids varchar[],
  stream_name varchar,
  types varchar[],
  data jsonb[],
  metadata jsonb[] DEFAULT NULL,
  expected_version bigint DEFAULT NULL
)
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = :"ns", pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
  _count integer := COALESCE(cardinality(ids), 0);
  _message_ids uuid[];
  _stream_version bigint;
  _locked text;
BEGIN
  IF COALESCE(cardinality(types), 0) <> _count OR COALESCE(cardinality(write_messages.data), 0) <> _count
    OR cardinality(write_messages.metadata) <> _count THEN
    RAISE EXCEPTION 'A batch must have as many types, data and metadata as ids (Ids: %, Types: %, Data: %, Metadata: %)',
      _count, COALESCE(cardinality(types), 0), COALESCE(cardinality(write_messages.data), 0),
      cardinality(write_messages.metadata)
      USING CONSTRAINT = 'batch';
  END IF;

  _locked := pg_advisory_xact_lock(
    'messages'::regclass::oid::int, hashtext(split_part(write_messages.stream_name, '-', 1)));

  SELECT messages.position INTO _stream_version
  FROM messages
  WHERE messages.stream_name = write_messages.stream_name
  ORDER BY messages.position DESC
  LIMIT 1;

  IF write_messages.expected_version <> COALESCE(_stream_version, -1) THEN
    RAISE EXCEPTION 'Wrong expected version: % (Stream: %, Stream Version: %)',
      write_messages.expected_version, write_messages.stream_name, COALESCE(_stream_version, -1)
      USING CONSTRAINT = 'expected_version', COLUMN = COALESCE(_stream_version, -1)::text;
  END IF;

  _stream_version := COALESCE(_stream_version, -1);
  -- before the INSERT draws the first global position
  _message_ids := ids::uuid[];

  -- The positions are sorted below the nodes that draw global positions, so both ascend together.
  INSERT INTO messages (id, stream_name, position, type, data, metadata)
  SELECT batch.id, write_messages.stream_name, _stream_version + batch.number, batch.type, batch.data, batch.metadata
  FROM unnest(_message_ids, types, write_messages.data, write_messages.metadata)
    WITH ORDINALITY AS batch (id, type, data, metadata, number)
  ORDER BY batch.number;

  IF current_setting('message_store.debug_write', true) = 'on' OR current_setting('message_store.debug', true) = 'on' THEN
    RAISE NOTICE '» write_messages';
    RAISE NOTICE 'ids ($1): %', ids;
    RAISE NOTICE 'stream_name ($2): %', write_messages.stream_name;
    RAISE NOTICE 'types ($3): %', types;
    RAISE NOTICE 'data ($4): %', write_messages.data;
    RAISE NOTICE 'metadata ($5): %', write_messages.metadata;
    RAISE NOTICE 'expected_version ($6): %', write_messages.expected_version;
    RAISE NOTICE '_stream_version: %', _stream_version;
  END IF;

  RETURN QUERY SELECT generate_series(_stream_version + 1, _stream_version + _count);
END;
$$;
