"""The laws of evtool.testing.contract.import_plans, on every store."""

from __future__ import annotations

from evtool.testing.contract.import_plans import *  # noqa: F403
