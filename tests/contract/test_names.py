"""The laws of evtool.testing.contract.names, on every store."""

from __future__ import annotations

from evtool.testing.contract.names import *  # noqa: F403
