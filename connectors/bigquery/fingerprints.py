"""The fingerprint of staging: BigQuery computes it from the rows, to compare it with that of the rows on their way.

It is the exact sum of a hash of each whole row. The hash is 60 bits of MD5 of the row's canonical text: the first 15 of
its hexadecimal digits. `connectors/bigquery/arrow_fingerprints.py` computes the same from Arrow's rows. The text is the
columns in staging's order, joined by `|`; NULL is `~`:

* INT64: its digits. BOOL: `true` or `false`.
* DATE: days since 1970-01-01. DATETIME, TIMESTAMP: microseconds since then, an instant's in UTC.
* NUMERIC: up to nine thousand million, above zero or below, its billionths: `1500000000` is 1.5. Beyond, and BIGNUMERIC
  always: integer digits, a point, the fraction without trailing zeros: `100.`, `-1.5`, `0.05`.
* FLOAT64: 17 significant digits, which no two numbers share: `1.0000000000000001e-01`; `inf`, `-inf`, `nan`. Both
  zeros are `0`, and so count as one: GoogleSQL distinguishes them only in their text.
* STRING: its length in bytes, then itself, as two columns: `5|ab|cd`. So no text can look like two columns; a NULL is
  `~|~`, which has no length.
* BYTES: hexadecimal digits.

MD5, because both sides have it: no library in use has FARM_FINGERPRINT for Python, and SHA-256 is slower on processors
without instructions for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SEPARATOR = "|"
NULL = "~"
DIGITS = 15
PART_BITS = 20
"""The bits are summed in parts: an INT64 holds the sum of 20 of them over 2^43 rows."""
BILLIONTHS = 10**9
MOST_IN_BILLIONTHS = 9 * 10**9
"""How large a NUMERIC may be for an INT64 to hold its billionths."""

# Whole numbers come without a point from BigQuery, and from its emulator with one and nine zeros.
_WITH_POINT = (
    "RTRIM(IF(STRPOS(CAST({0} AS STRING), '.') > 0, CAST({0} AS STRING), CONCAT(CAST({0} AS STRING), '.')), '0')"
)
# A double may round a number to the next whole one, and the rest, which is taken from the number itself, makes up for
# it: less than one, it has nine digits, of which a double loses none. DuckDB takes four times as long to write or to
# divide a wide decimal.
_WHOLE = "CAST(CAST({0} AS FLOAT64) AS INT64)"
_IN_BILLIONTHS = (
    f"CAST({_WHOLE} * {BILLIONTHS} + CAST(CAST({{0}} - {_WHOLE} AS FLOAT64) * {BILLIONTHS} AS INT64) AS STRING)"
)
_TEXTS = {
    "INT64": ("CAST({0} AS STRING)",),
    "BOOL": ("CAST({0} AS STRING)",),
    "DATE": ("CAST(UNIX_DATE({0}) AS STRING)",),
    "DATETIME": ("CAST(DATETIME_DIFF({0}, DATETIME '1970-01-01', MICROSECOND) AS STRING)",),
    "TIMESTAMP": ("CAST(UNIX_MICROS({0}) AS STRING)",),
    "NUMERIC": (
        f"CASE WHEN {{0}} BETWEEN -{MOST_IN_BILLIONTHS} AND {MOST_IN_BILLIONTHS} THEN {_IN_BILLIONTHS} "
        f"ELSE {_WITH_POINT} END",
    ),
    "BIGNUMERIC": (_WITH_POINT,),
    "FLOAT64": (
        "CASE WHEN {0} = 0 THEN '0' WHEN IS_NAN({0}) THEN 'nan' WHEN {0} IS NOT NULL THEN FORMAT('%.16e', {0}) END",
    ),
    "STRING": ("CAST(BYTE_LENGTH({0}) AS STRING)", "{0}"),
    "BYTES": ("TO_HEX({0})",),
}


def row_hash(columns: Iterable[tuple[str, str]]) -> str:
    """The hash of a row, an INT64, as GoogleSQL.

    Args:
        columns: (expression, staged type) of each.
    """
    # ARRAY_TO_STRING could put something for NULL itself: the emulator then calls a function for each element.
    texts = ", ".join(f"IFNULL({text.format(column)}, '{NULL}')" for column, kind in columns for text in _TEXTS[kind])
    digits = f"SUBSTR(TO_HEX(MD5(ARRAY_TO_STRING([{texts}], '{SEPARATOR}'))), 1, {DIGITS})"
    return f"CAST(CONCAT('0x', {digits}) AS INT64)"


def sums(hashed: str) -> list[str]:
    """Aggregates over a column of such hashes, of which `total` makes the fingerprint."""
    parts = [f"(({hashed} >> {shift}) & {(1 << PART_BITS) - 1})" for shift in reversed(range(0, 4 * DIGITS, PART_BITS))]
    return [f"COALESCE(SUM({part}), 0)" for part in parts]


def total(parts: Sequence[int]) -> int:
    """The sum of the hashes, from the sums of their parts, the most significant first."""
    whole = 0
    for part in parts:
        whole = (whole << PART_BITS) + part
    return whole
