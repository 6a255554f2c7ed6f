"""Columns that hold JSON: text in the lake, as the server gives it, and JSON in BigQuery where the spec asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from connectors.errors import ObjectNotFound, UnsupportedType

if TYPE_CHECKING:
    from connectors.base import Column, Description
    from connectors.mysql.tables import TableName

JsonColumns = Literal["text", "parse"] | tuple[str, ...]
"""`parse`: columns of the server's type JSON. Names: those, of any text type (MariaDB's JSON is a LONGTEXT)."""


def with_json(description: Description, chosen: JsonColumns, table: TableName) -> Description:
    """The description with the chosen columns marked.

    Raises:
        ObjectNotFound: a name that is no column; or `parse` of a table that has no column of type JSON.
        UnsupportedType: a column that is no text.
    """
    if chosen == "text":
        return description
    names = [column.name for column in description.columns]
    wanted = [column.name for column in description.columns if column.source_type.lower() == "json"]
    if not isinstance(chosen, str):
        wanted = list(chosen)
        for name in wanted:
            if name not in names:
                raise ObjectNotFound(f"json {name!r} is not a column of {table}", choices=names, key=("json",))
    elif not wanted:
        raise ObjectNotFound(
            f"json: parse, and {table} has no column of type JSON (MariaDB's is LONGTEXT)",
            fix="Name the columns: json: [COLUMN, …]",
            key=("json",),
        )
    columns = tuple(_marked(column, table) if column.name in wanted else column for column in description.columns)
    return description.model_copy(update={"columns": columns})


def _marked(column: Column, table: TableName) -> Column:
    if column.spark_type != "string":
        raise UnsupportedType(
            f"json {column.name!r} of {table} is {column.source_type}: JSON is text",
            fix="Leave it out of json",
            key=("json",),
        )
    note = "text in the lake, JSON in BigQuery; what BigQuery cannot hold exactly is set aside"
    return column.model_copy(update={"parsed": True, "note": note})
