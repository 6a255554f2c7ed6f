"""Datasets, tables and views, made and changed before any transaction begins: through the API where it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

from google.api_core import exceptions as api
from google.cloud import bigquery
from google.cloud.bigquery.table import PrimaryKey, TableConstraints

from connectors.bigquery.client import METADATA_SECONDS, RETRY, Warehouse
from connectors.bigquery.columns import WIDER, WarehouseColumn
from connectors.bigquery.partitions import IntegerRange, Partitioning
from connectors.bigquery.statements import quoted, widen
from connectors.errors import ConfigurationError, LoadRefused

STAGING_HOURS = 24
EXPIRED_LABEL = "lakeferry_expired_before"
"""The label that holds a day (UTC): partitions before it may have expired under an earlier expiration."""

_LOAD_AFRESH = (
    "give the dataset another bigquery.table, or drop this table and the dataset's ledger to load it from scratch"
)
_SYNONYMS = {
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "BOOLEAN": "BOOL",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
}


@dataclass(frozen=True)
class TableShape:
    """A table as the spec wants it: `name` is dataset.table. If `expiration_days` of partitions or `require_filter` are
    missing, the table keeps its own. BigQuery's optimizer uses `primary_key`, but BigQuery does not enforce it."""

    name: str
    columns: tuple[WarehouseColumn, ...]
    partitioning: Partitioning | None = None
    cluster_by: tuple[str, ...] = ()
    description: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    expiration_days: int | None = None
    require_filter: bool | None = None
    primary_key: tuple[str, ...] = ()

    @property
    def expiration_ms(self) -> int | None:
        return None if self.expiration_days is None else self.expiration_days * 24 * 3600 * 1000


def ensure_dataset(warehouse: Warehouse, name: str) -> None:
    """Makes the BigQuery dataset, in the warehouse's location, unless it is there."""
    dataset = bigquery.Dataset(f"{warehouse.address.project}.{name}")
    dataset.location = warehouse.address.location
    if warehouse.encryption:
        dataset.default_encryption_configuration = warehouse.encryption
    with warehouse.translated(ConfigurationError):
        try:
            warehouse.client.get_dataset(dataset.reference, retry=RETRY, timeout=METADATA_SECONDS)
        except api.NotFound:
            warehouse.client.create_dataset(dataset, exists_ok=True, retry=RETRY, timeout=METADATA_SECONDS)


def find_table(warehouse: Warehouse, name: str) -> bigquery.Table | None:
    """The table or view `dataset.table`, or None."""
    with warehouse.translated():
        try:
            return warehouse.client.get_table(
                f"{warehouse.address.project}.{name}", retry=RETRY, timeout=METADATA_SECONDS
            )
        except api.NotFound:
            return None


def ensure_table(warehouse: Warehouse, shape: TableShape) -> bigquery.Table:
    """Makes the table, or bring it up to the shape: columns it lacks are added, narrower ones widened, REQUIRED ones
    relaxed. Columns it has beyond the shape, and wider ones, stay. Returns the table as it is then.

    Raises:
        ConfigurationError: it is there with a type that cannot become the lake's, another partition column, or is
            no table; nothing was changed.
    """
    ensure_dataset(warehouse, shape.name.split(".")[0])
    table = find_table(warehouse, shape.name)
    if table is None:
        with warehouse.translated(ConfigurationError):
            warehouse.client.create_table(
                _new_table(warehouse, shape), exists_ok=True, retry=RETRY, timeout=METADATA_SECONDS
            )
        table = find_table(warehouse, shape.name)
        assert table is not None, "a table just made"
    check_existing(table, shape, warehouse.address.endpoint is not None)
    missing = _missing(table, shape)
    has = column_types(table)
    narrow = [column for column in shape.columns if column.type in WIDER.get(has.get(column.name.lower(), ""), ())]
    fields = _change(table, shape, missing)
    with warehouse.translated(ConfigurationError):
        try:
            if fields:
                warehouse.client.update_table(table, fields, retry=RETRY, timeout=METADATA_SECONDS)
        except api.PreconditionFailed:
            # Another loader changed it since we read it (the etag says so): look again at what is left to do.
            return ensure_table(warehouse, shape)
    name = quoted(warehouse.address.project, *shape.name.split("."))
    for column in narrow:
        try:
            warehouse.query(widen(name, column.name, column.type))
        except LoadRefused as refused:
            raise ConfigurationError(
                f"{shape.name}: column {column.name!r} is {has[column.name.lower()]} in BigQuery and "
                f"{column.type} in the lake, and cannot be widened: {refused.problem}",
                fix=_LOAD_AFRESH,
            ) from None
    for column in missing:
        # Nothing is left to do on BigQuery. The emulator's update changes what it says of the table, not the table.
        warehouse.query(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {quoted(column.name)} {_ddl_type(column.type)}")
    return table


def make_staging(warehouse: Warehouse, name: str, columns: Sequence[WarehouseColumn]) -> bigquery.Table:
    """A table for one batch, which BigQuery removes after a day should nobody else."""
    fields = [bigquery.SchemaField(column.staged_name, column.staged_type) for column in columns]
    table = bigquery.Table(f"{warehouse.address.project}.{name}", schema=fields)
    table.expires = datetime.now(UTC) + timedelta(hours=STAGING_HOURS)
    table.labels = {"managed_by": "lakeferry"}
    table.encryption_configuration = warehouse.encryption
    with warehouse.translated(ConfigurationError):
        warehouse.client.create_table(table, exists_ok=True, retry=RETRY, timeout=METADATA_SECONDS)
    return table


def drop_table(warehouse: Warehouse, name: str) -> None:
    """Removes the table, if it is there."""
    with warehouse.translated():
        warehouse.client.delete_table(
            f"{warehouse.address.project}.{name}", not_found_ok=True, retry=RETRY, timeout=METADATA_SECONDS
        )


def put_view(warehouse: Warehouse, name: str, sql: str, description: str | None) -> None:
    """Makes the view, or gives an existing one this text.

    Raises:
        ConfigurationError: BigQuery refuses the text, or a table has the name.
    """
    ensure_dataset(warehouse, name.split(".")[0])
    view = bigquery.Table(f"{warehouse.address.project}.{name}")
    view.view_query = sql
    view.description = description
    view.labels = {"managed_by": "lakeferry"}
    existing = find_table(warehouse, name)
    if existing is not None and existing.table_type != "VIEW":
        raise ConfigurationError(
            f"view {name}: BigQuery has a {existing.table_type.lower()} of this name",
            fix="Rename the view, or drop the table",
        )
    with warehouse.translated(ConfigurationError):
        if existing is None:
            warehouse.client.create_table(view, exists_ok=True, retry=RETRY, timeout=METADATA_SECONDS)
        else:
            warehouse.client.update_table(
                view, ["view_query", "description", "labels"], retry=RETRY, timeout=METADATA_SECONDS
            )


def scan_of_view(warehouse: Warehouse, sql: str) -> int:
    """Bytes a look at the whole view scans, by a dry run; 0 where its table refuses to be read without a filter, which
    is then up to who looks.

    Raises:
        ConfigurationError: BigQuery refuses the text.
    """
    try:
        return warehouse.estimate(sql, ConfigurationError)
    except ConfigurationError as refused:
        if "without a filter" in refused.problem:
            return 0
        raise


def schema(columns: Sequence[WarehouseColumn]) -> list[bigquery.SchemaField]:
    """BigQuery's schema."""
    return [
        bigquery.SchemaField(
            column.name,
            column.type,
            mode="REQUIRED" if column.required else "NULLABLE",
            description=column.description,
            policy_tags=bigquery.PolicyTagList([column.policy_tag]) if column.policy_tag else None,
        )
        for column in columns
    ]


def required_columns(table: bigquery.Table) -> set[str]:
    """Names, in lower case, of the columns that take no NULL."""
    return {field.name.lower() for field in table.schema if field.mode == "REQUIRED"}


def relax(warehouse: Warehouse, name: str, columns: Sequence[str]) -> None:
    """Lets these columns of the table be NULL, which BigQuery does in place and never takes back."""
    table = find_table(warehouse, name)
    assert table is not None, "a table that was just loaded into"
    wanted = {column.lower() for column in columns}
    table.schema = [_relaxed(field) if field.name.lower() in wanted else field for field in table.schema]
    with warehouse.translated(ConfigurationError):
        try:
            warehouse.client.update_table(table, ["schema"], retry=RETRY, timeout=METADATA_SECONDS)
        except api.PreconditionFailed:
            # As in `ensure_table`: another loader changed it.
            relax(warehouse, name, columns)


def _missing(table: bigquery.Table, shape: TableShape) -> list[WarehouseColumn]:
    has = {column.name.lower() for column in table.schema}
    return [column for column in shape.columns if column.name.lower() not in has]


def column_types(table: bigquery.Table) -> dict[str, str]:
    """GoogleSQL's type of each column, by its name in lower case."""
    return {column.name.lower(): _SYNONYMS.get(column.field_type, column.field_type) for column in table.schema}


def _relaxed(field: bigquery.SchemaField) -> bigquery.SchemaField:
    return bigquery.SchemaField.from_api_repr({**field.to_api_repr(), "mode": "NULLABLE"})


def _tagged(field: bigquery.SchemaField, tag: str | None) -> bigquery.SchemaField:
    """The field with the spec's policy tag; one the spec says nothing of keeps its own."""
    if tag is None or (field.policy_tags is not None and tag in field.policy_tags.names):
        return field
    return bigquery.SchemaField.from_api_repr({**field.to_api_repr(), "policyTags": {"names": [tag]}})


def _change(table: bigquery.Table, shape: TableShape, missing: Sequence[WarehouseColumn]) -> list[str]:
    """Sets on the table what differs from the shape; the names of what was set."""
    fields = []
    ours = {column.name.lower() for column in shape.columns}
    tags = {column.name.lower(): column.policy_tag for column in shape.columns}
    # A column that may be NULL in the source may be NULL here, even if somebody else created the table.
    never_null = {column.name.lower() for column in shape.columns if column.required}
    loose = {name for name in required_columns(table) & ours if name not in never_null}
    kept = [_relaxed(field) if field.name.lower() in loose else field for field in table.schema]
    kept = [_tagged(field, tags.get(field.name.lower())) for field in kept]
    # A table that has rows takes no new column that is REQUIRED.
    wanted = [*kept, *schema([replace(column, required=False) for column in missing])]
    if wanted != list(table.schema):
        table.schema = wanted
        fields.append("schema")
    labels = {**table.labels, **shape.labels}
    by_time = table.time_partitioning
    if by_time is not None and shape.expiration_ms not in (None, by_time.expiration_ms):
        labels |= expiry_label(expired_before(table))
        by_time.expiration_ms = shape.expiration_ms
        table.time_partitioning = by_time
        fields.append("time_partitioning")
    if shape.require_filter not in (None, bool(table.require_partition_filter)):
        table.require_partition_filter = shape.require_filter
        fields.append("require_partition_filter")
    if list(table.clustering_fields or []) != list(shape.cluster_by):
        table.clustering_fields = list(shape.cluster_by) or None
        fields.append("clustering_fields")
    if shape.description is not None and table.description != shape.description:
        table.description = shape.description
        fields.append("description")
    if labels != table.labels:
        table.labels = labels
        fields.append("labels")
    return fields


def expired_before(table: bigquery.Table) -> datetime | None:
    """Partitions that begin before this instant may be gone: they have expired, now or under an expiration that the
    table had before. None: none of them has."""
    by_time = table.time_partitioning
    instants = []
    if by_time is not None and by_time.expiration_ms is not None:
        instants.append(datetime.now(UTC) - timedelta(milliseconds=int(by_time.expiration_ms)))
    if EXPIRED_LABEL in table.labels:
        instants.append(datetime.combine(date.fromisoformat(table.labels[EXPIRED_LABEL]), time(), UTC))
    return max(instants, default=None)


def expiry_label(before: datetime | None) -> dict[str, str]:
    """The label that says what `expired_before` said, for when the expiration is another one."""
    return {} if before is None else {EXPIRED_LABEL: (before + timedelta(days=1)).date().isoformat()}


def note_expired(warehouse: Warehouse, name: str, before: datetime | None) -> None:
    """Puts on a table that rows from before an instant may lack: they expired in the table it was copied from."""
    table = find_table(warehouse, name)
    if table is None or before is None:
        return
    table.labels = {**table.labels, **expiry_label(before)}
    with warehouse.translated(ConfigurationError):
        warehouse.client.update_table(table, ["labels"], retry=RETRY, timeout=METADATA_SECONDS)


def _ddl_type(kind: str) -> str:
    """The type with its widest parameters: where a bare NUMERIC is not NUMERIC(38, 9), its values would not fit."""
    return {"NUMERIC": "NUMERIC(38, 9)", "BIGNUMERIC": "BIGNUMERIC(76, 38)"}.get(kind, kind)


def _new_table(warehouse: Warehouse, shape: TableShape) -> bigquery.Table:
    table = bigquery.Table(f"{warehouse.address.project}.{shape.name}", schema=schema(shape.columns))
    by = shape.partitioning
    if by is not None and by.integers is not None:
        parts = bigquery.PartitionRange(start=by.integers.start, end=by.integers.end, interval=by.integers.interval)
        table.range_partitioning = bigquery.RangePartitioning(range_=parts, field=by.column)
    elif by is not None:
        table.time_partitioning = bigquery.TimePartitioning(
            type_=by.granularity, field=by.column, expiration_ms=shape.expiration_ms
        )
    if shape.require_filter is not None:
        table.require_partition_filter = shape.require_filter
    if shape.primary_key:
        table.table_constraints = TableConstraints(PrimaryKey(columns=list(shape.primary_key)), None)
    table.encryption_configuration = warehouse.encryption
    table.clustering_fields = list(shape.cluster_by) or None
    table.description = shape.description
    table.labels = dict(shape.labels)
    return table


def check_existing(table: bigquery.Table, shape: TableShape, emulated: bool) -> None:
    """See that the table can become what the shape says, in place. For errors see `ensure_table`."""
    if table.table_type != "TABLE":
        raise ConfigurationError(
            f"{shape.name} is a {str(table.table_type).lower()} in BigQuery, not a table",
            fix="Give the dataset another bigquery.table",
        )
    has = column_types(table)
    repeated = {field.name.lower() for field in table.schema if field.mode == "REPEATED"}
    for column in shape.columns:
        kind = has.get(column.name.lower(), column.type)
        fits = kind == column.type or kind in WIDER.get(column.type, ()) or column.type in WIDER.get(kind, ())
        if column.name.lower() in repeated or not fits:
            many = "REPEATED " if column.name.lower() in repeated else ""
            raise ConfigurationError(
                f"{shape.name}: column {column.name!r} is {many}{kind} in BigQuery and {column.type} in the lake",
                fix=f"BigQuery cannot change the type in place: {_LOAD_AFRESH}",
            )
    has_partitions = _partitions_of(table)
    wanted = str(shape.partitioning or "nothing")
    # The emulator makes tables of integer ranges and does not say so.
    unsaid = emulated and shape.partitioning is not None and shape.partitioning.integers is not None
    if has_partitions != wanted and not unsaid:
        raise ConfigurationError(
            f"{shape.name} is partitioned by {has_partitions} in BigQuery, the spec says {wanted}",
            fix="BigQuery cannot change it in place: set bigquery.partition_by and its keys back, or name another "
            "bigquery.table and write relayout: copy beside it, which copies the rows there",
            key=("bigquery",),
        )


def _partitions_of(table: bigquery.Table) -> str:
    """How the table is partitioned, in the words of `Partitioning`."""
    by_time, by_range = table.time_partitioning, table.range_partitioning
    if by_range is not None:
        parts = by_range.range_
        integers = IntegerRange(int(parts.start), int(parts.end), int(parts.interval))
        return str(Partitioning(by_range.field, "INT64", integers=integers))
    if by_time is None:
        return "nothing"
    return str(Partitioning(by_time.field or "_PARTITIONTIME", "", by_time.type_ or "DAY"))
