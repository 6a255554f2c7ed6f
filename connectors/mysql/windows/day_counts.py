"""Counts of rows per day, made once for all uses in one plan."""

from __future__ import annotations

from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.windows.cursors import Cursor

MOST_COUNTED = 1_000_000
"""Counting more rows of two days would cost more than a batch."""


class DayCounts:
    """Counts the rows of half-open ranges of days, up to `MOST_COUNTED` + 1.

    Args:
        expected: a range that will be requested as well. If it overlaps with the first one, one statement counts both.
    """

    def __init__(
        self, session: Session, table: TableName, cursor: Cursor, expected: tuple[str, str] | None = None
    ) -> None:
        self._session = session
        self._table = table
        self._cursor = cursor
        self._expected = expected
        self._range: tuple[str, str] | None = None
        self._rows: dict[str, int] = {}

    def count(self, start: str, below: str) -> int:
        if not self._knows(start, below):
            self._look(start, below)
        return sum(rows for day, rows in self._rows.items() if start <= day < below)

    def _knows(self, start: str, below: str) -> bool:
        return self._range is not None and self._range[0] <= start and below <= self._range[1]

    def _look(self, start: str, below: str) -> None:
        expected, self._expected = self._expected, None
        if expected and expected[0] <= below and start <= expected[1]:
            both = min(start, expected[0]), max(below, expected[1])
            if self._read(*both, 2 * MOST_COUNTED):
                return
        self._read(start, below, MOST_COUNTED)

    def _read(self, start: str, below: str, most: int) -> bool:
        """Reads the counts of a range; returns whether these are all of its rows."""
        quoted = quote_identifier(self._cursor.column)
        counts = self._session.rows(
            f"SELECT day, COUNT(*) FROM (SELECT {quoted} AS day FROM {self._table.quoted}"
            f" WHERE {quoted} >= {literal('date', start)} AND {quoted} < {literal('date', below)}"
            f" LIMIT {most + 1:d}) AS rows_there GROUP BY day"
        )
        # A day that no calendar has arrives as text.
        self._rows = {str(day): int(rows) for day, rows in counts}
        self._range = (start, below)
        return sum(self._rows.values()) <= most
