"""A table as the server's `information_schema` describes it."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from connectors.base import Column, Description
from connectors.errors import LakeferryError, ObjectNotFound, ServiceUnavailable
from connectors.mysql.schema.character_sets import with_character_set
from connectors.mysql.schema.column_types import ZeroDates, column_type
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import quote_identifier, quote_table

# A bare part is what MySQL allows apart from file names; in backquotes, anything but NUL (manual, Schema Object Names).
_BARE = r"[^.`\0/\\]{1,64}"
_QUOTED = r"`(?:[^`\0]|``){1,64}`"
_TABLE = re.compile(f"({_BARE}|{_QUOTED})\\.({_BARE}|{_QUOTED})")
_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys", "metrics_schema", "inspection_schema")


@dataclass(frozen=True)
class TableName:
    """`database.table`, as the dataset names it."""

    database: str
    name: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Reads `database.table`; a part that holds a dot, slash, backslash or backquote is written in backquotes.

        Raises:
            ValueError: the text is not such a name.
        """
        parts = _TABLE.fullmatch(text)
        if parts is None:
            raise ValueError(
                "a table is written database.table, a part with a dot, slash, backslash or backquote in backquotes: "
                "`my.database`.`my``table`"
            )
        database, name = (
            part[1:-1].replace("``", "`") if part.startswith("`") else part for part in (parts[1], parts[2])
        )
        return cls(database, name)

    @property
    def quoted(self) -> str:
        return quote_table(self.database, self.name)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return ".".join(
            part if re.fullmatch(_BARE, part) else quote_identifier(part) for part in (self.database, self.name)
        )


def describe_table(session: Session, table: TableName, zero_dates: ZeroDates = "quarantine") -> Description:
    """Returns columns with exact types, key, indexed columns, and the optimizer's estimate of the rows.

    Raises:
        ObjectNotFound: there is no such table that this login may see; the error lists near names.
    """
    if "TiDB" not in session.server_version and max(table.database + table.name) > "\uffff":
        raise ObjectNotFound(
            f"table {table} is not there: {session.connection.id} ({session.connection.address}) allows no character "
            "beyond U+FFFF in a name",
            fix="Correct the name",
            key=("table",),
        )
    tables = session.rows(
        "SELECT table_schema, table_name, table_rows, table_type FROM information_schema.tables"
        " WHERE table_schema = %s AND table_name = %s",
        (table.database, table.name),
    )
    # information_schema compares names without case; on most file systems the server compares them with case.
    exact = [row for row in tables if (row[0], row[1]) == (table.database, table.name)]
    if not exact:
        raise _no_such_table(session, table)
    if _text(exact[0][3]) == "VIEW":
        _check_view(session, table)
    columns = session.rows(
        "SELECT column_name, column_type, character_set_name, is_nullable, column_comment"
        " FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        (table.database, table.name),
    )
    statistics = session.rows(
        "SELECT index_name, seq_in_index, column_name, non_unique, nullable FROM information_schema.statistics"
        " WHERE table_schema = %s AND table_name = %s"
        " ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index",
        (table.database, table.name),
    )
    unique: dict[str, list[str | None]] = {}
    for index, _, column, non_unique, nullable in statistics:
        # An index over an expression names no column. An index over a nullable column lets several rows have NULL.
        if not int(non_unique):
            unique.setdefault(index, []).append(None if nullable == "YES" else column)
    return Description(
        columns=tuple(
            _column(name, _source_type(session, *of_type), zero_dates, nullable, comment)
            for name, *of_type, nullable, comment in columns
        ),
        primary_key=tuple(column for index, _, column, *_ in statistics if index == "PRIMARY"),
        unique_keys=tuple(tuple(name for name in key if name) for key in unique.values() if None not in key),
        indexed=tuple(dict.fromkeys(column for _, sequence, column, *_ in statistics if sequence == 1 and column)),
        estimated_rows=int(exact[0][2]) if exact[0][2] is not None else None,
    )


def column_types(session: Session, table: TableName) -> dict[str, str]:
    """Returns the server's type of each column as the session sees the table now; empty if there is no such table."""
    rows = session.rows(
        "SELECT column_name, column_type, character_set_name FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s",
        (table.database, table.name),
    )
    return {name: _source_type(session, *of_type) for name, *of_type in rows}


def primary_key(session: Session, table: TableName) -> tuple[str, ...]:
    """Returns the columns of the primary key as the session sees the table now; empty if the table has no key."""
    rows = session.rows(
        "SELECT column_name FROM information_schema.statistics WHERE table_schema = %s AND table_name = %s"
        " AND index_name = 'PRIMARY' ORDER BY seq_in_index",
        (table.database, table.name),
    )
    return tuple(name for (name,) in rows)


def _source_type(session: Session, column_type: str | bytes, character_set: str | None) -> str:
    """Returns the server's type of a column, with its character set if text of that set is checked."""
    return with_character_set(_text(column_type), None if "TiDB" in session.server_version else character_set)


def _column(name: str, source_type: str, zero_dates: ZeroDates, nullable: str, comment: str | bytes | None) -> Column:
    kind = column_type(source_type, zero_dates)
    return Column(
        name=name,
        source_type=source_type,
        spark_type=kind.spark_type,
        nullable=nullable == "YES" or kind.zero_is_null,
        comment=_text(comment) or None,
        verdict=kind.verdict,
        note=kind.note,
    )


def _check_view(session: Session, table: TableName) -> None:
    """Refuses a view that cannot be read. The catalog still lists a view, with or without columns, after its table,
    column, function or definer is gone. A SELECT opens everything the view reads; without rows it costs no more.

    Raises:
        ObjectNotFound: the server refuses the view; its own words say why.
    """
    try:
        session.rows(f"SELECT 1 FROM {table.quoted} LIMIT 0")
    except ServiceUnavailable:
        raise
    except LakeferryError as error:
        raise ObjectNotFound(
            f"view {table} cannot be read: {error.problem}",
            fix="Repair the view and the rights of its definer at the source, or remove the dataset",
            key=("table",),
        ) from error


def _no_such_table(session: Session, table: TableName) -> ObjectNotFound:
    databases = [name for (name,) in session.rows("SELECT schema_name FROM information_schema.schemata")]
    seen = f"{session.connection.login!r} at {session.connection.id} ({session.connection.address})"
    if table.database not in databases:
        return ObjectNotFound(
            f"database {table.database!r} is not there, or {seen} may not see it",
            choices=_nearest(table.database, [name for name in databases if name.lower() not in _SYSTEM]),
            key=("table",),
        )
    tables = [
        name
        for (name,) in session.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (table.database,)
        )
    ]
    near = [f"{table.database}.{name}" for name in _nearest(table.name, tables)]
    return ObjectNotFound(
        f"table {table} is not there, or {seen} may not see it",
        choices=near,
        fix=None if near else f"GRANT SELECT ON {table.quoted} to the login, or correct the name",
        key=("table",),
    )


def _nearest(name: str, names: list[str], most: int = 10) -> list[str]:
    """Returns the existing names that are most alike, the nearest first."""
    return sorted(
        names, key=lambda other: (-difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio(), other)
    )[:most]


def _text(value: str | bytes | None) -> str:
    """Returns text. MySQL 8 gives some columns of information_schema as BLOB."""
    return value.decode() if isinstance(value, bytes) else (value or "")
