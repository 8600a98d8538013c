"""evtool's export and import against psql's COPY, and how much memory they take."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from benchmarks import events, sides
from benchmarks.measuring import Row, compared, in_turn, say, seconds
from psycopg import sql

import evtool

_SOURCE = "benchmark_source"
_OURS = "benchmark_ours"
_OTHER = "benchmark_other"

_COLUMNS = "id, stream_name, type, position, global_position, data, metadata, time"
_SELECT = f"SELECT {_COLUMNS} FROM {_SOURCE}.messages ORDER BY global_position"

_ROOT = Path(evtool.__file__).resolve().parent.parent
_PEAK = Path(__file__).with_name("peak.py")

_MEMORY_LIMIT = 100e6
_EARLIER = 20_000


def measure(
    dsn: str, server: sides.Server, groups: Sequence[str], *, count: int, rounds: int, sizes: Sequence[int]
) -> Iterator[Row]:
    """The rows of the groups import, import-options, export and memory.

    Args:
        dsn: a database of ours, with nothing in it that is needed.
        server: for its psql.
        groups: those of "import", "import-options", "export", "memory" that are wanted.
        count: how many events are imported and exported.
        rounds: how many times.
        sizes: how many events there are when memory is measured.
    """
    with tempfile.TemporaryDirectory(prefix="evtool-benchmark-") as folder:
        if {"import", "import-options", "export"} & {*groups}:
            say(f"export and import of {count:,} events")
            bench = _Transfer(dsn, server, Path(folder), count)
            if "export" in groups:
                yield from bench.exports(rounds)
            if "import" in groups:
                yield from bench.imports(rounds)
            if "import-options" in groups:
                yield from bench.options(rounds)
        for size in sizes if "memory" in groups else ():
            say(f"memory at {size:,} events")
            yield from _Transfer(dsn, server, Path(folder), size).memory()


class _Transfer:
    """A namespace of made-up events, and what is done with it.

    Args:
        dsn: the database.
        server: for its psql.
        folder: for files.
        count: how many events.
    """

    def __init__(self, dsn: str, server: sides.Server, folder: Path, count: int) -> None:
        self._dsn = dsn
        self._psql = server.psql
        self._lines = folder / "events.ndjson"
        self._rows = folder / "events.tsv"
        self._count = count
        self._new_namespace(_SOURCE)
        with psycopg.connect(dsn, autocommit=True) as connection:
            events.fill(connection, _SOURCE, count)

    def exports(self, rounds: int) -> Iterator[Row]:
        """Rows on export, everything to /dev/null."""
        ours = ["export", "-n", _SOURCE]

        def from_psycopg() -> float:
            def run() -> None:
                copy = f"COPY ({_SELECT}) TO STDOUT".encode()
                with psycopg.connect(self._dsn) as connection, connection.cursor().copy(copy) as rows:
                    for _ in rows:
                        pass

            return self._rate(seconds(run))

        what = f"export of {self._count:,} events"
        if self._psql is None:
            say("SKIPPED: export against psql, for there is none that fits the server")
        else:
            command = self._psql_command(f"COPY ({_SELECT}) TO STDOUT")
            samples = in_turn(
                lambda: self._rate(seconds(lambda: self._evtool(*ours))),
                lambda: self._rate(seconds(lambda: _run(command))),
                rounds,
            )
            note = "both to /dev/null, the start of the process included; evtool waits for writers and writes NDJSON"
            side = "psql, COPY (…) TO STDOUT"
            yield compared(what, "events/s", samples, side=side, target=1.0, higher_is_better=True, note=note)
        samples = in_turn(lambda: self._rate(seconds(lambda: self._evtool(*ours))), from_psycopg, rounds)
        note = "psycopg in a running process, row by row, the rows thrown away"
        side = "psycopg, COPY (…) TO STDOUT"
        yield compared(what, "events/s", samples, side=side, target=None, higher_is_better=True, note=note)
        for option, target in (("--gzip", 2 / 3), ("--zstd", None)):
            samples = in_turn(
                lambda option=option: self._rate(seconds(lambda: self._evtool(*ours, option))),  # type: ignore[misc]
                lambda: self._rate(seconds(lambda: self._evtool(*ours))),
                rounds,
            )
            side = "the same without"
            yield compared(f"{what}, {option}", "events/s", samples, side=side, target=target, higher_is_better=True)
        yield from self._slices(rounds)

    def _slices(self, rounds: int) -> Iterator[Row]:
        """Rows on exports of a part, in a running process: its start would take longer than they do."""
        share = events.SLICE_SHARE
        with evtool.connect(self._dsn, _SOURCE) as store:
            positions = evtool.Selection(to_position=self._count // share)
            slices = {
                "by category": evtool.Selection((events.SLICE,)),
                "by position": positions,
                "by time": evtool.Selection(until=events.START + events.STEP * (self._count // share)),
            }

            def export(selection: evtool.Selection) -> None:
                for _ in store.export(selection):
                    pass

            for name, selection in slices.items():
                samples = in_turn(
                    lambda selection=selection: seconds(lambda: export(selection)) * 1000,  # type: ignore[misc]
                    lambda: seconds(lambda: export(evtool.Selection())) * 1000 / share,
                    rounds,
                )
                yield compared(
                    f"export of 1 % of {self._count:,} events, {name}",
                    "ms",
                    samples,
                    side="a hundredth of the time of them all",
                    target=1 / 3,
                    note="in a running process; it finds the watermark first, as the whole does",
                )

    def imports(self, rounds: int) -> Iterator[Row]:
        """Rows on import, into a namespace with rows and into an empty one."""
        if self._psql is None:
            say("SKIPPED: import against psql, for there is none that fits the server")
            return
        self._evtool("export", "-n", _SOURCE, "-o", str(self._lines))
        with self._rows.open("wb") as file:
            _run(self._psql_command(f"COPY ({_SELECT}) TO STDOUT"), stdout=file.fileno())
        names = {_OURS: self._import_ours, _OTHER: self._import_other}
        for filled, target in ((True, 0.95), (False, 1.5)):

            def run(schema: str, *, filled: bool = filled) -> float:
                self._new_namespace(schema)
                with psycopg.connect(self._dsn, autocommit=True) as connection:
                    if filled:
                        earlier = self._count * 2
                        events.fill(connection, schema, _EARLIER, prefix="earlier", offset=earlier)
                    connection.execute("CHECKPOINT")
                took = self._rate(seconds(names[schema]))
                self._require_count(schema, self._count + _EARLIER * filled)
                return took

            samples = in_turn(lambda run=run: run(_OURS), lambda run=run: run(_OTHER), rounds)  # type: ignore[misc]
            where = f"a namespace with {_EARLIER:,} events" if filled else "an empty namespace"
            what = f"import of {self._count:,} events into {where}"
            side = r"psql, \copy into the same indexed table"
            note = "the start of the process included on both sides; evtool reads and checks NDJSON"
            yield compared(what, "events/s", samples, side=side, target=target, higher_is_better=True, note=note)
        for schema in names:
            self._new_namespace(schema)
        self._lines.unlink()
        self._rows.unlink()

    def options(self, rounds: int) -> Iterator[Row]:
        """Rows on the other ways in, each against an import of the same file into an empty namespace."""
        self._evtool("export", "-n", _SOURCE, "-o", str(self._lines))
        options = {
            "--on-conflict skip, nothing is there": ["--on-conflict", "skip"],
            "--on-conflict skip, all is there": ["--on-conflict", "skip"],
            "--force": ["--force", "--yes"],
            "--batch-size 10000 --resume": ["--batch-size", "10000", "--resume"],
        }
        for name, given in options.items():

            def run(schema: str, given: list[str], *, filled: bool) -> float:
                self._new_namespace(schema)
                if filled:
                    self._evtool("import", "-n", schema, "-i", str(self._lines))
                took = self._rate(seconds(lambda: self._evtool("import", "-n", schema, "-i", str(self._lines), *given)))
                self._require_count(schema, self._count)
                return took

            filled = name in {"--on-conflict skip, all is there", "--force"}
            samples = in_turn(
                lambda given=given, filled=filled: run(_OURS, given, filled=filled),  # type: ignore[misc]
                lambda: run(_OTHER, [], filled=False),
                rounds,
            )
            what = f"import of {self._count:,} events, {name}"
            yield compared(what, "events/s", samples, side="without", target=None, higher_is_better=True)
        for schema in (_OURS, _OTHER):
            self._new_namespace(schema)
        self._lines.unlink()

    def memory(self) -> Iterator[Row]:
        """Rows on peak memory."""
        commands = {
            "export": ["export", "-n", _SOURCE, "-o", str(self._lines)],
            "import into an empty namespace": ["import", "-n", _OURS, "-i", str(self._lines)],
            "import into a namespace with events": ["import", "-n", _OTHER, "-i", str(self._lines)],
        }
        self._new_namespace(_OURS)
        self._new_namespace(_OTHER)
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            events.fill(connection, _OTHER, 1_000, prefix="earlier", offset=self._count * 2)
        for name, arguments in commands.items():
            peak = self._lines.with_suffix(".peak")
            self._evtool(*arguments, launcher=[sys.executable, "-I", "-S", str(_PEAK), str(peak)])
            megabytes = int(peak.read_text("ascii")) / 1e6
            note = "the client's process, from its start to its end (RSS high-water mark)"
            samples = [(megabytes, _MEMORY_LIMIT / 1e6)]
            what = f"peak memory, {name}, {self._count:,} events"
            yield compared(what, "MB", samples, side="limit", target=1.0, note=note)
        self._require_count(_OURS, self._count)
        self._new_namespace(_OURS)
        self._new_namespace(_OTHER)
        self._lines.unlink()

    def _import_ours(self) -> None:
        self._evtool("import", "-n", _OURS, "-i", str(self._lines))

    def _import_other(self) -> None:
        _run(self._psql_command(rf"\copy {_OTHER}.messages ({_COLUMNS}) FROM '{self._rows}'"))

    def _new_namespace(self, name: str) -> None:
        with evtool.connect(self._dsn) as store:
            if name in {one.name for one in store.list_namespaces()}:
                store.delete_namespace(name)
            store.create_namespace(name)

    def _require_count(self, schema: str, count: int) -> None:
        """An import that is not complete is not to be timed."""
        with psycopg.connect(self._dsn) as connection:
            found = connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, "messages"))
            ).fetchone()
        if found != (count,):
            raise SystemExit(f"{schema} should have {count} messages and has {found}")

    def _rate(self, took: float) -> float:
        return self._count / took

    def _evtool(self, *arguments: str, launcher: Sequence[str] = ()) -> None:
        _run([*launcher, sys.executable, "-m", "evtool", *arguments, "--dsn", self._dsn])

    def _psql_command(self, command: str) -> list[str]:
        return [str(self._psql), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self._dsn, "-c", command]


def _run(command: Sequence[str], stdout: int = subprocess.DEVNULL) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "PYTHONPATH": str(_ROOT), "EVTOOL_NAMESPACE": ""}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, env=environment, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command[:6])} … failed: {done.stderr.decode('utf-8', 'replace').strip()}")
