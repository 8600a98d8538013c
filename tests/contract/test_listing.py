"""The laws of evtool.testing.contract.listing, on every store."""

from __future__ import annotations

from evtool.testing.contract.listing import *  # noqa: F403
