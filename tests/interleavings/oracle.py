"""What must hold once all actors have ended, found out without the product: PyIceberg, PyMySQL and Google's client.

Nothing here imports `jobs`. Names of snapshot properties stand here anew: what the lake says of itself is compared
with what its tables hold, never taken for it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.cloud import bigquery
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

Row = tuple[Any, ...]
Key = Any
SourceRows = Callable[[str], Sequence[Row]]
"""Rows of the source's table that meet a condition."""

BATCH, SEALED, ROWS = "lakeferry.batch", "lakeferry.sealed", "lakeferry.rows"
QUARANTINED, RUN, GENERATION = "lakeferry.quarantined", "lakeferry.run-id", "lakeferry.generation"
WINDOW_START, WINDOW_END = "lakeferry.window-start", "lakeferry.window-end"
CONSUMED = "lakeferry.consumed-batch"
DELETED = "_deleted_at"


@dataclass(frozen=True)
class Kind:
    """What is to be expected of a dataset.

    Args:
        columns: of the source, in the table's order; the first is the key, `v` grows with each change of a row.
        good: condition for the rows of the source that no rule sets aside.
        cursor: the column whose windows hold the rows of a batch, where each batch holds all of its window.
        whole: each batch is the whole table, so a run without changes brings one, too.
        rebuilt: batches bring whole partitions, and with them rows that have not changed.
        swept: rows that are gone are marked.
        removed: rows that are gone leave BigQuery.
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
        """Whether windows end behind the clock."""
        return "updated_at" in self.columns


@dataclass(frozen=True)
class Published:
    """A batch as the snapshot that seals it says."""

    number: int
    run_id: str
    generation: int
    rows: int
    quarantined: int
    window: tuple[str | None, str | None]


@dataclass
class Seen:
    """The state of a dataset's tables at one moment."""

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
    """Looks at one dataset. `faults` are the sentences about what does not hold."""

    dataset: str
    target: str
    kind: Kind
    source: SourceRows
    warehouse: bigquery.Client
    faults: list[str] = field(default_factory=list)
    _catalog: Catalog | None = None

    def look(self, *, loaded: bool) -> Seen:
        """Everything as it is now; BigQuery only where something was `loaded`."""
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
        """Numbers, counts and curated's history."""
        self._check_numbers(seen)
        self._check_counts(seen)
        self._check_history()

    def check_delivered(self, seen: Seen) -> None:
        """Each good row of the source stands once, at its newest version, in curated and in BigQuery; no other does
        but those that are marked as gone."""
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

    def check_brought(self, before: Seen, after: Seen, *, new: Iterable[Row] = ()) -> None:
        """Between two looks just the `new` rows of the source were brought, and what raw held is as it was.

        Beside these only rows are brought whose version raw did not hold: those of runs that failed.
        """
        if lost := before.raw - after.raw:
            self._fault(f"raw lost {_told(lost)}")
        brought = Counter(row[1:] for row in (after.raw - before.raw).elements())
        if self.kind.whole:
            everything = Counter(tuple(row) for row in self.source(self.kind.good))
            if brought and brought != everything:
                self._fault(f"the run brought {_told(brought)}, the source holds {_told(everything)}")
            return
        held = {row[1:] for row in before.raw}
        if missing := Counter(tuple(row) for row in new) - brought:
            self._fault(f"the run passed over {_told(missing)}")
        again = Counter({row: n for row, n in brought.items() if row in held})
        # What is back from being deleted, or is marked, is brought as it was.
        if again and not self.kind.swept and not self.kind.rebuilt:
            self._fault(f"the run brought again what raw held: {_told(again)}")

    def check_nothing_else_moved(self, before: Seen, after: Seen, new: Sequence[Row]) -> None:
        """Of curated only rows with keys of `new` differ between two looks, and one batch more holds `new` alone."""
        keys = {row[0] for row in new}
        old, now = (
            Counter({row: n for row, n in look.curated.items() if row[0] not in keys}) for look in (before, after)
        )
        if old != now:
            self._fault(f"curated had {_told(old - now)} and has {_told(now - old)} instead")
        brought = Counter(row[1:] for row in (after.raw - before.raw).elements())
        if not self.kind.whole and not self.kind.rebuilt and brought != Counter(tuple(row) for row in new):
            self._fault(f"the run brought {_told(brought)}, new were {[row[0] for row in new]}")
        if len(after.batches) != len(before.batches) + 1:
            self._fault(f"{len(after.batches) - len(before.batches)} batches were published, not one")

    def _check_numbers(self, seen: Seen) -> None:
        numbers = [batch.number for batch in seen.batches]
        if numbers != list(range(1, len(numbers) + 1)):
            self._fault(f"batches in the order of main are {numbers}")
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
                self._fault(f"batch {number} says {said.get(number, 0)} rows, raw holds {by_number[number]}")
        for batch in seen.batches:
            aside = seen.aside[batch.run_id, batch.generation]
            if aside != batch.quarantined:
                self._fault(
                    f"batch {batch.number} ({batch.run_id}, generation {batch.generation}) says {batch.quarantined} "
                    f"quarantined rows, quarantine holds {aside}"
                )

    def check_windows(self, seen: Seen) -> None:
        """The window of a batch holds the rows it published and set aside, by the source's own count. The first batch
        is not looked at: the source has changed since."""
        cursor = self.kind.cursor
        for batch in seen.batches[1:] if cursor else ():
            start, end = batch.window
            bounds = [f"{cursor} >= '{start}'"] if start is not None else []
            bounds += [f"{cursor} < '{end}'"] if end is not None else []
            there = len(self.source(" AND ".join(bounds) or "TRUE"))
            if there != batch.rows + batch.quarantined:
                self._fault(
                    f"batch {batch.number} has {batch.rows} rows and {batch.quarantined} in quarantine, its window "
                    f"[{start}, {end}) holds {there} at the source"
                )

    def _check_history(self) -> None:
        """Along the snapshots of curated no key stands twice, no version goes back, nobody vanishes."""
        table = self._table("curated")
        if table is None:
            return
        newest: dict[Key, int] = {}
        consumed = 0
        at = self.kind.columns.index("v")
        before: set[Key] = set()
        # What was never deleted is never marked: it is there at the end.
        there = {row[0] for row in self.source("TRUE")}
        for snapshot in _history(table):
            rows = list(self._curated_rows(table, snapshot))
            twice = [key for key, times in Counter(row[0] for row in rows).items() if times > 1]
            if twice:
                self._fault(f"a snapshot of curated held keys twice: {sorted(twice)}")
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
                self._fault(f"curated marked as deleted what the source has: {marked}")
            now = int(_properties(snapshot).get(CONSUMED, consumed))
            if now < consumed:
                self._fault(f"curated said batch {consumed} was merged, later {now}")
            consumed = now

    def _curated_rows(self, table: Table | None, snapshot: Snapshot | None = None) -> Iterable[Row]:
        names = [*self.kind.columns, *([DELETED] if self.kind.swept else [])]
        for row in _rows(table, names, snapshot):
            yield (*row[: len(self.kind.columns)], self.kind.swept and row[-1] is not None)

    def _warehouse_rows(self, deleted: bool) -> Iterable[Row]:
        columns = ", ".join([*self.kind.columns, *([DELETED] if deleted else [])])
        for row in self.warehouse.query(f"SELECT {columns} FROM `{self.warehouse.project}.{self.target}`").result(60):
            values = tuple(row.values())
            yield (*values[: len(self.kind.columns)], deleted and values[-1] is not None)

    def _compare(self, place: str, expected: Counter[Row], there: Counter[Row]) -> None:
        if missing := expected - there:
            self._fault(f"{place} lacks {_told(missing)}")
        if more := there - expected:
            self._fault(f"{place} has {_told(more)} that the source does not have so")

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
    # A JDBC catalog keeps its tables under its name.
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
    """The snapshots of a table's main branch, the oldest first."""
    found: list[Snapshot] = []
    snapshot = table.current_snapshot()
    while snapshot is not None:
        found.append(snapshot)
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return found[::-1]


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


def _told(rows: Counter[Row]) -> str:
    return ", ".join(f"{row}{f' {times} times' if times > 1 else ''}" for row, times in sorted(rows.items(), key=repr))
