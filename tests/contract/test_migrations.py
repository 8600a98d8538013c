"""The laws of evtool.testing.contract.migrations, on every store."""

from __future__ import annotations

from evtool.testing.contract.migrations import *  # noqa: F403
