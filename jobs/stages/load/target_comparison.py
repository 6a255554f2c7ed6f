"""Checks, after a load, that the table in BigQuery holds what curated holds.

It compares live rows, and a sum over their keys and versions, per partition: the partitions that the loaded batches
touched, and all of them in the first load of a day (UTC). Staging and the ledger prove what goes into the table. This
comparison proves what is in it, no matter who changed it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from google.cloud import bigquery
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from connectors.bigquery import comparison
from connectors.bigquery.client import Warehouse
from connectors.bigquery.columns import warehouse_name
from connectors.bigquery.comparison import PartitionNumber, PartitionSum
from connectors.bigquery.cost import bytes_text
from connectors.bigquery.ledger import Ledger
from connectors.bigquery.partitions import Partitioning
from connectors.bigquery.statements import Target, quoted
from connectors.bigquery.tables import column_types, expired_before, find_table
from connectors.bigquery.transactions import Entry
from connectors.errors import TargetDiffers
from jobs.lake.batch_log import CONSUMED, CONSUMED_TABLE, History, consumed, properties_of
from jobs.lake.catalog import find_table as find_lake_table
from jobs.lake.documents import Documents
from jobs.lake.names import CURATED
from jobs.spec.models import DatasetSpec
from jobs.stages.load.comparison_record import compared_on, record_comparison
from jobs.stages.load.curated_sums import CuratedSums, schema_at

MOST_NAMED = 5
"""How many partitions a message names."""
MOST_ROWS = 5_000_000
"""How many rows of curated a load reads to compare the partitions it touched: a few seconds. If there are more, a table
without partitions by time is compared in the first load of a day only."""
EXPIRY_MARGIN = timedelta(days=1)
"""A partition that BigQuery is about to drop is not compared: it may be gone from one moment to the next."""


@dataclass(frozen=True)
class Comparison:
    """What was compared: `partitions` of the table with live rows on either side, and their `rows` in curated.
    `skipped` says why nothing was compared, or why not the whole table when that was due."""

    partitions: int = 0
    rows: int = 0
    whole: bool = False
    skipped: str | None = None


class TargetComparison:
    """Compares one dataset's table with curated after a load.

    Args:
        target: the table.
        most_bytes: what the query may scan. Above it nothing is compared: the batch is in, and stays in.
    """

    def __init__(
        self,
        dataset: DatasetSpec,
        target: Target,
        warehouse: Warehouse,
        ledger: Ledger,
        catalog: Catalog,
        documents: Documents,
        most_bytes: int | None,
    ) -> None:
        self._dataset = dataset
        self._target = target
        self._warehouse = warehouse
        self._ledger = ledger
        self._catalog = catalog
        self._documents = documents
        self._most_bytes = most_bytes
        self._by = next(
            (c for c in target.columns if target.partitioning and c.name == target.partitioning.column), None
        )
        self._columns = comparison.summed_columns(target, [warehouse_name(name) for name in dataset.primary_key])

    def after_load(
        self, loaded: Entry, touched: Collection[PartitionNumber] | None, corrected: bool = False
    ) -> Comparison:
        """Compare the partitions that were touched. Compare all of them if that was not done today, or if rows of an
        earlier batch were set aside.

        The cost is a scan of key, version and partition columns, of the compared partitions, on both sides.

        Args:
            loaded: the ledger's row after the load.
            touched: the partitions touched; None if it may be all of them.
            corrected: whether a loaded batch is a correction. Its rows were in partitions that no statement touched.

        Raises:
            TargetDiffers: the two differ; the error names the partitions. The next load compares the whole table again.
        """
        today, table, raw_uuid = datetime.now(UTC).date(), self._dataset.bigquery.table, str(loaded.table_uuid)
        whole = corrected or not compared_on(self._documents, self._dataset.name, today, table, raw_uuid)
        done = self._compare(loaded, None if whole else touched, whole)
        if whole and done.skipped is not None:
            if corrected:
                # The partitions that a correction touches are not known: the next load compares all of them.
                record_comparison(self._documents, self._dataset.name, None, table, raw_uuid)
            if touched is not None:
                part = self._compare(loaded, touched, whole=False)
                done = replace(part, skipped=part.skipped or f"all of {table} was due: {done.skipped}")
        if done.whole:
            record_comparison(self._documents, self._dataset.name, today, table, raw_uuid)
        return done

    def _compare(self, loaded: Entry, asked: Collection[PartitionNumber] | None, whole: bool) -> Comparison:
        if asked is not None and not asked:
            # No partition was touched. A table may refuse a query that names none.
            return Comparison()
        name = self._dataset.name
        curated = find_lake_table(self._catalog, CURATED, name)
        snapshot = _snapshot_at(curated, loaded)
        if curated is None or snapshot is None:
            return Comparison(skipped=f"curated.{name} has no snapshot of batch {loaded.batch}")
        if properties_of(snapshot).get("total-equality-deletes", "0") != "0":
            return Comparison(skipped=f"curated.{name} has equality deletes, which PyIceberg does not apply")
        table = find_table(self._warehouse, self._dataset.bigquery.table)
        if table is None:
            raise TargetDiffers(f"table {self._dataset.bigquery.table} is gone from BigQuery", fix=self._fix())
        known = schema_at(curated, snapshot).column_names
        lacking = [c.lake_name for c in [*self._columns, *([self._by] if self._by else [])] if c.lake_name not in known]
        if lacking:
            return Comparison(skipped=f"curated.{name} has no column {', '.join(lacking)}")
        sums = CuratedSums(curated, snapshot, self._columns, self._by, self._target.partitioning, asked)
        if not whole and sums.rows > MOST_ROWS:
            return Comparison(skipped=f"it would read {sums.rows:,} rows of curated: it is compared once a day")
        query = comparison.sums_query(self._target, self._columns, self._types(table), self._within(asked))
        # Without a limit the answer of a dry run would change nothing.
        if self._most_bytes is not None and (size := self._warehouse.estimate(query)) > self._most_bytes:
            return Comparison(skipped=f"it would scan {bytes_text(size)}, the limit is {bytes_text(self._most_bytes)}")
        theirs = comparison.sums_of(self._warehouse.query(query, self._most_bytes), self._target.partitioning)
        ours = sums.read()
        now = self._ledger.look()
        if now is None or (now.batch, now.table_uuid) != (loaded.batch, loaded.table_uuid):
            return Comparison(skipped="another run loaded a batch meanwhile")
        differing = [
            number
            for number in comparison.differing_partitions(ours, theirs, asked)
            if not _may_be_expired(number, self._target.partitioning, table)
        ]
        if differing:
            record_comparison(self._documents, name, None, self._dataset.bigquery.table, str(loaded.table_uuid))
            raise TargetDiffers(
                f"{self._dataset.bigquery.table} is not what curated.{name} holds after batch {loaded.batch}: "
                f"{_named(differing, ours, theirs, self._target.partitioning)}. Batch {loaded.batch} is loaded",
                fix=self._fix(),
            )
        numbers = {*ours, *theirs} if asked is None else {*ours, *theirs} & set(asked)
        return Comparison(len(numbers), sum(ours[number].live for number in numbers if number in ours), whole)

    def _within(self, asked: Collection[PartitionNumber] | None) -> str | None:
        by = self._target.partitioning
        if asked is None or by is None:
            return None
        return by.scan_condition([_name(by, number) for number in asked], f"T.{quoted(by.column)}")

    def _types(self, table: bigquery.Table) -> Mapping[str, str]:
        types = column_types(table)
        return {column.name: types.get(column.name.lower(), column.type) for column in self._target.columns}

    def _fix(self) -> str:
        return (
            "If the table was changed by hand, restore it from BigQuery's time travel. "
            f"{self._ledger.way_afresh(self._dataset.bigquery.table)}"
        )


def _snapshot_at(curated: Table | None, loaded: Entry) -> Snapshot | None:
    """Return a snapshot of curated that holds the batches up to the ledger's and no later one; None if there is
    none."""
    at = consumed(curated)
    if curated is None or at is None or at.raw_uuid not in (None, loaded.table_uuid):
        return None
    if at.batch == loaded.batch:
        return curated.current_snapshot()
    for snapshot in History(curated).snapshots:
        properties = properties_of(snapshot)
        if properties.get(CONSUMED) == str(loaded.batch) and properties.get(CONSUMED_TABLE) == loaded.table_uuid:
            return snapshot
    return None


def _name(partitioning: Partitioning, number: PartitionNumber) -> datetime | int | None:
    if number is None or partitioning.integers is not None:
        return number
    return partitioning.moment(number)


def _may_be_expired(number: PartitionNumber, partitioning: Partitioning | None, table: bigquery.Table) -> bool:
    """Whether BigQuery may have dropped the partition, now or under an expiration that the table had before."""
    kept_from = expired_before(table)
    if kept_from is None or partitioning is None or partitioning.integers is not None:
        return False
    # Whether the partition of NULLs expires is not documented.
    return number is None or partitioning.moment(number).replace(tzinfo=UTC) <= kept_from + EXPIRY_MARGIN


def _named(
    differing: Sequence[PartitionNumber],
    ours: comparison.PartitionSums,
    theirs: comparison.PartitionSums,
    partitioning: Partitioning | None,
) -> str:
    nothing = PartitionSum()
    sentences = [
        _difference(_label(number, partitioning), ours.get(number, nothing), theirs.get(number, nothing))
        for number in differing[:MOST_NAMED]
    ]
    more = len(differing) - MOST_NAMED
    return "; ".join(sentences) + (f"; and {more} more partitions" if more > 0 else "")


def _difference(label: str, ours: PartitionSum, theirs: PartitionSum) -> str:
    if ours.live == theirs.live:
        return f"{label} has {theirs.live} live rows as curated has, with other keys or versions"
    return f"{label} has {theirs.live} live rows, curated has {ours.live}"


def _label(number: PartitionNumber, partitioning: Partitioning | None) -> str:
    if partitioning is None:
        return "the table"
    return f"partition {'NULL' if number is None else partitioning.label(number)}"
