"""The tutorial, word for word."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import EVENTS
from tests.docs.pages import DOCS, follow


@pytest.mark.thorough
def test_the_tutorial_does_what_it_says(empty_dsn: str, tmp_path: Path) -> None:
    """Every command of the tutorial succeeds, in order, in an empty folder, and prints to stdout what stands below it."""
    shutil.copy(EVENTS, tmp_path)
    assert follow(DOCS / "tutorial.md", tmp_path, empty_dsn) >= 18
