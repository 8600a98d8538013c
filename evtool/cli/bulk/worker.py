"""`evtool bulk worker`."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evtool import settings
from evtool.cli import exits, options, output

if TYPE_CHECKING:
    from evtool.bulk.counts import Counts
    from evtool.bulk.metrics import Exposition

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--workers", type=click.IntRange(1, 256), default=1, metavar="N", help="Processes. [default: 1]")
@click.option("--drain", is_flag=True, help="End when the queue is empty.")
@click.option(
    "--files-under",
    "folders",
    type=_DIRECTORY,
    multiple=True,
    metavar="DIR",
    help="Jobs may read and write files below it. Repeatable. [default: the current folder]",
)
@click.option(
    "--lease",
    type=click.FloatRange(min=1),
    default=30.0,
    metavar="SECONDS",
    help="After so long a worker that fell silent has lost its job. [default: 30]",
)
@click.option(
    "--poll",
    type=click.FloatRange(min=0.05),
    default=5.0,
    metavar="SECONDS",
    help="Ask the queue so often, even if nobody notifies. [default: 5]",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    help="On SIGTERM or Ctrl-C, wait so long for the batches at work. [default: 60]",
)
@click.option("--spool", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where remote sources are kept meanwhile. [default: in the temporary folder]")  # noqa: E501  # fmt: skip
@click.option(
    "--source-bytes",
    type=click.IntRange(min=1),
    default=10 << 30,
    metavar="N",
    help="The largest remote source. [default: 10 GiB]",
)
@click.option(
    "--source-seconds",
    type=click.FloatRange(min=1),
    default=3600.0,
    metavar="SECONDS",
    help="The longest a remote source may take. [default: 3600]",
)
@click.option("--allow-private", is_flag=True, help="Fetch from private, loopback and link-local addresses too.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), metavar="PORT", help="Answer Prometheus. 0: any port.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where to answer it.")
@click.option(
    "--metrics-file", metavar="FILE", help="Write metrics for node_exporter's textfile collector; ends in .prom."
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="On stderr.")
@click.option("--child", metavar="NUMBER:PARENT", hidden=True, help="Be one of the processes of a supervisor.")
@click.option("--counted", is_flag=True, hidden=True, help="Count for the supervisor, who tells Prometheus.")
@options.on_server
def worker(child: str | None, dsn: str | None, log_format: str, **given: Any) -> int | None:
    """Do the jobs of the queue, until SIGTERM or Ctrl-C, or with --drain until none is left.

    Each worker is a process. One that crashes is started again, and its job is taken up at the first batch that isn't
    entered. Asked to end, workers finish their batch and give their job back; asked again, they are killed, which costs
    nothing but that batch.

    \b
    Example:
      evtool bulk worker --workers 4 --files-under /srv/incoming --metrics-port 9187
      evtool bulk worker --drain
    """
    from evtool.bulk import logs
    from evtool.connecting import server_dsn

    if given["metrics_file"] is not None and not given["metrics_file"].endswith(".prom"):
        raise click.UsageError("--metrics-file ends in .prom: node_exporter reads no other.")
    if _tells(given) and importlib.util.find_spec("prometheus_client") is None:
        raise click.UsageError("Metrics need Prometheus's client library: pip install 'evtool[metrics]'.")
    logs.configure(sys.stderr, log_format, verbose=output.is_verbose())
    if child is not None:
        _work(settings.dsn(dsn), child, given)
        return None
    return _supervise(server_dsn(settings.dsn(dsn)), log_format, given)


def _work(dsn: str, child: str, given: dict[str, Any]) -> None:
    """Is one of the processes."""
    from evtool.bulk import logs
    from evtool.bulk.jobs.options import Options
    from evtool.bulk.jobs.worker import Worker
    from evtool.bulk.remote import Limits
    from evtool.errors import EvtoolError

    number, _, parent = child.partition(":")
    spool = given["spool"] or Path(tempfile.gettempdir()) / f"evtool-spool-{os.getuid()}"
    how = Options(
        name=f"{os.uname().nodename}:{os.getpid()}/{number}",
        lease=timedelta(seconds=given["lease"]),
        poll_seconds=given["poll"],
        drain=given["drain"],
        folders=given["folders"] or (Path.cwd(),),
        spool=spool,
        limits=Limits(bytes=given["source_bytes"], seconds=given["source_seconds"]),
        allow_private=given["allow_private"],
    )
    worker = Worker(dsn, how, _counts() if given["counted"] else None)
    _on_signals(worker.stop)
    try:
        worker.run(is_wanted=lambda: os.getppid() == int(parent))
    except EvtoolError as error:
        caught: Exception = error
        told = {"error": error.code, "message": error.message, "hint": error.hint}
    except Exception as error:  # noqa: BLE001 - told like all else in the log, and the supervisor starts another
        caught = error
        told = {"error": "INTERNAL", "message": f"internal error ({type(error).__name__})"}
    else:
        return
    logging.getLogger(f"{logs.NAME}.worker").error("worker failed", extra=logs.fields(**told), exc_info=caught)
    raise click.exceptions.Exit(exits.FAILED)


def _counts() -> Counts:
    from evtool.bulk.metrics import Metrics

    return Metrics()


def _tells(given: dict[str, Any]) -> bool:
    """Whether somebody wants metrics."""
    return given["metrics_port"] is not None or given["metrics_file"] is not None


def _supervise(dsn: str, log_format: str, given: dict[str, Any]) -> int:
    """Keeps the processes running."""
    from evtool.bulk.jobs.queue import open_queue
    from evtool.bulk.jobs.supervisor import Supervisor

    with open_queue(dsn) as queue:
        # that there is no queue, or not for this role, is said at once, and not by processes that crash in turn
        queue.check_may_work()
    with ExitStack() as stack:
        environment = settings.child_environment(EVTOOL_DSN=dsn)
        exposition = None
        if _tells(given):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="evtool-metrics-"))
            environment[settings.METRICS_FOLDER] = folder
            exposition = _expose(stack, dsn, folder, log_format, given)
        supervisor = Supervisor(
            lambda number: _command(number, log_format, given),
            environment,
            given["workers"],
            exposition,
            drain=given["drain"],
            grace_seconds=given["grace"],
        )
        _on_signals(supervisor.stop)
        return exits.DONE if supervisor.run() else exits.FAILED


def _expose(stack: ExitStack, dsn: str, folder: str, log_format: str, given: dict[str, Any]) -> Exposition:
    from evtool.bulk import logs
    from evtool.bulk.jobs.asking import States
    from evtool.bulk.metrics import Exposition, Textfile

    exposition = Exposition(folder, stack.enter_context(States(dsn)))
    if given["metrics_port"] is not None:
        port, stop = exposition.serve(given["metrics_host"], given["metrics_port"])
        stack.callback(stop)
        host = f"[{given['metrics_host']}]" if ":" in given["metrics_host"] else given["metrics_host"]
        url = f"http://{host}:{port}/metrics"
        if log_format == "json":
            logging.getLogger(f"{logs.NAME}.supervisor").info("metrics served", extra=logs.fields(url=url))
        else:
            output.talk(f"evtool: metrics on {url}")
    if given["metrics_file"] is not None:
        stack.callback(Textfile(exposition, given["metrics_file"]).stop)
    return exposition


def _command(number: int, log_format: str, given: dict[str, Any]) -> list[str]:
    """The command line of a process; the DSN goes by its environment, where `ps` doesn't show it."""
    arguments = [
        *("--child", f"{number}:{os.getpid()}"),
        *("--lease", str(given["lease"]), "--poll", str(given["poll"])),
        *("--source-bytes", str(given["source_bytes"]), "--source-seconds", str(given["source_seconds"])),
        *("--log-format", log_format),
        *(part for folder in given["folders"] for part in ("--files-under", str(folder.absolute()))),
        *(("--spool", str(given["spool"].absolute())) if given["spool"] else ()),
        *(flag for flag, wanted in (
            ("--drain", given["drain"]), ("--allow-private", given["allow_private"]), ("--counted", _tells(given)),
            ("-v", output.is_verbose()),
        ) if wanted),
    ]  # fmt: skip
    # -P: nothing of the current folder is imported
    return [sys.executable, "-P", "-m", "evtool", "bulk", "worker", *arguments]


def _on_signals(stop: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
