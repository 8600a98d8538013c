"""The only module that reads the environment.

Every function reads it anew, so a test or a long-lived program may change it.
"""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_NAMESPACE = "message_store"
"""The schema that Message DB's clients hard-code."""

EMBEDDED_DSN = "embedded:"

# libpq's variables that say which server is meant. Those that only tune a connection
# (PGSSLMODE, PGOPTIONS, PGAPPNAME …) or hold its password don't choose one.
_LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")


def dsn(given: str | None = None) -> str:
    """The database URL to use: `given`, else EVTOOL_DSN, else libpq's variables, else the embedded server.

    An empty string is libpq's own "everything from the PG* variables".
    """
    if given is not None:
        return given
    named = os.environ.get("EVTOOL_DSN")
    if named:
        return named
    if any(os.environ.get(variable) for variable in _LIBPQ_VARIABLES):
        return ""
    return EMBEDDED_DSN


def dsn_is_default(given: str | None = None) -> bool:
    """Whether neither an argument nor the environment names a database."""
    return given is None and dsn() == EMBEDDED_DSN and not os.environ.get("EVTOOL_DSN")


def namespace(given: str | None = None) -> str:
    """The namespace to use: `given`, else EVTOOL_NAMESPACE, else `message_store`."""
    if given is not None:
        return given
    return os.environ.get("EVTOOL_NAMESPACE") or DEFAULT_NAMESPACE


def embedded_directory() -> Path | None:
    """EVTOOL_EMBEDDED_DIR, the folder of the embedded server, or None for the user's data folder."""
    given = os.environ.get("EVTOOL_EMBEDDED_DIR")
    return Path(given) if given else None


def embedded_binaries() -> Path | None:
    """EVTOOL_EMBEDDED_BIN, the folder with initdb, pg_ctl and postgres, or None to look for one."""
    given = os.environ.get("EVTOOL_EMBEDDED_BIN")
    return Path(given) if given else None


def executable_path() -> str | None:
    """PATH, for finding installed programs."""
    return os.environ.get("PATH")


def child_environment(**changes: str) -> dict[str, str]:
    """A copy of the environment for a program that evtool starts, with `changes`."""
    return {**os.environ, **changes}


METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which Prometheus's library learns, when it is imported, where processes count together."""


def test_dsn() -> str | None:
    """EVTOOL_TEST_DSN, a superuser's DSN of the server that tests may use, or None."""
    return os.environ.get("EVTOOL_TEST_DSN") or None


def test_server() -> str | None:
    """EVTOOL_TEST_SERVER: dsn, docker, embedded or installed, to have that one; or None for any."""
    return os.environ.get("EVTOOL_TEST_SERVER") or None


def docker_host() -> str | None:
    """DOCKER_HOST, the address of the Docker engine, or None for the usual socket."""
    return os.environ.get("DOCKER_HOST") or None


def connect_timeout_is_set() -> bool:
    """Whether PGCONNECT_TIMEOUT says how long to wait for a server."""
    return bool(os.environ.get("PGCONNECT_TIMEOUT"))
