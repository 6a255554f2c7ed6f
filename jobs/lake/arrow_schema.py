"""The columns of a lake table as plain Python writes them: Arrow's types with Iceberg's field ids."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN
from jobs.lake.schema import BATCH_COLUMN, RUN_COLUMN


def raw_arrow(table: Table, names: Sequence[str]) -> pa.Schema:
    """The columns a batch brings into its raw table, and those of lineage, with Iceberg's field ids.

    Columns of the table that the batch lacks are left out: a file without them has NULL there.

    Args:
        names: the batch's columns.
    """
    wanted = (*names, RUN_COLUMN, BATCH_COLUMN, SLICE_COLUMN, REJECTED_COLUMN)
    fields = {field.name: field for field in arrow_fields(table)}
    return pa.schema([fields[name] for name in wanted])


def arrow_fields(table: Table) -> pa.Schema:
    """All columns of a table of the lake, with Iceberg's field ids."""
    return pa.schema([_narrow(field) for field in schema_to_pyarrow(table.schema())])


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
