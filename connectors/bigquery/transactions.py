"""GoogleSQL of a dataset's ledger, and of the transactions that move its row together with the dataset's rows.

A transaction compares the row with what the loader read, then moves it, then changes the tables. The row comes first
because BigQuery cancels a transaction at the statement that conflicts: the second of two loaders of one dataset is
stopped before its MERGE scans anything. Texts only, as in `statements`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from connectors.bigquery.statements import Target, copy_rows, count, quoted, text

MOVED = "lakeferry: the ledger moved"
"""The assertion's message if another loader was first."""
NOT_EMPTY = "lakeferry: the table holds rows already"
"""The assertion's message if the rows would be copied into a table with rows."""

_COLUMNS = {
    "dataset": "STRING",
    "batch": "INT64",
    "run_id": "STRING",
    "rows": "INT64",
    "loaded_at": "TIMESTAMP",
    "target": "STRING",
    "table_uuid": "STRING",
    "snapshot_id": "INT64",
}
"""Columns of a dataset's ledger."""


@dataclass(frozen=True)
class Entry:
    """A dataset's row of the ledger: its last loaded batch, where that came from and where it went.

    `batch` 0 is before the first. A batch number has meaning within one Iceberg table only: `table_uuid` is that of
    the raw table, `snapshot_id` that of the snapshot that seals the batch. `target` (`dataset.table`) is the table that
    holds the batches. `loaded_at` is BigQuery's own time and never written from here. A field that an older version did
    not record has the value None.
    """

    batch: int
    run_id: str | None = None
    rows: int = 0
    target: str | None = None
    loaded_at: datetime | None = None
    table_uuid: str | None = None
    snapshot_id: int | None = None


ENTRY_COLUMNS = tuple(field.name for field in fields(Entry))
"""The ledger's columns that make up an entry, in its order."""


def make_ledger(ledger: str, dataset: str, shared: str | None = None, shared_columns: Sequence[str] = ()) -> str:
    """Makes a dataset's ledger with its row; table and row appear at once or not at all.

    Args:
        ledger: the table, quoted.
        shared: the table, quoted, in which an earlier version kept a row for each dataset; the new table begins with
            this dataset's row of it. None: there is no such table.
        shared_columns: columns of that table: at first it had no `target`.
    """
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in _COLUMNS.items())
    kept = {"run_id", "target"} & set(shared_columns) if shared else set()
    values = {name: f"CAST(NULL AS {kind})" for name, kind in _COLUMNS.items()}
    values |= {name: f"old.{quoted(name)}" for name in kept}
    values |= {"dataset": "own.dataset", "batch": "0", "rows": "0", "loaded_at": "CURRENT_TIMESTAMP()"}
    rows = f"(SELECT {text(dataset)} AS dataset) AS own"
    if shared:
        values |= {name: f"COALESCE(old.{quoted(name)}, {values[name]})" for name in ("batch", "rows", "loaded_at")}
        # An equality of two columns: BigQuery runs no outer join without one.
        rows += f" LEFT JOIN {shared} AS old ON old.dataset = own.dataset"
    selected = ", ".join(f"{value} AS {quoted(name)}" for name, value in values.items())
    return (
        f"CREATE TABLE IF NOT EXISTS {ledger} ({columns}) "
        f"OPTIONS (description = {text(f'Lakeferry: the batch {dataset} is loaded up to')}) "
        f"AS SELECT {selected} FROM {rows}"
    )


def read_entry(ledger: str) -> str:
    """Asks for the ledger's rows, as `ENTRY_COLUMNS`."""
    return f"SELECT {', '.join(quoted(name) for name in ENTRY_COLUMNS)} FROM {ledger}"


def transaction(ledger: str, *, expected: Entry, loaded: Entry, changes: Sequence[str]) -> str:
    """Returns the script that brings one batch. It fails, and rolls back, unless the ledger's row is still the one that
    was read.

    The UPDATE makes two loaders of one dataset collide: in BigQuery, transactions that only insert do not
    conflict ("Multi-statement transactions", Transaction concurrency).

    Args:
        ledger: the dataset's ledger, quoted.
        expected: the row as it was read.
        loaded: the row as it is once the batch is in.
        changes: the statements that bring the batch into the table.
    """
    values = {
        "batch": str(loaded.batch),
        "run_id": _text(loaded.run_id),
        "rows": str(loaded.rows),
        "target": _text(loaded.target),
        "table_uuid": _text(loaded.table_uuid),
        "snapshot_id": _number(loaded.snapshot_id),
    }
    return _script([_assertion(ledger, expected), _update(ledger, values), *changes])


def relocation(
    ledger: str,
    *,
    expected: Entry,
    target: Target,
    to: str,
    source: str,
    columns: Sequence[str],
    where: str = "TRUE",
) -> str:
    """Returns the script that copies a dataset's rows into an empty table and names it in the ledger. The batch stays.

    It fails, and rolls back, unless the ledger's row is still the one that was read, the target is empty, and both
    tables hold the same number of rows in the end.

    Args:
        ledger: the dataset's ledger, quoted.
        expected: the row as it was read.
        target: the table the rows go to; `to` is its name as `dataset.table`.
        source: the table they are in, quoted.
        columns: columns of `source`.
        where: a condition all rows of `source` meet.
    """
    return _script(
        [
            _assertion(ledger, expected),
            _update(ledger, {"target": text(to)}),
            f"SELECT IF(({count(target)}) = 0, 1, ERROR({text(NOT_EMPTY)}))",
            copy_rows(target, source, columns, where),
            f"SELECT IF(({count(target)}) = (SELECT COUNT(*) FROM {source} WHERE {where}), 1, "
            f"ERROR('lakeferry: not all rows were copied'))",
        ]
    )


def _script(statements: Sequence[str]) -> str:
    return ";\n".join(["BEGIN TRANSACTION", *statements, "COMMIT TRANSACTION"]) + ";"


def _assertion(ledger: str, expected: Entry) -> str:
    """Fails unless the ledger has one row and that is the one that was read."""
    values = {
        "batch": str(expected.batch),
        "table_uuid": _text(expected.table_uuid),
        "snapshot_id": _number(expected.snapshot_id),
        "target": _text(expected.target),
    }
    same = " AND ".join(f"{name} {'IS' if value == 'NULL' else '='} {value}" for name, value in values.items())
    return f"SELECT IF(COUNT(*) = 1 AND COUNTIF({same}) = 1, 1, ERROR({text(MOVED)})) FROM {ledger}"


def _update(ledger: str, values: dict[str, str]) -> str:
    assignments = ", ".join(f"{quoted(name)} = {value}" for name, value in values.items())
    return f"UPDATE {ledger} SET {assignments}, loaded_at = CURRENT_TIMESTAMP() WHERE TRUE"


def _text(value: str | None) -> str:
    return "NULL" if value is None else text(value)


def _number(value: int | None) -> str:
    return "NULL" if value is None else str(int(value))
