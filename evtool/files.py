"""Files that are whole or absent: opening inputs and outputs, compressed or not.

`-` is standard input and standard output.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from evtool.errors import FileError, ImportRefused
from evtool.ndjson import Readable

STANDARD = "-"
_GZIP_MAGIC = b"\x1f\x8b"
# Level 6, zlib's default, makes files a tenth smaller and takes twice the time.
_GZIP_LEVEL = 4


class Input:
    """An input file, decompressed as it is read. Gzip is known by its content, not by its name.

    Attributes:
        name: the file's name for messages.
        size: its bytes on disk; None for a pipe.
    """

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        self._raw = raw
        self._buffered = io.BufferedReader(cast("io.RawIOBase", raw), 1 << 18)
        self.size = _size(raw)
        self._stream: Readable = self._buffered
        if self._buffered.peek(2)[:2] == _GZIP_MAGIC:
            self._stream = gzip.GzipFile(fileobj=self._buffered, mode="rb")

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of the decompressed content.

        Raises:
            ImportRefused: the compressed data is corrupt or ends too early.
            FileError: the file can't be read.
        """
        try:
            return self._stream.read(size)
        except EOFError as error:
            raise ImportRefused(
                "IMPORT_FAILED",
                f"{self.name} is truncated: its gzip data has no end",
                hint="fetch the file again",
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ImportRefused(
                "IMPORT_FAILED", f"{self.name} is corrupt: its gzip data can't be read", hint="fetch the file again"
            ) from error
        except OSError as error:
            raise FileError(f"can't read {self.name}: {error.strerror or error}") from error

    def bytes_read(self) -> int | None:
        """How much of the file on disk has been read; None for a pipe."""
        if self.size is None:
            return None
        try:
            return self._raw.tell()
        except (OSError, ValueError):
            return None


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
        FileError: it isn't there, is a folder, or may not be read.
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
        raise FileError(f"can't read {path}: {error.strerror}", hint="give the path of an export file") from error
    with raw:
        if Path(path).is_dir():
            raise FileError(f"can't read {path}: it is a folder", hint="give the path of an export file")
        yield Input(cast("BinaryIO", raw), path)


@contextlib.contextmanager
def open_output(path: str, *, compress: bool) -> Iterator[BinaryIO]:
    """Opens a file to be written, or standard output for `-`.

    A file is written under a temporary name beside it, synced to disk and renamed at the end, so a file of that name
    is complete, always. An exception inside removes what there was and leaves an older file of the name untouched.

    Args:
        path: where to, or `-`.
        compress: write gzip. Its header holds no name and no time, so equal content gives equal bytes.

    Raises:
        FileError: it can't be written, or the disk is full.
    """
    if path == STANDARD:
        # Python has none where it was closed
        if sys.stdout is None:
            raise FileError("standard output is closed", hint="name a file with -o")
        with _describing("standard output"), _compressed(sys.stdout.buffer, compress=compress) as stream:
            yield stream
        return
    if Path(path).exists() and not Path(path).is_file():
        # a pipe or a device has no temporary neighbour
        with _describing(path), open(path, "wb") as raw, _compressed(raw, compress=compress) as stream:
            yield stream
        return
    # a link stays, and /dev/stdout is the file that it stands for
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    with _describing(path):
        raw = partial.open("wb")
        try:
            with raw:
                with _compressed(raw, compress=compress) as stream:
                    yield stream
                raw.flush()
                os.fsync(raw.fileno())
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)


@contextlib.contextmanager
def _compressed(raw: BinaryIO, *, compress: bool) -> Iterator[BinaryIO]:
    """Gzip over a stream, closed before the stream below it: else the archive would lack its end."""
    if not compress:
        yield raw
        raw.flush()
        return
    stream = gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=_GZIP_LEVEL, mtime=0)
    try:
        yield cast("BinaryIO", stream)
    except BaseException:
        # what isn't whole must not get an end, not even when the stream is collected as garbage
        stream.fileobj = None  # type: ignore[assignment]
        raise
    stream.close()
    raw.flush()


@contextlib.contextmanager
def _describing(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # the reader of our pipe has had enough; the command line ends quietly
        raise
    except OSError as error:
        raise FileError(
            f"can't write {name}: {error.strerror or error}", hint="choose another place for the output"
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
