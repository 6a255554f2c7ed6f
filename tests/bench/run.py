"""The benchmark: `make bench`, or python tests/bench/run.py [--rows …] [--small-tables …] [--only …].

All contenders read the same tables of the local MariaDB in one run, so what is compared was measured on the same
machine in the same hour.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie two above it.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from connectors.errors import LakeferryError
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import load_settings
from tests.bench import goals, report
from tests.bench.changed_rows import measure_changed_rows
from tests.bench.goals import Goal
from tests.bench.lake_runs import Lake, Limits
from tests.bench.machine import introduction
from tests.bench.many_dags import measure_many_dags
from tests.bench.peer_environment import peer_python
from tests.bench.peers import Peers
from tests.bench.progress import say
from tests.bench.report import Table
from tests.bench.server import open_server
from tests.bench.small_tables import measure_small_tables
from tests.bench.tables import drop_database, make_database, make_payments, payments, table_bytes
from tests.bench.warehouse_loads import measure_warehouse_loads
from tests.bench.watched import ContenderFailed
from tests.bench.whole_tables import measure_whole_tables
from tests.bench.workplace import Workplace

PARTS = ("load", "change", "small", "warehouse", "dags")
PAGE = CHECKOUT / "docs" / "explanation" / "benchmarks.md"


@dataclass
class Found:
    """The results of the parts so far."""

    goals: list[Goal] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def add(self, asked: Sequence[Goal], tables: Sequence[Table]) -> None:
        self.goals += asked
        self.tables += tables

    def shown(self) -> list[Table]:
        """All tables, the goals first."""
        return [report.goal_table(self.goals), *self.tables]


def main() -> int:
    """Returns 0 if it ran, for any result; 3 if nothing could be measured."""
    options = _options()
    # A signal to stop is no reason to leave tables and processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        settings = load_settings()
        server = open_server()
        say(f"MariaDB {server.version}, process {server.pid or 'not on this machine'}")
        python = peer_python()
    except (LakeferryError, ContenderFailed) as error:
        print(error, file=sys.stderr)
        return 3
    found = Found()
    try:
        make_database(server)
        with tempfile.TemporaryDirectory(prefix="lakeferry-bench-") as folder:
            limits = Limits(options.limit_seconds, server.cpu_seconds)
            logs = settings.state_dir / "bench"
            say(f"What the contenders say is in {logs}")
            peers = Peers(server, python, settings, logs, limits)
            work = Workplace(server, peers, Path(folder), logs, limits, options.times)
            _measure(work, options, found)
    except pymysql.MySQLError as error:
        report.show(found.shown())
        print(f"MariaDB stopped answering: {error.args[-1]}. Look at make status, and measure again.", file=sys.stderr)
        return 3
    finally:
        if not options.keep:
            # A server that is gone keeps its tables; the next run takes them over.
            with suppress(pymysql.MySQLError):
                drop_database(server)
    report.show(found.shown())
    if options.only == PARTS:
        report.write(options.page, introduction(server.version, settings, options.times), found.shown())
        say(f"Written to {options.page}")
    else:
        say(f"Not all parts were measured: {options.page} stays as it is")
    return 0


def _measure(work: Workplace, options: argparse.Namespace, found: Found) -> None:
    """Go through the parts that are asked for, with a server that holds the largest table in memory."""
    sizes = set(options.rows) if "load" in options.only else set()
    if "change" in options.only:
        sizes.add(options.rows[-1])
    if "warehouse" in options.only:
        sizes |= {options.rows[0], 2 * options.rows[0]}
    if sizes:
        say("Making tables")
    for rows in sorted(sizes):
        make_payments(work.server, payments(rows), rows)
    own_pool_bytes = work.server.pool_bytes()
    with work.server.pool_for(max((table_bytes(work.server, payments(rows)) for rows in sizes), default=0)):
        say(f"The server holds {work.server.pool_bytes() / 1e6:,.0f} MB in memory")
        _measure_parts(work, options, found, own_pool_bytes)


def _measure_parts(work: Workplace, options: argparse.Namespace, found: Found, own_pool_bytes: int) -> None:
    """Go through the parts; `own_pool_bytes` is what the server is usually left with."""
    lake: Lake | None = None
    if "load" in options.only:
        outcomes, lake = measure_whole_tables(work, options.rows)
        found.add(goals.whole_table_goals(outcomes), report.whole_table_tables(outcomes))
    if "change" in options.only:
        changed = measure_changed_rows(work, options.rows[-1], lake, own_pool_bytes)
        found.add(goals.changed_row_goals(changed), report.changed_row_tables(changed))
    work.remove("lake")
    if "small" in options.only:
        small = measure_small_tables(work, options.small_tables[0], options.small_tables[-1])
        found.add(goals.small_table_goals(small), report.small_table_tables(small))
    if "warehouse" in options.only:
        loads = measure_warehouse_loads(work, (options.rows[0], 2 * options.rows[0]))
        if loads:
            found.add(goals.warehouse_load_goals(loads), report.warehouse_load_tables(loads))
    if "dags" in options.only:
        dags = measure_many_dags(work)
        found.add(goals.many_dag_goals(dags), report.many_dag_tables(dags))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Lakeferry beside its peers.")
    parser.add_argument(
        "--rows", type=_sizes, default=(3_000_000, 12_000_000), help="sizes of the whole tables: 3000000,12000000"
    )
    parser.add_argument(
        "--small-tables", type=_sizes, default=(100, 1000), help="how many small tables, and many: 100,1000"
    )
    parser.add_argument("--only", type=_parts, default=PARTS, help=f"some parts: {','.join(PARTS)}")
    parser.add_argument("--times", type=int, default=1, help="how often each measure is taken: 1")
    parser.add_argument("--keep", action="store_true", help="keep the tables for the next run")
    parser.add_argument("--limit-seconds", type=float, default=1800.0, help="when a contender is stopped: 1800")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the results go: docs/explanation/benchmarks.md")
    return parser.parse_args()


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(part) for part in text.split(",")}))


def _parts(text: str) -> tuple[str, ...]:
    chosen = tuple(part for part in PARTS if part in text.split(","))
    if set(text.split(",")) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{text}: valid are {', '.join(PARTS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
