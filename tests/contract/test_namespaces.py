"""The laws of evtool.testing.contract.namespaces, on every store."""

from __future__ import annotations

from evtool.testing.contract.namespaces import *  # noqa: F403
