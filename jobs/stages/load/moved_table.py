"""Refuses a dataset whose rows are not in its `bigquery.table`, or has them copied if the spec allows it."""

from __future__ import annotations

from connectors.bigquery.transactions import Entry
from connectors.errors import ConfigurationError
from jobs.spec.models import DatasetSpec


def rows_elsewhere(dataset: DatasetSpec, entry: Entry, ledger: str) -> str | None:
    """Return the table from which the dataset's rows must be copied before batches are loaded, or None.

    Args:
        entry: the dataset's entry in the ledger.
        ledger: the table that holds the entry, for the message.

    Raises:
        ConfigurationError: the rows are in another table, and the spec does not say `relayout: copy`. A new table would
            hold a part of the rows and look whole.
    """
    table = dataset.bigquery.table
    if not entry.batch or entry.target in (None, table):
        return None
    if dataset.bigquery.relayout == "copy":
        return entry.target
    raise ConfigurationError(
        f"bigquery.table is {table}, and the batches up to {entry.batch} are in {entry.target}: the new table "
        "would hold a part of the rows",
        fix=f"Set it back; or write relayout: copy beside it, and the next load copies the rows; or, where {table} has "
        f"them, set target to it and loaded_at to CURRENT_TIMESTAMP() in the row of {dataset.name} in the ledger "
        f"{ledger}",
        key=("bigquery", "table"),
    )
