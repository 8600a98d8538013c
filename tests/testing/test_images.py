"""The images in docker/: built and started where a Docker engine answers; what they are made from, everywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evtool import settings
from evtool.testing.servers import probe_docker

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
SECONDS = 600


def _engine() -> str | None:
    """What is wrong with the Docker engine, or None."""
    return probe_docker(settings.docker_host() or "unix:///var/run/docker.sock")


needs_engine = pytest.mark.skipif(
    "CI" not in os.environ and _engine() is not None, reason=f"images are built by a Docker engine: {_engine()}"
)


@pytest.fixture(scope="module")
def postgres_image() -> Iterator[str]:
    """The image of PostgreSQL, built from this checkout."""
    import docker

    name = f"evtool-test-postgres:{os.getpid()}"
    client = docker.from_env(timeout=SECONDS)
    try:
        client.images.build(path=str(ROOT), dockerfile="docker/postgres/Dockerfile", tag=name, rm=True)
        yield name
        client.images.remove(name, force=True)
    finally:
        client.close()


@pytest.mark.thorough
@needs_engine
def test_the_image_of_postgresql_has_its_namespaces_at_the_first_start(postgres_image: str) -> None:
    """The container makes the registry and the namespaces by itself; a later `evtool migrate` finds nothing to do."""
    import psycopg
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.core.config import testcontainers_config

    import evtool

    container = PostgresContainer(postgres_image, driver=None).with_env("EVTOOL_NAMESPACES", "orders, payments,")
    before = testcontainers_config.ryuk_disabled
    testcontainers_config.ryuk_disabled = True
    try:
        with container:
            dsn = container.get_connection_url(driver=None)
            with psycopg.connect(dsn, autocommit=True) as session:
                for schema in ("message_store", "orders", "payments"):
                    row = session.execute(
                        f"SELECT {schema}.write_message(gen_random_uuid()::varchar, 'order-1', 'OrderPlaced', '{{}}')"
                    ).fetchone()
                    assert row == (0,)
            with evtool.connect(dsn) as store:
                assert {one.name for one in store.list_namespaces()} == {"message_store", "orders", "payments"}
                assert {step.action for step in store.migrate()} == {"current"}
    finally:
        testcontainers_config.ryuk_disabled = before


@needs_engine
def test_the_image_of_the_command_line_runs_it_without_rights() -> None:
    """Where its base image can be had, it is built, `docker run` is evtool, and its user is nobody in particular."""
    import docker
    from docker.errors import DockerException

    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    client = docker.from_env(timeout=SECONDS)
    name = f"evtool-test:{os.getpid()}"
    try:
        if not client.images.list(base):
            try:
                client.images.pull(base)
            except DockerException:
                pytest.skip(f"the image is made from {base}, which this engine does not have and can't pull")
        client.images.build(path=str(ROOT), dockerfile="docker/Dockerfile", tag=name, rm=True)
        assert b"Commands:" in client.containers.run(name, remove=True)
        assert client.containers.run(name, ["-u"], entrypoint="id", remove=True).strip() == b"10001"
        client.images.remove(name, force=True)
    finally:
        client.close()


@pytest.mark.thorough
@needs_engine
def test_the_container_for_tests_takes_the_image_of_postgresql(postgres_image: str) -> None:
    """EventStoreContainer starts evtool's own image, and finds namespaces that it brings."""
    from evtool.testing import EventStoreContainer

    container = EventStoreContainer(postgres_image, namespaces=["orders"]).with_env("EVTOOL_NAMESPACES", "orders")
    with container as events, events.store("orders") as store:
        assert store.write_message(None, "order-1", "OrderPlaced", {}) == 0


@pytest.mark.parametrize("dockerfile", sorted(DOCKER.rglob("Dockerfile")), ids=lambda path: path.parent.name)
def test_what_an_image_copies_is_there_and_sent(dockerfile: Path) -> None:
    """Each file that an image is made from is in the checkout, and let through by .dockerignore."""
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile.read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == one or source.startswith(f"{one}/") for one in let_through), source


def test_compose_names_files_that_are_there() -> None:
    """The Dockerfiles that compose builds, and the files that it mounts, are in the checkout."""
    text = (DOCKER / "compose.yaml").read_text()
    dockerfiles = re.findall(r"dockerfile: (\S+)", text)
    assert set(dockerfiles) == {"docker/Dockerfile", "docker/postgres/Dockerfile"}
    for name in dockerfiles:
        assert (ROOT / name).exists(), name
    for name in re.findall(r"- \./([\w.-]+):", text):
        assert (DOCKER / name).exists(), name
