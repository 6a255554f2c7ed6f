"""What the source's own key guarantees about a batch, so that its rows need not be searched for duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.runs.plan_document import DatasetPlan
    from jobs.spec.models import DatasetSpec


def source_keeps_keys(spec: DatasetSpec, dataset: DatasetPlan) -> bool:
    """Whether the source guarantees that no two rows of a batch share the dataset's key and version.

    It does if the dataset's key is, or contains, the table's primary key. A slice is one statement, in which that key
    is unique. Slices are cut by the key and the cursor, so two slices cannot hold the same key and version.
    """
    if dataset.source is None or spec.deletes == "sweep":
        return False
    key = dataset.source.primary_key
    return bool(key) and set(key) <= set(spec.primary_key)


def has_one_row_a_key(spec: DatasetSpec, dataset: DatasetPlan) -> bool:
    """Whether no two rows of a batch share the dataset's key, in any version: a row that moved while the slices were
    read is in only one of them. Two rows may have the same masked key."""
    apart = dataset.source is not None and dataset.source.one_row_a_key
    return apart and source_keeps_keys(spec, dataset) and spec.mask.keys().isdisjoint(spec.primary_key)
