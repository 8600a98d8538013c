"""The laws of evtool.testing.contract.breaking_down, on every store."""

from __future__ import annotations

from evtool.testing.contract.breaking_down import *  # noqa: F403
