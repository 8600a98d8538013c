"""The laws of evtool.testing.contract.reading_all, on every store."""

from __future__ import annotations

from evtool.testing.contract.reading_all import *  # noqa: F403
