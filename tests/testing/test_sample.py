"""The sample project, as a stranger would run it: on the built wheel, away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 240


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed, without what it depends on, which is there already."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=SECONDS)
    (built,) = (folder / "dist").glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder / "site"),
        str(built),
    ]
    subprocess.run(install, check=True, capture_output=True, timeout=SECONDS)
    return folder / "site"


@pytest.mark.thorough
@pytest.mark.parametrize("options", [[], ["--evtool-store=lmdb", "-n", "2"], ["--evtool-store=postgres"]], ids=" ".join)
def test_the_sample_passes_on_every_store(wheel: Path, tmp_path: Path, options: list[str]) -> None:
    """Its tests pass with the wheel alone: the plugin is found, the SQL is in it, the slice is loaded."""
    project = shutil.copytree(ROOT / "docs" / "sample", tmp_path / "sample")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(wheel)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "6 passed" in done.stdout, done.stdout + done.stderr
    check = "import evtool; print(evtool.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", check], cwd=project, env=environment, capture_output=True, text=True, check=True
    )
    assert where.stdout.startswith(str(wheel))


def test_the_sdist_is_the_whole_project(tmp_path: Path) -> None:
    """Whoever has the sdist has the SQL, the migrations, the tests, the scripts, the images and every page."""
    build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=SECONDS)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False)
    # without Git, as in an unpacked sdist, some of each
    wanted = listed.stdout.splitlines() or [
        *("CONTRIBUTING.md", "LICENSE", "sql/namespace/install.sql", "alembic/registry/env.py", "docker/Dockerfile"),
        *("docs/how-to/install.md", "scripts/test", "tests/conftest.py", "evtool/py.typed", "pyproject.toml"),
    ]
    assert [name for name in wanted if name not in names] == []
