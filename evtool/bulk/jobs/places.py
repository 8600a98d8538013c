"""Where jobs may read and write on the worker's machine, and the folder in which remote sources are kept meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from evtool.bulk import remote
from evtool.bulk.remote import Half, Limits
from evtool.errors import EvtoolError, FileError, JobLost, SourceError, SourceUnreachable, StoreError

_FORGOTTEN_SECONDS = 3 * 24 * 3600
_HINT = "start the workers with --files-under FOLDER"


def readable(source: str, folders: Sequence[Path]) -> Path:
    """The file of a job's source, links followed.

    Whoever may submit jobs could else have any file read that the worker can read, and find it in the rejects.

    Raises:
        FileError: it isn't there, is no ordinary file, or lies elsewhere than below the folders.
    """
    try:
        path = Path(os.path.realpath(source, strict=True))
        status = path.stat()
    except (OSError, ValueError) as error:
        raise FileError(
            f"can't read {source}: {getattr(error, 'strerror', None) or error}",
            hint="workers read their own machine's files",
        ) from error
    _require_below(path, source, folders)
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{source} is not an ordinary file", hint="name a file")
    return path


def writable(output: str, folders: Sequence[Path]) -> Path:
    """The file of a job's output, links of its folder followed.

    Raises:
        FileError: its folder isn't there, it is a folder or a link itself, or lies elsewhere than below the folders.
    """
    name = os.path.basename(output)
    try:
        folder = Path(os.path.realpath(os.path.dirname(output) or ".", strict=True))
    except (OSError, ValueError) as error:
        raise FileError(
            f"can't write {output}: {getattr(error, 'strerror', None) or error}", hint="make its folder first"
        ) from error
    path = folder / name
    if not name or not folder.is_dir() or path.is_dir() or path.is_symlink():
        raise FileError(f"can't write {output}: it is a folder or a link", hint="name a file")
    _require_below(path, output, folders)
    return path


def _require_below(path: Path, given: str, folders: Sequence[Path]) -> None:
    if not any(path.is_relative_to(os.path.realpath(folder)) for folder in folders):
        raise FileError(f"{given} is not below a folder that these workers' jobs may use", hint=_HINT)


class Spool:
    """Remote sources on their way in.

    A file is its worker's as long as that holds a lock on it, which a death sets free; so the next worker may go on
    with what the last one left, and never with what one that was merely stopped still writes to.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the folder, for its owner's eyes only.

        Raises:
            FileError: it can't be made, or others may write in it, and so change what is imported.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise FileError(f"can't use the spool {folder}: {error.strerror}", hint="name another --spool") from error
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise FileError(
                f"others may write in the spool {folder}", hint="name a folder of the worker's own: --spool"
            )
        self._folder = folder

    @contextlib.contextmanager
    def fetched(
        self,
        url: str,
        job: int,
        token: int,
        *,
        limits: Limits,
        allow_private: bool,
        proceed: Callable[[float], bool],
    ) -> Iterator[Path]:
        """A file with all that a URL holds, there for the block.

        It is removed behind the block, unless that was interrupted: then the next worker may go on with it.

        Raises:
            SourceError, FileError: see `remote.fetch`.
        """
        stem = f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{job}-"
        # the queues of two databases have jobs of the same number and token, and may share a spool
        path = self._folder / f"{stem}{token}-{secrets.token_hex(4)}.part"
        note = path.with_suffix(".json")
        with self._adopted(stem, path) as file:
            try:
                remote.fetch(
                    url,
                    file,
                    _read(note),
                    limits=limits,
                    allow_private=allow_private,
                    remember=lambda half: _write(note, half),
                    proceed=proceed,
                )
                file.flush()
                yield path
            except EvtoolError as error:
                if not _may_go_on(error):
                    _remove(path)
                raise
            _remove(path)

    def tidy(self) -> None:
        """Removes what nobody has touched for days: of jobs that were cancelled, or done by another machine."""
        for left in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _FORGOTTEN_SECONDS:
                    left.unlink()

    @contextlib.contextmanager
    def _adopted(self, stem: str, path: Path) -> Iterator[BinaryIO]:
        """A predecessor's file under a new name, or a new one; locked."""
        with self._predecessor(stem, path) or self._new(path) as file:
            yield file

    def _predecessor(self, stem: str, path: Path) -> BinaryIO | None:
        for earlier in sorted(self._folder.glob(f"{stem}*.part")):
            with contextlib.suppress(FileNotFoundError):
                file = open(earlier, "r+b")  # noqa: SIM115 - kept where the lock is had
                # it may have been finished with, or renamed, between its opening and its locking
                if not _locked(file) or not _is_at(file, earlier):
                    file.close()
                    continue
                # its note first: bytes without one are begun anew
                with contextlib.suppress(FileNotFoundError):
                    earlier.with_suffix(".json").rename(path.with_suffix(".json"))
                earlier.rename(path)
                return file
        return None

    @staticmethod
    def _new(path: Path) -> BinaryIO:
        while True:
            file = open(path, "w+b")  # noqa: SIM115 - kept where the lock is had
            # somebody who looks for a predecessor's may have taken it already
            if _locked(file) and _is_at(file, path):
                return file
            file.close()


def _may_go_on(error: EvtoolError) -> bool:
    """Whether a job that ended like this is one that somebody will go on with, as it is."""
    return isinstance(error, StoreError | JobLost | SourceUnreachable) or type(error) is SourceError


def _remove(path: Path) -> None:
    for left in (path, path.with_suffix(".json")):
        left.unlink(missing_ok=True)


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _read(note: Path) -> Half | None:
    try:
        return Half(**json.loads(note.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(note: Path, half: Half) -> None:
    new = note.with_suffix(".new")
    new.write_text(json.dumps(asdict(half)), "utf-8")
    new.replace(note)


def checksum(path: str | Path) -> str:
    """The SHA-256 of a file's bytes.

    Raises:
        FileError: it can't be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"can't read {path}: {error.strerror}", hint="look at its rights") from error
