"""A dataset's table in BigQuery as its spec and its source want it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from connectors.bigquery import partition_types
from connectors.bigquery.columns import CLUSTER_TYPES, DELETED_COLUMN, WarehouseColumn, check_table, warehouse_name
from connectors.bigquery.partitions import Granularity, Partitioning
from connectors.bigquery.removal import DELETES_LABEL, MARKED
from connectors.bigquery.statements import Target
from connectors.bigquery.tables import TableShape
from jobs.runs.plan_document import DatasetPlan
from jobs.spec.bigquery_table import WarehouseSpec
from jobs.spec.models import DatasetSpec

_GRANULARITIES: dict[str, Granularity] = {"hour": "HOUR", "day": "DAY", "month": "MONTH", "year": "YEAR"}
_KEY_COLUMNS = 16
"""Columns a primary key may have ("Use primary and foreign keys" in BigQuery's documentation)."""


def laid_out(
    plan: DatasetPlan, dataset: DatasetSpec, columns: Sequence[WarehouseColumn]
) -> tuple[WarehouseColumn, ...]:
    """The columns with their policy tags, and REQUIRED where the source says NOT NULL: of a sweep only the key,
    for a tombstone holds nothing else."""
    # Tables that are there already have the columns that the source adds as NULLABLE.
    added = {column.name for column in plan.identity.columns}
    required = {column.name for column in plan.lake_columns if not column.nullable} - added
    if dataset.deletes == "sweep":
        required &= set(dataset.primary_key)
    tags = dataset.bigquery.policy_tags
    return tuple(
        replace(column, required=column.lake_name in required, policy_tag=tags.get(column.lake_name))
        for column in columns
    )


def check_layout(dataset: DatasetSpec, columns: Sequence[WarehouseColumn], key: Sequence[str]) -> None:
    """See that these columns can be laid out and merged as the spec says. For errors see `check_table`."""
    spec = dataset.bigquery
    check_table(
        columns,
        partition_by=spec.partition_by,
        cluster_by=spec.cluster_by,
        key=key,
        partition_types=partition_types(spec.partition_granularity.upper(), spec.partition_range is not None),
        tagged=spec.policy_tags,
    )


def partitioning(spec: WarehouseSpec, columns: Sequence[WarehouseColumn]) -> Partitioning | None:
    """How the table is partitioned; None: not at all."""
    by = next((column for column in columns if column.lake_name == spec.partition_by), None)
    if by is None:
        return None
    return Partitioning(
        by.name,
        by.type,
        _GRANULARITIES[spec.partition_granularity],
        spec.partition_range.integers if spec.partition_range else None,
        bool(spec.require_partition_filter),
    )


def planned_partitioning(spec: WarehouseSpec) -> Partitioning | None:
    """As `partitioning`, of a table whose columns are not known yet: good to be compared, not to make SQL of."""
    if spec.partition_by is None:
        return None
    integers = spec.partition_range.integers if spec.partition_range else None
    return Partitioning(warehouse_name(spec.partition_by), "", _GRANULARITIES[spec.partition_granularity], integers)


def kept_from(spec: WarehouseSpec, now: datetime) -> datetime | None:
    """Where the oldest partition begins, in UTC, that BigQuery does not remove at once; None where none expires."""
    by, days = planned_partitioning(spec), spec.partition_expiration_days
    if by is None or days is None:
        return None
    try:
        return by.first_kept(now, days)
    except OverflowError:
        # So many days lie before the year 1.
        return None


def expiring(spec: WarehouseSpec, rows: str, kept: datetime) -> str:
    """A warning that BigQuery removes rows at once. `rows`: how many, and which."""
    return (
        f"{rows} lie in partitions of {spec.table} that have expired (partition_expiration_days: "
        f"{spec.partition_expiration_days}, {spec.partition_by} before {kept:%Y-%m-%d %H:%M} UTC): BigQuery removes "
        "them at once. The lake keeps them"
    )


def removes(dataset: DatasetSpec, columns: Sequence[WarehouseColumn]) -> bool:
    """Whether rows that are gone at the source leave the table; before the first sweep nothing says they are gone."""
    return dataset.bigquery.deletes == "remove" and any(column.name == DELETED_COLUMN for column in columns)


def table_shape(pipeline: str, dataset: DatasetSpec, target: Target) -> TableShape:
    """The table that `ensure_table` makes or brings up to date."""
    spec = dataset.bigquery
    kinds = {column.name: column.type for column in target.columns}
    fit = len(target.key) <= _KEY_COLUMNS and all(kinds[name] in CLUSTER_TYPES for name in target.key)
    ours = {"managed_by": "lakeferry", "lakeferry_pipeline": pipeline, "lakeferry_dataset": dataset.name}
    if dataset.deletes == "sweep" and not target.removes:
        # This label shows a later `remove` that there may be marked rows.
        ours[DELETES_LABEL] = MARKED
    return TableShape(
        name=spec.table,
        columns=target.columns,
        partitioning=target.partitioning,
        cluster_by=tuple(warehouse_name(name) for name in spec.cluster_by),
        description=dataset.description,
        labels={**spec.labels, **ours},
        expiration_days=spec.partition_expiration_days,
        require_filter=spec.require_partition_filter,
        primary_key=target.key if fit else (),
    )
