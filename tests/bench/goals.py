"""What is asked of the relational way, and what was measured of it. A goal that is not met fails nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.changed_rows import ChangedRows
from tests.bench.many_dags import DATASETS, ManyDags
from tests.bench.outcome import Outcome
from tests.bench.small_tables import SmallTables
from tests.bench.warehouse_loads import BY_HAND, WarehouseLoads
from tests.bench.whole_tables import CONNECTORX, ours

FIRST_TRY_APPEND_SECONDS = 14.0
FIRST_TRY_ROWS = 3_000_000


@dataclass(frozen=True)
class Goal:
    """The goal is at most `limit`; without a limit the number only stands beside another goal. Where the
    measure that a goal needs is missing, `measured` has the value None."""

    what: str
    limit: float | None
    measured: float | None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.limit is None:
            return ""
        if self.measured <= 0:
            return "lost in noise"
        return "yes" if self.measured <= self.limit else "no"


class Sizes:
    """The outcomes of two sizes, the smallest and the largest, by contender."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.small = min(outcome.rows for outcome in outcomes)
        self.large = max(outcome.rows for outcome in outcomes)
        self._found = {(o.contender, o.rows): o for o in outcomes if o.failure is None}

    def at(self, contender: str, rows: int) -> Outcome | None:
        """None where it failed."""
        return self._found.get((contender, rows))

    def seconds_a_million(self, contender: str) -> float | None:
        """What each further million rows takes."""
        both = self._both(contender)
        return self._a_million(both[1].wall_seconds - both[0].wall_seconds) if both else None

    def cpu_seconds_a_million(self, contender: str) -> float | None:
        """CPU seconds of the contender's own processes for each further million rows."""
        both = self._both(contender)
        return self._a_million(both[1].cpu_seconds - both[0].cpu_seconds) if both else None

    def server_seconds_a_million(self, contender: str) -> float | None:
        """CPU seconds of the server for each further million rows."""
        both = self._both(contender)
        more = _difference(both[1].server_cpu_seconds, both[0].server_cpu_seconds) if both else None
        return self._a_million(more) if more is not None else None

    def memory_ratio(self, contender: str) -> float | None:
        """Peak memory at the large size over that at the small one."""
        both = self._both(contender)
        return both[1].peak_bytes / both[0].peak_bytes if both else None

    def _both(self, contender: str) -> tuple[Outcome, Outcome] | None:
        first, last = self.at(contender, self.small), self.at(contender, self.large)
        return (first, last) if first and last and first is not last else None

    def _a_million(self, more: float) -> float:
        return more / (self.large - self.small) * 1e6


def whole_table_goals(outcomes: Sequence[Outcome]) -> list[Goal]:
    sizes = Sizes(outcomes)
    off, proved = ours("off"), ours("fingerprint")
    theirs, plain = sizes.seconds_a_million(CONNECTORX), sizes.seconds_a_million(off)
    with_proof = sizes.seconds_a_million(proved)
    hashing = _difference(sizes.server_seconds_a_million(proved), sizes.server_seconds_a_million(ours("counts")))
    apart = _difference(with_proof, hashing / _cores() if hashing is not None else None)
    hashed = "" if hashing is None else f"{hashing:.1f} CPU seconds a million rows"
    large = f"{sizes.large / 1e6:g} M rows"
    goals = [
        Goal("each further million rows, without proof, over dlt connectorx", 1.0, _ratio(plain, theirs)),
        Goal("the same with proof, the server's hashing apart", 2.0, _ratio(apart, theirs), hashed),
        Goal("the same with proof, all in", None, _ratio(with_proof, theirs)),
    ]
    # dlt proves nothing: what it takes in all is the measure of what we take without proof.
    for contender, limit in ((off, 1.5), (proved, None)):
        mine, dlt = sizes.at(contender, sizes.large), sizes.at(CONNECTORX, sizes.large)
        ratio = _ratio(mine.wall_seconds, dlt.wall_seconds) if mine and dlt else None
        goals.append(Goal(f"{large} in all, {contender}, over dlt connectorx", limit, ratio))
    small = sizes.at(off, sizes.small)
    scale = sizes.small / FIRST_TRY_ROWS
    appended = small.phases.append / (FIRST_TRY_APPEND_SECONDS * scale) if small and small.phases else None
    goals.append(Goal(f"append of {sizes.small / 1e6:g} M rows over the first try's 14 s for 3 M", 0.7, appended))
    for contender in (off, proved):
        memory = sizes.memory_ratio(contender)
        goals.append(Goal(f"peak memory at {large} over that at {sizes.small / 1e6:g} M, {contender}", 1.2, memory))
    checked = sizes.at(proved, sizes.large)
    share = None
    if checked and checked.phases:
        share = (checked.phases.proof + checked.phases.publish) / checked.phases.read_write
    return [*goals, Goal(f"check over extract at {large}, the curated merge apart", 1 / 3, share)]


def small_table_goals(found: SmallTables) -> list[Goal]:
    what = f"{found.tables} small tables, proved and published, over bare appends"
    bare, phases = found.bare_seconds, found.ours.phases
    if phases is None:
        return [Goal(what, 2.0, None)]
    goals = [
        Goal(f"{what}, start and curated merge apart", 2.0, _ratio(phases.plan + phases.extract_and_check, bare)),
        Goal(f"{what}, all in", None, _ratio(found.ours.whole_seconds, bare)),
    ]
    if found.many is not None:
        each = [found.many.whole_seconds / found.many_tables, found.ours.whole_seconds / found.tables]
        told = f"a table of {found.many_tables:,} over one of {found.tables}, all in"
        goals.append(Goal(told, 1.0, _ratio(*each) if found.many.failure is None else None))
    return goals


def changed_row_goals(found: ChangedRows) -> list[Goal]:
    large, alone, small_pool = (outcome.phases for outcome in (found.large, found.alone, found.small_pool))
    what = f"{found.rows:,} changed rows of {found.table_rows:,} over the same rows alone, the curated merge apart"
    pool = f"the same, with a server whose pool holds {found.pool_share:.0%} of the table"
    return [
        Goal(what, 2.0, _ratio(large.extract_and_check, alone.extract_and_check) if large and alone else None),
        Goal(
            pool, None, _ratio(small_pool.extract_and_check, alone.extract_and_check) if small_pool and alone else None
        ),
    ]


def warehouse_load_goals(loads: Sequence[WarehouseLoads]) -> list[Goal]:
    asked, twice = loads
    goals = []
    for contender in asked.outcomes:
        if contender == BY_HAND:
            continue
        mine = [load.outcomes[contender] for load in loads]
        done = all(outcome.failure is None for outcome in (*mine, asked.outcomes[BY_HAND]))
        what = f"{contender}, {asked.rows / 1e6:g} M rows"
        seconds = _ratio(mine[0].wall_seconds, asked.outcomes[BY_HAND].wall_seconds) if done else None
        sent = _ratio(asked.sent[contender].bytes, asked.file_bytes) if done else None
        memory = _ratio(mine[1].peak_bytes, mine[0].peak_bytes) if done else None
        goals += [
            Goal(f"{what} over {BY_HAND}", 3.0, seconds),
            Goal("bytes sent over the files'", 1.05, sent),
            Goal(f"peak memory at {twice.rows / 1e6:g} M over it", 1.2, memory),
        ]
    return goals


def many_dag_goals(found: Sequence[ManyDags]) -> list[Goal]:
    most = max(found, key=lambda entry: entry.pipelines)
    done = most.outcome.failure is None
    what = f"{most.pipelines:,} pipelines of {DATASETS} datasets imported and serialized by Airflow"
    return [
        Goal(f"{what}, seconds", 12.0, most.outcome.wall_seconds if done else None),
        Goal(f"{what}, MB", 300.0, most.outcome.peak_bytes / 1e6 if done else None),
    ]


def _ratio(mine: float | None, theirs: float | None) -> float | None:
    return mine / theirs if mine is not None and theirs is not None and theirs > 0 else None


def _difference(more: float | None, less: float | None) -> float | None:
    return more - less if more is not None and less is not None else None


def _cores() -> int:
    return len(os.sched_getaffinity(0))
