"""The laws of evtool.testing.contract.before_migrating, on every store."""

from __future__ import annotations

from evtool.testing.contract.before_migrating import *  # noqa: F403
