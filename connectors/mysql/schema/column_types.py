"""The type ledger of MySQL and TiDB: how each column type reaches the lake and BigQuery, and what it loses.

Every value travels as the server has it (`wire`): no step applies a calendar or a time zone, and a zero date arrives
with its zeros, not as NULL. Where an expression makes the value, FLOAT becomes DOUBLE, since the server's text of a
FLOAT has only six digits. (MySQL manual, chapters Data Types and Floating-Point Types.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from connectors.base import TypeVerdict
from connectors.mysql.schema.character_sets import is_whole, split_character_set
from connectors.mysql.sql import LiteralKind

SPARK_DECIMAL_DIGITS = 38

Travel = Literal["as is", "as text", "as double", "as integer", "as WKT"]
"""The expression that makes the column's value: none, CAST AS CHAR, times 1e0, CAST AS an integer, ST_AsText."""

ZeroDates = Literal["quarantine", "null", "text"]
"""What happens to a date whose month or day is zero: the row is set aside, the value becomes NULL, or the whole column
is text. MySQL stores such dates unless `sql_mode` forbids it (manual, NO_ZERO_DATE)."""

Proof = Literal["plain", "text", "long text", "bytes", "double", "wall clock"]
"""How a value is written in the text whose checksum proves a row; see `connectors.mysql.proof.fingerprints`."""


@dataclass(frozen=True)
class ColumnType:
    """One line of the ledger.

    `spark_type` is the type in the lake. `literal_kind` is how a value is written in a range over the column; it is
    None if values do not sort the way they compare (ENUM) or if comparison is not exact (FLOAT). `fraction` is the
    number of digits of a second. `note` explains to people what is not obvious. `text_by_cast`: the server sends text
    only if the statement casts to it. `character_set` is set if text of it is checked (`character_sets`).
    """

    spark_type: str
    travel: Travel
    literal_kind: LiteralKind | None = None
    verdict: TypeVerdict = "exact"
    note: str | None = None
    proof: Proof = "plain"
    fraction: int = 0
    zero_is_null: bool = False
    zero_filled: bool = False
    text_by_cast: bool = False
    character_set: str | None = None

    def read(self, quoted: str) -> str:
        """Returns the expression that is read for the quoted column: that of `select`, but without a conversion if the
        server sends the same value anyway. Text arrives in the character set of the session. A zero date that becomes
        NULL does so in `decoding`, not on the server."""
        sent_as_is = self.travel == "as double" or (self.travel == "as text" and not self.text_by_cast)
        return quoted if sent_as_is else self.select(quoted)

    def select(self, quoted: str) -> str:
        """Returns the expression that makes the value of the quoted column."""
        match self.travel:
            case "as is":
                return quoted
            case "as text" if self.zero_is_null:
                return f"IF(MONTH({quoted}) = 0 OR DAYOFMONTH({quoted}) = 0, NULL, CAST({quoted} AS CHAR))"
            case "as text":
                return f"CAST({quoted} AS CHAR)"
            case "as double":
                return f"{quoted} * 1e0"
            case "as integer":
                return f"CAST({quoted} AS UNSIGNED)"
            case "as WKT":
                # x before y, as on MariaDB and in EWKT; MySQL 8 would write latitudes first (manual, Geometry Format
                # Conversion Functions). Other servers, also MariaDB, ignore a comment for MySQL 8.
                text = f"ST_AsText({quoted} /*!80000 , 'axis-order=long-lat' */)"
                return f"CONCAT('SRID=', ST_SRID({quoted}), ';', {text})"


_INTEGERS = {
    "tinyint": ("tinyint", "smallint"),
    "smallint": ("smallint", "int"),
    "mediumint": ("int", "int"),
    "int": ("int", "bigint"),
    "bigint": ("bigint", "decimal(20,0)"),
}
"""Signed and unsigned."""
_SHORT_TEXT = ("char", "varchar", "tinytext")
_LONG_TEXT = ("text", "mediumtext", "longtext")
_SHORT_BINARY = ("binary", "varbinary", "tinyblob")
_LONG_BINARY = ("blob", "mediumblob", "longblob")
_GEOMETRY = (
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
)
_AS_TEXT = "text, as BigQuery and Spark have no such type"


def column_type(source_type: str, zero_dates: ZeroDates = "quarantine") -> ColumnType:
    """Returns the ledger's line for a type as `tables` writes it (`bigint(20) unsigned`, `varchar(9) character set
    sjis`).

    A type that the ledger does not know is read as the server's text of it, with the verdict lossy: nobody has looked
    into what that text leaves out.
    """
    bare, character_set = split_character_set(source_type)
    bare_type = _bare_type(bare, zero_dates)
    if character_set is None:
        return bare_type
    if is_whole(character_set):
        return replace(bare_type, character_set=character_set)
    note = f"a row whose {character_set} text the server cannot convert exactly is set aside"
    return replace(bare_type, character_set=character_set, verdict="lossy", note=note)


def is_known(source_type: str) -> bool:
    """Whether the ledger has a line for a type."""
    return _bare_type(split_character_set(source_type)[0], "quarantine") is not _UNKNOWN


def _bare_type(source_type: str, zero_dates: ZeroDates) -> ColumnType:
    word, arguments = _parts(source_type)
    attributes = source_type.lower().rpartition(")")[2] if word in ("enum", "set") else source_type.lower()
    unsigned, zero_filled = "unsigned" in attributes, "zerofill" in attributes
    if word in _INTEGERS:
        spark_type = _INTEGERS[word][unsigned]
        verdict: TypeVerdict = "widened" if unsigned else "exact"
        return ColumnType(spark_type, "as is", "number", verdict, zero_filled=zero_filled)
    if word == "decimal":
        precision, _, scale = (arguments or "10,0").partition(",")
        if int(precision) <= SPARK_DECIMAL_DIGITS:
            spark_type = f"decimal({int(precision)},{int(scale or 0)})"
            return ColumnType(spark_type, "as is", "number", zero_filled=zero_filled)
        return ColumnType("string", "as text", "number", "widened", "text, as decimals end at 38 digits")
    if word in (*_SHORT_TEXT, *_LONG_TEXT):
        return ColumnType("string", "as text", "string", proof="text" if word in _SHORT_TEXT else "long text")
    if word in (*_SHORT_BINARY, *_LONG_BINARY):
        return ColumnType("binary", "as is", "binary", proof="bytes")
    if word == "bit":
        return _bit(int(arguments or 1))
    if word in ("date", "datetime", "timestamp"):
        return _calendar(word, int(arguments or 0), zero_dates)
    if word in _GEOMETRY:
        return ColumnType("string", "as WKT", None, "widened", "text: SRID=n;WKT", "long text")
    return _OTHERS.get(word, _UNKNOWN)


def is_geometry(source_type: str) -> bool:
    """Whether a type is one of those with coordinates."""
    return _parts(source_type)[0] in _GEOMETRY


def _parts(source_type: str) -> tuple[str, str]:
    """Returns the type's word and what follows it in brackets."""
    match = re.match(r"([a-z0-9_]+)(?:\(([^)]*)\))?", source_type.lower())
    return (match[1], match[2] or "") if match else ("", "")


def _bit(width: int) -> ColumnType:
    """A bit field is a number of up to 64 bits; BIGINT holds up to 63 of them."""
    spark_type = "bigint" if width < 64 else "decimal(20,0)"
    return ColumnType(spark_type, "as integer", verdict="widened", note="the number its bits make")


def _calendar(word: str, fraction: int, zero_dates: ZeroDates) -> ColumnType:
    spark_types = {"date": "date", "datetime": "timestamp_ntz", "timestamp": "timestamp"}
    proofs: dict[str, Proof] = {"date": "plain", "datetime": "wall clock", "timestamp": "wall clock"}
    kind: LiteralKind = "date" if word == "date" else "datetime"
    if zero_dates == "text":
        return ColumnType("string", "as text", kind, "widened", "text: zero_dates says so", text_by_cast=True)
    note = {"quarantine": "a row with a zero date is set aside", "null": "a zero date becomes NULL: zero_dates says so"}
    calendar_type = ColumnType(spark_types[word], "as text", kind, "exact", note[zero_dates], proofs[word], fraction)
    return replace(calendar_type, zero_is_null=True, verdict="lossy") if zero_dates == "null" else calendar_type


_OTHERS = {
    "float": ColumnType("float", "as double", proof="double"),
    "double": ColumnType("double", "as double", proof="double"),
    "time": ColumnType(
        "string", "as text", None, "widened", "text, as it may be negative or longer than a day", text_by_cast=True
    ),
    "year": ColumnType("int", "as integer", None, "widened", "a number"),
    "enum": ColumnType("string", "as text", None, "widened", "text", "text"),
    "set": ColumnType("string", "as text", None, "widened", "text: a,b", "text"),
    "json": ColumnType("string", "as text", None, "exact", "text as the server gives it", "long text"),
    "uuid": ColumnType("string", "as text", None, "widened", _AS_TEXT, "text"),
    "inet4": ColumnType("string", "as text", None, "widened", _AS_TEXT, "text"),
    "inet6": ColumnType("string", "as text", None, "widened", _AS_TEXT, "text"),
}
_UNKNOWN = ColumnType(
    "string",
    "as text",
    None,
    "lossy",
    "unknown to Lakeferry: read as the server's text",
    "long text",
    text_by_cast=True,
)
