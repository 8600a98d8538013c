"""`evtool bulk`: finds the command, imported when it is named."""

from __future__ import annotations

import importlib

import click

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


class _LazyGroup(click.Group):
    """A group whose commands are modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_LazyGroup)
def bulk() -> None:
    """Import, export and copy records of tables.

    A resource describes a table: users, articles, comments and posts come with evtool, a file describes one of your
    own, and any other table is described by its catalog.
    """
