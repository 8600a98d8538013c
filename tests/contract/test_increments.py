"""The laws of evtool.testing.contract.increments, on every store."""

from __future__ import annotations

from evtool.testing.contract.increments import *  # noqa: F403
