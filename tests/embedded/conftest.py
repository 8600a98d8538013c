"""Folders and processes for real servers, which are all gone after each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import evtool
from evtool.embedded import EmbeddedServer
from evtool.errors import EvtoolError

CHECKOUT = Path(evtool.__file__).parent.parent

MakeServer = Callable[..., EmbeddedServer]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine decides which server a test gets."""
    for variable in list(os.environ):
        if variable.startswith("EVTOOL_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def passable() -> Iterator[Path]:
    """A short temporary folder that every user may pass through, which pytest's own isn't."""
    folder = Path(tempfile.mkdtemp(prefix="evt-")).resolve()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_server(passable: Path) -> Iterator[MakeServer]:
    """EmbeddedServer with its arguments, in `passable`/data unless another folder is given."""
    made: list[EmbeddedServer] = []

    def make(directory: Path | None = None, *arguments: Any, **options: Any) -> EmbeddedServer:
        server = EmbeddedServer(directory or passable / "data", *arguments, **options)
        made.append(server)
        return server

    yield make
    for server in made:
        with suppress(EvtoolError):
            server.stop("immediate")


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Run Python code in another process, with pipes; `arguments` are its sys.argv[1:]."""
    children: list[subprocess.Popen[str]] = []
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))

    def run(code: str, *arguments: object, options: tuple[str, ...] = (), **environment: str) -> Any:
        child = subprocess.Popen(
            [sys.executable, *options, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
        children.append(child)
        return child

    yield run
    for child in children:
        with child:
            child.kill()
