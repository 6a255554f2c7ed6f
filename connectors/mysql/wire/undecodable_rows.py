"""Builds the reason and record of an undecodable row. The wording must not change: by it a batch that reads a row
again finds that quarantine holds the row already."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.base import Column
from connectors.mysql.schema.column_types import ColumnType
from connectors.mysql.wire.binary_fields import Field, Moments, Texts

REJECTED_ARROW_TYPE = pa.struct([("reason", pa.string()), ("record", pa.string())])

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_ESCAPED = re.compile(r'["\\\x00-\x1f]')


def rejections(
    columns: Sequence[Column],
    kinds: Sequence[ColumnType],
    fields: Sequence[Field],
    broken: Mapping[int, npt.NDArray[np.bool_]],
    altered: Mapping[int, npt.NDArray[np.bool_]],
    missing: npt.NDArray[np.bool_] | None,
    required: int | None,
    masked_columns: Collection[str],
) -> pa.Array:
    """Returns the `_rejected` of all rows of a block: NULL for a good one.

    Args:
        broken: by place of a column, which of its values do not have its type.
        altered: by place of a column, which of its texts the server's conversion to Unicode altered.
        missing: which rows have no value in the `required` column.
        masked_columns: columns whose values no reason shows.
    """
    rows = len(fields[0])
    rejected = np.zeros(rows, dtype=np.bool_)
    for flags in (*broken.values(), *altered.values(), *([missing] if missing is not None else [])):
        rejected |= flags
    reasons, records = [], []
    for row in np.flatnonzero(rejected).tolist():
        parts = []
        if missing is not None and required is not None and missing[row]:
            nulls = fields[required].nulls
            what = "NULL" if nulls is not None and nulls[row] else "a zero date"
            parts.append(f"{columns[required].name}: {what}, so no window holds the row")
        for place in (place for place in sorted(broken) if broken[place][row]):
            name = columns[place].name
            problem = "not a date" if columns[place].spark_type != "string" else "not text in UTF-8"
            shown = name not in masked_columns and columns[place].spark_type != "string"
            parts.append(
                f"{name}: {problem}: {_text(kinds[place], fields[place], row)}" if shown else f"{name}: {problem}"
            )
        for place in (place for place in sorted(altered) if altered[place][row]):
            parts.append(f"{columns[place].name}: {kinds[place].character_set} text that Unicode does not give back")
        reasons.append("; ".join(parts))
        values = (
            f"{_quoted(column.name)}:{_in_record(kind, field, row)}"
            for column, kind, field in zip(columns, kinds, fields, strict=False)
        )
        records.append(f"{{{','.join(values)}}}")
    # Each rejected row takes its place among the few texts; the others take none.
    places = pa.array(np.cumsum(rejected, dtype=np.int32) - 1, mask=~rejected)
    reason_and_record = [pa.array(texts, pa.string()).take(places) for texts in (reasons, records)]
    return pa.StructArray.from_arrays(reason_and_record, fields=list(REJECTED_ARROW_TYPE), mask=pa.array(~rejected))


def _in_record(kind: ColumnType, field: Field, row: int) -> str:
    if field.nulls is not None and field.nulls[row]:
        return "null"
    if kind.spark_type == "binary" and isinstance(field, Texts):
        return _quoted(base64.b64encode(field.value(row)).decode())
    return _quoted(_text(kind, field, row))


def _text(kind: ColumnType, field: Field, row: int) -> str:
    """Returns a value as the server writes it, except for doubles."""
    if isinstance(field, Moments):
        return field.value(row, None if kind.spark_type == "date" else kind.fraction)
    value = field.value(row)
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
        return re.sub(r"^0+(?=\d)", "", text) if kind.zero_filled else text
    return java_double(value) if isinstance(value, float) else str(value)


def java_double(value: float) -> str:
    """Returns a double as Java writes it (`Double.toString`), which is how the first records were made."""
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return f"{sign}0.0"
    # Python's repr has the fewest digits that give the value back.
    number = Decimal(repr(abs(value))).normalize()
    digits, power = "".join(map(str, number.as_tuple().digits)), number.adjusted()
    if -3 <= power < 7:
        text = f"{number:f}"
        return f"{sign}{text}" if "." in text else f"{sign}{text}.0"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power}"


def _quoted(text: str) -> str:
    """Returns a JSON string as Spark's `to_json` writes it."""
    return f'"{_ESCAPED.sub(_escaped, text)}"'


def _escaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04X}"
