"""What was imported, and an index that bounds an export by time.

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
    # serves exports by time: a summary of every 128 pages, which costs a writer next to nothing.
    # An adopted table has it already, built while it was written to; IF NOT EXISTS would lock the table all the same.
    execute(
        """
        DO $$
        BEGIN
          IF to_regclass('messages_time') IS NULL THEN
            CREATE INDEX messages_time ON messages USING brin (time) WITH (autosummarize = on);
          END IF;
        END;
        $$
        """
    )


def downgrade() -> None:
    execute("DROP INDEX messages_time")
    execute("DROP TABLE imports")
