"""The laws of evtool.testing.contract.import_records, on every store."""

from __future__ import annotations

from evtool.testing.contract.import_records import *  # noqa: F403
