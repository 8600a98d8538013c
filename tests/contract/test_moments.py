"""The laws of evtool.testing.contract.moments, on every store."""

from __future__ import annotations

from evtool.testing.contract.moments import *  # noqa: F403
