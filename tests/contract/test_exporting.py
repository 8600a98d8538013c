"""The laws of evtool.testing.contract.exporting, on every store."""

from __future__ import annotations

from evtool.testing.contract.exporting import *  # noqa: F403
