"""The laws of evtool.testing.contract.last_message, on every store."""

from __future__ import annotations

from evtool.testing.contract.last_message import *  # noqa: F403
