"""The others: dlt and Spark's JDBC source, each copying tables to Parquet files in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from jobs.launch.commands import local_command_of, local_environment
from jobs.runtime.settings import Settings
from tests.bench.lake_runs import Lake, Limits
from tests.bench.outcome import Outcome, of_process
from tests.bench.server import Server
from tests.bench.tables import qualified
from tests.bench.watched import ContenderFailed, Watched, watch

_SCRIPTS = Path(__file__).resolve().parent


class Peers:
    """Runs the others; `logs` is where their output goes."""

    def __init__(self, server: Server, python: Path, settings: Settings, logs: Path, limits: Limits) -> None:
        self._server = server
        self._python = python
        self._settings = settings
        self._logs = logs
        self._limits = limits

    def dlt(self, backend: str, tables: Sequence[str], rows: int, folder: Path) -> Outcome:
        """dlt copies the tables with one of its backends.

        Raises:
            ContenderFailed: it failed, or not that many rows are in its files.
        """
        folder.mkdir(parents=True)
        contender = f"dlt {backend}"
        command = [str(self._python), str(_SCRIPTS / "dlt_copy.py"), str(folder), backend, *tables]
        # What dlt would otherwise look for in the home and working folders, and tell its makers.
        own = {"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": f"{folder}/dlt"}
        watched = self._watch(command, {**os.environ, **own, "PYTHONPATH": ""}, f"{contender} {rows}", folder)
        _expect_rows(folder / "files" / "bench", rows)
        return of_process(contender, rows, watched)

    def spark_jdbc(self, table: str, rows: int, folder: Path) -> Outcome:
        """Spark copies a table as tutorials have it. For errors see `dlt`."""
        folder.mkdir(parents=True)
        lowest, highest = self._server.rows(f"SELECT MIN(id), MAX(id) FROM {qualified(table)}")[0]
        arguments = [str(folder), table, str(lowest), str(highest)]
        command = local_command_of(_SCRIPTS / "spark_jdbc_copy.py", arguments, self._settings)
        environment = {**os.environ, **local_environment(self._settings)}
        watched = self._watch(command, environment, f"spark jdbc {rows}", folder)
        _expect_rows(folder / "files", rows)
        return of_process("Spark JDBC", rows, watched)

    def bare_appends(self, tables: Sequence[str], lake: Lake) -> float:
        """Seconds that one warm Spark session needs to write the tables as new Iceberg tables, four at a time.

        Raises:
            ContenderFailed: it failed.
        """
        command = local_command_of(_SCRIPTS / "bare_appends.py", list(tables), lake.settings)
        watched = self._watch(command, lake.environment, "bare appends", _SCRIPTS)
        return float(watched.output.read_text(encoding="utf-8").split()[-1])

    def _watch(self, command: Sequence[str], environment: dict[str, str], log: str, cwd: Path) -> Watched:
        watched = watch(
            command,
            environment={**environment, "BENCH_URL": self._server.url("mysql")},
            log=self._logs / log.replace(" ", "-"),
            limit_seconds=self._limits.seconds,
            server_cpu=self._limits.server_cpu,
            cwd=cwd,
        )
        if watched.code != 0:
            raise ContenderFailed(watched.reason())
        return watched


def _expect_rows(folder: Path, rows: int) -> None:
    # dlt's own tables begin with an underscore.
    files = [path for path in folder.rglob("*.parquet") if not path.relative_to(folder).parts[0].startswith("_")]
    written = sum(pq.read_metadata(path).num_rows for path in files)
    if written != rows:
        raise ContenderFailed(f"wrote {written:,} of {rows:,} rows")
