"""A PostgreSQL server of evtool's own: its binaries, its data folder, its process. See `evtool.embedded.server`."""

from evtool.embedded.binaries import Binaries, find_binaries, installed_binaries, wheel_binaries
from evtool.embedded.process import Privileges
from evtool.embedded.server import EmbeddedServer, ServerStatus, temporary

__all__ = [
    "Binaries",
    "EmbeddedServer",
    "Privileges",
    "ServerStatus",
    "find_binaries",
    "installed_binaries",
    "temporary",
    "wheel_binaries",
]
