"""Warns, in a plan, of rows that BigQuery would remove at once because their partition has expired."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connectors.base import ReadPlan, ReadRequest, Source
from jobs.spec.bigquery_table import WarehouseSpec

if TYPE_CHECKING:
    from google.cloud import bigquery

    from connectors.bigquery.client import Warehouse


def expiry_warnings(spec: WarehouseSpec, source: Source, dataset: ReadRequest, plan: ReadPlan) -> tuple[str, ...]:
    """Return a warning with the number of such rows, if the source knows it cheaply. Load counts the others."""
    if spec.partition_expiration_days is None or spec.partition_by is None or not plan.slices:
        return ()
    from jobs.warehouse.table_layout import expiring, kept_from

    kept = kept_from(spec, datetime.now(UTC))
    older = source.count_older(dataset, plan, spec.partition_by, kept) if kept is not None else None
    if not older or kept is None:
        return ()
    return (expiring(spec, f"{older:,} rows of this batch", kept),)


def newly_expiring(warehouse: Warehouse, table: bigquery.Table, spec: WarehouseSpec) -> tuple[str, ...]:
    """Return a warning with the number of rows that load removes from a table by shortening its partitions' life.

    The rows are counted only while the table lacks the expiration of the spec. The query reads the partition column of
    these rows. For the errors see `Warehouse.query`.
    """
    by, days = table.time_partitioning, spec.partition_expiration_days
    if by is None or by.field is None or days is None or spec.partition_by is None:
        return ()
    from connectors.bigquery.partitions import Partitioning
    from connectors.bigquery.statements import quoted
    from jobs.warehouse.table_layout import expiring, kept_from

    known = by.expiration_ms
    kept = kept_from(spec, datetime.now(UTC))
    if kept is None or (known is not None and int(known) <= days * 24 * 3600 * 1000):
        return ()
    kind = next((field.field_type for field in table.schema if field.name == by.field), "DATE")
    older = Partitioning(by.field, kind).before(kept, quoted(by.field))
    name = quoted(warehouse.address.project, *spec.table.split("."))
    count = int(warehouse.query(f"SELECT COUNT(*) FROM {name} WHERE {older}")[0][0])
    return (expiring(spec, f"{count:,} rows of the table", kept),) if count else ()
