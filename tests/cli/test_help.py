"""What evtool says of itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from evtool import __version__
from evtool.cli.main import cli as root
from tests.cli.running import Cli

_HEAVY = {
    "psycopg",
    "psycopg_pool",
    "alembic",
    "sqlalchemy",
    "msgspec",
    "tqdm",
    "docker",
    "httpcore",
    "prometheus_client",
}


def _commands(command: click.Command = root, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, (*path, name))


@pytest.mark.parametrize("path", list(_commands()), ids=lambda path: " ".join(path) or "evtool")
def test_every_command_has_a_help_with_an_example(path: tuple[str, ...]) -> None:
    """Each command's help ends with what to type."""
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    text = command.get_help(click.Context(command, info_name="evtool"))
    assert "Example:" in text
    assert "evtool " in text.split("Example:")[1]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name} says nothing"


def test_help_and_version_are_printed_by_python_m_evtool() -> None:
    """`python -m evtool` is evtool, and asking for help succeeds."""
    done = Cli()("--help").ok()
    assert "Commands:" in done.out
    assert done.err == ""
    assert Cli()("--version").ok().out.strip().endswith(__version__)
    assert Cli()("-h").ok().out == done.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([name, "--help"] for name in ("export", "import", "verify", "copy", "migrate", "write")),
        ["bulk", "worker", "--help"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Help starts quickly, for it loads no driver, no Alembic and no parser."""
    program = (
        "import sys; from evtool.cli.main import main; sys.argv = ['evtool', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=Cli().environment(), capture_output=True, text=True, check=True
    )
    assert "click" in done.stderr.split()
    assert not _HEAVY & set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["export", "--nosuch"],
        ["write"],
        ["write", "account-1"],
        ["write", "account-1", "Type", "--batch", "-"],
        ["write", "account-1", "--batch", "-", "--id", "00000000-0000-4000-8000-000000000001"],
        ["read"],
        ["read", "account-1", "--all"],
        ["read", "--category", "account", "--last"],
        ["read", "account-1", "--type", "T"],
        ["read", "account-1", "--correlation", "x"],
        ["read", "--all", "--condition", "true"],
        ["read", "account-1", "--limit", "-1"],
        ["export", "--progress", "fast"],
        ["export", "--categories", "a,,b"],
        ["ns", "create"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_without_connecting(arguments: list[str]) -> None:
    """What is typed wrongly is said before any server is asked."""
    done = Cli("host=/nonexistent")(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "/nonexistent" not in done.err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("evtool ex", "export"),
        ("evtool ns cr", "create"),
        ("evtool bulk work", "worker"),
        ("evtool read --cat", "--category"),
    ],
)
def test_the_shell_completes_commands_and_options(typed: str, offered: str) -> None:
    """What bash asks for, when TAB is pressed, is answered with the command or option that begins so."""
    words = typed.split()
    asked = {"_EVTOOL_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    program = "import sys; sys.argv = ['evtool']; from evtool.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=Cli().environment(**asked), capture_output=True, text=True, check=False
    )
    assert f"plain,{offered}" in done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_can_be_told(shell: str) -> None:
    """The script for a shell is printed, as docs/how-to/install.md has it."""
    program = "import sys; sys.argv = ['evtool']; from evtool.cli.main import main; main()"
    environment = Cli().environment(_EVTOOL_COMPLETE=f"{shell}_source")
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "evtool" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(("typed", "meant"), [(["exprot"], "export"), (["bulk", "wroker"], "worker")])
def test_a_command_that_there_isnt_is_refused_with_the_one_that_is_like_it(typed: list[str], meant: str) -> None:
    """A slip of the finger is exit code 2 and says what may have been meant."""
    done = Cli()(*typed)
    assert done.code == 2
    assert f"'{typed[-1]}'. Did you mean '{meant}'?" in done.err
