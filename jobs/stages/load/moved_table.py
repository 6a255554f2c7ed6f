"""A dataset whose `bigquery.table` is another one than its rows are in: refused, or copied where the spec allows it."""

from __future__ import annotations

from connectors.bigquery.transactions import Entry
from connectors.errors import ConfigurationError
from jobs.spec.models import DatasetSpec


def rows_elsewhere(dataset: DatasetSpec, entry: Entry, ledger: str) -> str | None:
    """The table that the dataset's rows are to be copied from before batches are loaded, or None.

    Args:
        entry: where the dataset stands.
        ledger: the table the entry is in, for the message.

    Raises:
        ConfigurationError: they are in another table, and the spec does not say `relayout: copy`: a new table would
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
