"""When a dataset's table in BigQuery was last compared with curated as a whole, and found equal.

One small document per dataset, replaced each time. It decides nothing but what to compare: without it, or after a
difference, the next load compares the whole table.
"""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.lake.documents import Documents


class ComparisonRecord(BaseModel):
    """The day (UTC) of the last whole comparison, None after a difference, with its table and its raw table."""

    model_config = ConfigDict(frozen=True)

    day: date | None
    table: str
    raw_uuid: str


def compared_on(documents: Documents, dataset: str, day: date, table: str, raw_uuid: str) -> bool:
    """Whether the whole table was found equal on that day."""
    return _find(documents, dataset) == ComparisonRecord(day=day, table=table, raw_uuid=raw_uuid)


def difference_stands(documents: Documents, dataset: str, table: str, raw_uuid: str) -> bool:
    """Whether the last whole comparison found a difference, or was due and impossible, and none succeeded since."""
    return _find(documents, dataset) == ComparisonRecord(day=None, table=table, raw_uuid=raw_uuid)


def _find(documents: Documents, dataset: str) -> ComparisonRecord | None:
    text = documents.find(_key(dataset))
    if text is None:
        return None
    try:
        return ComparisonRecord.model_validate_json(text)
    except ValidationError:
        # Somebody else's document, or another version's: it will be replaced.
        return None


def record_comparison(documents: Documents, dataset: str, day: date | None, table: str, raw_uuid: str) -> None:
    """Record the outcome of a whole comparison: the day, or None after a difference."""
    record = ComparisonRecord(day=day, table=table, raw_uuid=raw_uuid)
    documents.put(_key(dataset), record.model_dump_json().encode(), "application/json")


def _key(dataset: str) -> str:
    return f"comparisons/{dataset}.json"
