"""Removal of rows that were marked as deleted before their table's spec asked to remove such rows."""

from __future__ import annotations

from google.api_core import exceptions as api

from connectors.bigquery import statements
from connectors.bigquery.client import METADATA_SECONDS, RETRY, Warehouse
from connectors.bigquery.cost import check_scanned_bytes
from connectors.bigquery.statements import Target
from connectors.bigquery.tables import find_table
from connectors.errors import ConfigurationError

DELETES_LABEL = "lakeferry_deletes"
MARKED, REMOVED = "mark", "remove"
"""The values of the table's label: it may hold marked rows, or it holds none."""


def remove_marked(warehouse: Warehouse, target: Target, name: str, most_bytes: int | None) -> None:
    """Removes marked rows from the table `name`, once: its label says that it was done.

    The label comes after the rows, so a crash between them only repeats a DELETE that finds nothing.

    Raises:
        LoadRefused: the DELETE would scan more than `most_bytes`; nothing was run.
    """
    table = find_table(warehouse, name)
    assert table is not None, "the table is made before rows are removed from it"
    if table.labels.get(DELETES_LABEL) == REMOVED:
        return
    sql = statements.remove_marked(target)
    size = warehouse.estimate(sql)
    warehouse.cost.estimated += size
    check_scanned_bytes(most_bytes, size, f"removing the marked rows of {name}", "bigquery.max_bytes_billed")
    warehouse.query(sql, most_bytes)
    table.labels = {**table.labels, DELETES_LABEL: REMOVED}
    with warehouse.translated(ConfigurationError):
        try:
            warehouse.client.update_table(table, ["labels"], retry=RETRY, timeout=METADATA_SECONDS)
        except api.PreconditionFailed:
            # Another loader changed the table meanwhile; the next load removes again, and finds nothing.
            return
