"""Where Alembic enters: see evtool.stores.postgres.structure."""

from alembic import context

from evtool.stores.postgres.structure import run_migrations

run_migrations(context)
