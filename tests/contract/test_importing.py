"""The laws of evtool.testing.contract.importing, on every store."""

from __future__ import annotations

from evtool.testing.contract.importing import *  # noqa: F403
