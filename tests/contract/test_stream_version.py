"""The laws of evtool.testing.contract.stream_version, on every store."""

from __future__ import annotations

from evtool.testing.contract.stream_version import *  # noqa: F403
