"""Rows as they land where no Spark expression is needed: masked, with the lake's columns, in the table's types.

The counterpart of `jobs.stages.batch.spark_landing` for Arrow. A masked value is masked everywhere: if a dataset has
masks, quarantine keeps the place and the reason of an undecodable row, not its record. Row rules are not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN
from jobs.masking.card_numbers import last_four_array
from jobs.masking.keyed_hash import hashed_array
from jobs.masking.masks import Masking


@dataclass(frozen=True)
class ArrowLanding:
    """Turns a source's batches into a raw table's.

    Args:
        schema: the columns of a file, in order, as Arrow types.
        lineage: columns that have one value in all rows of the batch, and that value.
    """

    schema: pa.Schema
    masking: Masking
    lineage: Mapping[str, str | int]

    def land(self, rows: pa.RecordBatch, slice_id: int) -> pa.RecordBatch:
        """Return `rows` as the raw table has them: the dataset's columns as read, and `_rejected`. Others are left
        out."""
        constants = {**self.lineage, SLICE_COLUMN: slice_id}
        arrays = []
        for field in self.schema:
            if field.name in constants:
                arrays.append(pa.repeat(pa.scalar(constants[field.name], field.type), rows.num_rows))
            elif field.name == REJECTED_COLUMN:
                arrays.append(self._rejected(rows.column(field.name), field.type))
            else:
                arrays.append(self._value(rows.column(field.name), field))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _value(self, values: pa.Array, field: pa.Field) -> pa.Array:
        match self.masking.mask.get(field.name):
            case "null":
                return pa.nulls(len(values), field.type)
            case "truncate":
                return last_four_array(values)
            case "hmac":
                assert self.masking.key is not None, "planned with a key"
                return hashed_array(values, self.masking.key, exact=field.name in self.masking.exact)
            case _:
                return values if values.type == field.type else values.cast(field.type)

    def _rejected(self, values: pa.Array, kind: pa.StructType) -> pa.Array:
        if values.null_count == len(values):
            return pa.nulls(len(values), kind)
        records = pa.nulls(len(values), pa.string()) if self.masking.mask else values.field("record")
        fields = [kind.field(n) for n in range(kind.num_fields)]
        return pa.StructArray.from_arrays([values.field("reason"), records], fields=fields, mask=values.is_null())
