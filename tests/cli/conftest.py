"""The command line, set to the test's own namespace."""

from __future__ import annotations

import pytest

from tests.cli.running import Cli


@pytest.fixture
def cli(dsn: str, namespace: str) -> Cli:
    """Evtool on the shared database, in a fresh namespace."""
    return Cli(dsn, namespace)
