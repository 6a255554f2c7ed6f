"""Warnings of the plan about changes of a row that a window does not show, or shows as another row.

A foreign key may change the rows that refer to a row of its parent. InnoDB does that below SQL, so it runs no trigger
and no ON UPDATE CURRENT_TIMESTAMP (MySQL manual, FOREIGN KEY Constraints: cascaded actions do not activate triggers).
TiDB does it as a statement, which does move such a column.

The lake and BigQuery compare keys byte by byte. A column's collation may take two texts for one key ('abc' and 'ABC',
'a' and 'a '). Then the source has one row after an UPDATE of the key, and the lake has two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.errors import AccessDenied
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import quote_identifier

_NAME = "`(?:[^`]|``)+`"
_FOREIGN_KEY = re.compile(
    rf"^\s*CONSTRAINT ({_NAME}) FOREIGN KEY \(({_NAME}(?:, ?{_NAME})*)\)"
    rf" REFERENCES ({_NAME}(?:\.{_NAME})?) \({_NAME}(?:, ?{_NAME})*\)(.*)$",
    re.MULTILINE,
)
_CHANGES = re.compile("ON UPDATE (?:CASCADE|SET NULL)|ON DELETE SET NULL")
SEARCHED_ROWS = 10_000
"""Few enough rows to read at once even if rows are wide, so a plan costs the same for a table of any size."""
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")


@dataclass(frozen=True)
class ForeignKey:
    """A constraint that changes `columns` of its table when a row of `parent` changes; `actions` say when."""

    name: str
    columns: tuple[str, ...]
    parent: str
    actions: tuple[str, ...]


def changing_foreign_keys(definition: str) -> list[ForeignKey]:
    """Returns the foreign keys in a SHOW CREATE TABLE that change values, without those that only delete rows."""
    foreign_keys = []
    for name, columns, parent, rest in _FOREIGN_KEY.findall(definition):
        actions = tuple(_CHANGES.findall(rest))
        if actions:
            names = tuple(_bare(column) for column in re.findall(_NAME, columns))
            foreign_keys.append(
                ForeignKey(_bare(name), names, ".".join(map(_bare, re.findall(_NAME, parent))), actions)
            )
    return foreign_keys


def cascade_warnings(
    session: Session, table: TableName, cursor: str, key: Sequence[str], *, swept: bool
) -> tuple[str, ...]:
    """Returns a warning for each foreign key of the table that changes rows but not their cursor.

    Args:
        key: primary_key of the dataset. A sweep sees a row whose key changes as a deleted row and a new one.
        swept: whether the dataset is swept.
    """
    try:
        definition = str(session.rows(f"SHOW CREATE TABLE {table.quoted}")[0][1])
    except AccessDenied:
        # A view whose definition the login may not see. It has no foreign keys.
        return ()
    foreign = changing_foreign_keys(definition)
    if not foreign or ("TiDB" in session.server_version and _moves_by_itself(definition, cursor)):
        return ()
    return tuple(
        f"foreign key {foreign_key.name!r} of {table} ({', '.join(foreign_key.actions)}) changes "
        f"{', '.join(foreign_key.columns)} when a row of {foreign_key.parent} changes, and leaves cursor {cursor!r} "
        "as it was: no run reads such a change. Set the cursor in the transaction that changes the parent, or leave "
        "cursor out, so that every run compares all rows"
        for foreign_key in foreign
        if cursor not in foreign_key.columns and not (swept and set(foreign_key.columns) <= set(key))
    )


def key_warnings(session: Session, table: TableName, key: Sequence[str]) -> tuple[str, ...]:
    """Returns a warning for each text column of the primary key whose collation takes different bytes for one text.

    Most `_bin` collations ignore blanks at the end of a text and nothing else. Keys with such blanks are rare, so there
    is a warning only if one is found among `SEARCHED_ROWS` rows.
    """
    text_columns = session.rows(
        "SELECT column_name, data_type, collation_name FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        (table.database, table.name),
    )
    warnings = []
    for name, kind, collation in text_columns:
        if name not in key or not collation or str(kind).lower() not in _TEXTS:
            continue
        if not str(collation).endswith("_bin"):
            warnings.append(_respelled(table, name, collation, "'abc' and 'ABC'"))
        elif _has_blanks(session, table, name):
            warnings.append(_respelled(table, name, collation, "'a' and 'a ' (some keys end in a blank)"))
    return tuple(warnings)


def _respelled(table: TableName, name: str, collation: str, alike: str) -> str:
    return (
        f"primary_key {name!r} of {table} has the collation {collation}, which treats {alike} as one key; the lake "
        "and BigQuery treat them as two. Where the source respells a key, the old row stays beside the new one. "
        "Write deletes: sweep, which marks the old row as deleted; or give the column a collation that distinguishes "
        "such texts; or write deletes: ignore, if keys are never respelled"
    )


def _has_blanks(session: Session, table: TableName, column: str) -> bool:
    """Whether some text ends in a blank and its collation takes it for equal to the text without the blank."""
    quoted = quote_identifier(column)
    some = f"SELECT {quoted} FROM {table.quoted} LIMIT {SEARCHED_ROWS:d}"
    return bool(
        session.rows(f"SELECT 1 FROM ({some}) AS few WHERE {quoted} LIKE '% ' AND {quoted} = RTRIM({quoted}) LIMIT 1")
    )


def _moves_by_itself(definition: str, column: str) -> bool:
    begin = f"{quote_identifier(column)} "
    line = next((line for line in definition.splitlines() if line.strip().startswith(begin)), "")
    return "ON UPDATE CURRENT_TIMESTAMP" in line.upper()


def _bare(quoted: str) -> str:
    return quoted[1:-1].replace("``", "`")
