"""The laws of evtool.testing.contract.expected_version, on every store."""

from __future__ import annotations

from evtool.testing.contract.expected_version import *  # noqa: F403
