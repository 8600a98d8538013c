"""docker/: the files say what evtool, Prometheus and the documentation know."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from evtool.cli.main import cli

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Of the compose file."""
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    return found


def check(words: list[str]) -> None:
    """Fails where there is no such command of evtool, or it has no such option, or an option lacks its value."""
    command: click.Command = cli
    context = click.Context(command)
    # a group may be a command itself: evtool migrate
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    command.make_parser(context).parse_args(args=list(words))


def test_the_compose_file_s_commands_are_evtool_s(services: dict[str, Any]) -> None:
    """What the services run are commands that there are, with options that they have."""
    check(services["worker"]["command"])
    assert services["init"]["entrypoint"] == ["/bin/sh", "-ec"]
    commands = services["init"]["command"][0].split(";")
    for words in map(shlex.split, commands):
        assert words[0] == "evtool"
        check(words[1:])


def test_the_readme_s_commands_are_evtool_s() -> None:
    """What the README has people type are commands that there are."""
    text = (DOCKER / "README.md").read_text()
    typed = re.findall(r"docker compose run --rm worker (.+)", text) + re.findall(r"`evtool (.+?)`", text)
    assert len(typed) >= 4
    for line in typed:
        check(shlex.split(line))


def test_what_services_name_is_there(services: dict[str, Any]) -> None:
    """Services wait for services that there are, volumes are declared, mounted files exist, and so does what is built."""
    declared = yaml.safe_load((DOCKER / "compose.yaml").read_text())["volumes"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).partition(":")[0]
            # the folder of the jobs' files is made by the user
            assert source in declared or source == "./data" or (DOCKER / source).is_file()
    build = services["worker"]["build"]
    recipe = (DOCKER / build["context"] / build["dockerfile"]).resolve()
    assert recipe == DOCKER / "Dockerfile"
    for line in re.findall(r"^COPY (?!--from)(.+)$", recipe.read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
    for extra in re.findall(r'"\.\[(\w+)\]"', recipe.read_text()):
        assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_nothing_is_open_to_the_network(services: dict[str, Any]) -> None:
    """Ports are published on the loopback interface alone, the workers' metrics not at all, and no password is in the files."""
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in services["worker"]
    for name in ("postgres", "worker", "init"):
        for variable, value in services[name]["environment"].items():
            assert "PASSWORD" not in variable or value.startswith("${EVTOOL_PASSWORD:?")


def test_prometheus_scrapes_what_the_workers_answer(services: dict[str, Any]) -> None:
    """Prometheus asks the service of the workers, at the port that they answer on, and reads the alerts."""
    told = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    found = told["scrape_configs"][0]["dns_sd_configs"][0]
    assert found["names"] == ["worker"]
    assert f"--metrics-port={found['port']}" in services["worker"]["command"]
    assert told["rule_files"] == ["alerts.yml"]
    mounted = [volume.split(":")[0] for volume in services["prometheus"]["volumes"]]
    assert {"./prometheus.yml", "./alerts.yml"} <= set(mounted)


def test_alerts_are_about_metrics_that_there_are() -> None:
    """Each alert's metrics are those of docs/metrics.md, with labels that they have."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|[^|]*\|([^|]*)\|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    documented = {name: {label.strip() for label in labels.split(",") if label.strip()} for name, labels in rows}
    rules = yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"][0]["rules"]
    assert rules
    for rule in rules:
        used = re.findall(r"(evtool_\w+)(?:\{(\w+)=)?", rule["expr"])
        assert used
        for name, label in used:
            assert name in documented
            assert not label or label in documented[name]
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert all(label in documented[name] for name, _ in used)
        for command in re.findall(r"evtool (bulk [a-z -]+)", rule["annotations"]["summary"]):
            check(command.split())
