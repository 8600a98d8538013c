"""The laws of evtool.testing.contract.json_values, on every store."""

from __future__ import annotations

from evtool.testing.contract.json_values import *  # noqa: F403
