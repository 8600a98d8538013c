"""The registry: which namespaces there are, and which functions each has.

Revision ID: 0001
Revises:
"""

from evtool.stores.postgres.structure import execute

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(
        """
        CREATE TABLE namespaces (
          name text NOT NULL,
          schema_name text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (name),
          UNIQUE (schema_name)
        )
        """
    )
    execute("COMMENT ON TABLE namespaces IS 'the namespaces of this database, and the schema of each'")
    # apart from namespaces, because the registry itself has functions too
    execute(
        """
        CREATE TABLE behaviours (
          schema_name text NOT NULL,
          checksum text NOT NULL,
          fingerprint text NOT NULL,
          evtool_version text NOT NULL,
          installed_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (schema_name)
        )
        """
    )
    execute("COMMENT ON TABLE behaviours IS 'the functions and views that each schema was last given'")
    execute("COMMENT ON COLUMN behaviours.checksum IS 'of the files that they were installed from'")
    execute("COMMENT ON COLUMN behaviours.fingerprint IS 'evtool.fingerprint of the schema right afterwards'")


def downgrade() -> None:
    execute("DROP TABLE behaviours")
    execute("DROP TABLE namespaces")
