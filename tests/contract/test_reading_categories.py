"""The laws of evtool.testing.contract.reading_categories, on every store."""

from __future__ import annotations

from evtool.testing.contract.reading_categories import *  # noqa: F403
