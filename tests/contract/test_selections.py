"""The laws of evtool.testing.contract.selections, on every store."""

from __future__ import annotations

from evtool.testing.contract.selections import *  # noqa: F403
