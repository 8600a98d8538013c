"""An environment that the disk was too full to be made in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evtool.stores.lmdb.handle import DATA, Handle

_MAP = 1 << 20

# Python ignores the signal, so that a write ends at the limit as it does on a full disk.
_MAKE = """
import resource, sys
from pathlib import Path
from evtool.stores.lmdb.handle import Handle
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
Handle(Path(sys.argv[1]), 1 << 20, create=True)
"""


def test_what_was_half_made_is_made_anew(tmp_path: Path) -> None:
    """A first page that found no room for the second is not taken for somebody else's file ever after."""
    # only the file of locks, which is larger than the limit
    Handle(tmp_path, _MAP, create=True).env.close()
    (tmp_path / DATA).unlink()
    for size in (0, 4096):
        command = [sys.executable, "-c", _MAKE, str(tmp_path), str(size)]
        failed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert failed.returncode == 1
        assert "lmdb." in failed.stderr
    handle = Handle(tmp_path, _MAP, create=True)
    with handle.env.begin(write=True) as transaction:
        transaction.put(b"a", b"b")
    handle.env.close()
