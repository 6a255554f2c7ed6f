"""The source of a dataset: a small table on MariaDB, how it changes, and every version of a row it ever had."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Literal

from tests.e2e.ferry import OwnDatabase

Variant = Literal["merge", "append", "replace", "no_cursor", "sweep", "derived"]
Row = tuple[Any, ...]
"""`amount, note, units, sold_on, updated_at` of a sale; `sales, total` of a day."""

COLUMNS = ("amount", "note", "units", "sold_on", "updated_at")
DAILY_COLUMNS = ("sales", "total")
SCHEMA = (
    "(id BIGINT PRIMARY KEY, amount DECIMAL(18,2) NOT NULL, note VARCHAR(40), units INT, sold_on DATE NOT NULL,"
    " updated_at DATETIME(6) NOT NULL, KEY (updated_at))"
)
ROW_RULE = "rows:\n  - expect_column_values_to_be_between: {column: amount, min_value: 0}\n"
FIRST_DAY = date(2026, 1, 1)
_DAYS = 4


def is_good(row: Row) -> bool:
    """Whether the row rule lets a sale pass."""
    return bool(row[0] >= 0)


def by_day(rows: dict[Any, Row]) -> dict[Any, Row]:
    """Returns the rows that the derived dataset makes from good sales."""
    sums: dict[date, tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for amount, _, _, sold_on, _ in rows.values():
        count, total = sums[sold_on]
        sums[sold_on] = (count + 1, total + amount)
    return dict(sums)


@dataclass
class Source:
    """One table, `database.table`. `states` are all the rows there were after each change, oldest first."""

    database: OwnDatabase
    table: str
    variant: Variant
    states: list[dict[int, Row]] = field(default_factory=list)
    next_id: int = 1

    def create(self) -> None:
        self.database.execute(f"CREATE TABLE {self.table} {SCHEMA}")

    def change(self, random: Random, *, bad_row: bool) -> None:
        """Insert two rows, and a bad one where it is asked for; change and delete older ones as the variant allows."""
        good = sorted(key for key, row in self.rows().items() if is_good(row))
        if good and self.variant != "append":
            changed = random.choice(good)
            self.database.execute(
                f"UPDATE {self.table} SET amount = amount + 1, note = CONCAT('changed ', id), sold_on = %s,"
                " updated_at = UTC_TIMESTAMP(6) WHERE id = %s",
                (FIRST_DAY + timedelta(days=random.randrange(_DAYS)), changed),
            )
            if self.variant in ("sweep", "replace") and len(good) > 3:
                gone = random.choice([key for key in good if key != changed])
                self.database.execute(f"DELETE FROM {self.table} WHERE id = %s", (gone,))
        amounts = [f"{random.randrange(1, 999)}.50" for _ in range(2)]
        self._insert([*amounts, "-1.00"] if bad_row else amounts, random)

    def note_state(self) -> None:
        """Take down what is there now; a run may be planned from here on."""
        self.states.append(self.rows())

    def rows(self) -> dict[int, Row]:
        rows = self.database.rows(f"SELECT id, {', '.join(COLUMNS)} FROM {self.table}")
        return {row[0]: tuple(row[1:]) for row in rows}

    def expected(self) -> dict[int, Row]:
        """Returns the rows that curated and BigQuery must hold once all is read: bad rows are never published here."""
        return {key: row for key, row in self.rows().items() if is_good(row)}

    def bad_keys(self) -> set[int]:
        return {key for key, row in self.rows().items() if not is_good(row)}

    def versions(self) -> dict[int, list[Row]]:
        """Every good version of every row, oldest first."""
        versions: dict[int, list[Row]] = defaultdict(list)
        for state in self.states:
            for key, row in state.items():
                if is_good(row) and row not in versions[key]:
                    versions[key].append(row)
        return versions

    def daily_versions(self) -> dict[Any, list[Row]]:
        """Every version of every day, oldest first."""
        versions: dict[Any, list[Row]] = defaultdict(list)
        for state in self.states:
            for day, row in by_day({key: row for key, row in state.items() if is_good(row)}).items():
                if row not in versions[day]:
                    versions[day].append(row)
        return versions

    def _insert(self, amounts: Sequence[str], random: Random) -> None:
        now: datetime = self.database.now()
        rows = []
        for amount in amounts:
            sold_on = FIRST_DAY + timedelta(days=random.randrange(_DAYS))
            rows.append((self.next_id, amount, f"sale {self.next_id}", random.randrange(9), sold_on, now))
            self.next_id += 1
        self.database.insert(self.table, rows)


class SavedSource:
    """A source as it stood when this was made; the rows lie in a table beside it."""

    def __init__(self, source: Source) -> None:
        self._source, self._copy = source, f"saved_{source.table}"
        self._states, self._next_id = list(source.states), source.next_id
        source.database.execute(f"CREATE TABLE {self._copy} LIKE {source.table}")
        source.database.execute(f"INSERT INTO {self._copy} SELECT * FROM {source.table}")

    def restore(self) -> None:
        source = self._source
        source.database.execute(f"TRUNCATE TABLE {source.table}")
        source.database.execute(f"INSERT INTO {source.table} SELECT * FROM {self._copy}")
        source.states, source.next_id = list(self._states), self._next_id
