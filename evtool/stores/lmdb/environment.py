"""An LMDB environment: its transactions, and its map that grows while others read and write.

LMDB reads through a map of the file into memory. A map costs addresses and no memory, and its size is the most that the
file can have. It may only change while this process has no transaction open in it, and LMDB doesn't look. So:

- Every transaction enters through a gate that counts them. Whoever changes the map waits until none is open in the
  process, and keeps others out meanwhile. Nothing holds a transaction open while its user does something else (an
  export is a series of short ones, see exporting.py), except for an import, which is the one writer then: so the wait
  is short, and a thread that writes while it iterates an export doesn't wait for itself.
- Before a writer begins, a map that is more than half full is doubled. What is full nevertheless is doubled after the
  transaction was undone, and then it is done again.
- An import can't be done again, because its records come only once. So it begins with a map that is larger than the
  file system: the disk would be full before it.
- What another process adds beyond this process's map is met when a transaction begins, and the map follows.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import lmdb

from evtool.errors import NamespaceNotFound, NotMigrated, StoreError, StoreTimeout
from evtool.stores.gate import Gate
from evtool.stores.lmdb import turns
from evtool.stores.lmdb.building import remove_unfinished, sync
from evtool.stores.lmdb.handle import (
    DATA,
    DELETED,
    VERSION,
    Handle,
    check_version,
    deleted,
    map_size_for,
    not_migrated,
    set_version,
    successor,
    version,
)
from evtool.stores.lmdb.translation import files_translated

MAP_SIZE = 1 << 30
"""What a new environment gets. It says nothing about the size of the file, which grows with what is in it."""

if TYPE_CHECKING:
    Transaction: TypeAlias = lmdb.Transaction[bytes]
else:
    Transaction = lmdb.Transaction

_T = TypeVar("_T")


class Environment:
    """An environment as this process sees it. LMDB allows one for each path: `environment` hands it out."""

    def __init__(self, path: Path, map_size: int) -> None:
        self.path = path
        self._file = path / DATA
        self._map_size = map_size
        self._gate = Gate()
        self._handle: Handle | None = None
        self._close_when_left = False
        self._writers: set[int] = set()
        self._imports = 0
        # The smallest map for which the process had no addresses.
        self._refused: int | None = None
        self._forked_inside = False

    @property
    def made(self) -> bool:
        """Whether it is open, and its layout was there."""
        handle = self._handle
        return handle is not None and handle.made

    def version(self) -> int:
        """The version of the layout; 0 where there is none.

        Raises:
            NamespaceNotFound: the namespace was deleted.
        """
        if self._stat() is None:
            return 0
        try:
            transaction = self._begin(write=False)
        except NotMigrated:
            # removed by now
            return 0
        try:
            found = version(transaction)
        finally:
            self._end(transaction)
        if found == DELETED:
            raise deleted()
        return found

    def successor(self) -> str | None:
        """The name of the folder where its messages are by now; None while they are here."""
        if self._stat() is None:
            return None
        try:
            transaction = self._begin(write=False)
        except NotMigrated:
            return None
        try:
            return successor(transaction)
        finally:
            self._end(transaction)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A read transaction: one snapshot. It is to be short: nobody can make the map larger meanwhile.

        Raises:
            NotMigrated, DatabaseTooNew, NamespaceNotFound: the layout is not what it must be.
        """
        transaction = self._begin(write=False)
        try:
            check_version(transaction, self.path)
            if self._handle is not None:
                self._handle.made = True
            yield transaction
        finally:
            self._end(transaction)

    def copy(self, folder: Path) -> None:
        """Copies it into a folder that isn't there yet: one snapshot, without pages that are empty."""
        with self.reading() as transaction, files_translated():
            folder.mkdir()
            assert self._handle is not None
            self._handle.env.copy(os.fspath(folder), compact=True, txn=transaction)
            for path in (folder / DATA, folder, folder.parent):
                sync(path)

    def write(
        self, action: Callable[[Transaction], _T], *, once: bool = False, check: bool = True, keep: bool = True
    ) -> _T:
        """Does something in a write transaction, for which other writers wait.

        Args:
            action: may be done several times, unless `once`.
            once: reserves enough of the map before it begins.
            check: whether the layout must be there.
            keep: whether it is committed; else it is undone.

        Raises:
            NotMigrated, DatabaseTooNew, NamespaceNotFound: the layout is not what it must be.
            StoreTimeout: this thread is writing already, and would wait for itself; or an import takes too long.
        """
        me = threading.get_ident()
        if me in self._writers:
            raise StoreTimeout("this thread is writing to the namespace already", hint="end that write first")
        self._writers.add(me)
        try:
            with self._reserved() if once else contextlib.nullcontext():
                while True:
                    self._make_room()
                    try:
                        return self._write(action, check=check, keep=keep, once=once)
                    except lmdb.MapFullError:
                        if once or not self._grow():
                            raise
        finally:
            self._writers.discard(me)

    def migrate(self, *, create: bool) -> int:
        """Makes the environment, or brings it to the newest layout; returns the version that it had.

        Args:
            create: whether its folder may be made.

        Raises:
            NotMigrated: it would have to be made.
            DatabaseTooNew, NamespaceNotFound: a newer evtool made it, or it was deleted.
        """
        with self._gate.alone():
            if create and self._stat() is None:
                with files_translated():
                    self.path.mkdir(parents=True, exist_ok=True)
                self._close()
                self._open(create=True)

        def make(transaction: Transaction) -> int:
            found = version(transaction)
            if found == 0:
                set_version(transaction, VERSION)
            check_version(transaction, self.path)
            return found

        return self.write(make, check=False)

    def delete(self) -> str | None:
        """Tells whoever has it open that it is gone, closes it, and removes its folder.

        Returns:
            The name of the folder to which its messages have moved, if they have.
        """

        def mark(transaction: Transaction) -> str | None:
            set_version(transaction, DELETED)
            return successor(transaction)

        moved = None
        if self._stat() is not None:
            with contextlib.suppress(lmdb.Error, NotMigrated, NamespaceNotFound):
                moved = self.write(mark, check=False)
        self.remove()
        return moved

    def remove(self) -> None:
        """Closes it and removes its folder, and what was being built for it."""
        with self._gate.alone():
            self._close()
        # the name goes first, so that nobody opens what is half removed
        grave = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.deleted")
        with files_translated():
            try:
                self.path.rename(grave)
            except FileNotFoundError:
                return
            shutil.rmtree(grave)
        remove_unfinished(self.path)

    def close(self) -> None:
        """Closes it as soon as nobody uses it. The next transaction opens it again."""
        with self._gate.lock:
            if self._gate.empty:
                self._close()
            else:
                self._close_when_left = True

    def before_fork(self) -> None:
        """Closes it if nobody uses it, and keeps everybody out."""
        self._gate.before_fork()
        if self._gate.empty:
            self._close()

    def after_fork(self, *, child: bool) -> None:
        """Lets everybody in again; not in a child process, if it was in use when that was forked."""
        if child:
            self._forked_inside = self._forked_inside or not self._gate.empty
            self._writers.clear()
            self._imports = 0
        self._gate.after_fork(child=child)

    # Transactions

    def _begin(self, *, write: bool) -> Transaction:
        """Begins a transaction, for `_end` or `_leave`."""
        tried = False
        while True:
            with self._gate.lock:
                self._gate.let_pass()
                handle = self._current()
                self._gate.enter()
            try:
                return handle.env.begin(write=write)
            except BaseException as error:
                if isinstance(error, lmdb.ReadersFullError):
                    # processes that were killed may have left some behind
                    handle.env.reader_check()
                elif isinstance(error, lmdb.PanicError):
                    # a commit failed at its very end: nothing is lost, but it must be opened again
                    self._close_when_left = True
                self._leave()
                if isinstance(error, lmdb.MapResizedError):
                    again = self._grow()
                else:
                    again = isinstance(error, lmdb.ReadersFullError | lmdb.PanicError) and not tried
                    tried = True
                if not again:
                    raise

    def _end(self, transaction: Transaction) -> None:
        transaction.abort()
        self._leave()

    def _leave(self) -> None:
        with self._gate.lock:
            self._gate.leave()
            if self._close_when_left and self._gate.empty:
                self._close()

    def _write(self, action: Callable[[Transaction], _T], *, check: bool, keep: bool, once: bool) -> _T:
        with contextlib.ExitStack() as turn:
            if once:
                turn.enter_context(turns.importing(self.path))
                transaction = self._begin(write=True)
            else:
                with turns.beginning(self.path):
                    transaction = self._begin(write=True)
            try:
                if check:
                    check_version(transaction, self.path)
                result = action(transaction)
                if keep:
                    transaction.commit()
            finally:
                # after a commit this undoes nothing
                self._end(transaction)
        return result

    def _stat(self) -> os.stat_result | None:
        with files_translated():
            try:
                return self._file.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None

    # The handle and its map. Down to `_map_size_wanted` these are called with the gate's lock held.

    def _current(self) -> Handle:
        """The handle, opened if need be."""
        if self._forked_inside:
            raise StoreError(
                "the process was forked while a thread used this database", hint="fork while nothing is going on"
            )
        found = self._stat()
        handle = self._handle
        if handle is not None and (found is None or handle.file != (found.st_dev, found.st_ino)):
            if found is not None and not self._gate.empty:
                raise StoreError("the folder was replaced while it was in use", hint="try again")
            self.close()
        if found is None:
            raise not_migrated()
        try:
            handle = self._handle or self._open()
        except (lmdb.Error, StoreError) as error:
            if self._stat() is None:
                # removed between two looks at it
                raise not_migrated() from error
            raise
        handle.used = found.st_size
        return handle

    def _open(self, *, create: bool = False, at_least: int = 0) -> Handle:
        size = max(self._map_size_wanted(), at_least)
        self._handle = Handle(self.path, size, create=create)
        if self._handle.map_size < size:
            self._refused = min(size, self._refused or size)
        return self._handle

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        self._close_when_left = False
        if handle is not None:
            handle.env.close()

    def _remap(self, handle: Handle, size: int) -> None:
        try:
            handle.remap(size)
        except lmdb.Error:
            # the process has no more addresses: then as many as it has
            self._close()
            self._open(at_least=size)

    def _map_size_wanted(self) -> int:
        return map_size_for(self.path, self._map_size, reserve=self._imports > 0)

    def _make_room(self) -> None:
        """Makes the map larger before it is full."""
        handle = self._handle
        if handle is not None and handle.map_size < 2 * handle.used:
            size = self._map_size_wanted()
            if self._refused is None or size < self._refused:
                self._resize(size)

    def _grow(self) -> bool:
        """Makes the map larger, also to what other processes made of it; whether it could."""
        handle = self._handle
        before = handle.map_size if handle is not None else 0
        self._resize(max(2 * before, self._map_size_wanted()))
        return self._handle is None or self._handle.map_size > before

    def _resize(self, size: int) -> None:
        with self._gate.alone():
            if self._handle is not None and self._handle.map_size < size:
                self._remap(self._handle, size)

    @contextlib.contextmanager
    def _reserved(self) -> Iterator[None]:
        """Reserves what an import may need, and gives back what it took."""
        with self._gate.lock:
            self._imports += 1
        try:
            # where it isn't open, it will be opened so
            if self._handle is not None:
                self._resize(self._map_size_wanted())
            yield
        finally:
            with self._gate.lock:
                self._imports -= 1
            # besides the map, the memory for changed pages, which LMDB keeps until then
            self.close()
