"""The ledger: one row a dataset, which says up to which batch BigQuery has come."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from google.api_core import exceptions as api

from connectors.bigquery import statements
from connectors.bigquery.client import API_ERRORS, Warehouse, words
from connectors.bigquery.cost import LEDGER_BYTES
from connectors.bigquery.tables import ensure_dataset, find_table
from connectors.errors import LoadRefused, ObjectNotFound

TABLE = "ledger"
MOST_DATASETS = 10_000
"""Datasets a ledger is read of at once."""
ATTEMPTS = 8
"""Tries of one transaction that BigQuery cancels in favour of another. Each time the other one got through."""


@dataclass(frozen=True)
class Entry:
    """Where a dataset stands: `batch` 0 is before the first. `target` is the table that holds its batches."""

    batch: int
    run_id: str | None
    rows: int
    target: str | None = None


class Ledger:
    """The table `ledger` of the ledger dataset.

    Its row with the empty name is a gate: whoever adds a dataset's row updates it in the same
    transaction, so that two who add the same one collide, and there is never a second row.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.name = f"{warehouse.address.ledger_dataset}.{TABLE}"
        self.quoted = statements.quoted(warehouse.address.project, warehouse.address.ledger_dataset, TABLE)

    def open(self, dataset: str) -> Entry:
        """The dataset's entry, made at batch 0 where there is none, with the table if need be."""
        table = find_table(self._warehouse, self.name)
        if table is None:
            self._make()
        elif all(field.name != "target" for field in table.schema):
            # One of before 0.1 knew no targets.
            self._warehouse.query(f"ALTER TABLE {self.quoted} ADD COLUMN IF NOT EXISTS target STRING")
        # A table just made is not asked for what it cannot hold; a row another loader was faster with stays as it is.
        entry = self.find(dataset) if table is not None else None
        return entry or self._add(dataset)

    def find(self, dataset: str) -> Entry | None:
        """The dataset's entry, or None.

        Raises:
            LoadRefused: the table holds two rows for it, which no loader makes.
        """
        rows = self._warehouse.query(
            f"SELECT batch, run_id, `rows`, target FROM {self.quoted} WHERE dataset = {statements.text(dataset)}"
        )
        if len(rows) > 1:
            raise LoadRefused(
                f"the ledger {self.name} holds {len(rows)} rows for this dataset",
                dataset=dataset,
                fix="Someone wrote there by hand: delete all but the right one",
            )
        if not rows:
            return None
        batch, run_id, moved, target = rows[0]
        return Entry(batch=int(batch), run_id=run_id, rows=int(moved or 0), target=target)

    def entries(self) -> dict[str, Entry]:
        """All entries by dataset, read as the table's rows, which costs nothing; none where there is no table."""
        try:
            names, rows = self._warehouse.first_rows(self.name, MOST_DATASETS)
        except ObjectNotFound:
            return {}
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return {
            str(row["dataset"]): Entry(int(row["batch"]), row["run_id"], int(row["rows"] or 0), row.get("target"))
            for row in found
            if row["dataset"]
        }

    def commit(
        self, sql: str, base_id: str, dataset: str, *, expected: int, batch: int, most_bytes: int | None = None
    ) -> int:
        """Run a load's transaction; return the batch the ledger stands at afterwards. BigQuery refuses it where its
        changes would bill more than `most_bytes`.

        Whatever the reply, or its absence, says: the ledger knows whether the transaction happened. A
        transaction BigQuery cancelled in favour of another is tried again.

        Raises:
            LakeferryError: the transaction did not happen, and why.
        """

        def stands() -> bool:
            return self._batch(dataset) >= batch

        return self._settle(
            lambda: self._warehouse.run_script(sql, base_id, stands, most_bytes and most_bytes + LEDGER_BYTES),
            lambda: self._batch(dataset),
            lambda now: now != expected,
        )

    def relocate(self, sql: str, base_id: str, dataset: str, target: str, most_bytes: int | None = None) -> None:
        """Run the transaction that brings a dataset's rows to another table; done where the ledger names that table,
        whatever the reply says.

        Raises:
            LakeferryError: it did not happen, and why.
        """

        def there() -> bool:
            entry = self.find(dataset)
            return entry is not None and entry.target == target

        found = self._settle(
            lambda: self._warehouse.run_script(sql, base_id, there, most_bytes and most_bytes + LEDGER_BYTES),
            lambda: int(there()),
            lambda now: now == 1,
        )
        if not found:
            raise LoadRefused(
                f"the rows of {dataset} were copied to {target}, and the ledger {self.name} names another table",
                fix="Someone set it by hand: run again",
            )

    def _batch(self, dataset: str) -> int:
        entry = self.find(dataset)
        return entry.batch if entry else 0

    def _settle(self, run: Callable[[], None], look: Callable[[], int], settled: Callable[[int], bool]) -> int:
        for attempt in range(ATTEMPTS):
            try:
                run()
            except API_ERRORS as error:
                now = look()
                if settled(now):
                    return now
                if attempt + 1 == ATTEMPTS or not _cancelled(error):
                    raise self._warehouse.failure(error) from None
                # BigQuery cancels the later of two transactions that update one table, and the ledger is one.
                time.sleep(min(0.25 * 2**attempt, 8.0) * random.uniform(0.5, 1.5))
            else:
                return look()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _make(self) -> None:
        """The table and its gate appear in one statement, so no two gates are made and none is missing."""
        ensure_dataset(self._warehouse, self._warehouse.address.ledger_dataset)
        sql = statements.make_ledger(self.quoted)
        with self._warehouse.told():
            job = self._warehouse.client.query(sql, job_retry=None)
            try:
                self._warehouse.wait(job).result()
            except api.GoogleAPICallError:
                if find_table(self._warehouse, self.name) is None:
                    raise

    def _add(self, dataset: str) -> Entry:
        sql = statements.add_entry(self.quoted, dataset)
        found: list[Entry] = []

        def run() -> None:
            self._warehouse.wait(self._warehouse.client.query(sql, job_retry=None)).result()

        def look() -> int:
            entry = self.find(dataset)
            found.extend([entry] if entry else [])
            return len(found)

        self._settle(run, look, lambda there: there > 0)
        assert found, "a row just made"
        return found[-1]


def _cancelled(error: Exception) -> bool:
    """Whether BigQuery cancelled it in favour of another ("Transaction is aborted due to concurrent update …")."""
    return isinstance(error, api.GoogleAPICallError) and "concurrent update" in words(error).lower()
