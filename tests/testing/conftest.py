"""pytest inside pytest: a test file of a stranger, run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SECONDS = 120
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Writes a test file, runs pytest on it, which finds the plugin by its entry point, and returns what came of it."""

    def call(source: str, *options: str, **files: str) -> subprocess.CompletedProcess[str]:
        for name, content in {"test_of_a_stranger.py": source, **files}.items():
            (tmp_path / name).write_text(content)
        (tmp_path / "pytest.ini").touch()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    return call
