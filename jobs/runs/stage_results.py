"""What each stage passes on to later stages and readers, in the `details` of its receipt.

Receipts stay in the lake: fields that another version wrote and this one does not know are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
)

LongNumber = Annotated[int, PlainSerializer(str, return_type=str)]
"""A number of up to 64 bits. It is text in JSON: a JSON number may lose some of its digits."""


@dataclass(frozen=True)
class SliceStats:
    """What was observed of one slice on its way into the lake.

    `source_rows` is the count the source reports; None until it is asked. `known_rows` were left out by a lookback;
    `known_rejected_rows` of these are rejected ones. `altered_rows` do not match the fingerprints the source made.
    `rejected_rows` are to be set aside, as far as reading them showed it. `unfit_rows` must be judged by BigQuery's
    limits. `row_hash` is the sum of the hashes of the good rows as written; None if files named after their bytes
    stand for the rows.
    """

    source_rows: int | None = None
    known_rows: int = 0
    known_rejected_rows: int = 0
    altered_rows: int = 0
    rejected_rows: int = 0
    unfit_rows: int = 0
    row_hash: int | None = None


class StageResult(BaseModel):
    """What a stage passes on. Fields without a value are not written.

    `proof_seconds` is the time that tasks took to compare rows; None without such a comparison.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    proof_seconds: float | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class Planned(StageResult):
    """`plan` is the plan's address, `reason` says why nothing is moved."""

    plan: str | None = None
    reason: str | None = None
    slices: int = 0


class Sealed(StageResult):
    """The batch that extract or transform has sealed on a branch of raw.

    `branch` and `snapshot_id` have no value if there was nothing new to seal. `slices` is what was observed of each
    slice, `columns` are the names of the batch's columns.
    """

    branch: str | None = None
    snapshot_id: LongNumber | None = None
    slices: dict[int, SliceStats] = {}
    columns: list[str] = []

    @field_validator("slices", mode="before")
    @classmethod
    def _parsed(cls, value: object) -> object:
        return stats_from_json(value) if isinstance(value, Mapping) else value

    @field_serializer("slices")
    def _as_document(self, slices: dict[int, SliceStats]) -> dict[str, JsonValue]:
        return stats_to_json(slices)


class Proved(StageResult):
    """The batch that check has published, or a correction that was published as a batch.

    `reconcile` is how rows were compared, `expectations` how many rules were proved, `data_docs` where their report
    lies. `corrects` is the batch from which a correction sets rows aside.
    """

    snapshot_id: LongNumber | None = None
    reconcile: str | None = None
    data_docs: str | None = None
    expectations: int | None = None
    corrects: int | None = None


class Loaded(StageResult):
    """The batches that load has brought to BigQuery.

    `batches` were loaded by this stage, `already_loaded` before it, `passed_over` need no load. `fingerprint` is that
    of the rows compared. `bytes_…` are those of BigQuery's jobs. `compared_…` is what was compared of the table, or
    `not_compared` why not. `expired_rows` were removed with their partitions. `copied_…`: rows of an earlier table.
    """

    table: str | None = None
    batches: list[int] = []
    already_loaded: list[int] = []
    passed_over: list[int] = []
    fingerprint: LongNumber | None = None
    bytes_estimated: int | None = None
    bytes_processed: int | None = None
    bytes_billed: int | None = None
    compared_partitions: int | None = None
    compared_rows: int | None = None
    compared_whole: bool | None = None
    not_compared: str | None = None
    expired_rows: int | None = None
    copied_from: str | None = None
    copied_rows: int | None = None


class ViewCreated(StageResult):
    """`reason` says why a view was skipped."""

    reason: str | None = None


RESULTS: dict[str, type[StageResult]] = {
    "plan": Planned,
    "extract": Sealed,
    "transform": Sealed,
    "check": Proved,
    "load": Loaded,
    "view": ViewCreated,
}
"""The result of each stage."""


def stats_to_json(stats: Mapping[int, SliceStats]) -> dict[str, JsonValue]:
    """Return the stats of slices as a document. Hashes are text, see `LongNumber`."""
    return {
        str(slice_id): {
            key: str(value) if key == "row_hash" else value
            for key, value in asdict(slice_stats).items()
            if value is not None
        }
        for slice_id, slice_stats in sorted(stats.items())
    }


def stats_from_json(document: Mapping[Any, Any]) -> dict[int, SliceStats]:
    """Read the document that `stats_to_json` wrote."""
    known = {known_field.name for known_field in fields(SliceStats)}
    return {
        int(slice_id): entry
        if isinstance(entry, SliceStats)
        else SliceStats(**{key: int(value) for key, value in entry.items() if key in known})
        for slice_id, entry in document.items()
    }


def stats_text(stats: Mapping[int, SliceStats]) -> str:
    """Return the stats as text for a snapshot's property."""
    return json.dumps(stats_to_json(stats))
