"""The SQL texts of `sql/`, filled in for a schema: what runs on a connection, and what `--sql` prints."""

from __future__ import annotations

from psycopg import sql

from evtool import __version__, sqltext

NAMESPACE = "namespace"
REGISTRY = "registry"
REGISTRY_SCHEMA = "evtool"
JOBS = "jobs"
JOBS_SCHEMA = "evtool_jobs"

_PINNED_PATH = sql.SQL("SET LOCAL search_path = pg_catalog, pg_temp;\n")

# Whoever waits for a lock makes all others behind it wait as well: not for long, unless the role's own lock_timeout
# says otherwise.
SHORT_WAIT = sql.SQL(
    "SELECT set_config('lock_timeout', '10s', true) WHERE current_setting('lock_timeout') = '0';\n"
).format()


def fill(text: str, variables: dict[str, str]) -> sql.Composed:
    """A SQL text with psql's variables filled in, each quoted for where it stands.

    Raises:
        KeyError: the text has a variable without a value.
    """
    parts: list[sql.Composable] = []
    for part in sqltext.parse(text):
        if isinstance(part, str):
            # the texts are files of this package; no name or value of anybody's is in them
            parts.append(sql.SQL(part))
        elif part.identifier:
            parts.append(sql.Identifier(variables[part.name]))
        else:
            parts.append(sql.Literal(variables[part.name]))
    return sql.Composed(parts)


def variables(scope: str, *, schema: str, name: str) -> dict[str, str]:
    """The variables that install.sql of a scope knows."""
    return {
        "ns": schema,
        "name": name,
        "checksum": sqltext.checksum(scope),
        "evtool_version": __version__,
        "structure": sqltext.structure_version(scope),
    }


def lock(schema: str | None) -> sql.Composed:
    """Waits for whoever else is migrating the registry (None) or this schema; the transaction's end lets go."""
    if schema is None:
        return sql.SQL("SELECT pg_advisory_xact_lock(hashtext('evtool'), 0);\n").format()
    return sql.SQL("SELECT pg_advisory_xact_lock(hashtext('evtool'), hashtext({}));\n").format(sql.Literal(schema))


def create_schema(schema: str) -> sql.Composed:
    """Makes the schema and makes it the place where what follows is created."""
    return sql.SQL("CREATE SCHEMA {schema};\nSET LOCAL search_path = {schema}, pg_temp;\n").format(
        schema=sql.Identifier(schema)
    )


def structure(scope: str, *, schema: str, name: str) -> sql.Composed:
    """All tables of a scope at once: the snapshot of what its migrations add up to."""
    return fill(sqltext.read(f"{scope}/structure.sql"), variables(scope, schema=schema, name=name))


def behaviour(scope: str, *, schema: str, name: str) -> sql.Composed:
    """All functions, views and privileges of a scope, and the entry in the registry that says so."""
    values = variables(scope, schema=schema, name=name)
    texts = [fill(sqltext.read(path), values) for path in sqltext.behaviour(scope)]
    record = fill(sqltext.read(f"{scope}/record.sql"), values)
    return sql.SQL("\n").join([_PINNED_PATH, *texts, record])
