"""`deletes: sweep` of a dataset: what it needs of the dataset's other keys.

Each scheduled run reads all primary keys at the source. A row the lake has and the source has not any more gets
`_deleted_at`, in raw, curated and BigQuery. Where more than `most_deleted` of the live rows are gone, the
batch is not published; ten rows of a table that keeps others may always go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import connectors
from connectors.capabilities import KeyScanSource


class SweepKeys(Protocol):
    """The keys of a dataset that a sweep depends on."""

    @property
    def deletes(self) -> str: ...

    @property
    def derived(self) -> bool: ...

    @property
    def write_disposition(self) -> str: ...

    @property
    def primary_key(self) -> Sequence[str]: ...

    @property
    def model_fields_set(self) -> set[str]: ...


class SweepRefusal(NamedTuple):
    """Why a dataset cannot be swept: the key of the dataset at fault, what is wrong and what would do."""

    key: str
    problem: str
    fix: str


def check_sweep(dataset: SweepKeys, source_type: str | None) -> SweepRefusal | None:
    """What of a dataset's keys does not go with how it says deletes are found; None where all does."""
    if dataset.deletes != "sweep":
        if "most_deleted" in dataset.model_fields_set:
            return SweepRefusal(
                "most_deleted", "most_deleted has no effect without deletes: sweep", "Add deletes: sweep"
            )
        return None
    if dataset.derived:
        return SweepRefusal(
            "deletes", "a derived dataset follows its inputs' deletes", "Write deletes: sweep on the inputs"
        )
    if source_type is not None and not issubclass(connectors.source_class(source_type), KeyScanSource):
        able = connectors.source_types(KeyScanSource)
        return SweepRefusal(
            "deletes",
            f"deletes: sweep on a source of type {source_type}, whose rows are never deleted",
            f"Leave it out: it is for tables of {' and '.join(able)}",
        )
    if dataset.write_disposition != "merge":
        return SweepRefusal(
            "deletes",
            f"deletes: sweep needs write_disposition merge, not {dataset.write_disposition}",
            "replace drops what is gone by itself, and the rows of an append are not deleted: leave deletes out",
        )
    if not dataset.primary_key:
        return SweepRefusal("deletes", "deletes: sweep needs a primary_key", "Add primary_key: [COLUMN, …]")
    return None
