"""A row's fingerprint: a checksum of its canonical text. The server computes one beside the row, and we compute one of
what arrived, in Spark or in Arrow (`arrow_fingerprints`).

The text is the columns in order, joined by `|`. A number or a date is written as digits. A text follows its length in
characters (`5|ab|cd`), so that no two rows share a text. NULL is `~`, which no other value begins with; for a text it
is `~|`. Long texts and bytes are replaced by their own checksum, since MySQL gives NULL for a text over
`max_allowed_packet`. The checksum is CRC-32 (ISO 3309, zlib's); for `columns` it is the checksum of each column, joined
by commas. All come from the values of one SELECT, so no row can change in between.

Each row is compared with its own checksum, so 32 bits are enough: a row that changed arbitrarily passes once in four
thousand million, and one that changed within four bytes never passes. CRC-32 costs a server next to nothing, while MD5
of a row takes half as long as its text.

Servers, Java and Arrow write doubles differently. So a double is written as three whole numbers that both sides compute
without rounding: its bits from 2^-78 to 2^78, 52 at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectors.base import FingerprintOf
from connectors.mysql.schema.column_types import ColumnType

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression

NULL = "~"
# Powers of two, so that products and remainders are exact.
SHIFT, SPAN = 2**26, 2**52
UP_78, DOWN_26 = 2.0**78, 2.0**-26


def server_fingerprint(columns: Sequence[tuple[str, ColumnType]], of: FingerprintOf) -> str:
    """Returns the SQL expression for (quoted column, its type), in order: a whole number for a row, text for
    `columns`."""
    parts = [_on_server(quoted, kind) for quoted, kind in columns]
    if of == "columns":
        return f"CONCAT_WS(',', {', '.join(_checksum_on_server(part) for part in parts)})"
    return _checksum_on_server([text for part in parts for text in part])


def spark_fingerprint(columns: Sequence[tuple[Expression, ColumnType]], of: FingerprintOf) -> Expression:
    """Returns the same fingerprint for values as the lake has them."""
    from pyspark.sql import functions as F

    parts = [_in_spark(value, kind) for value, kind in columns]
    if of == "columns":
        return F.concat_ws(",", *(_checksum(F.concat_ws("|", *part)).cast("string") for part in parts))
    return _checksum(F.concat_ws("|", *(text for part in parts for text in part)))


def _checksum_on_server(texts: Sequence[str]) -> str:
    return f"CRC32(CONCAT_WS('|', {', '.join(texts)}))"


def _checksum(text: Expression) -> Expression:
    from pyspark.sql import functions as F

    return F.crc32(text.cast("binary"))


def _on_server(quoted: str, kind: ColumnType) -> list[str]:
    """Returns the texts of a column. They are never NULL, which CONCAT_WS would leave out."""
    match kind.proof:
        case "plain" | "wall clock":
            # The session's time zone is UTC, which writes an instant like a wall clock time.
            value = kind.select(quoted) if kind.zero_is_null else kind.read(quoted)
            return [f"IFNULL({value}{' + 0' if kind.zero_filled else ''}, '{NULL}')"]
        case "text":
            # Count characters: the number of bytes depends on the column's character set.
            return [f"IFNULL(CHAR_LENGTH({quoted}), '{NULL}')", f"IFNULL({kind.select(quoted)}, '')"]
        case "long text" | "bytes":
            return [f"IFNULL(CRC32({kind.select(quoted)}), '{NULL}')"]
        case "double":
            selected = kind.select(quoted)
            windows = (
                f"MOD({selected}, {SHIFT}) * {SHIFT}",
                f"MOD({selected} / {SHIFT}, {SPAN})",
                f"MOD({selected}, {DOWN_26!r}) * {UP_78!r}",
            )
            whole = [f"CAST(FLOOR({window}) AS SIGNED)" for window in windows]
            return [f"IFNULL(CONCAT({whole[0]}, ',', {whole[1]}, ',', {whole[2]}), '{NULL}')"]


def _in_spark(value: Expression, kind: ColumnType) -> list[Expression]:
    from pyspark.sql import functions as F

    def there(text: Expression, missing: str = NULL) -> Expression:
        return F.coalesce(text, F.lit(missing))

    match kind.proof:
        case "plain":
            return [there(value.cast("string"))]
        case "wall clock":
            return [there(_wall_clock_in_spark(value, kind))]
        case "text":
            return [there(F.char_length(value).cast("string")), there(value, "")]
        case "long text" | "bytes":
            return [there(_checksum(value).cast("string"))]
        case "double":
            double = value.cast("double")
            windows = (
                double % float(SHIFT) * float(SHIFT),
                double / float(SHIFT) % float(SPAN),
                double % DOWN_26 * UP_78,
            )
            # Concatenated so that NULL stays NULL.
            whole = [F.floor(window).cast("string") for window in windows]
            return [there(F.concat(whole[0], F.lit(","), whole[1], F.lit(","), whole[2]))]


def _wall_clock_in_spark(value: Expression, kind: ColumnType) -> Expression:
    from pyspark.sql import functions as F

    if kind.spark_type == "timestamp":
        # Show the UTC clock, independently of the session's time zone, whose clocks may show an hour twice.
        seconds = F.unix_micros(value).cast("decimal(24,6)") / 1_000_000
        value = F.expr("TIMESTAMP_NTZ'1970-01-01 00:00:00'") + F.make_dt_interval(secs=seconds.cast("decimal(18,6)"))
    text = value.cast("string")
    if not kind.fraction:
        return text
    # Spark omits trailing zeros, and the point with them.
    return F.rpad(F.concat(text, F.when(F.length(text) == 19, ".").otherwise("")), 20 + kind.fraction, "0")
