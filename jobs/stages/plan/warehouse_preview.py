"""Finds, while planning, tables in BigQuery that cannot become in place what the spec says.

Planning asks only for metadata, which costs nothing, with one exception. If the spec gives the partitions of a table a
shorter life, it counts once the rows that this would remove. A warehouse that does not answer, or refuses, stops no
plan: load asks again, and must have its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from pyiceberg.table import Table

from connectors.base import Column
from connectors.bigquery.client import Warehouse
from connectors.bigquery.columns import in_emulator, lacking_in_emulator, warehouse_columns
from connectors.bigquery.cost import bytes_text
from connectors.bigquery.ledger import Ledger, shared_entries, shared_name
from connectors.bigquery.tables import TableShape, check_existing, find_table
from connectors.bigquery.transactions import Entry
from connectors.errors import LakeferryError
from jobs.lake.batch_log import PublishedBatch
from jobs.runtime.events import event
from jobs.runtime.settings import Settings
from jobs.spec.models import DatasetSpec
from jobs.stages.load.ledger_checks import check_ledger, rebuilt_tables
from jobs.stages.load.moved_table import rows_elsewhere
from jobs.stages.plan.expiry import newly_expiring
from jobs.warehouse.client import open_warehouse
from jobs.warehouse.table_layout import planned_partitioning


class WarehouseLook:
    """One look at the warehouse for all datasets of a plan, from several threads. Nothing is asked before the first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._asked = False
        self._warehouse: Warehouse | None = None
        self._shared: dict[str, Entry] = {}

    def look(
        self,
        dataset: DatasetSpec,
        read_lake: Callable[[], tuple[Table | None, Sequence[PublishedBatch]]],
        arriving: Sequence[Column] = (),
    ) -> tuple[str, ...]:
        """Return what people should know of the dataset's table before it is loaded.

        Args:
            read_lake: reads the dataset's raw table (None before the first batch) and its batches. It is called after
                the ledger has been read, so that it includes a batch that is loaded meanwhile.
            arriving: the columns as the lake would get them, masks applied; empty while they are not known.

        Raises:
            ConfigurationError: load would refuse the table, or the lake, as it is; the error names the way out.
        """
        with self._lock:
            warehouse = self._open()
        if warehouse is None:
            return ()
        name, came_from = dataset.bigquery.table, None
        ledger = Ledger(warehouse, dataset.name)
        try:
            table, entry, place = find_table(warehouse, name), ledger.look(), ledger.name
            if entry is None:
                entry, place = self._shared.get(dataset.name), shared_name(warehouse)
        except LakeferryError as error:
            _unseen(error)
            return ()
        if entry is not None:
            raw, published = read_lake()
            rebuilt = rebuilt_tables(dataset, raw, published) if raw is not None else ()
            check_ledger(dataset, raw, published, entry, Ledger(warehouse, dataset.name, rebuilt))
        if entry is not None and dataset.write_disposition != "replace":
            came_from = rows_elsewhere(dataset, entry, place)
        try:
            old = find_table(warehouse, came_from) if came_from else None
        except LakeferryError as error:
            _unseen(error)
            return ()
        emulated = warehouse.address.endpoint is not None
        lacking = None
        if table is not None or emulated:
            columns = warehouse_columns(
                ((column.name, column.spark_type, None) for column in arriving),
                {column.name: column.parsed for column in arriving if column.parsed},
            )
            if emulated:
                lacking, columns = lacking_in_emulator(columns), in_emulator(columns)
        notes = (lacking,) if lacking else ()
        if table is not None:
            shape = TableShape(name, tuple(columns), planned_partitioning(dataset.bigquery))
            check_existing(table, shape, emulated)
        expiring = newly_expiring(warehouse, table, dataset.bigquery) if table is not None else ()
        if came_from is None:
            return (*notes, *expiring)
        size = f", {bytes_text(old.num_bytes)}" if old is not None and old.num_bytes else ""
        copied = f"load copies all rows of {came_from}{size}, to {name} before it brings a batch (relayout: copy)"
        return (*notes, copied, *expiring)

    def _open(self) -> Warehouse | None:
        if not self._asked:
            self._asked = True
            warehouse = open_warehouse(self._settings)
            try:
                warehouse.ping(patiently=False)
                self._shared = shared_entries(warehouse)
                self._warehouse = warehouse
            except LakeferryError as error:
                _unseen(error)
        return self._warehouse


def _unseen(error: LakeferryError) -> None:
    event("skipped", stage="plan", reason=f"the tables in BigQuery were not checked: {error.problem}")
