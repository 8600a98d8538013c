"""The laws of evtool.testing.contract.following, on every store."""

from __future__ import annotations

from evtool.testing.contract.following import *  # noqa: F403
