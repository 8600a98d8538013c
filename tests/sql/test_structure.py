"""The table, its indexes, its sequence and the type of a message: as Message DB 1.3.0 has them."""

from __future__ import annotations

from typing import Any

import psycopg


def test_the_table_has_message_dbs_columns_in_its_order(connection: psycopg.Connection, namespace: str) -> None:
    """Clients read the table by SELECT * too: names, types, order, NOT NULL and defaults are the contract's."""
    query = (
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = 'messages'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert connection.execute(query).fetchall() == [
        ("global_position", "bigint", True, "nextval('messages_global_position_seq'::regclass)"),
        ("position", "bigint", True, None),
        ("time", "timestamp without time zone", True, "(now() AT TIME ZONE 'utc'::text)"),
        ("stream_name", "text", True, None),
        ("type", "text", True, None),
        ("data", "jsonb", False, None),
        ("metadata", "jsonb", False, None),
        ("id", "uuid", True, "gen_random_uuid()"),
    ]


def test_the_indexes_are_message_dbs_and_one_more(connection: psycopg.Connection) -> None:
    """The three indexes and the primary key have the contract's names, columns and uniqueness; exports have their own."""
    query = "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
    found: dict[str, Any] = dict(connection.execute(f"{query} WHERE indrelid = 'messages'::regclass").fetchall())
    shown = {name: (text.split(" INDEX")[0], text.split(" USING ")[1]) for name, text in found.items()}
    assert shown == {
        "messages_pkey": ("CREATE UNIQUE", "btree (global_position)"),
        "messages_id": ("CREATE UNIQUE", "btree (id)"),
        "messages_stream": ("CREATE UNIQUE", 'btree (stream_name, "position")'),
        "messages_category": (
            "CREATE",
            (
                "btree (category((stream_name)::character varying), global_position,"
                " category(((metadata ->> 'correlationStreamName'::text))::character varying))"
            ),
        ),
        "messages_time": (
            "CREATE",
            "brin (\"time\", type text_bloom_ops (n_distinct_per_range='200')) WITH (pages_per_range='32')",
        ),
    }


def test_the_sequence_belongs_to_the_column(connection: psycopg.Connection, namespace: str) -> None:
    """The sequence has the name that Message DB gives it, starts at 1, and hands out one position at a time."""
    owned = connection.execute("SELECT pg_get_serial_sequence('messages', 'global_position')").fetchone()
    assert owned == (f"{namespace}.messages_global_position_seq",)
    query = "SELECT start_value, increment_by, cache_size, cycle FROM pg_sequences WHERE schemaname = %s AND sequencename LIKE 'messages%%'"
    assert connection.execute(query, (namespace,)).fetchall() == [(1, 1, 1, False)]


def test_the_type_of_a_message_is_message_dbs(connection: psycopg.Connection) -> None:
    """What reads return has the contract's names and types, JSON as text."""
    query = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = (SELECT typrelid FROM pg_type WHERE oid = 'message'::regtype) ORDER BY attnum"
    )
    assert connection.execute(query).fetchall() == [
        ("id", "character varying"),
        ("stream_name", "character varying"),
        ("type", "character varying"),
        ("position", "bigint"),
        ("global_position", "bigint"),
        ("data", "character varying"),
        ("metadata", "character varying"),
        ("time", "timestamp without time zone"),
    ]


def test_the_signatures_are_message_dbs(connection: psycopg.Connection, namespace: str) -> None:
    """Names of arguments, their types, defaults and results: what a client may call by name."""
    query = (
        "SELECT proname, pg_get_function_arguments(oid), pg_get_function_result(oid) FROM pg_proc"
        " WHERE pronamespace = to_regnamespace(%s)"
    )
    text, number, null = "character varying", "bigint", "DEFAULT NULL::character varying"
    got = {name: (arguments, result) for name, arguments, result in connection.execute(query, (namespace,))}
    messages = "SETOF message"
    expected = {
        "acquire_lock": (f"stream_name {text}", number),
        "cardinal_id": (f"stream_name {text}", text),
        "category": (f"stream_name {text}", text),
        "hash_64": (f"value {text}", number),
        "id": (f"stream_name {text}", text),
        "is_category": (f"stream_name {text}", "boolean"),
        "message_store_version": ("", text),
        "stream_version": (f"stream_name {text}", number),
        "write_message": (
            (
                f"id {text}, stream_name {text}, type {text}, data jsonb, metadata jsonb DEFAULT NULL::jsonb,"
                " expected_version bigint DEFAULT NULL::bigint"
            ),
            number,
        ),
        "get_stream_messages": (
            f'stream_name {text}, "position" bigint DEFAULT 0, batch_size bigint DEFAULT 1000, condition {text} {null}',
            messages,
        ),
        "get_category_messages": (
            (
                f'category {text}, "position" bigint DEFAULT 1, batch_size bigint DEFAULT 1000,'
                f" correlation {text} {null},"
                " consumer_group_member bigint DEFAULT NULL::bigint, consumer_group_size bigint DEFAULT NULL::bigint,"
                f" condition {text} {null}"
            ),
            messages,
        ),
        "get_last_stream_message": (f"stream_name {text}, type {text} {null}", messages),
    }
    assert {name: got[name] for name in expected} == expected


def test_no_trigger_and_no_foreign_key_is_on_the_table(connection: psycopg.Connection) -> None:
    """Nothing slows a write down unseen, and nothing ties a namespace to another."""
    query = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'messages'::regclass"
    assert connection.execute(query).fetchone() == (0,)
