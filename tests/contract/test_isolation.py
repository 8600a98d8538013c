"""The laws of evtool.testing.contract.isolation, on every store."""

from __future__ import annotations

from evtool.testing.contract.isolation import *  # noqa: F403
