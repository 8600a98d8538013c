"""The laws of evtool.testing.contract.processes, on every store."""

from __future__ import annotations

from evtool.testing.contract.processes import *  # noqa: F403
