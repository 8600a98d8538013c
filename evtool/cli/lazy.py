"""A group whose commands are imported when they are named, so that `--help` is quick."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group of commands that are in modules of their own."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **options: Any) -> None:
        """Imports nothing yet.

        Args:
            args: as click.Group takes them.
            modules: for each command `module:name`, in the order of the help.
            options: as click.Group takes them.
        """
        super().__init__(*args, **options)
        self._modules = modules

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that was named. What interrupts it is said by the caller alone, without click's empty line.

        Raises:
            click.Abort: it was interrupted.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the help."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command of a name, or None."""
        if cmd_name not in self._modules:
            return None
        module, _, name = self._modules[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that was typed; of one that there isn't it says which may have been meant."""
        name = args[0]
        if name not in self._modules and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib

            near = " or ".join(f"'{one}'" for one in difflib.get_close_matches(name, self._modules))
            ctx.fail(f"No such command '{name}'." + (f" Did you mean {near}?" if near else ""))
        return super().resolve_command(ctx, args)
