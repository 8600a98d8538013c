"""What a store may be able to do beyond the contract."""

from __future__ import annotations

import enum


class Ability(enum.Enum):
    """What a store may be able to do beyond the contract. Callers ask for it, and never for the kind of the store."""

    SQL_CONDITION = "SQL condition"
    """`condition` in reads, where the database's settings allow it."""

    PARALLEL_EXPORT = "export over several connections"
    """An export's `jobs`."""

    SQL_SCRIPTS = "SQL to print"
    """Migrations and namespaces as SQL for psql: `--sql`."""

    ADMINISTRATION = "roles, grants and notifications"
    """`administration`: what those who run a database server ask for."""

    DOCTOR = "doctor"
    """`administration().diagnose` and `mend`."""

    NOTIFICATIONS = "notifications"
    """`administration().notify` and `listen`: being woken up instead of looking again and again."""
