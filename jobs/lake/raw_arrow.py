"""A raw table as plain Python writes into it: its columns as Arrow has them, and its file IO."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN
from jobs.lake.catalog import RAW, find_table, open_catalog
from jobs.lake.schema import BATCH_COLUMN, RUN_COLUMN
from jobs.settings import Settings


def raw_arrow(settings: Settings, dataset: str, names: Sequence[str]) -> tuple[pa.Schema, dict[str, str]]:
    """The columns a batch brings, and those of lineage, with Iceberg's field ids; and the table's file IO.

    Columns of the table that the batch lacks are left out: a file without them has NULL there.

    Args:
        names: the batch's columns.

    Raises:
        ServiceUnavailable: the lake or its catalog does not answer.
    """
    table = _raw(settings, dataset)
    wanted = (*names, RUN_COLUMN, BATCH_COLUMN, SLICE_COLUMN, REJECTED_COLUMN)
    fields = {field.name: field for field in arrow_fields(table)}
    return pa.schema([fields[name] for name in wanted]), dict(table.io.properties)


def arrow_fields(table: Table) -> pa.Schema:
    """All columns of a table of the lake, with Iceberg's field ids."""
    return pa.schema([_narrow(field) for field in schema_to_pyarrow(table.schema())])


def raw_file_io(settings: Settings, dataset: str) -> dict[str, str]:
    """Properties with which PyIceberg reaches the files of a raw table, on any machine that may.

    Raises:
        ServiceUnavailable: the lake or its catalog does not answer.
    """
    return dict(_raw(settings, dataset).io.properties)


def _raw(settings: Settings, dataset: str) -> Table:
    table = find_table(open_catalog(settings), RAW, dataset)
    assert table is not None, "asked for once there is a table"
    return table


def _narrow(field: pa.Field) -> pa.Field:
    """With 32-bit offsets: what PyIceberg calls large is large only in theory, and costs twice the memory to move."""
    return field.with_type(_narrow_type(field.type))


def _narrow_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([_narrow(kind.field(n)) for n in range(kind.num_fields)])
    return kind
