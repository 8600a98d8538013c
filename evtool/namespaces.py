"""Namespaces for those who want to see first what is done: the SQL that makes or removes one."""

from __future__ import annotations

from evtool import names
from evtool.store import Ability, Store


def creation_script(name: str, schema: str | None = None) -> str:
    """The SQL of `evtool ns create`, complete and runnable by psql.

    Raises:
        NamespaceRefused: the name or the schema can't be used.
    """
    from evtool.stores.postgres import migration_scripts

    names.check_namespace(name)
    schema = names.schema_name(name) if schema is None else names.check_schema(schema)
    return migration_scripts.namespace_script(name, schema)


def deletion_script(store: Store, name: str) -> str:
    """The SQL of `evtool ns delete`, complete and runnable by psql.

    Raises:
        NotAble: the store has no SQL to print.
        NamespaceNotFound: there is none of that name.
    """
    from evtool.stores.postgres import migration_scripts

    store.require(Ability.SQL_SCRIPTS)
    return migration_scripts.deletion_script(name, store.get_namespace(name).schema)
