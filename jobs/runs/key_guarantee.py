"""What the source's own key guarantees about a batch, so that its rows need not be searched for duplicates."""

from __future__ import annotations

from typing import Literal

from connectors.base import ReadPlan
from jobs.spec.models import DatasetSpec

KeyGuarantee = Literal["none", "one_row_per_version", "one_row_per_key"]
"""`one_row_per_version`: no two rows of a batch share the dataset's key and version. `one_row_per_key`: no two rows
share the key, in any version."""


def key_guarantee(spec: DatasetSpec, source: ReadPlan) -> KeyGuarantee:
    """Return what the source guarantees about the dataset's key.

    It guarantees one row per version if the dataset's key is, or contains, the table's primary key. A slice is one
    statement, in which that key is unique. Slices are cut by the key and the cursor, so two slices cannot hold the same
    key and version. A row that moved while the slices were read may be in two of them, unless the plan excludes that.
    Two rows may have the same masked key.
    """
    key = source.primary_key
    if spec.deletes == "sweep" or not key or not set(key) <= set(spec.primary_key):
        return "none"
    if source.keys_are_unique and spec.mask.keys().isdisjoint(spec.primary_key):
        return "one_row_per_key"
    return "one_row_per_version"
