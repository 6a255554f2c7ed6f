"""Columns that the lake keeps as the server's text and BigQuery stores as JSON or GEOGRAPHY, if the spec asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from connectors.errors import ObjectNotFound, UnsupportedType
from connectors.mysql.schema.column_types import is_geometry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from connectors.base import Column, Description, ParsedType
    from connectors.mysql.schema.tables import TableName

JsonColumns = Literal["text", "parse"] | tuple[str, ...]
"""`parse`: columns of the server's type JSON. Names: those columns, of any text type (MariaDB's JSON is a LONGTEXT)."""

_NOTES: dict[ParsedType, str] = {
    "JSON": "text in the lake, JSON in BigQuery; what BigQuery cannot hold exactly is set aside",
    "GEOGRAPHY": "text in the lake, GEOGRAPHY in BigQuery (lines are geodesics, corners true to nanometres); what "
    "BigQuery cannot hold is set aside",
}


def with_parsed(
    description: Description, json: JsonColumns, geography: Collection[str], table: TableName
) -> Description:
    """Returns the description with the chosen columns marked.

    Raises:
        ObjectNotFound: a name is not a column, or `json: parse` of a table without a column of type JSON.
        UnsupportedType: a JSON column is not text, or a geography is not a geometry.
    """
    wanted: dict[str, ParsedType] = dict.fromkeys(_json_names(description, json, table), "JSON")
    wanted |= dict.fromkeys(_named(description, geography, "geography", table), "GEOGRAPHY")
    columns = (_marked(column, wanted.get(column.name), table) for column in description.columns)
    return description.model_copy(update={"columns": tuple(columns)}) if wanted else description


def _json_names(description: Description, chosen: JsonColumns, table: TableName) -> Sequence[str]:
    if not isinstance(chosen, str):
        return _named(description, chosen, "json", table)
    if chosen == "text":
        return ()
    names = [column.name for column in description.columns if column.source_type.lower() == "json"]
    if not names:
        raise ObjectNotFound(
            f"json: parse, and {table} has no column of type JSON (MariaDB's is LONGTEXT)",
            fix="Name the columns: json: [COLUMN, …]",
            key=("json",),
        )
    return names


def _named(description: Description, chosen: Collection[str], key: str, table: TableName) -> Sequence[str]:
    columns = description.columns
    names = {column.name for column in columns}
    for name in chosen:
        if name not in names:
            fit = [column.name for column in columns if (_is_text if key == "json" else _is_geometry)(column)]
            raise ObjectNotFound(f"{key} {name!r} is not a column of {table}", choices=fit, key=(key,))
    return tuple(chosen)


def _is_geometry(column: Column) -> bool:
    return is_geometry(column.source_type)


def _is_text(column: Column) -> bool:
    return column.spark_type == "string" and not _is_geometry(column)


def _marked(column: Column, parsed: ParsedType | None, table: TableName) -> Column:
    if parsed is None:
        return column
    if parsed == "JSON" and not _is_text(column):
        raise UnsupportedType(
            f"json {column.name!r} of {table} is {column.source_type}: JSON is text",
            fix="Leave it out of json",
            key=("json",),
        )
    if parsed == "GEOGRAPHY" and not _is_geometry(column):
        raise UnsupportedType(
            f"geography {column.name!r} of {table} is {column.source_type}, which is not a geometry type",
            fix="Leave it out of geography",
            key=("geography",),
        )
    verdict = "lossy" if parsed == "GEOGRAPHY" else column.verdict
    return column.model_copy(update={"parsed": parsed, "verdict": verdict, "note": _NOTES[parsed]})
