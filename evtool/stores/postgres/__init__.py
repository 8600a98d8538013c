"""The PostgreSQL store: schemas, stored procedures and COPY."""

from evtool.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
