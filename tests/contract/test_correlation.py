"""The laws of evtool.testing.contract.correlation, on every store."""

from __future__ import annotations

from evtool.testing.contract.correlation import *  # noqa: F403
