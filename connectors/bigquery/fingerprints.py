"""The fingerprint of staging: what BigQuery makes of the rows, to be held against what was made of them on their way.

It is the exact sum of a hash of each whole row. The hash is 60 bits of MD5 of the row's canonical text: the first
15 of its hexadecimal digits. `jobs/transport_hash.py` makes the same of Arrow's rows. The text is the columns in
staging's order with `|` between them, `~` for NULL:

* INT64: its digits. BOOL: `true` or `false`.
* DATE: days since 1970-01-01. DATETIME, TIMESTAMP: microseconds since then, an instant's in UTC.
* NUMERIC, BIGNUMERIC: integer digits, a point, the fraction without trailing zeros: `100.`, `-1.5`, `0.05`.
* FLOAT64: 17 significant digits, which no two numbers share: `1.0000000000000001e-01`; `inf`, `-inf`, `nan`. Both
  zeros are `0`, and so are one: nothing in GoogleSQL but their text tells them apart.
* STRING: its length in bytes, a colon, itself: `5:ab|cd`. So no text can look like two columns, or like a NULL.
* BYTES: hexadecimal digits.

MD5, for both sides have it: no library that is here has FARM_FINGERPRINT for Python, and SHA-256 is slower wherever the
processor has no instructions for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SEPARATOR = "|"
NULL = "~"
DIGITS = 15
PART_DIGITS = 5
"""The digits are summed in parts: an INT64 holds the sum of 20 bits over 2^43 rows."""

_TEXT = {
    "INT64": "CAST({0} AS STRING)",
    "BOOL": "CAST({0} AS STRING)",
    "DATE": "CAST(UNIX_DATE({0}) AS STRING)",
    "DATETIME": "CAST(DATETIME_DIFF({0}, DATETIME '1970-01-01', MICROSECOND) AS STRING)",
    "TIMESTAMP": "CAST(UNIX_MICROS({0}) AS STRING)",
    # Whole numbers come without a point from BigQuery, and from its emulator with one and nine zeros.
    "NUMERIC": "RTRIM(IF(STRPOS(CAST({0} AS STRING), '.') > 0, CAST({0} AS STRING), CONCAT(CAST({0} AS STRING), '.')),"
    " '0')",
    "FLOAT64": "CASE WHEN {0} = 0 THEN '0' WHEN IS_NAN({0}) THEN 'nan' WHEN {0} IS NOT NULL THEN FORMAT('%.16e', {0})"
    " END",
    "STRING": "CONCAT(CAST(BYTE_LENGTH({0}) AS STRING), ':', {0})",
    "BYTES": "TO_HEX({0})",
}
_TEXT["BIGNUMERIC"] = _TEXT["NUMERIC"]


def row_hash(columns: Iterable[tuple[str, str]]) -> str:
    """The MD5 of a row in hexadecimal digits, as GoogleSQL.

    Args:
        columns: (expression, staged type) of each.
    """
    texts = ", ".join(_TEXT[kind].format(column) for column, kind in columns)
    return f"TO_HEX(MD5(ARRAY_TO_STRING([{texts}], '{SEPARATOR}', '{NULL}')))"


def sums(hashed: str) -> list[str]:
    """Aggregates over a column of such hashes, of which `total` makes the fingerprint."""
    starts = range(1, DIGITS + 1, PART_DIGITS)
    parts = [f"CAST(CONCAT('0x', SUBSTR({hashed}, {start}, {PART_DIGITS})) AS INT64)" for start in starts]
    return [f"COALESCE(SUM({part}), 0)" for part in parts]


def total(parts: Sequence[int]) -> int:
    """The sum of the hashes, from the sums of their parts, the most significant first."""
    found = 0
    for part in parts:
        found = (found << 4 * PART_DIGITS) + part
    return found
