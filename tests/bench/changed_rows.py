"""Part three: an hour's change of a large table, against the same rows in a table that holds no others."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from tests.bench.lake_runs import Lake
from tests.bench.outcome import Outcome, tried
from tests.bench.progress import say
from tests.bench.tables import CHANGED, create_empty, payments, qualified, table_bytes
from tests.bench.whole_tables import PIPELINE
from tests.bench.workplace import Workplace

_ALONE = "changed_alone"
_SPREAD_SECONDS = 2
LARGE_TABLE, ALONE = "changed rows in the large table", "changed rows alone"
SMALL_POOL = "changed rows in the large table, small pool"


@dataclass(frozen=True)
class ChangedRows:
    """Second runs of two incremental pipelines that move the same rows, and a third of the first with a server
    that holds `pool_share` of the table in memory."""

    table_rows: int
    rows: int
    large: Outcome
    alone: Outcome
    small_pool: Outcome
    pool_share: float


def measure_changed_rows(work: Workplace, table_rows: int, lake: Lake | None, small_pool_bytes: int) -> ChangedRows:
    """Change one row in a hundred and run again, once with the pool that the server has and once with a small one.

    Args:
        lake: what holds the table already; None: it is loaded first.
        small_pool_bytes: how large that is.
    """
    say(f"One row in a hundred of {table_rows:,} changes")
    large, alone = qualified(payments(table_rows)), qualified(_ALONE)
    firsts: list[Outcome] = []
    if lake is None:
        lake = work.lake("lake")
        lake.pipeline(PIPELINE, [payments(table_rows)], "fingerprint")
        firsts.append(tried("first load", table_rows, partial(lake.run, PIPELINE, "first load", table_rows)))
    # Both are to find their tables made and something in them.
    create_empty(work.server, _ALONE)
    work.server.execute(f"ALTER TABLE {alone} ADD KEY updated_at (updated_at)")
    work.server.execute(f"INSERT INTO {alone} SELECT * FROM {large} WHERE NOT ({CHANGED}) ORDER BY id LIMIT 1")
    lake.pipeline(_ALONE, [_ALONE], "fingerprint")
    firsts.append(tried("first load", 1, partial(lake.run, _ALONE, "first load", 1)))
    pool_share = small_pool_bytes / table_bytes(work.server, payments(table_rows))
    failures = [first.failure for first in firsts if first.failure is not None]
    if failures:
        names = (LARGE_TABLE, ALONE, SMALL_POOL)
        return ChangedRows(
            table_rows, 0, *(Outcome(n, 0, failure=f"first load: {failures[0]}") for n in names), pool_share
        )
    rows = _change(work, large, alone)
    measured = [_second_run(work, lake, *run, rows) for run in ((LARGE_TABLE, PIPELINE), (ALONE, _ALONE))]
    with work.server.pool_of(small_pool_bytes):
        _change(work, large, None)
        measured.append(_second_run(work, lake, SMALL_POOL, PIPELINE, rows))
    return ChangedRows(table_rows, rows, *measured, pool_share)


def _second_run(work: Workplace, lake: Lake, contender: str, pipeline: str, rows: int) -> Outcome:
    work.quiet()
    return tried(contender, rows, partial(lake.run, pipeline, contender, rows))


def _change(work: Workplace, large: str, alone: str | None) -> int:
    """Stamp the rows again, spread over two seconds, bring them into the other table too, if any, and wait until
    all lie behind the lag."""
    server, began = work.server, time.monotonic()
    now = server.value("SELECT UTC_TIMESTAMP(6)")
    stamp = f"TIMESTAMP'{now}' + INTERVAL CRC32(id) % {_SPREAD_SECONDS * 1_000_000} MICROSECOND"
    rows = server.execute(f"UPDATE {large} SET updated_at = {stamp}, status = 1 + id % 5 WHERE {CHANGED}")
    if alone is not None:
        server.execute(f"INSERT INTO {alone} SELECT * FROM {large} WHERE {CHANGED}")
        server.execute(f"ANALYZE TABLE {alone}")
    while (server.value("SELECT UTC_TIMESTAMP(6)") - now).total_seconds() < _SPREAD_SECONDS + 2:
        time.sleep(0.2)
    say(f"  {rows:,} rows changed in {time.monotonic() - began:.0f} s")
    return rows
