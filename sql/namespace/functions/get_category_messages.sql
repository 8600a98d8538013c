-- The messages of a category from a global position on, in the order of their global positions.
--
-- position: the first global position wanted (NULL: 1). batch_size: how many at the most; -1 for all, NULL for 1000.
-- correlation: only messages whose metadata's correlationStreamName is of this category.
-- consumer_group_member, consumer_group_size: only streams whose cardinal id hashes to the member (from 0).
-- condition: SQL over the columns of messages, where the setting message_store.sql_condition allows it.
--
-- The plans are settled in the header: generic, since planning costs more than reading a page, and in the order of an
-- index, since a session keeps its plan, and one that sorts, made while the table was small, would stay as it grows.
-- No JIT: a generic plan guesses how much of the table a page is, and compiling takes longer than reading it.
CREATE OR REPLACE FUNCTION :"ns".get_category_messages(
  category varchar,
  "position" bigint DEFAULT 1,
  batch_size bigint DEFAULT 1000,
  correlation varchar DEFAULT NULL,
  consumer_group_member bigint DEFAULT NULL,
  consumer_group_size bigint DEFAULT NULL,
  condition varchar DEFAULT NULL
)
RETURNS SETOF :"ns".message
LANGUAGE plpgsql STABLE
SET search_path = :"ns", pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET jit = off
AS $$
DECLARE
  _limit bigint;
  _group_size smallint;
  _from text;
  _check refcursor;
BEGIN
  IF NOT is_category(get_category_messages.category) THEN
    RAISE EXCEPTION 'Must be a category: %', get_category_messages.category
      USING CONSTRAINT = 'category';
  END IF;

  get_category_messages.position := COALESCE(get_category_messages.position, 1);
  batch_size := COALESCE(batch_size, 1000);
  _limit := NULLIF(batch_size, -1);

  IF NOT is_category(correlation) THEN
    RAISE EXCEPTION 'Correlation must be a category (Correlation: %)', correlation
      USING CONSTRAINT = 'correlation';
  END IF;

  IF (consumer_group_member IS NULL) <> (consumer_group_size IS NULL) THEN
    RAISE EXCEPTION
      'Consumer group member and size must be specified (Consumer Group Member: %, Consumer Group Size: %)',
      consumer_group_member, consumer_group_size
      USING CONSTRAINT = 'consumer_group';
  ELSIF consumer_group_size < 1 THEN
    RAISE EXCEPTION
      'Consumer group size must not be less than 1 (Consumer Group Member: %, Consumer Group Size: %)',
      consumer_group_member, consumer_group_size
      USING CONSTRAINT = 'consumer_group';
  ELSIF consumer_group_member < 0 THEN
    RAISE EXCEPTION
      'Consumer group member must not be less than 0 (Consumer Group Member: %, Consumer Group Size: %)',
      consumer_group_member, consumer_group_size
      USING CONSTRAINT = 'consumer_group';
  ELSIF consumer_group_member >= consumer_group_size THEN
    RAISE EXCEPTION
      'Consumer group member must be less than the group size (Consumer Group Member: %, Consumer Group Size: %)',
      consumer_group_member, consumer_group_size
      USING CONSTRAINT = 'consumer_group';
  END IF;

  IF condition IS NOT NULL AND COALESCE(current_setting('message_store.sql_condition', true), 'off') = 'off' THEN
    RAISE EXCEPTION 'Retrieval with SQL condition is not activated'
      USING CONSTRAINT = 'sql_condition';
  END IF;

  IF current_setting('message_store.debug_get', true) = 'on' OR current_setting('message_store.debug', true) = 'on' THEN
    RAISE NOTICE '» get_category_messages';
    RAISE NOTICE 'category ($1): %', get_category_messages.category;
    RAISE NOTICE 'position ($2): %', get_category_messages.position;
    RAISE NOTICE 'batch_size ($3): %', batch_size;
    RAISE NOTICE 'correlation ($4): %', correlation;
    RAISE NOTICE 'consumer_group_member ($5): %', consumer_group_member;
    RAISE NOTICE 'consumer_group_size ($6): %', consumer_group_size;
    RAISE NOTICE 'condition: %', condition;
  END IF;

  -- a group larger than a smallint is 22003, as in Message DB
  _group_size := consumer_group_size::smallint;

  -- A branch per shape, each with a plan of its own that the session keeps. The index messages_category gives the
  -- order and answers the correlation; the group is a filter, so a page is full as long as there is more.
  -- The category is a range of one value, and is named in the order, because only that index can give such an order.
  -- With `=` the planner may walk the primary key instead, past the messages of all other categories.
  IF condition IS NULL AND correlation IS NULL AND _group_size IS NULL THEN
    RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
      m.data::varchar, m.metadata::varchar, m.time
    FROM messages AS m
    WHERE category(m.stream_name) >= get_category_messages.category
      AND category(m.stream_name) <= get_category_messages.category
      AND m.global_position >= get_category_messages.position
    ORDER BY category(m.stream_name), m.global_position
    LIMIT _limit;
  ELSIF condition IS NULL AND correlation IS NULL THEN
    RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
      m.data::varchar, m.metadata::varchar, m.time
    FROM messages AS m
    WHERE category(m.stream_name) >= get_category_messages.category
      AND category(m.stream_name) <= get_category_messages.category
      AND m.global_position >= get_category_messages.position
      AND mod(@hash_64(cardinal_id(m.stream_name)), _group_size) = consumer_group_member
    ORDER BY category(m.stream_name), m.global_position
    LIMIT _limit;
  ELSIF condition IS NULL AND _group_size IS NULL THEN
    RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
      m.data::varchar, m.metadata::varchar, m.time
    FROM messages AS m
    WHERE category(m.stream_name) >= get_category_messages.category
      AND category(m.stream_name) <= get_category_messages.category
      AND m.global_position >= get_category_messages.position
      AND category(m.metadata->>'correlationStreamName') = correlation
    ORDER BY category(m.stream_name), m.global_position
    LIMIT _limit;
  ELSIF condition IS NULL THEN
    RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
      m.data::varchar, m.metadata::varchar, m.time
    FROM messages AS m
    WHERE category(m.stream_name) >= get_category_messages.category
      AND category(m.stream_name) <= get_category_messages.category
      AND m.global_position >= get_category_messages.position
      AND category(m.metadata->>'correlationStreamName') = correlation
      AND mod(@hash_64(cardinal_id(m.stream_name)), _group_size) = consumer_group_member
    ORDER BY category(m.stream_name), m.global_position
    LIMIT _limit;
  ELSE
    -- see get_stream_messages for why the condition can't reach beyond the subquery
    _from := ' FROM (SELECT * FROM messages WHERE category(stream_name) >= $1 AND category(stream_name) <= $1'
      ' AND global_position >= $2'
      ' AND ($4 IS NULL OR category(metadata->>''correlationStreamName'') = $4)'
      ' AND ($6 IS NULL OR mod(@hash_64(cardinal_id(stream_name)), $6) = $5)) AS messages ';
    OPEN _check FOR EXECUTE 'SELECT CASE WHEN (' || condition || E'\n) THEN true END' || _from || 'LIMIT 0'
    USING get_category_messages.category, get_category_messages.position, _limit, correlation,
      consumer_group_member, _group_size;
    CLOSE _check;
    RETURN QUERY EXECUTE
      'SELECT id::varchar, stream_name::varchar, type::varchar, position, global_position,'
      ' data::varchar, metadata::varchar, time' || _from
      || 'WHERE (' || condition || E'\n) ORDER BY category(messages.stream_name), messages.global_position LIMIT $3'
    USING get_category_messages.category, get_category_messages.position, _limit, correlation,
      consumer_group_member, _group_size;
  END IF;
END;
$$;
