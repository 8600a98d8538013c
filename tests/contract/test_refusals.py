"""The laws of evtool.testing.contract.refusals, on every store."""

from __future__ import annotations

from evtool.testing.contract.refusals import *  # noqa: F403
