"""Where the records of an import come from: a file, standard input, or the web."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from evtool import files
from evtool.bulk.resource import Resource
from evtool.errors import SourceUnreachable

_NO_LIMIT = 1 << 62
_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True, init=False)
class Source:
    """Files of one resource.

    Attributes:
        resource: with its schema.
        paths: of the files, or their http(s) URLs; `-` is standard input.
    """

    resource: Resource
    paths: tuple[str, ...]

    def __init__(self, resource: Resource, paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> None:
        """Takes one path, or several."""
        several = (paths,) if isinstance(paths, str | os.PathLike) else paths
        object.__setattr__(self, "resource", resource)
        object.__setattr__(self, "paths", tuple(map(os.fspath, several)))


def is_url(source: str) -> bool:
    """Whether a source is on the web, and not a file."""
    if "://" not in source:
        return False
    # 60 ms to import
    from evtool.bulk import remote

    return remote.is_url(source)


def shown(source: str) -> str:
    """A source for people: a URL without its query, which may be what opens the door."""
    if not is_url(source):
        return source
    from evtool.bulk import remote

    return remote.shown(source)


def name_of(source: str) -> str:
    """The name of a source, which may say what is in it."""
    return urlsplit(source).path if is_url(source) else source


@contextmanager
def open_source(source: str) -> Iterator[files.Input]:
    """Opens a source. What is on the web is fetched first, into a temporary file, and gone on with if that breaks off.

    Raises:
        FileError: it can't be read, or the disk is too small for it.
        SourceError: the URL is not allowed, or what it names could not be had.
    """
    if not is_url(source):
        with files.open_input(source) as stream:
            yield stream
        return
    from evtool.bulk import remote

    # who types a command may reach what they can reach anyway
    limits = remote.Limits(bytes=_NO_LIMIT, seconds=_SECONDS)
    descriptor, name = tempfile.mkstemp(prefix="evtool-")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            remote.fetch(source, file, limits=limits, allow_private=True)
        with files.open_input(name) as stream:
            # from here on the file needs no name, and nothing is left of it whatever happens
            Path(name).unlink()
            yield stream
    except SourceUnreachable as error:
        error.hint = "look whether the server is up, then run this again"
        raise
    finally:
        Path(name).unlink(missing_ok=True)
