"""The laws of evtool.testing.contract.batches, on every store."""

from __future__ import annotations

from evtool.testing.contract.batches import *  # noqa: F403
