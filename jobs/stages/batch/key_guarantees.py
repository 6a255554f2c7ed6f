"""What the source's own key says of a batch, so that its rows need not be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.runs.plan_document import DatasetPlan
    from jobs.spec.models import DatasetSpec


def source_keeps_keys(spec: DatasetSpec, dataset: DatasetPlan) -> bool:
    """Whether the source itself lets no two rows of a batch share the dataset's key and version: its key is, or holds,
    the table's primary key. A slice is one statement, in which that key is unique; and slices are cut by it and the
    cursor, so no two can hold one key and one version."""
    if dataset.source is None or spec.deletes == "sweep":
        return False
    key = dataset.source.primary_key
    return bool(key) and set(key) <= set(spec.primary_key)


def has_one_row_a_key(spec: DatasetSpec, dataset: DatasetPlan) -> bool:
    """Whether no two rows of a batch share the dataset's key, of any version: a row that moved while slices were read
    is in one of them. A masked key may be that of two rows."""
    apart = dataset.source is not None and dataset.source.one_row_a_key
    return apart and source_keeps_keys(spec, dataset) and spec.mask.keys().isdisjoint(spec.primary_key)
