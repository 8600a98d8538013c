"""What was imported, and an index that bounds an export by time and by type.

Revision ID: 0002
Revises: 0001
"""

from evtool.stores.postgres.structure import execute

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A row for each batch that was imported, written in its transaction: an import that was interrupted goes on behind
    # the last one, and an increment across one that placed messages below its beginning is refused.
    execute(
        """
        CREATE TABLE imports (
          number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          imported_at timestamp without time zone NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'utc'),
          source text NOT NULL,
          fingerprint text,
          options text NOT NULL,
          last_line bigint NOT NULL,
          imported bigint NOT NULL,
          skipped bigint NOT NULL,
          first_position bigint,
          last_position bigint,
          replaced boolean NOT NULL,
          complete boolean NOT NULL
        )
        """
    )
    # serves an import that is resumed
    execute("CREATE INDEX imports_fingerprint ON imports (fingerprint, number) WHERE fingerprint IS NOT NULL")
    # Serves exports by time and by type: a summary of every 32 pages, which costs a write some hundredths of itself,
    # where a b-tree would cost a tenth. A type that is rare is found in the few summaries that have it.
    execute(
        """
        CREATE INDEX messages_time ON messages USING brin (
          time,
          type text_bloom_ops (n_distinct_per_range = 200)
        ) WITH (pages_per_range = 32)
        """
    )
    # Vacuum makes the summaries, and a part of the table that has none yet is read as a whole. By default it comes when
    # a fifth of the table is new. Not autosummarize: it asks at every new summary, and a busy table asks so often that
    # the server writes a line into its log for each time that it could not remember it.
    execute("ALTER TABLE messages SET (autovacuum_vacuum_insert_scale_factor = 0.05)")


def downgrade() -> None:
    execute("ALTER TABLE messages RESET (autovacuum_vacuum_insert_scale_factor)")
    execute("DROP INDEX messages_time")
    execute("DROP TABLE imports")
