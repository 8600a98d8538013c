"""The compressions that files may have: told by a name's suffix when written, by the content when read.

gzip is ISA-L's, about five times as fast as zlib at a level that compresses as well as zlib's quick ones. zstd is the
standard library's from Python 3.14 on, and before that its backport, an extra.
"""

from __future__ import annotations

import enum
import gzip
import importlib
import os
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from evtool.errors import FileError, ImportRefused

if TYPE_CHECKING:
    from evtool.ndjson import Readable

# At level 1 files are as large as at 2, and at 3 it takes twice the time.
_GZIP_LEVEL = 1
_GZIP_HEADER = 31  # zlib's word for gzip and the largest window
# zstd's own default.
_ZSTD_LEVEL = 3
# More threads than that compress faster than lines are made; each holds some steps in memory.
_ZSTD_THREADS = 4
_ZSTD_STEP = 1 << 20

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# A frame of zstd that holds no data; some programs begin a file with one.
_ZSTD_SKIPPED = tuple(bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60))
MAGIC_SIZE = 4


class Compression(enum.StrEnum):
    """How a file is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class Compressor(Protocol):
    """What turns bytes into compressed bytes, in as many steps as one likes."""

    def compress(self, data: bytes, /) -> bytes:
        """Takes some more; returns what is ready."""

    def flush(self) -> bytes:
        """The rest, and the end of the file."""


class _Plain:
    """No compression."""

    def compress(self, data: bytes, /) -> bytes:
        """The same bytes."""
        return data

    def flush(self) -> bytes:
        """Nothing."""
        return b""


def by_suffix(name: str) -> Compression:
    """The compression that a file's name asks for."""
    lowered = name.lower()
    if lowered.endswith(".gz"):
        return Compression.GZIP
    return Compression.ZSTD if lowered.endswith((".zst", ".zstd")) else Compression.NONE


def without_suffix(name: str) -> str:
    """A file's name without what asks for a compression."""
    return name[: name.rindex(".")] if by_suffix(name) is not Compression.NONE else name


def by_content(beginning: bytes) -> Compression:
    """The compression that a file has, by its first bytes."""
    if beginning.startswith(_GZIP_MAGIC):
        return Compression.GZIP
    return Compression.ZSTD if beginning.startswith((_ZSTD_MAGIC, *_ZSTD_SKIPPED)) else Compression.NONE


def beginning(compression: Compression) -> bytes:
    """How a file of that compression begins."""
    return {Compression.GZIP: _GZIP_MAGIC, Compression.ZSTD: _ZSTD_MAGIC}.get(compression, b"")


def compressor(compression: Compression) -> Compressor:
    """A compressor for one file. Equal content, given in steps of equal size, gives equal bytes.

    Raises:
        FileError: zstd is not installed.
    """
    if compression is Compression.GZIP:
        from isal import isal_zlib

        made: Compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_HEADER)
        return made
    if compression is Compression.ZSTD:
        zstd = _zstd()
        # one worker or several: the bytes are the same; none would give others
        options = {
            zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
            zstd.CompressionParameter.job_size: _ZSTD_STEP,
            zstd.CompressionParameter.nb_workers: max(1, min(_ZSTD_THREADS, (os.cpu_count() or 1) - 1)),
        }
        return cast("Compressor", zstd.ZstdCompressor(options=options))
    return _Plain()


class Decompressed:
    """A compressed stream, decompressed as it is read: gzip with all its members, zstd with all its frames."""

    def __init__(self, compression: Compression, raw: BinaryIO, name: str) -> None:
        """Begins to read.

        Args:
            compression: the content's.
            raw: where from.
            name: the file's, for messages.

        Raises:
            FileError: zstd is not installed.
        """
        self._compression = compression
        self._name = name
        self._corrupt: tuple[type[Exception], ...]
        self._stream: Readable
        if compression is Compression.GZIP:
            from isal import igzip, isal_zlib

            self._stream = cast("Readable", igzip.GzipFile(fileobj=raw, mode="rb"))  # type: ignore[no-untyped-call]
            self._corrupt = (gzip.BadGzipFile, cast("type[Exception]", isal_zlib.error), zlib.error)
        else:
            zstd = _zstd()
            self._stream = cast("Readable", zstd.ZstdFile(raw, "rb"))
            self._corrupt = (zstd.ZstdError,)

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of the content.

        Raises:
            ImportRefused: the compressed data is corrupt or ends too early.
            OSError: the file can't be read.
        """
        try:
            return self._stream.read(size)
        except EOFError as error:
            raise ImportRefused(
                "IMPORT_FAILED",
                # a few bytes of something else behind the end look like a member that was cut
                f"{self._name} is truncated, or corrupt at its end: its {self._compression} data has no end",
                hint="fetch the file again",
            ) from error
        except self._corrupt as error:
            raise ImportRefused(
                "IMPORT_FAILED",
                f"{self._name} is corrupt: its {self._compression} data can't be read",
                hint="fetch the file again",
            ) from error


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise FileError("zstd is not installed", hint="pip install 'evtool[zstd]', or use gzip")
