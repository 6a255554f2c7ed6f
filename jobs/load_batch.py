"""Bring one table of BigQuery up to `main`: every published batch after the one its ledger row names.

Each batch goes raw → Parquet → staging table → one transaction that changes the table and moves the
ledger. A crash anywhere leaves either the whole batch or nothing of it, and the next run goes on.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.table import Table

from connectors.bigquery import statements
from connectors.bigquery.client import Warehouse
from connectors.bigquery.columns import warehouse_name
from connectors.bigquery.cost import Cost, refuse_above
from connectors.bigquery.ledger import Entry, Ledger
from connectors.bigquery.statements import Target
from connectors.bigquery.tables import drop_table, ensure_table, find_table, make_staging, relax
from connectors.errors import ConfigurationError, LakeferryError, LoadRefused, ObjectNotFound, SpecError
from jobs.batch.columns import identity_columns, version_columns
from jobs.crash import crash_point
from jobs.lake import catalog
from jobs.lake.batches import PublishedBatch, published_batches
from jobs.lake.json_columns import json_columns
from jobs.plan_document import DatasetPlan, Plan
from jobs.receipts import Receipt
from jobs.settings import Settings
from jobs.spec import DatasetSpec
from jobs.transport import columns_of, write_parquet
from jobs.warehouse import open_warehouse
from jobs.warehouse_layout import check_layout, laid_out, partitioning, table_shape

if TYPE_CHECKING:
    from jobs.stages import Context


@dataclass
class _Moved:
    """What one call of `load_dataset` brought. `already` are this run's batches that an earlier attempt brought."""

    now: list[PublishedBatch] = field(default_factory=list)
    already: list[PublishedBatch] = field(default_factory=list)
    passed_over: list[int] = field(default_factory=list)
    bytes: int = 0
    cost: Cost = field(default_factory=Cost)


def load(context: Context, dataset: DatasetPlan) -> Receipt:
    """The load stage's work on one dataset; see `load_dataset`."""
    return load_dataset(context.plan, dataset, context.settings)


def load_dataset(plan: Plan, dataset_plan: DatasetPlan, settings: Settings) -> Receipt:
    """Load every batch of the dataset that BigQuery lacks; return the receipt, which the caller leaves.

    Batches other runs published and nobody loaded are brought as well, oldest first; of a `replace`
    only the newest counts. `published` and `loaded` are rows of the batches brought and of this run's
    own, if an earlier attempt brought it.

    Raises:
        LoadRefused: a count or key that does not hold, or a value BigQuery refuses; nothing is half done.
        ConfigurationError: the table in BigQuery does not fit the dataset.
        ServiceUnavailable, AccessDenied: within 15 seconds where nothing answers.
    """
    started = time.monotonic()
    dataset = plan.dataset_spec(dataset_plan.name)
    crash_point("load.before", dataset.name)
    try:
        moved, rows = _load(plan, dataset, settings)
    except LakeferryError as error:
        raise error.located(pipeline=plan.pipeline, dataset=dataset.name) from None
    brought = moved.already + moved.now
    counted = sum(batch.rows for batch in brought)
    own = next((batch for batch in brought if batch.run_id == plan.run_id), None)
    return Receipt(
        pipeline=plan.pipeline,
        run_id=plan.run_id,
        generation=dataset_plan.generation,
        stage="load",
        dataset=dataset.name,
        verdict="done" if brought else "empty",
        batch=brought[-1].batch if brought else None,
        published=counted,
        loaded=counted,
        warehouse_rows=rows,
        bytes=moved.bytes,
        seconds=round(time.monotonic() - started, 3),
        window_start=own.window_start if own else None,
        window_end=own.window_end if own else None,
        details={
            "table": dataset.bigquery.table,
            "batches": [batch.batch for batch in moved.now],
            "already_loaded": [batch.batch for batch in moved.already],
            "passed_over": list(moved.passed_over),
            "bytes_estimated": moved.cost.estimated,
            "bytes_processed": moved.cost.processed,
            "bytes_billed": moved.cost.billed,
        },
    )


def _load(plan: Plan, dataset: DatasetSpec, settings: Settings) -> tuple[_Moved, int | None]:
    raw = catalog.find_table(catalog.open_catalog(settings), catalog.RAW, dataset.name)
    published = published_batches(raw)
    moved = _Moved()
    if raw is None or not published:
        return moved, None
    warehouse = open_warehouse(settings)
    moved.cost = warehouse.cost
    warehouse.ping()
    ledger = Ledger(warehouse)
    entry = ledger.open(dataset.name)
    at = entry.batch
    pending = _pending(published, at, dataset, ledger)
    if dataset.write_disposition != "replace" or not pending:
        _refuse_part(dataset, entry, ledger, warehouse)
    moved.already = [batch for batch in published if batch.run_id == plan.run_id and batch.batch <= at]
    loader = _Loader(plan, dataset, raw, warehouse, ledger, settings.max_bytes_billed)
    for batch in pending:
        if batch.batch > at:
            moved.passed_over += range(at + 1, batch.batch)
            at = loader.move(batch, at)
            moved.bytes += loader.bytes
        moved.now.append(batch)
    return moved, loader.rows()


def _refuse_part(dataset: DatasetSpec, entry: Entry, ledger: Ledger, warehouse: Warehouse) -> None:
    """A table that lacks the batches before the ledger's would hold a part and look whole."""
    table = dataset.bigquery.table
    if not entry.batch:
        return
    if entry.target not in (None, table):
        raise ConfigurationError(
            f"bigquery.table is {table}, and the batches up to {entry.batch} are in {entry.target}: the new table "
            "would hold a part of the rows",
            fix=f"Set it back, or copy {entry.target} to {table} and set target in the row of {dataset.name} in the "
            f"ledger {ledger.name}",
        )
    if find_table(warehouse, table) is None:
        raise ObjectNotFound(
            f"table {table} is gone from BigQuery, while {ledger.name} says batch {entry.batch} is loaded",
            fix=f"To load it afresh: delete the row of {dataset.name} from the ledger, then run again",
        )


def _pending(published: list[PublishedBatch], at: int, dataset: DatasetSpec, ledger: Ledger) -> list[PublishedBatch]:
    newest = published[-1].batch
    if at > newest:
        raise ConfigurationError(
            f"the ledger {ledger.name} says batch {at} is loaded, the lake has published {newest}: "
            "they belong to different lakes",
            fix="Set LAKEFERRY_LAKE and LAKEFERRY_WAREHOUSE_PROJECT to ones that belong together; where the lake was "
            f"made anew, drop {dataset.bigquery.table} and delete the row of {dataset.name} from the ledger",
        )
    pending = [batch for batch in published if batch.batch > at]
    if dataset.write_disposition == "replace":
        return pending[-1:]
    missing = sorted(set(range(at + 1, newest + 1)) - {batch.batch for batch in pending})
    if missing:
        raise LoadRefused(
            f"batches {missing} were published and are gone from the log of {catalog.RAW}.{dataset.name}; "
            f"BigQuery has come to batch {at}",
            fix="Load runs behind the expiry of snapshots: load the table afresh (drop it and its row in the ledger) "
            "from a full extract",
        )
    return pending


class _Loader:
    """Moves batches of one dataset. `bytes` are those of the last batch's transport file."""

    def __init__(
        self,
        plan: Plan,
        dataset: DatasetSpec,
        raw: Table,
        warehouse: Warehouse,
        ledger: Ledger,
        most_bytes: int | None,
    ) -> None:
        self._plan = plan
        self._dataset = dataset
        self._raw = raw
        self._warehouse = warehouse
        self._ledger = ledger
        self._most_bytes = dataset.bigquery.max_bytes_billed or most_bytes
        self.bytes = 0
        project = warehouse.address.project
        self.quoted_table = statements.quoted(project, *dataset.bigquery.table.split("."))
        columns = laid_out(plan.dataset(dataset.name), dataset, columns_of(raw.schema(), json_columns(raw)))
        key: list[str] = []
        if dataset.write_disposition in ("merge", "append"):
            key = dataset.primary_key or [column.name for column in identity_columns(plan.spec)]
        if dataset.write_disposition == "append" and not key:
            raise SpecError(
                "write_disposition append needs a primary_key here: rows of this source do not carry the place they "
                "came from, and loaded twice would be there twice",
                where=plan.spec.file or None,
                fix="Add primary_key: [COLUMN, …]",
            )
        check_layout(dataset, columns, key)
        self._target = Target(
            table=self.quoted_table,
            columns=columns,
            key=tuple(warehouse_name(name) for name in key),
            versions=tuple(warehouse_name(name) for name in version_columns(plan.spec, dataset)),
            partitioning=partitioning(dataset.bigquery, columns),
        )
        self._prepared = False
        self._never_null: set[str] = set()

    def rows(self) -> int:
        """Rows of the table. No limit holds here: the batch is in, and a refusal would call it failed for ever."""
        return int(self._warehouse.query(statements.count(self._target))[0][0])

    def move(self, batch: PublishedBatch, at: int) -> int:
        """Load one batch from where the ledger stands; return where it stands then."""
        self._prepare()
        self.bytes = 0
        name = f"{self._dataset.name}_{batch.batch}_{self._mark(batch)}"
        staging = f"{self._warehouse.address.ledger_dataset}.staging_{name}"
        days = self._days(batch)
        source = statements.quoted(self._warehouse.address.project, *staging.split(".")) if batch.rows else None
        try:
            if batch.rows:
                self._stage(batch, staging, f"lakeferry_{name}", days)
                crash_point("load.staged", self._dataset.name)
                self._relax(staging)
            changes = self._changes(batch, source, days)
        except ObjectNotFound:
            # Another loader that was faster has dropped the staging table; otherwise it is our trouble.
            now = self._ledger.open(self._dataset.name).batch
            if now < batch.batch:
                raise
            return now
        script = statements.transaction(
            self._ledger.quoted,
            self._dataset.name,
            target=self._dataset.bigquery.table,
            expected=at,
            batch=batch.batch,
            run_id=batch.run_id,
            rows=batch.rows,
            changes=changes,
        )
        now = self._ledger.commit(
            script,
            f"lakeferry_{name}_commit",
            self._dataset.name,
            expected=at,
            batch=batch.batch,
            most_bytes=self._most_bytes,
        )
        crash_point("load.committed", self._dataset.name)
        if now < batch.batch:
            raise LoadRefused(
                f"the ledger went from batch {at} to {now} while batch {batch.batch} was loaded",
                fix="Someone set it by hand: run again",
            )
        if batch.rows:
            drop_table(self._warehouse, staging)
        return now

    def _prepare(self) -> None:
        """Everything that is not part of a transaction: the table, its columns, its layout."""
        if self._prepared:
            return
        shape = table_shape(self._plan.pipeline, self._dataset, self._target)
        self._never_null = ensure_table(self._warehouse, shape)
        self._prepared = True

    def _stage(self, batch: PublishedBatch, staging: str, base_id: str, days: tuple[str, ...] | None) -> None:
        with tempfile.TemporaryDirectory(prefix="lakeferry-load-") as folder:
            path = Path(folder) / f"{batch.batch}.parquet"
            rows = write_parquet(self._raw, batch.batch, self._target.columns, path)
            if rows != batch.rows:
                raise LoadRefused(
                    f"batch {batch.batch} was published with {batch.rows} rows, {self._raw_name} holds {rows} of it",
                    fix="The raw table was changed from outside: nothing was loaded",
                )
            self.bytes = path.stat().st_size
            table = make_staging(self._warehouse, staging, self._target.columns)
            self._warehouse.load_parquet(path, table, base_id, lambda: find_table(self._warehouse, staging) is not None)
        source = statements.quoted(self._warehouse.address.project, *staging.split("."))
        staged, unkeyed, outside = self._warehouse.query(
            statements.census(self._target, source, days), self._most_bytes
        )[0]
        if staged != batch.rows:
            raise LoadRefused(
                f"batch {batch.batch} has {batch.rows} rows, its staging table {staging} {staged}",
                fix="Run again; the table is as it was",
            )
        if unkeyed:
            raise LoadRefused(
                f"{unkeyed} rows of batch {batch.batch} have NULL in their key ({', '.join(self._target.key)}): loaded "
                "again, they would be there twice",
                fix="Quarantine them with a row rule (the column is not null), or choose another primary_key",
            )
        if outside:
            raise LoadRefused(
                f"{outside} rows of batch {batch.batch} lie outside the partitions it replaces "
                f"({self._dataset.bigquery.partition_by} in {', '.join(days or ())})",
                fix="The transform must give rows of the partitions it was asked for only",
            )

    def _relax(self, staging: str) -> None:
        """Let columns be NULL that never were and are in this batch: later batches than the plan's, tombstones."""
        source = statements.quoted(self._warehouse.address.project, *staging.split("."))
        asked = [column.name for column in self._target.columns if column.name.lower() in self._never_null]
        if not asked:
            return
        counts = self._warehouse.query(statements.nulls(self._target, source, asked), self._most_bytes)[0]
        found = [name for name, count in zip(asked, counts, strict=True) if count]
        if found:
            relax(self._warehouse, self._dataset.bigquery.table, found)
            self._never_null -= {name.lower() for name in found}

    def _changes(self, batch: PublishedBatch, staging: str | None, days: tuple[str, ...] | None) -> list[str]:
        """The statements that bring the batch, once it is known what they will scan.

        Raises:
            LoadRefused: more than `max_bytes_billed`; nothing of it was run.
        """
        disposition = self._dataset.write_disposition
        if disposition == "replace":
            changes, asked = statements.replace(self._target, staging), 0
        elif disposition == "overwrite_partitions":
            changes, asked = statements.overwrite_partitions(self._target, staging, days or ()), 0
        elif staging is None:
            changes, asked = [], 0
        else:
            within, asked = self._touched(batch, staging)
            change = statements.merge if disposition == "merge" else statements.append
            changes = [change(self._target, staging, within)]
        self._afford(batch, changes, asked)
        return changes

    def _touched(self, batch: PublishedBatch, staging: str) -> tuple[str | None, int]:
        """The partitions a merge must look into, as literals (None: all, the table has none), and the bytes it took
        to find out.

        They are asked for before the transaction: it begins by asserting the batch they were asked at.
        """
        partitioning = self._target.partitioning
        if partitioning is None:
            return None, 0
        question = statements.touched(self._target, staging)
        asked = self._afford(batch, [question])
        names = [name for (name,) in self._warehouse.query(question, self._most_bytes)]
        return partitioning.condition(names, f"T.{statements.quoted(partitioning.column)}"), asked

    def _afford(self, batch: PublishedBatch, sqls: Sequence[str], asked: int = 0) -> int:
        """Bytes these statements will scan, which with those already asked for are within the limit."""
        size = sum(self._warehouse.estimate(sql) for sql in sqls)
        self._warehouse.cost.estimated += size
        own = self._dataset.bigquery.max_bytes_billed is not None
        key = "bigquery.max_bytes_billed" if own else "LAKEFERRY_MAX_BYTES_BILLED"
        what = f"bringing batch {batch.batch} into {self._dataset.bigquery.table}"
        refuse_above(self._most_bytes, asked + size, what, key)
        return size

    def _days(self, batch: PublishedBatch) -> tuple[str, ...] | None:
        if self._dataset.write_disposition != "overwrite_partitions":
            return None
        if batch.partitions is None:
            raise LoadRefused(
                f"batch {batch.batch} does not say which partitions it replaces", fix="Run the transform again"
            )
        return batch.partitions

    def _mark(self, batch: PublishedBatch) -> str:
        """Tells this batch from one of the same number in another lake, and one target from another."""
        identity = f"{self._raw.metadata.table_uuid} {batch.snapshot_id} {self.quoted_table}"
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    @property
    def _raw_name(self) -> str:
        return f"{catalog.RAW}.{self._dataset.name}"
