"""The ledger: one table per dataset, whose single row shows up to which batch BigQuery is loaded.

There is one table per dataset, because BigQuery detects conflicts between transactions by table: "If a transaction
mutates (update or deletes) rows in a table, then other transactions or DML statements that mutate rows in the same
table cannot run concurrently. Conflicting transactions are cancelled" ("Multi-statement transactions", Transaction
concurrency).

BigQuery's limits ("Quotas and limits", "Create and use tables"), and why this stays within them:

- Tables of a BigQuery dataset: unlimited; listing them slows near 50,000. Nothing here lists them.
- Names: 1,024 bytes of UTF-8. A dataset's name has at most 63 ASCII characters.
- Table modifications: 1,500 a day and table, DML excluded. A ledger is made by one query job, and changed by DML only.
- Metadata updates: 5 in 10 seconds and table. Making the ledger is one; DML counts and is not held back by it.
- DML: 25 statements in 10 seconds and table, two mutating ones at a time, 20 waiting. A batch is one UPDATE.
- A transaction: 100 tables, 100,000 partition modifications. A batch changes two tables.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from google.cloud import bigquery

from connectors.bigquery import statements, transactions
from connectors.bigquery.client import Warehouse, is_conflict
from connectors.bigquery.cost import LEDGER_BYTES
from connectors.bigquery.google_errors import API_ERRORS
from connectors.bigquery.tables import ensure_dataset, find_table
from connectors.bigquery.transactions import Entry
from connectors.errors import ConfigurationError, LakeferryError, LoadRefused, ObjectNotFound

PREFIX = "ledger_"
SHARED_TABLE = "ledger"
"""The table in which an earlier version kept a row for each dataset. It is read, but never changed any more."""
MOST_SHARED_ROWS = 10_000
"""The most rows that are read from the shared table."""
ATTEMPTS = 8
"""How often a transaction is tried if BigQuery cancels it in favour of another."""


class Ledger:
    """The table `ledger_<dataset>` of the ledger dataset: one row, made with the table by one statement.

    `name` is `dataset.table`, `quoted` the same for SQL.

    Args:
        dataset: the dataset's name.
        rebuilt: tables of the lake that must be rebuilt for a load from the first batch.
    """

    def __init__(self, warehouse: Warehouse, dataset: str, rebuilt: Sequence[str] = ()) -> None:
        self._warehouse = warehouse
        self._dataset = dataset
        self._rebuilt = rebuilt
        self.name = ledger_name(warehouse.address.ledger_dataset, dataset)
        self.quoted = statements.quoted(warehouse.address.project, *self.name.split("."))

    def open(self) -> Entry:
        """Returns the entry. A missing table is created: at the dataset's row of the shared table, or at batch 0."""
        if find_table(self._warehouse, self.name) is None:
            self._make()
        return self.find()

    def find(self) -> Entry:
        """Returns the entry of an existing table.

        Raises:
            LoadRefused: the table holds no row, or several, which no loader makes.
        """
        return self._only(self._warehouse.query(transactions.read_entry(self.quoted)))

    def look(self) -> Entry | None:
        """Returns the entry, read as the table's rows, which costs nothing; None if the table was never created.

        Raises:
            LoadRefused: see `find`.
        """
        try:
            names, rows = self._warehouse.first_rows(self.name, 2)
        except ObjectNotFound:
            return None
        columns = [names.index(name) for name in transactions.ENTRY_COLUMNS]
        return self._only([tuple(row[column] for column in columns) for row in rows])

    def commit(
        self, script: str, base_id: str, *, expected: Entry, loaded: Entry, most_bytes: int | None = None
    ) -> Entry:
        """Runs a load's transaction; returns the entry afterwards. BigQuery refuses it if its changes would bill more
        than `most_bytes`.

        The ledger shows whether the transaction happened, even if the reply is missing or says otherwise. A
        transaction that BigQuery cancelled in favour of another is tried again.

        Args:
            expected: the entry the script asserts.
            loaded: the entry it writes.

        Raises:
            ServiceUnavailable: BigQuery cancelled it each time.
            LakeferryError: the transaction did not happen, and why.
        """
        return self._settle(
            lambda: self._warehouse.run_script(
                script, base_id, lambda: self.find().batch >= loaded.batch, most_bytes and most_bytes + LEDGER_BYTES
            ),
            lambda entry: _position(entry) != _position(expected),
        )

    def relocate(self, script: str, base_id: str, target: str, most_bytes: int | None = None) -> Entry:
        """Runs the transaction that brings the dataset's rows to another table; returns the entry afterwards. It has
        happened if the ledger names that table, even if the reply says otherwise.

        Raises:
            LakeferryError: it did not happen, and why.
        """

        def names_target(entry: Entry) -> bool:
            return entry.target == target

        entry = self._settle(
            lambda: self._warehouse.run_script(
                script, base_id, lambda: names_target(self.find()), most_bytes and most_bytes + LEDGER_BYTES
            ),
            names_target,
        )
        if not names_target(entry):
            raise LoadRefused(
                f"the rows of {self._dataset} were copied to {target}, and the ledger {self.name} names "
                f"{entry.target or 'no table'}",
                fix="Someone set it by hand: run again",
            )
        return entry

    def way_afresh(self, target: str) -> str:
        """Returns how to load the dataset from its first batch again: an imperative sentence for a person."""
        shared = shared_name(self._warehouse)
        kept = self._dataset in shared_entries(self._warehouse)
        rest = f", and delete the row of {self._dataset} from {shared}, which the new one would begin with"
        way = f"To load it from scratch: drop the tables {target} and {self.name}{rest if kept else ''}"
        if self._rebuilt:
            way += (
                f", and drop {' and '.join(self._rebuilt)} in the lake, as batches are gone from the log: the next run "
                "builds all of it from its inputs"
            )
        return f"{way}; then run again"

    def check_age(self, table: bigquery.Table, name: str, entry: Entry) -> None:
        """Checks that the table `name` can be the one that holds the entry's batches: it existed when the last of them
        was loaded.

        Raises:
            ConfigurationError: it was created later, so it may lack them.
        """
        if entry.batch and entry.loaded_at and table.created and table.created > entry.loaded_at:
            raise ConfigurationError(
                f"table {name} was created at {_instant(table.created)}, and {self.name} says batch {entry.batch} was "
                f"loaded at {_instant(entry.loaded_at)}: it may lack the batches up to {entry.batch}",
                dataset=self._dataset,
                fix="If it holds them (it was restored, or copied by hand): UPDATE "
                f"{self.quoted} SET loaded_at = CURRENT_TIMESTAMP() WHERE TRUE. {self.way_afresh(name)}",
            )

    def _settle(self, run: Callable[[], None], settled: Callable[[Entry], bool]) -> Entry:
        for attempt in range(ATTEMPTS):
            try:
                run()
            except API_ERRORS as error:
                entry = self.find()
                if settled(entry):
                    return entry
                if attempt + 1 == ATTEMPTS or not is_conflict(error):
                    raise self._warehouse.failure(error) from None
                # BigQuery cancels the later of two transactions that change one table.
                time.sleep(min(0.25 * 2**attempt, 8.0) * random.uniform(0.5, 1.5))
            else:
                return self.find()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _make(self) -> None:
        ensure_dataset(self._warehouse, self._warehouse.address.ledger_dataset)
        shared = find_table(self._warehouse, shared_name(self._warehouse))
        project, columns = self._warehouse.address.project, [field.name for field in shared.schema] if shared else []
        source = statements.quoted(project, *shared_name(self._warehouse).split(".")) if shared else None
        try:
            self._warehouse.query(transactions.make_ledger(self.quoted, self._dataset, source, columns))
        except LakeferryError:
            # Another loader was faster, or the reply was lost.
            if find_table(self._warehouse, self.name) is None:
                raise

    def _only(self, rows: Sequence[tuple[Any, ...]]) -> Entry:
        if len(rows) != 1:
            raise LoadRefused(
                f"the ledger {self.name} holds {len(rows) or 'no'} rows, where exactly one is expected",
                dataset=self._dataset,
                fix="Someone wrote there by hand: "
                + ("delete all but the right one" if rows else f"drop {self.name} to have it created again"),
            )
        batch, run_id, moved, *rest = rows[0]
        return Entry(int(batch), run_id, int(moved or 0), *rest)


def ledger_name(ledger_dataset: str, dataset: str) -> str:
    """Returns the table that is a dataset's ledger, as `dataset.table`."""
    return f"{ledger_dataset}.{PREFIX}{dataset}"


def shared_name(warehouse: Warehouse) -> str:
    """Returns the table that was the ledger of all datasets, as `dataset.table`."""
    return f"{warehouse.address.ledger_dataset}.{SHARED_TABLE}"


def shared_entries(warehouse: Warehouse) -> dict[str, Entry]:
    """Returns the entries of the shared table by dataset, read as its rows, which costs nothing; empty without the
    table. They apply to datasets that do not have their own ledger yet."""
    try:
        names, rows = warehouse.first_rows(shared_name(warehouse), MOST_SHARED_ROWS)
    except ObjectNotFound:
        return {}
    records = [dict(zip(names, row, strict=True)) for row in rows]
    # The row without a name belonged to no dataset.
    return {
        str(row["dataset"]): Entry(
            int(row["batch"]), row["run_id"], int(row["rows"] or 0), row.get("target"), row["loaded_at"]
        )
        for row in records
        if row["dataset"]
    }


def _instant(value: datetime) -> str:
    return value.isoformat(sep=" ", timespec="milliseconds")


def _position(entry: Entry) -> tuple[int, str | None, int | None]:
    return entry.batch, entry.table_uuid, entry.snapshot_id
