"""The laws of evtool.testing.contract.consumer_groups, on every store."""

from __future__ import annotations

from evtool.testing.contract.consumer_groups import *  # noqa: F403
