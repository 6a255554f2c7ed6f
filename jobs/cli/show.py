"""What `lakeferry show` shows: rows of a dataset's table as they lie in BigQuery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.errors import ObjectNotFound, UsageError
from jobs.runtime.settings import Settings
from jobs.spec.models import DatasetSpec
from jobs.warehouse.client import open_warehouse


def shown_rows(
    datasets: Sequence[DatasetSpec], name: str, limit: int, settings: Settings
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and at most `limit` rows.

    Raises:
        UsageError: no such dataset.
        ObjectNotFound: its table is not in BigQuery yet.
    """
    dataset = next((candidate for candidate in datasets if candidate.name == name), None)
    if dataset is None:
        raise UsageError(f"no dataset {name!r}", choices=sorted(candidate.name for candidate in datasets))
    try:
        return open_warehouse(settings).first_rows(dataset.bigquery.table, limit)
    except ObjectNotFound as error:
        raise ObjectNotFound(
            f"{dataset.bigquery.table} is not in BigQuery: nothing of it was loaded yet",
            dataset=name,
            fix="Run its pipeline; lakeferry status says what was run",
        ) from error
