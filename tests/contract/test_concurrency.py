"""The laws of evtool.testing.contract.concurrency, on every store."""

from __future__ import annotations

from evtool.testing.contract.concurrency import *  # noqa: F403
