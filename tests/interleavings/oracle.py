"""An oracle that checks a dataset with PyIceberg, PyMySQL and Google's client alone.

This module imports nothing of `jobs` and repeats the names of snapshot properties. Expected values come from the source
and from the rows of the tables. The oracle compares snapshot properties with these rows and never trusts them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.api_core.exceptions import NotFound
from google.cloud import bigquery
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

Row = tuple[Any, ...]
Key = Any
SourceRows = Callable[[str], Sequence[Row]]
"""Returns the rows of the source that meet an SQL condition."""

BATCH, SEALED, ROWS = "lakeferry.batch", "lakeferry.sealed", "lakeferry.rows"
QUARANTINED, RUN, GENERATION = "lakeferry.quarantined", "lakeferry.run-id", "lakeferry.generation"
WINDOW_START, WINDOW_END = "lakeferry.window-start", "lakeferry.window-end"
CONSUMED = "lakeferry.consumed-batch"
DELETED = "_deleted_at"


@dataclass(frozen=True)
class Kind:
    """Properties of a dataset that decide what the oracle expects.

    Args:
        columns: columns of the source, in the table's order. The first is the key; `v` increases with each change.
        good: condition of the source rows that no rule rejects.
        cursor: the cursor column, where each batch contains all rows of its window.
        whole: each batch is the whole table.
        rebuilt: each batch is whole partitions, including unchanged rows.
        swept: deleted rows are marked.
        removed: deleted rows are removed from BigQuery.
    """

    columns: Sequence[str] = ("id", "v", "note", "updated_at")
    good: str = "TRUE"
    cursor: str | None = None
    whole: bool = False
    rebuilt: bool = False
    swept: bool = False
    removed: bool = False

    @property
    def stamped(self) -> bool:
        """Whether windows end before the current time."""
        return "updated_at" in self.columns


@dataclass(frozen=True)
class Published:
    """A batch as the properties of its sealed snapshot describe it."""

    number: int
    run_id: str
    generation: int
    rows: int
    quarantined: int
    window: tuple[str | None, str | None]


@dataclass
class Seen:
    """The contents of a dataset's tables at one moment."""

    batches: list[Published]
    raw: Counter[Row]
    """`_batch` and the source's columns."""
    curated: Counter[Row]
    """The source's columns, and whether the row is marked as deleted."""
    warehouse: Counter[Row] | None
    aside: Counter[tuple[str, int]]
    """Quarantined rows by run and generation."""


@dataclass
class Oracle:
    """Checks one dataset. `faults` describes every violation, one sentence each."""

    dataset: str
    target: str
    kind: Kind
    source: SourceRows
    warehouse: bigquery.Client
    faults: list[str] = field(default_factory=list)
    _catalog: Catalog | None = None

    def look(self, *, loaded: bool) -> Seen:
        """Read all tables; BigQuery only where something was `loaded`."""
        raw, curated = self._table("raw"), self._table("curated")
        assert raw is not None, f"raw.{self.dataset} is not there"
        deleted = self.kind.swept
        return Seen(
            batches=list(_published(raw)),
            raw=Counter(_rows(raw, ["_batch", *self.kind.columns])),
            curated=Counter(self._curated_rows(curated)),
            warehouse=Counter(self._warehouse_rows(deleted)) if loaded else None,
            aside=Counter(_rows(self._table("quarantine"), ["_run_id", "generation"])),
        )

    def check_log(self, seen: Seen) -> None:
        """Check batch numbers, row counts and the history of curated."""
        self._check_numbers(seen)
        self._check_counts(seen)
        self._check_history()

    def check_delivered(self, seen: Seen) -> None:
        """Check that curated and BigQuery contain each good source row once, at its newest version, and no other live
        row; and that quarantine contains each bad source row once."""
        there = Counter(tuple(row) for row in self.source(self.kind.good))
        self._compare("curated", there, Counter({row[:-1]: n for row, n in seen.curated.items() if not row[-1]}))
        if seen.warehouse is not None:
            live = Counter({row[:-1]: n for row, n in seen.warehouse.items() if not row[-1]})
            self._compare("BigQuery", there, live)
            marked = {row[0] for row in seen.warehouse if row[-1]}
            wanted = set() if self.kind.removed else {row[0] for row in seen.curated if row[-1]}
            if marked != wanted:
                self._fault(f"BigQuery marks {sorted(marked)} as deleted, curated {sorted(wanted)}")
        if not self.kind.whole and not self.kind.rebuilt:
            bad = len(self.source(f"NOT ({self.kind.good})"))
            aside = sum(seen.aside[batch.run_id, batch.generation] for batch in seen.batches)
            if aside != bad:
                self._fault(f"the source has {bad} bad rows, published runs have {aside} in quarantine")

    def check_brought(self, before: Seen, after: Seen) -> None:
        """Check that raw kept its rows between two looks, and gained no row version that it contained before."""
        if lost := before.raw - after.raw:
            self._fault(f"raw lost {_listed(lost)}")
        brought = Counter(row[1:] for row in (after.raw - before.raw).elements())
        if self.kind.whole:
            everything = Counter(tuple(row) for row in self.source(self.kind.good))
            if brought and brought != everything:
                self._fault(f"the run delivered {_listed(brought)}, the source contains {_listed(everything)}")
            return
        known = {row[1:] for row in before.raw}
        again = Counter({row: n for row, n in brought.items() if row in known})
        # A tombstone, and a row that returns, has the version that raw contains.
        if again and not self.kind.swept and not self.kind.rebuilt:
            self._fault(f"the run delivered rows again: {_listed(again)}")

    def check_nothing_else_moved(self, before: Seen, after: Seen, new: Sequence[Row]) -> None:
        """Check that one batch delivered exactly the `new` rows, and that curated differs in their keys only."""
        keys = {row[0] for row in new}
        old, now = (
            Counter({row: n for row, n in look.curated.items() if row[0] not in keys}) for look in (before, after)
        )
        if old != now:
            self._fault(f"curated had {_listed(old - now)} and has {_listed(now - old)} instead")
        brought = Counter(row[1:] for row in (after.raw - before.raw).elements())
        if not self.kind.whole and not self.kind.rebuilt and brought != Counter(tuple(row) for row in new):
            self._fault(
                f"the run delivered {_listed(brought) or 'nothing'}, new were the keys {[row[0] for row in new]}"
            )
        if len(after.batches) != len(before.batches) + 1:
            self._fault(f"{len(after.batches) - len(before.batches)} batches were published, not one")

    def _check_numbers(self, seen: Seen) -> None:
        numbers = [batch.number for batch in seen.batches]
        if numbers != list(range(1, len(numbers) + 1)):
            self._fault(f"main contains batches in the order {numbers}")
        for run, times in Counter((batch.run_id, batch.generation) for batch in seen.batches).items():
            if times > 1:
                self._fault(f"generation {run[1]} of {run[0]} was published {times} times")

    def _check_counts(self, seen: Seen) -> None:
        by_number: Counter[int] = Counter()
        for row, times in seen.raw.items():
            by_number[row[0]] += times
        said = {batch.number: batch.rows for batch in seen.batches}
        for number in sorted({*by_number, *said}):
            if by_number[number] != said.get(number, 0):
                self._fault(
                    f"batch {number} was published with {said.get(number, 0)} rows, raw contains {by_number[number]}"
                )
        for batch in seen.batches:
            aside = seen.aside[batch.run_id, batch.generation]
            if aside != batch.quarantined:
                self._fault(
                    f"batch {batch.number} ({batch.run_id}, generation {batch.generation}) was published with "
                    f"{batch.quarantined} quarantined rows, quarantine contains {aside}"
                )

    def check_windows(self, seen: Seen) -> None:
        """Check that the source counts as many rows in a batch's window as the batch published and quarantined. The
        first batch is left out: the source has changed since."""
        cursor = self.kind.cursor
        for batch in seen.batches[1:] if cursor else ():
            start, end = batch.window
            bounds = [f"{cursor} >= '{start}'"] if start is not None else []
            bounds += [f"{cursor} < '{end}'"] if end is not None else []
            there = len(self.source(" AND ".join(bounds) or "TRUE"))
            if there != batch.rows + batch.quarantined:
                self._fault(
                    f"batch {batch.number} has {batch.rows} rows and {batch.quarantined} in quarantine, the source has "
                    f"{there} rows in its window [{start}, {end})"
                )

    def _check_history(self) -> None:
        """Check in every snapshot of curated that no key is there twice, no version decreases, no key disappears, no
        row of the source is marked as deleted, and the consumed batch does not decrease."""
        table = self._table("curated")
        if table is None:
            return
        newest: dict[Key, int] = {}
        consumed = 0
        at = self.kind.columns.index("v")
        before: set[Key] = set()
        # No scenario inserts a deleted key again.
        there = {row[0] for row in self.source("TRUE")}
        for snapshot in _history(table):
            rows = list(self._curated_rows(table, snapshot))
            twice = [key for key, times in Counter(row[0] for row in rows).items() if times > 1]
            if twice:
                self._fault(f"a snapshot of curated contained keys twice: {sorted(twice)}")
            versions = {row[0]: row[at] for row in rows}
            back = {key: v for key, v in versions.items() if v < newest.get(key, v)}
            if back:
                self._fault(f"curated went back: {back} after { ({key: newest[key] for key in back}) }")
            newest |= versions
            gone = before - set(versions)
            if gone and not self.kind.whole:
                self._fault(f"curated lost keys {sorted(gone)}")
            before = set(versions)
            marked = sorted(row[0] for row in rows if row[-1] and row[0] in there)
            if marked:
                self._fault(f"curated marked rows as deleted that the source has: {marked}")
            now = int(_properties(snapshot).get(CONSUMED, consumed))
            if now < consumed:
                self._fault(f"the consumed batch of curated went from {consumed} back to {now}")
            consumed = now

    def _curated_rows(self, table: Table | None, snapshot: Snapshot | None = None) -> Iterable[Row]:
        names = [*self.kind.columns, *([DELETED] if self.kind.swept else [])]
        for row in _rows(table, names, snapshot):
            yield (*row[: len(self.kind.columns)], self.kind.swept and row[-1] is not None)

    def _warehouse_rows(self, deleted: bool) -> Iterable[Row]:
        columns = ", ".join([*self.kind.columns, *([DELETED] if deleted else [])])
        try:
            rows = self.warehouse.query(f"SELECT {columns} FROM `{self.warehouse.project}.{self.target}`").result(60)
        except NotFound:
            self._fault("BigQuery does not have the table: no load came through")
            return
        for row in rows:
            values = tuple(row.values())
            yield (*values[: len(self.kind.columns)], deleted and values[-1] is not None)

    def _compare(self, place: str, expected: Counter[Row], there: Counter[Row]) -> None:
        if missing := expected - there:
            self._fault(f"{place} lacks {_listed(missing)}")
        if more := there - expected:
            self._fault(f"{place} has {_listed(more)}, which the source does not have")

    def _table(self, namespace: str) -> Table | None:
        if self._catalog is None:
            self._catalog = _open_catalog()
        if not self._catalog.table_exists((namespace, self.dataset)):
            return None
        return self._catalog.load_table((namespace, self.dataset))

    def _fault(self, sentence: str) -> None:
        if sentence not in self.faults:
            self.faults.append(sentence)


def _open_catalog() -> Catalog:
    files = {
        "s3.endpoint": os.environ["AWS_ENDPOINT_URL_S3"],
        "s3.path-style-access": "true",
        "s3.region": os.environ.get("AWS_REGION") or os.environ["AWS_DEFAULT_REGION"],
    }
    lake, catalog = os.environ["LAKEFERRY_LAKE"], os.environ["LAKEFERRY_CATALOG"]
    # The JDBC catalog stores its name with each table.
    return load_catalog("lake", type="sql", uri=catalog, warehouse=lake, **files)


def _rows(table: Table | None, names: Sequence[str], snapshot: Snapshot | None = None) -> Iterable[Row]:
    if table is None or table.current_snapshot() is None:
        return
    there = {field.name for field in table.schema().fields}
    wanted = tuple(name for name in names if name in there)
    scan = table.scan(selected_fields=wanted, snapshot_id=snapshot.snapshot_id if snapshot else None)
    for row in scan.to_arrow().to_pylist():
        yield tuple(row.get(name) for name in names)


def _history(table: Table) -> list[Snapshot]:
    """The snapshots of a table's main branch, oldest first."""
    snapshots: list[Snapshot] = []
    snapshot = table.current_snapshot()
    while snapshot is not None:
        snapshots.append(snapshot)
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return snapshots[::-1]


def _published(table: Table) -> Iterable[Published]:
    for snapshot in _history(table):
        properties = _properties(snapshot)
        if SEALED in properties:
            yield Published(
                number=int(properties[BATCH]),
                run_id=properties[RUN],
                generation=int(properties[GENERATION]),
                rows=int(properties[ROWS]),
                quarantined=int(properties[QUARANTINED]),
                window=(properties.get(WINDOW_START), properties.get(WINDOW_END)),
            )


def _properties(snapshot: Snapshot) -> Mapping[str, str]:
    return snapshot.summary.additional_properties if snapshot.summary else {}


def _listed(rows: Counter[Row]) -> str:
    return ", ".join(f"{row}{f' {times} times' if times > 1 else ''}" for row, times in sorted(rows.items(), key=repr))
