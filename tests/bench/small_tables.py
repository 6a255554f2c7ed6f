"""Part two: many small tables in one run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from connectors.errors import LakeferryError
from tests.bench.outcome import Outcome, median, tried
from tests.bench.progress import say
from tests.bench.tables import make_payments, small
from tests.bench.watched import ContenderFailed
from tests.bench.whole_tables import CONNECTORX, ours
from tests.bench.workplace import Workplace

ROWS_EACH = 2_000
_PIPELINE = "small"


@dataclass(frozen=True)
class SmallTables:
    """`bare_seconds` is what warm Spark and Iceberg need for the same tables; None, and why, where it failed."""

    tables: int
    ours: Outcome
    dlt: Outcome
    bare_seconds: float | None
    bare_failure: str | None


def measure_small_tables(work: Workplace, count: int) -> SmallTables:
    """Lakeferry, dlt and bare appends over that many tables."""
    say(f"{count} tables of {ROWS_EACH:,} rows")
    tables = [small(number) for number in range(1, count + 1)]
    for table in tables:
        make_payments(work.server, table, ROWS_EACH)
    rows = count * ROWS_EACH
    mine: list[Outcome] = []
    theirs: list[Outcome] = []
    bare: list[float] = []
    failure = None
    for _ in range(work.times):
        lake = work.lake("small")
        lake.pipeline(_PIPELINE, tables, "fingerprint")
        work.quiet()
        name = ours("fingerprint")
        mine.append(tried(name, rows, partial(lake.run, _PIPELINE, name, rows)))
        work.remove("peer")
        work.quiet()
        theirs.append(
            tried(CONNECTORX, rows, partial(work.peers.dlt, "connectorx", tables, rows, work.folder / "peer"))
        )
        bare_lake = work.lake("bare")
        work.quiet()
        say("  bare appends")
        try:
            bare.append(work.peers.bare_appends(tables, bare_lake))
            say(f"    {bare[-1]:.1f} s")
        except (ContenderFailed, LakeferryError, OSError) as error:
            failure = str(error)
            say(f"    failed: {error}")
    middle = sorted(bare)[(len(bare) - 1) // 2] if bare else None
    return SmallTables(count, median(mine), median(theirs), middle, failure if middle is None else None)
