"""`evtool bulk`: finds the command, imported when it is named."""

from __future__ import annotations

import click

from evtool.cli.lazy import LazyGroup

_COMMANDS = {
    "init": "evtool.cli.bulk.init:init",
    "import": "evtool.cli.bulk.import_:import_",
    "submit": "evtool.cli.bulk.submit:submit",
    "worker": "evtool.cli.bulk.worker:worker",
    "jobs": "evtool.cli.bulk.jobs:jobs",
    "status": "evtool.cli.bulk.jobs:status",
    "errors": "evtool.cli.bulk.jobs:errors",
    "cancel": "evtool.cli.bulk.jobs:cancel",
    "retry": "evtool.cli.bulk.jobs:retry",
    "purge": "evtool.cli.bulk.jobs:purge",
    "export": "evtool.cli.bulk.export:export",
    "copy": "evtool.cli.bulk.copy:copy",
}


@click.group(cls=LazyGroup, modules=_COMMANDS)
def bulk() -> None:
    """Import, export and copy records of tables.

    A resource describes a table: users, articles, comments and posts come with evtool, a file describes one of your
    own, and any other table is described by its catalog.

    \b
    Example:
      evtool bulk import users users.csv --reject-file refused.csv
      evtool bulk export --table shop.orders -o orders.csv.gz
      evtool bulk submit import users /srv/incoming/users.csv
    """
