"""Output on its way to a file: compressed, hashed and written by a thread beside the one that makes it.

Compressing and hashing let other threads run, so they cost an export little more than the processor's time.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from types import TracebackType
from typing import BinaryIO, Self

from evtool.compression import Compression, beginning, compressor

# What is compressed at once: always the same, so that equal content gives equal bytes, whatever it was written in.
_STEP = 1 << 20
# Steps that wait; with the one in work this is the memory that it takes.
_WAITING = 2
_SECONDS = 0.1
_PATIENCE = 2.0


class Pump:
    """Writes to a stream, in steps of a megabyte. Leaving it by an exception gives the output no end.

    Attributes:
        size: the bytes written, compressed; known when it is closed.
        sha256: of these bytes, in hexadecimal; "" where it wasn't asked for.
        compression: of these bytes.
    """

    def __init__(self, raw: BinaryIO, compression: Compression = Compression.NONE, *, hashed: bool = False) -> None:
        """Starts the thread, where there is something for it to do.

        Args:
            raw: where to; it stays open.
            compression: how.
            hashed: whether `sha256` will be asked for.

        Raises:
            FileError: zstd is not installed.
        """
        self.size = 0
        self.sha256 = ""
        self.compression = compression
        self._raw = raw
        self._compressor = compressor(compression)
        self._digest = hashlib.sha256() if hashed else None
        self._held: list[bytes] = []
        self._held_size = 0
        self._steps: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if hashed or compression is not Compression.NONE:
            self._thread = threading.Thread(target=self._work, name="evtool output", daemon=True)
            self._thread.start()

    def write(self, data: bytes) -> None:
        """Takes some more.

        Raises:
            OSError: it, or what was written before, can't be written.
        """
        if self._thread is None:
            self._raw.write(data)
            self.size += len(data)
            return
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size >= _STEP:
            whole = b"".join(self._held)
            cut = len(whole) - len(whole) % _STEP
            for start in range(0, cut, _STEP):
                self._put(whole[start : start + _STEP])
            self._held = [whole[cut:]]
            self._held_size = len(whole) - cut

    def __enter__(self) -> Self:
        """Returns the pump itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Writes the rest and the end, but after an exception, which must not give the output an end."""
        if error is not None:
            self._over.set()
            if self._thread is not None:
                # a pipe that nobody reads may hold it for ever
                self._thread.join(_PATIENCE)
            if self.size == 0:
                # else it would look like an export of nothing
                with contextlib.suppress(OSError):
                    self._raw.write(beginning(self.compression))
                    self._raw.flush()
            return
        if self._thread is not None:
            self._put(b"".join(self._held))
            self._put(None)
            self._thread.join()
            if self._failure is not None:
                raise self._failure
        self._raw.flush()
        if self._digest is not None:
            self.sha256 = self._digest.hexdigest()

    def _put(self, step: bytes | None) -> None:
        while self._failure is None:
            try:
                self._steps.put(step, timeout=_SECONDS)
            except queue.Full:
                continue
            return
        raise self._failure

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                try:
                    step = self._steps.get(timeout=_SECONDS)
                except queue.Empty:
                    continue
                self._write(self._compressor.flush() if step is None else self._compressor.compress(step))
                if step is None:
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by whoever writes
            self._failure = error

    def _write(self, data: bytes) -> None:
        if data:
            self._raw.write(data)
            self.size += len(data)
            if self._digest is not None:
                self._digest.update(data)
