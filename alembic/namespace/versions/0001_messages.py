"""The table of messages, its indexes and the type of a message, as Message DB 1.3.0 has them.

Revision ID: 0001
Revises:
"""

from evtool.stores.postgres.structure import execute, install_function

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(
        """
        CREATE TYPE message AS (
          id varchar,
          stream_name varchar,
          type varchar,
          position bigint,
          global_position bigint,
          data varchar,
          metadata varchar,
          time timestamp
        )
        """
    )
    # The order of the columns is Message DB's: some of its clients read the table by SELECT *.
    # Stream names collate by their bytes: the same order in every database and every store, and the cheapest one.
    execute(
        """
        CREATE TABLE messages (
          global_position bigserial NOT NULL,
          position bigint NOT NULL,
          time timestamp without time zone NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
          stream_name text COLLATE "C" NOT NULL,
          type text NOT NULL,
          data jsonb,
          metadata jsonb,
          id uuid NOT NULL DEFAULT gen_random_uuid(),
          PRIMARY KEY (global_position)
        )
        """
    )
    # serves write_message's promise that an id is written once
    execute("CREATE UNIQUE INDEX messages_id ON messages (id)")
    # serves get_stream_messages, get_last_stream_message and stream_version
    execute("CREATE UNIQUE INDEX messages_stream ON messages (stream_name, position)")
    # serves get_category_messages; its third column answers the correlation without a visit to the table
    install_function("category")
    execute(
        """
        CREATE INDEX messages_category ON messages (
          category(stream_name),
          global_position,
          category(metadata->>'correlationStreamName')
        )
        """
    )


def downgrade() -> None:
    execute("DROP TABLE messages")
    execute("DROP FUNCTION category(varchar)")
    execute("DROP TYPE message")
