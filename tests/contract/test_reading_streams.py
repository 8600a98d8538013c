"""The laws of evtool.testing.contract.reading_streams, on every store."""

from __future__ import annotations

from evtool.testing.contract.reading_streams import *  # noqa: F403
