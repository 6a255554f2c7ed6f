"""Part one: whole tables of several sizes, by every contender in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.bench.lake_runs import Lake
from tests.bench.outcome import Outcome, median, tried
from tests.bench.progress import say
from tests.bench.tables import make_payments, payments, touch
from tests.bench.workplace import Workplace

CONNECTORX, PYARROW, SPARK_JDBC = "dlt connectorx", "dlt pyarrow", "Spark JDBC"
RECONCILE = ("off", "counts", "fingerprint")
PIPELINE = "bench"
_WARM_UP_ROWS = 2_000


def ours(reconcile: str) -> str:
    """What Lakeferry is called with that much proof."""
    return f"lakeferry, {reconcile}"


def measure_whole_tables(work: Workplace, sizes: Sequence[int]) -> tuple[list[Outcome], Lake | None]:
    """Every contender at every size, and the lake that holds the largest table, proved; None where that failed."""
    contenders = (CONNECTORX, PYARROW, SPARK_JDBC, *map(ours, RECONCILE))
    warm_up(work)
    found: list[Outcome] = []
    lake: Lake | None = None
    is_loaded = False
    for rows in sizes:
        say(f"Whole table of {rows:,} rows")
        touch(work.server, payments(rows))
        taken: dict[str, list[Outcome]] = {contender: [] for contender in contenders}
        # Round by round, so that a slow quarter of an hour is everybody's.
        for _ in range(work.times):
            for contender in contenders:
                run, lake = _runner(work, contender, rows)
                work.quiet()
                outcome = tried(contender, rows, run)
                taken[contender].append(outcome)
                is_loaded = outcome.failure is None
        found += [median(outcomes) for outcomes in taken.values()]
    # The last to run was the one with every proof, at the largest size.
    return found, lake if is_loaded else None


def warm_up(work: Workplace) -> None:
    """Run everyone once on a small table: who comes first must not be the one who reads all programs from disk."""
    say("Warming up")
    make_payments(work.server, payments(_WARM_UP_ROWS), _WARM_UP_ROWS)
    for contender in (CONNECTORX, SPARK_JDBC, ours("fingerprint")):
        run, _ = _runner(work, contender, _WARM_UP_ROWS)
        tried(contender, _WARM_UP_ROWS, run)


def _runner(work: Workplace, contender: str, rows: int) -> tuple[Callable[[], Outcome], Lake | None]:
    """What runs a contender in an empty folder; for Lakeferry also its lake."""
    table = payments(rows)
    work.remove("peer")
    if contender.startswith("dlt "):
        backend = contender.removeprefix("dlt ")
        return partial(work.peers.dlt, backend, [table], rows, work.folder / "peer"), None
    if contender == SPARK_JDBC:
        return partial(work.peers.spark_jdbc, table, rows, work.folder / "peer"), None
    lake = work.lake("lake")
    lake.pipeline(PIPELINE, [table], contender.rpartition(" ")[2])
    return partial(lake.run, PIPELINE, contender, rows), lake
