"""Look-ups in a primary key's index: single rows or a few at a time, never a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from connectors.base import Column
from connectors.mysql.schema.column_types import column_type
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.slicing.key_ranges import Bound, Key, KeyColumn, range_condition
from connectors.mysql.sql import literal, quote_identifier

_CHARACTER_SETS = ("utf8mb4", "utf8mb3", "utf8", "ascii", "latin1", "ucs2", "utf16", "utf16le", "utf32")


@dataclass(frozen=True)
class KeyIndex:
    """A table's primary key, or its first columns, of which boundaries may be made."""

    session: Session
    table: TableName
    columns: tuple[KeyColumn, ...]

    def rows(self, condition: str, limit: int, *, descending: bool = False) -> list[Key]:
        """Returns the first keys that meet a condition in the index's order, or the last if `descending`."""
        direction = " DESC" if descending else ""
        return self._keys(f"{self._indexed} WHERE {condition}", direction, f" LIMIT {limit:d}")

    def sample(self, clause: str) -> list[Key]:
        """Returns the keys of a sample taken by the server, in the index's order. `clause` follows the table's name."""
        return self._keys(f"{self.table.quoted} {clause}")

    def ends(self) -> tuple[Key, Key] | None:
        """Returns the first and the last key, or None if there is no row."""
        first, last = self.rows("TRUE", 1), self.rows("TRUE", 1, descending=True)
        return (first[0], last[0]) if first and last else None

    def count(self, low: Bound | None, high: Bound | None, most: int) -> int:
        """Counts the rows between two bounds, up to `most`; looks at no more rows than that."""
        condition = range_condition(self.columns, low, high)
        return int(
            self.session.value(
                f"SELECT COUNT(*) FROM (SELECT 1 AS one FROM {self._indexed} WHERE {condition} LIMIT {most:d}) AS found"
            )
        )

    def range_query(self, low: Bound | None, high: Bound | None) -> str:
        """Returns a SELECT of the rows between two bounds, for the server to explain."""
        return f"SELECT 1 FROM {self._indexed} WHERE {range_condition(self.columns, low, high)}"

    def sort(self, keys: list[Key]) -> list[Key]:
        """Returns the keys in strictly ascending order by the server's own comparison, without keys out of order.

        A string that the column's collation takes for equal to its predecessor's gets the predecessor's text.
        """
        compared = self._compared(keys)
        kept: list[Key] = []
        for key in keys:
            after = self._after(kept[-1], key, compared) if kept else key
            if after is not None:
                kept.append(after)
        return kept

    def sorted_texts(self, place: int, texts: list[str]) -> list[list[str]]:
        """Sorts strings by a column's collation; returns groups of those that it takes for equal."""
        if not texts:
            return []
        listed = " UNION ALL ".join(
            f"SELECT {number:d} AS n, {self._collated(place, text)} AS c" for number, text in enumerate(texts)
        )
        sort = [texts[n] for (n,) in self.session.rows(f"SELECT n FROM ({listed}) AS listed ORDER BY c, n")]
        equal = [f"{self._collated(place, one)} = {self._collated(place, two)}" for one, two in pairwise(sort)]
        groups = [sort[:1]]
        for text, same in zip(
            sort[1:], self.session.rows(f"SELECT {', '.join(equal)}")[0] if equal else (), strict=True
        ):
            if same:
                groups[-1].append(text)
            else:
                groups.append([text])
        return groups

    def _keys(self, source: str, direction: str = "", limit: str = "") -> list[Key]:
        selected = ", ".join(column.as_text for column in self.columns)
        # The name is qualified, so that ORDER BY means the column and not an expression with the same name.
        order = ", ".join(f"{self.table.quoted}.{column.quoted}{direction}" for column in self.columns)
        rows = self.session.rows(f"SELECT {selected} FROM {source} ORDER BY {order}{limit}")
        return [tuple(_text(value) for value in row) for row in rows]

    @property
    def _indexed(self) -> str:
        return f"{self.table.quoted} FORCE INDEX (PRIMARY)"

    def _after(self, before: Key, key: Key, compared: dict[tuple[int, str], int]) -> Key | None:
        """Returns `key` with the text of `before` where the two are equal; None if it does not come after `before`."""
        respelled = list(key)
        for place, column in enumerate(self.columns):
            one, two = before[place], key[place]
            if one == two:
                continue
            if column.collation:
                first, second = compared[place, one], compared[place, two]
                if first == second:
                    respelled[place] = one
                    continue
                return tuple(respelled) if first < second else None
            return tuple(respelled) if _precedes(column, one, two) else None
        return None

    def _compared(self, keys: list[Key]) -> dict[tuple[int, str], int]:
        """Ranks each string by its column's collation; equal strings have the same rank."""
        ranks = {}
        for place, column in enumerate(self.columns):
            if column.collation:
                texts = sorted({key[place] for key in keys})
                for rank, group in enumerate(self.sorted_texts(place, texts)):
                    ranks.update({(place, text): rank for text in group})
        return ranks

    def _collated(self, place: int, text: str) -> str:
        character_set, collation = self.columns[place].collation or ("utf8mb4", "utf8mb4_bin")
        converted = f"CONVERT({literal('string', text)} USING {quote_identifier(character_set)})"
        return f"{converted} COLLATE {quote_identifier(collation)}"


def key_columns(
    session: Session, table: TableName, columns: Sequence[Column], masked_columns: frozenset[str]
) -> tuple[KeyColumn, ...]:
    """Returns the primary key's columns up to the first of which no boundary can be made; empty without a primary key.

    No boundary is made of these: masked columns; columns whose text does not compare exactly (FLOAT, ENUM, SET, BIT);
    text in a character set that is not always converted to utf8mb4 and back exactly; a prefix of a column; a column
    that descends where the first ascends.
    """
    types = {column.name: column.source_type for column in columns}
    parts = session.rows(
        "SELECT s.table_schema, s.table_name, s.column_name, s.sub_part, s.collation,"
        " c.character_set_name, c.collation_name"
        " FROM information_schema.statistics AS s JOIN information_schema.columns AS c"
        " ON c.table_schema = s.table_schema AND c.table_name = s.table_name AND c.column_name = s.column_name"
        " WHERE s.table_schema = %s AND s.table_name = %s AND s.index_name = 'PRIMARY' ORDER BY s.seq_in_index",
        (table.database, table.name),
    )
    usable: list[KeyColumn] = []
    directions = set()
    for database, name, column, prefix, direction, character_set, collation in parts:
        if (database, name) != (table.database, table.name):
            continue
        kind = column_type(types.get(column, ""))
        directions.add(direction)
        if column in masked_columns or kind is None or kind.literal_kind is None or prefix or len(directions) > 1:
            break
        if kind.literal_kind == "string" and character_set not in _CHARACTER_SETS:
            break
        how = (character_set, collation) if kind.literal_kind == "string" else None
        usable.append(KeyColumn(column, kind.literal_kind, collation=how))
    return tuple(usable)


def _precedes(column: KeyColumn, one: str, two: str) -> bool:
    """Whether a value that is not a string comes before another; dates sort like their texts."""
    match column.kind:
        case "number":
            return Decimal(one) < Decimal(two)
        case "binary":
            return bytes.fromhex(one) < bytes.fromhex(two)
        case _:
            return one < two


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
