"""Moves one published batch: raw → Parquet → staging table → one transaction that changes the table and the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pyiceberg.table import Table

from connectors.bigquery import fingerprints, statements, transactions
from connectors.bigquery.arrow_fingerprints import TransportHash
from connectors.bigquery.bucket import Bucket
from connectors.bigquery.client import Warehouse
from connectors.bigquery.columns import in_emulator, warehouse_name
from connectors.bigquery.comparison import PartitionNumber
from connectors.bigquery.ledger import Ledger
from connectors.bigquery.relocation import Relocation, relocate
from connectors.bigquery.removal import remove_marked
from connectors.bigquery.statements import Target
from connectors.bigquery.tables import (
    drop_table,
    ensure_table,
    expired_before,
    find_table,
    note_expired,
    relax,
    required_columns,
)
from connectors.bigquery.transactions import Entry
from connectors.errors import LoadRefused, ObjectNotFound, SpecError
from connectors.versions import columns_there, renamed_versions
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.bigquery_types import parsed_columns
from jobs.lake.expired_batches import ExpiredBatch
from jobs.runs.plan_document import Plan
from jobs.runtime.events import event
from jobs.runtime.fault_points import crash_point
from jobs.spec.models import DatasetSpec
from jobs.stages.load.executor_transport import Executors
from jobs.stages.load.load_changes import Changes
from jobs.stages.load.staging import Staging
from jobs.stages.load.transport_files import columns_of
from jobs.warehouse.table_layout import check_layout, expiring, kept_from, laid_out, partitioning, removes, table_shape


class BatchLoader:
    """Moves batches of one dataset.

    `bytes` is the size of the last batch's transport files; `fingerprint` is that of its rows, None if the dataset asks
    for none. `touched` are the partitions that the moved batches touched; None if it may be all of them. `expired`
    counts the rows, of all batches, that BigQuery removes at once.
    """

    def __init__(
        self,
        plan: Plan,
        dataset: DatasetSpec,
        raw: Table,
        warehouse: Warehouse,
        ledger: Ledger,
        most_bytes: int | None,
        bucket: Bucket | None = None,
        executors: Executors | None = None,
    ) -> None:
        self._plan = plan
        self._dataset = dataset
        self._raw = raw
        self._warehouse = warehouse
        self._ledger = ledger
        self.most_bytes = dataset.bigquery.max_bytes_billed or most_bytes
        self.bytes = 0
        self.expired = 0
        self.fingerprint: int | None = None
        self.touched: set[PartitionNumber] | None = set()
        project = warehouse.address.project
        self.quoted_table = statements.quoted(project, *dataset.bigquery.table.split("."))
        identity = plan.dataset(dataset.name).identity
        kept = columns_of(raw.schema(), parsed_columns(raw))
        if warehouse.address.endpoint is not None:
            kept = in_emulator(kept)
        columns = laid_out(plan.dataset(dataset.name), dataset, kept)
        key: list[str] = []
        if dataset.write_disposition in ("merge", "append"):
            key = dataset.primary_key or list(identity.place)
        if dataset.write_disposition == "append" and not key:
            raise SpecError(
                "write_disposition append needs a primary_key here: rows of this source do not carry the place they "
                "came from, and loaded twice would be duplicated",
                where=plan.spec.file or None,
                fix="Add primary_key: [COLUMN, …]",
            )
        check_layout(dataset, columns, key)
        self.target = Target(
            table=self.quoted_table,
            columns=columns,
            key=tuple(warehouse_name(name) for name in key),
            versions=renamed_versions(columns_there(identity.versions, raw.schema().column_names), warehouse_name),
            partitioning=partitioning(dataset.bigquery, columns),
            removes=removes(dataset, columns),
            log=identity.log.renamed(warehouse_name) if identity.log else None,
        )
        self._staging = Staging(warehouse, bucket, dataset.name, executors)
        self._prepared = False
        self._never_null: set[str] = set()

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self._dataset.name

    @property
    def correctable(self) -> bool:
        """Whether rows of a batch that BigQuery refuses can be set aside. In `replace` the next batch passes it
        anyway."""
        return self._dataset.write_disposition != "replace"

    def rows(self) -> int:
        """Count the rows of the table. No limit applies: the batch is in, and a refusal would call it failed for
        ever."""
        return int(self._warehouse.query(statements.count(self.target))[0][0])

    def bring_over(self, came_from: str, entry: Entry) -> tuple[Entry, int]:
        """Copy the rows of the batches up to the ledger's from their earlier table. Returns the ledger's new entry and
        the number of rows."""
        # Rows marked as deleted there are removed once they are here: `_prepare` runs later.
        ensure_table(self._warehouse, table_shape(self._plan.pipeline, self._dataset, self.target))
        crash_point("load.relocating", self._dataset.name)
        move = Relocation(self._dataset.name, came_from, self._dataset.bigquery.table, entry)
        old = find_table(self._warehouse, came_from)
        if old is not None:
            note_expired(self._warehouse, self._dataset.bigquery.table, expired_before(old))
        copied = relocate(self._warehouse, self._ledger, self.target, move, self.most_bytes)
        crash_point("load.relocated", self._dataset.name)
        return copied

    def move(self, batch: PublishedBatch | ExpiredBatch, entry: Entry) -> Entry:
        """Load one batch on top of the ledger's entry. Returns the ledger's new entry: this batch of this raw table, or
        a later one of it."""
        self._prepare()
        self.bytes, self.fingerprint = 0, 0 if self._hashed else None
        name = f"{batch.batch}_{self._mark(batch)}"
        days = self._days(batch)
        loaded = Entry(
            batch=batch.batch,
            run_id=batch.run_id,
            rows=batch.rows,
            target=self._dataset.bigquery.table,
            table_uuid=str(self._raw.metadata.table_uuid),
            snapshot_id=batch.snapshot_id,
        )
        staging, source = "", None
        try:
            if batch.rows:
                staging, with_nulls = self._stage(batch, name, days)
                source = statements.quoted(self._warehouse.address.project, *staging.split("."))
                crash_point("load.staged", self._dataset.name)
                self._relax(with_nulls)
            target = replace(self.target, in_order=batch.reads_on)
            making = Changes(self._dataset, target, self._warehouse, self.most_bytes, batch.batch, batch.rows)
            changes = making.statements(source, days)
            touched = making.touched
            self.touched = None if self.touched is None or touched is None else self.touched | touched
        except ObjectNotFound:
            # A faster loader has dropped the staging table; if not, the error is ours.
            now = self._ledger.find()
            if not _holds(now, loaded):
                raise
            return now
        script = transactions.transaction(self._ledger.quoted, expected=entry, loaded=loaded, changes=changes)
        base_id = f"lakeferry_{self._dataset.name}_{name}_commit"
        crash_point("load.committing", self._dataset.name)
        now = self._ledger.commit(script, base_id, expected=entry, loaded=loaded, most_bytes=self.most_bytes)
        crash_point("load.committed", self._dataset.name)
        if not _holds(now, loaded):
            raise LoadRefused(
                f"{self._ledger.name} was changed while batch {batch.batch} was loaded: it was at batch "
                f"{entry.batch}, and is at batch {now.batch}, where this one is not loaded",
                fix="Someone set it by hand, or loads from another lake: see which, then run again",
            )
        if batch.rows:
            self._staging.clear(staging, name)
        return now

    def _prepare(self) -> None:
        """Prepare everything that is not part of a transaction: the table, its columns, its layout."""
        if self._prepared:
            return
        shape = table_shape(self._plan.pipeline, self._dataset, self.target)
        self._never_null = required_columns(ensure_table(self._warehouse, shape))
        if self.target.removes:
            remove_marked(self._warehouse, self.target, shape.name, self.most_bytes)
        self._prepared = True

    def _stage(
        self, batch: PublishedBatch | ExpiredBatch, name: str, days: tuple[str, ...] | None
    ) -> tuple[str, list[str]]:
        """Put the batch into a staging table and prove it. Returns the table's name, and the result of `_prove`."""
        hashed = TransportHash(self.target.columns) if self._hashed else None
        try:
            staging, self.bytes = self._staging.fill(self._raw, batch, name, self.target.columns, hashed)
        finally:
            # Also if another loader has brought the batch meanwhile.
            self.fingerprint = hashed.total() if hashed else None
        return staging, self._prove(batch, staging, days)

    def _prove(self, batch: PublishedBatch | ExpiredBatch, staging: str, days: tuple[str, ...] | None) -> list[str]:
        """Check that staging holds the batch, row by row as it left the lake. Returns the columns that are NULL in some
        of its rows and were never NULL in the table."""
        source = statements.quoted(self._warehouse.address.project, *staging.split("."))
        asked = [column.name for column in self.target.columns if column.name.lower() in self._never_null]
        kept = kept_from(self._dataset.bigquery, datetime.now(UTC))
        question = statements.census(self.target, source, days, never_null=asked, hashed=self._hashed, kept_from=kept)
        staged, unkeyed, outside, expired, *more = self._warehouse.query(question, self.most_bytes)[0]
        nulls, sums = more[: len(asked)], more[len(asked) :]
        fingerprint = fingerprints.total(sums) if self._hashed else None
        wrong = None
        if staged != batch.rows:
            wrong = f"batch {batch.batch} has {batch.rows} rows, its staging table {staging} {staged}"
        elif fingerprint != self.fingerprint:
            wrong = (
                f"batch {batch.batch} has its {batch.rows} rows in its staging table {staging}, and some of them are "
                f"not as they were published: their fingerprint is {fingerprint}, not {self.fingerprint}"
            )
        if wrong is not None:
            # Otherwise the next run would find its jobs done and this table in place.
            drop_table(self._warehouse, staging)
            raise LoadRefused(wrong, fix="Run again: the batch will be loaded again. The table was not changed")
        if unkeyed:
            raise LoadRefused(
                f"{unkeyed} rows of batch {batch.batch} have NULL in their key ({', '.join(self.target.key)}): loaded "
                "again, they would be duplicated",
                fix="Quarantine them with a row rule (the column is not null), or choose another primary_key; set "
                f"these rows aside: {correction_command(self._plan.pipeline, self.dataset, batch.batch)}",
            )
        if outside:
            raise LoadRefused(
                f"{outside} rows of batch {batch.batch} lie outside the partitions it replaces "
                f"({self._dataset.bigquery.partition_by} in {', '.join(days or ())})",
                fix="The transform must return only rows of the partitions it was asked for",
            )
        if expired and kept is not None:
            self.expired += expired
            what = f"{expired} of {batch.rows} rows of batch {batch.batch}"
            said = expiring(self._dataset.bigquery, what, kept)
            event("warning", stage="load", dataset=self._dataset.name, warning=said)
        return [name for name, count in zip(asked, nulls, strict=True) if count]

    def _relax(self, columns: Sequence[str]) -> None:
        """Allow NULL in columns that were never NULL before this batch: batches later than the plan's, tombstones."""
        if columns:
            relax(self._warehouse, self._dataset.bigquery.table, columns)
            self._never_null -= {name.lower() for name in columns}

    def _days(self, batch: PublishedBatch | ExpiredBatch) -> tuple[str, ...] | None:
        if self._dataset.write_disposition != "overwrite_partitions":
            return None
        if batch.partitions is None:
            raise LoadRefused(
                f"batch {batch.batch} does not say which partitions it replaces", fix="Run the transform again"
            )
        return batch.partitions

    def _mark(self, batch: PublishedBatch | ExpiredBatch) -> str:
        """Return a mark that distinguishes this batch from one of the same number in another lake, and targets too."""
        identity = f"{self._raw.metadata.table_uuid} {batch.snapshot_id} {self.quoted_table}"
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    @property
    def _hashed(self) -> bool:
        return self._dataset.reconcile == "fingerprint"


def correction_command(pipeline: str, dataset: str, batch: int) -> str:
    """Return the command that goes past a published batch that BigQuery refuses."""
    return f"lakeferry correct {pipeline} --dataset {dataset} --batch {batch} --where 'CONDITION' --reason 'WHY'"


def _holds(now: Entry, loaded: Entry) -> bool:
    """Whether a batch is in if the ledger stands at `now`: at the batch, or at a later one of the same raw table."""
    if now.table_uuid != loaded.table_uuid:
        return False
    if now.batch != loaded.batch:
        return now.batch > loaded.batch
    # If the batch has expired from the log, one of the two entries does not know the snapshot.
    return now.snapshot_id == loaded.snapshot_id or None in (now.snapshot_id, loaded.snapshot_id)
