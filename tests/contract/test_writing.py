"""The laws of evtool.testing.contract.writing, on every store."""

from __future__ import annotations

from evtool.testing.contract.writing import *  # noqa: F403
