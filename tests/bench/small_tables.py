"""Part two: many small tables in one run."""

from __future__ import annotations

from collections.abc import Sequence
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
    """`bare_seconds` is what warm Spark and Iceberg need for the same tables; None, and why, where it failed.
    `many` is Lakeferry alone on `many_tables`; None where that are no more."""

    tables: int
    ours: Outcome
    many_tables: int
    many: Outcome | None
    dlt: Outcome
    bare_seconds: float | None
    bare_failure: str | None


def measure_small_tables(work: Workplace, count: int, many_count: int) -> SmallTables:
    """Lakeferry, dlt and bare appends over `count` tables; then Lakeferry over `many_count`: does it grow with them?"""
    tables, rows = _tables(work, count), count * ROWS_EACH
    mine: list[Outcome] = []
    theirs: list[Outcome] = []
    bare: list[float] = []
    failure = None
    for _ in range(work.times):
        mine.append(_ours(work, tables))
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
    many = _ours(work, _tables(work, many_count)) if many_count > count else None
    failure = failure if middle is None else None
    return SmallTables(count, median(mine), many_count, many, median(theirs), middle, failure)


def _tables(work: Workplace, count: int) -> list[str]:
    """Make that many, those that are not there yet."""
    say(f"{count:,} tables of {ROWS_EACH:,} rows")
    tables = [small(number) for number in range(1, count + 1)]
    for table in tables:
        make_payments(work.server, table, ROWS_EACH)
    return tables


def _ours(work: Workplace, tables: Sequence[str]) -> Outcome:
    lake, name, rows = work.lake("small"), ours("fingerprint"), len(tables) * ROWS_EACH
    lake.pipeline(_PIPELINE, tables, "fingerprint")
    work.quiet()
    return tried(name, rows, partial(lake.run, _PIPELINE, name, rows))
