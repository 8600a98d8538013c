"""Finds and reads the SQL files, and takes them apart: which files make a schema, and where psql's variables stand.

The files stay runnable by psql. What psql does with them is done here in the same way: `\\ir` includes a file, `:"ns"`
is a quoted identifier, `:'ns'` a literal, and neither is touched inside strings, quoted identifiers, comments or
dollar-quoted bodies.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent

_TOKEN = re.compile(
    r"""
      (?P<skip>
          --[^\n]*                                   # a comment
        | /\*.*?\*/                                  # one over several lines
        | (?P<tag>\$(?:[A-Za-z_][A-Za-z_0-9]*)?\$).*?(?P=tag)   # a dollar-quoted body
        | [eE]'(?:[^'\\]|\\.|'')*'                   # a string with escapes
        | '(?:[^']|'')*'                             # a string
        | "(?:[^"]|"")*"                             # a quoted identifier
        | ::                                         # a cast
      )
    | :"(?P<identifier>\w+)"
    | :'(?P<literal>\w+)'
    """,
    re.VERBOSE | re.DOTALL,
)
_INCLUDE = re.compile(r"^\\ir (\S+)$", re.MULTILINE)
_SETTING = re.compile(r"^\\set (\w+) '([^']*)'$", re.MULTILINE)

# The lines of install.sql that aren't behaviour: they come before and after it, or are psql's only.
_NOT_BEHAVIOUR = {"structure.sql", "version.sql", "record.sql", "../registry/install.sql"}


@dataclass(frozen=True, slots=True)
class Variable:
    """A place where psql would put the value of a variable.

    Attributes:
        name: the variable.
        identifier: True for `:"name"`, False for `:'name'`.
    """

    name: str
    identifier: bool


def folder(name: str) -> Path:
    """The folder `sql` or `alembic`: inside the installed package, or at the top of a checkout."""
    packaged = _PACKAGE / "_resources" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


@cache
def read(path: str) -> str:
    """The text of a file below `sql/`, for instance `namespace/functions/category.sql`."""
    return (folder("sql") / path).read_text(encoding="utf-8")


def behaviour(scope: str) -> list[str]:
    """The files with the functions, views and privileges of a scope, in the order of its install.sql.

    Args:
        scope: `registry` or `namespace`.
    """
    included = _INCLUDE.findall(read(f"{scope}/install.sql"))
    return [f"{scope}/{path}" for path in included if path not in _NOT_BEHAVIOUR]


@cache
def checksum(scope: str) -> str:
    """The SHA-256 of the files that `behaviour` lists, their names included."""
    digest = hashlib.sha256()
    for path in behaviour(scope):
        digest.update(f"{path}\n{read(path)}\n".encode())
    return digest.hexdigest()


def structure_version(scope: str) -> str:
    """The version of the tables that `structure.sql` of a scope makes."""
    settings: dict[str, str] = dict(_SETTING.findall(read(f"{scope}/version.sql")))
    return settings["structure"]


def parse(text: str) -> Iterator[str | Variable]:
    """The parts of a SQL text: what stays as it is, and psql's variables."""
    start = 0
    for match in _TOKEN.finditer(text):
        if match["skip"] is not None:
            continue
        if start < match.start():
            yield text[start : match.start()]
        yield Variable(match["identifier"] or match["literal"], identifier=match["identifier"] is not None)
        start = match.end()
    if start < len(text):
        yield text[start:]


def statements(text: str) -> list[str]:
    """The statements of a SQL text, for those that can't share a transaction; comments stay with what follows them."""
    parts = [""]
    start = 0
    for match in _TOKEN.finditer(text):
        if match["skip"] is None:
            continue
        _split(parts, text[start : match.start()])
        parts[-1] += match[0]
        start = match.end()
    _split(parts, text[start:])
    return [part.strip() for part in parts if part.strip()]


def _split(parts: list[str], text: str) -> None:
    first, *others = text.split(";")
    parts[-1] += first
    parts.extend(others)
