"""evtool brings a slice of production home: Message DB streams at their exact positions.

import evtool

with evtool.connect("postgresql://localhost/shop", namespace="orders") as store:
    store.write_message(None, "order-1", "OrderPlaced", {"total": 10})
    store.get_stream_messages("order-1")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evtool.connecting import connect
    from evtool.errors import EvtoolError
    from evtool.exporting import export_file
    from evtool.following import Followed, follow
    from evtool.importing import import_file
    from evtool.model import Message, Namespace, NewMessage, Selection
    from evtool.store import Store

__version__ = "0.1.0"

__all__ = [
    "EvtoolError",
    "Followed",
    "Message",
    "Namespace",
    "NewMessage",
    "Selection",
    "Store",
    "__version__",
    "connect",
    "export_file",
    "follow",
    "import_file",
]

_HOMES = {
    "EvtoolError": "errors",
    "Followed": "following",
    "Message": "model",
    "Namespace": "model",
    "NewMessage": "model",
    "Selection": "model",
    "Store": "store",
    "connect": "connecting",
    "export_file": "exporting",
    "follow": "following",
    "import_file": "importing",
}


def __dir__() -> list[str]:
    """The public names, which nobody has used yet."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `evtool --help` needn't."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
