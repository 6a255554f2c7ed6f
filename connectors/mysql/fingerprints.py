"""A row's fingerprint: a hash of its canonical text, made by the server beside the row and by us from what arrived.

By us: in Spark's words or in Arrow's (`arrow_fingerprints`). The text is the columns in order, `|` between them: a
number, a date as digits; a text behind its length in bytes (`5:ab|cd`), so that no two rows share a text; a NULL as
`~`, which nothing else begins with. What may be long, and bytes, stand as their MD5: MySQL gives NULL for a text over
`max_allowed_packet`. The hash is the first 64 bits of the text's MD5, 16 hexadecimal digits; of `columns`, that of each
column, with commas between. All hash the same SELECT's values, so no row can move in between.

Servers, Java and Arrow write doubles differently. A double stands as three whole numbers that both compute without any
rounding: its bits from 2^-78 to 2^78, 52 at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectors.base import FingerprintOf
from connectors.mysql.column_types import ColumnType

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression

DIGITS = 16
NULL = "~"
# Powers of two, so that products and remainders are exact.
SHIFT, SPAN = 2**26, 2**52
UP_78, DOWN_26 = 2.0**78, 2.0**-26


def server_fingerprint(columns: Sequence[tuple[str, ColumnType]], of: FingerprintOf) -> str:
    """The SQL expression for (expression of the selected value, its type), in order."""
    parts = [f"IFNULL({_on_server(selected, kind)}, '{NULL}')" for selected, kind in columns]
    if of == "columns":
        return f"CONCAT_WS(',', {', '.join(f'LEFT(MD5({part}), {DIGITS})' for part in parts)})"
    return f"LEFT(MD5(CONCAT_WS('|', {', '.join(parts)})), {DIGITS})"


def spark_fingerprint(columns: Sequence[tuple[Expression, ColumnType]], of: FingerprintOf) -> Expression:
    """The same for values as they stand in the lake."""
    from pyspark.sql import functions as F

    parts = [F.coalesce(_in_spark(value, kind), F.lit(NULL)) for value, kind in columns]
    if of == "columns":
        return F.concat_ws(",", *(_hash(part) for part in parts))
    return _hash(F.concat_ws("|", *parts))


def _hash(text: Expression) -> Expression:
    from pyspark.sql import functions as F

    return F.substring(F.md5(text.cast("binary")), 1, DIGITS)


def _on_server(selected: str, kind: ColumnType) -> str:
    match kind.proof:
        case "plain" if kind.zero_filled:
            return f"CAST({selected} + 0 AS CHAR)"
        case "plain" | "wall clock":
            return f"CAST({selected} AS CHAR)"
        case "instant":
            # The session's time zone is UTC.
            return f"CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {selected}) AS CHAR)"
        case "text":
            return f"CONCAT(LENGTH({selected}), ':', {selected})"
        case "long text" | "bytes":
            return f"MD5({selected})"
        case "double":
            windows = (
                f"MOD({selected}, {SHIFT}) * {SHIFT}",
                f"MOD({selected} / {SHIFT}, {SPAN})",
                f"MOD({selected}, {DOWN_26!r}) * {UP_78!r}",
            )
            whole = [f"CAST(FLOOR({window}) AS SIGNED)" for window in windows]
            return f"CONCAT({whole[0]}, ',', {whole[1]}, ',', {whole[2]})"


def _in_spark(value: Expression, kind: ColumnType) -> Expression:
    from pyspark.sql import functions as F

    match kind.proof:
        case "plain":
            return value.cast("string")
        case "wall clock":
            text = value.cast("string")
            if not kind.fraction:
                return text
            # Spark leaves trailing zeros out, and the point with them.
            return F.rpad(F.concat(text, F.when(F.length(text) == 19, ".").otherwise("")), 20 + kind.fraction, "0")
        case "instant":
            return F.unix_micros(value).cast("string")
        case "text":
            return F.concat(F.octet_length(value).cast("string"), F.lit(":"), value)
        case "long text" | "bytes":
            return F.md5(value.cast("binary"))
        case "double":
            double = value.cast("double")
            windows = (
                double % float(SHIFT) * float(SHIFT),
                double / float(SHIFT) % float(SPAN),
                double % DOWN_26 * UP_78,
            )
            # Concatenated so that NULL stays NULL.
            whole = [F.floor(window).cast("string") for window in windows]
            return F.concat(whole[0], F.lit(","), whole[1], F.lit(","), whole[2])
