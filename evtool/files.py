"""Files that are whole or absent: opening inputs and outputs, compressed or not.

`-` is standard input and standard output.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from evtool.compression import MAGIC_SIZE, Compression, Decompressed, by_content
from evtool.errors import FileError
from evtool.pumping import Pump

if TYPE_CHECKING:
    from evtool.ndjson import Readable

MANIFEST_SUFFIX = ".manifest.json"
STANDARD = "-"
_PARTIAL = ".part"


class Input:
    """An input file, decompressed as it is read. Its compression is known by its content, not by its name.

    Attributes:
        name: the file's name for messages.
        size: its bytes on disk; None for a pipe.
    """

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        self._raw = raw
        self.size = _size(raw)
        with self._describing():
            buffered = io.BufferedReader(cast("io.RawIOBase", raw), 1 << 18)
            compression = by_content(buffered.peek(MAGIC_SIZE)[:MAGIC_SIZE])
        self._stream: Readable = buffered
        if compression is not Compression.NONE:
            self._stream = Decompressed(compression, cast("BinaryIO", buffered), name)

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of the decompressed content.

        Raises:
            ImportRefused: the compressed data is corrupt or ends too early.
            FileError: the file can't be read.
        """
        with self._describing():
            return self._stream.read(size)

    def bytes_read(self) -> int | None:
        """How much of the file on disk has been read; None for a pipe."""
        if self.size is None:
            return None
        try:
            return self._raw.tell()
        except (OSError, ValueError):
            return None

    @contextlib.contextmanager
    def _describing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FileError(f"can't read {self.name}: {error.strerror or error}") from error


def _size(raw: BinaryIO) -> int | None:
    try:
        status = os.fstat(raw.fileno())
    except (OSError, ValueError):
        return None
    return status.st_size if status.st_size and raw.seekable() else None


@contextlib.contextmanager
def open_input(path: str) -> Iterator[Input]:
    """Opens a file, or standard input for `-`.

    Raises:
        FileError: it isn't there, is a folder, or may not be read; or it needs zstd, which is not installed.
    """
    if path == STANDARD:
        if sys.stdin is None:
            raise FileError("standard input is closed", hint="name a file")
        # unbuffered below our own buffer, which a descriptor of its own makes possible
        with open(os.dup(sys.stdin.fileno()), "rb", buffering=0) as raw:
            yield Input(cast("BinaryIO", raw), "standard input")
        return
    try:
        raw = open(path, "rb", buffering=0)  # noqa: SIM115 - only the opening is described here
    except OSError as error:
        raise FileError(f"can't read {path}: {error.strerror}", hint="give the path of a readable file") from error
    with raw:
        if Path(path).is_dir():
            raise FileError(f"can't read {path}: it is a folder", hint="give the path of a readable file")
        yield Input(cast("BinaryIO", raw), path)


def is_regular(path: str) -> bool:
    """Whether an output of that name is a file that can be renamed into its place: no pipe, no device, no stdout."""
    return path != STANDARD and (not Path(path).exists() or Path(path).is_file())


def target_of(path: str) -> Path:
    """The file that a regular output ends up in: a link stays, and /dev/stdout is the file that it stands for."""
    return Path(os.path.realpath(path))


def name_of(path: str) -> str:
    """A file's name without folders, as text that any store and any program takes, whatever bytes it is made of."""
    return os.fsencode(Path(path).name).decode(errors="replace")


def are_one(one: str, other: str) -> bool:
    """Whether two outputs would be one: the same stream, or the same file, by whatever name."""
    if STANDARD in {one, other}:
        return one == other or _is_standard_output(other if one == STANDARD else one)
    return is_regular(one) and target_of(one) == target_of(other)


def is_read_as(source: str, output: str) -> bool:
    """Whether an output would take the place of a file that is read, by whatever name that is, or as standard input."""
    if not is_regular(output):
        return False
    try:
        read = os.fstat(sys.stdin.fileno()) if source == STANDARD else Path(source).stat()
        return os.path.samestat(read, target_of(output).stat())
    except (OSError, ValueError, AttributeError):
        # what isn't there is nobody's; nor is a standard input that is closed
        return False


def _is_standard_output(path: str) -> bool:
    """Whether standard output is sent to that very file."""
    if sys.stdout is None:
        return False
    try:
        status = os.fstat(sys.stdout.fileno())
        return stat.S_ISREG(status.st_mode) and os.path.samestat(status, os.stat(path))
    except (OSError, ValueError):
        return False


def manifest_beside(path: str) -> Path:
    """Where the manifest of an export lies, unless it is told otherwise: FILE.manifest.json beside FILE."""
    target = target_of(path)
    return target.with_name(target.name + MANIFEST_SUFFIX)


@contextlib.contextmanager
def open_output(
    path: str,
    *,
    compression: Compression = Compression.NONE,
    hashed: bool = False,
    replacing: Callable[[], None] = lambda: None,
) -> Iterator[Pump]:
    """Opens a file to be written, or standard output for `-`.

    A file is written under a temporary name beside it, synced to disk and renamed at the end, so a file of that name
    is complete, always. An exception inside removes what there was and leaves an older file of the name untouched.

    Args:
        path: where to, or `-`.
        compression: equal content gives equal bytes, for nothing in them tells of the name or the time.
        hashed: whether the output's sha256 will be asked for.
        replacing: called when the file is complete, just before it takes its name.

    Raises:
        FileError: it can't be written, or the disk is full; or zstd is not installed.
    """
    if path == STANDARD:
        # Python has none where it was closed
        if sys.stdout is None:
            raise FileError("standard output is closed", hint="name a file with -o")
        with (
            _describing("standard output"),
            _whole(sys.stdout.buffer) as raw,
            Pump(raw, compression, hashed=hashed) as pump,
        ):
            yield pump
        return
    if not is_regular(path):
        # a pipe or a device has no temporary neighbour
        with _describing(path), open(path, "wb") as device, Pump(device, compression, hashed=hashed) as pump:
            yield pump
        return
    with (
        _describing(path),
        replaced(target_of(path), replacing) as file,
        Pump(file, compression, hashed=hashed) as pump,
    ):
        yield pump


@contextlib.contextmanager
def _whole(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The stream, buffered where Python runs with -u: for then a write may take a part of what it is given."""
    if not isinstance(stream, io.RawIOBase):
        yield stream
        return
    buffered = io.BufferedWriter(stream)
    try:
        yield buffered
    finally:
        # else the end of the buffer would be the end of standard output
        buffered.detach()


@contextlib.contextmanager
def replaced(target: Path, replacing: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """A file to be written that takes its name when it is complete and on disk; an exception leaves no trace of it.

    Args:
        target: its name.
        replacing: called just before it takes it.
    """
    _sweep(target)
    partial = target.with_name(f"{_stem(target)}{os.getpid()}{_PARTIAL}")
    with _claimed(partial) as raw:
        try:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
            replacing()
            # while it is locked: nobody must take it for a left-over
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)


def _stem(target: Path) -> str:
    """How the names of a file's temporary neighbours begin; a process's number follows, so that each has its own."""
    return f".{target.name[:200]}."


@contextlib.contextmanager
def _claimed(partial: Path) -> Iterator[BinaryIO]:
    """A temporary file to be written, locked for as long as it is open: so others see that somebody writes it."""
    while True:
        with partial.open("ab") as raw:
            try:
                fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FileError(
                    f"{partial} is being written by somebody else", hint="wait until that is done, or name another file"
                ) from error
            except OSError:
                # a file system without locks: then nobody sweeps here, either
                pass
            # whoever sweeps may have removed it before it was locked
            if partial.exists() and os.path.samestat(os.fstat(raw.fileno()), partial.stat()):
                raw.truncate(0)
                yield raw
                return


def _sweep(target: Path) -> None:
    """Removes the temporary files of this target whose writers were killed: those that nobody has locked."""
    stem = _stem(target)
    for partial in target.parent.glob(f"{glob.escape(stem)}*{_PARTIAL}"):
        if partial.name.removeprefix(stem).removesuffix(_PARTIAL).isdigit():
            # it is locked, or gone by now, or not ours to remove
            with contextlib.suppress(OSError), partial.open("ab") as left:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink()


@contextlib.contextmanager
def _describing(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # the reader of our pipe has had enough; the command line ends quietly
        raise
    except OSError as error:
        raise unwritable(name, error) from error


def unwritable(name: str, error: OSError) -> FileError:
    """What is said of an output that can't be written."""
    return FileError(f"can't write {name}: {error.strerror or error}", hint="choose another place for the output")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
