"""Where a dataset goes in BigQuery and how its table is laid out: the keys under `bigquery:`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field

from connectors.bigquery.partitions import IntegerRange
from connectors.yaml.models import YamlModel
from jobs.spec.names import Bytes, WarehouseTable

MOST_PARTITIONS = 10_000
"""Partitions a table may have ("Quotas and limits" in BigQuery's documentation)."""


def _matching(pattern: str, said: str) -> AfterValidator:
    def checked(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(said)
        return value

    return AfterValidator(checked)


_LabelKey = Annotated[
    str, _matching(r"[a-z][a-z0-9_-]{0,62}", "a label is named by 1 to 63 lower case letters, digits, _ and -")
]
_LabelValue = Annotated[
    str, _matching(r"[a-z0-9_-]{0,63}", "a label's value is at most 63 lower case letters, digits, _ and -")
]
_PolicyTag = Annotated[
    str,
    _matching(
        r"projects/[^/]+/locations/[^/]+/taxonomies/[^/]+/policyTags/[^/]+",
        "a policy tag is written projects/…/locations/…/taxonomies/…/policyTags/…",
    ),
]


class PartitionRange(YamlModel):
    """Partitions of `interval` integers each, from `start` to before `end`."""

    start: int
    end: int
    interval: int = Field(ge=1)

    @property
    def integers(self) -> IntegerRange:
        return IntegerRange(self.start, self.end, self.interval)


class WarehouseSpec(YamlModel):
    """`partition_by` is a DATE, DATETIME or TIMESTAMP column, by day unless `partition_granularity` says otherwise, or
    with `partition_range` an INT64 column. `policy_tags` maps columns to resource names of policy tags. `deletes` is
    what becomes of a row that a sweep finds gone at the source: marked with `_deleted_at`, or removed. With
    `relayout: copy`, rows that are in another table than `table` are copied there."""

    table: WarehouseTable
    partition_by: str | None = None
    partition_granularity: Literal["hour", "day", "month", "year"] = "day"
    partition_range: PartitionRange | None = None
    partition_expiration_days: int | None = Field(default=None, ge=1)
    require_partition_filter: bool | None = None
    cluster_by: list[str] = Field(default_factory=list, max_length=4)
    labels: dict[_LabelKey, _LabelValue] = Field(default_factory=dict, max_length=60)
    policy_tags: dict[str, _PolicyTag] = Field(default_factory=dict)
    max_bytes_billed: Bytes | None = None
    deletes: Literal["mark", "remove"] = "mark"
    relayout: Literal["refuse", "copy"] = "refuse"


class LayoutRefusal(NamedTuple):
    """Why a table cannot be laid out so: the key under `bigquery` at fault, what is wrong and what would do."""

    key: str
    problem: str
    fix: str


def check_table_layout(spec: WarehouseSpec, write_disposition: str, swept: bool = False) -> LayoutRefusal | None:
    """What of the layout does not go together; None where all does. `swept`: the dataset has `deletes: sweep`."""
    written_keys = spec.model_fields_set
    if "deletes" in written_keys and write_disposition != "merge":
        return LayoutRefusal(
            "deletes",
            f"bigquery.deletes: {spec.deletes} is for write_disposition merge, not {write_disposition}",
            "Leave it out",
        )
    if "deletes" in written_keys and not swept:
        return LayoutRefusal(
            "deletes",
            f"bigquery.deletes: {spec.deletes} has no effect without deletes: sweep, which finds the deleted rows",
            "Add deletes: sweep to the dataset",
        )
    needing = ("partition_granularity", "partition_range", "partition_expiration_days", "require_partition_filter")
    for key in needing:
        if key in written_keys and spec.partition_by is None:
            return LayoutRefusal(key, f"{key} has no effect without partition_by", "Add partition_by: COLUMN")
    if write_disposition == "overwrite_partitions" and spec.partition_granularity == "hour":
        return LayoutRefusal(
            "partition_granularity",
            "overwrite_partitions replaces days by a DATE column, and a DATE has no hours",
            "Leave partition_granularity out, or write month or year",
        )
    if spec.partition_range is None:
        return None
    if write_disposition == "overwrite_partitions":
        return LayoutRefusal(
            "partition_range", "overwrite_partitions replaces days, and partition_range has none", "Partition by a day"
        )
    for key in ("partition_granularity", "partition_expiration_days"):
        if key in written_keys:
            return LayoutRefusal(key, f"{key} is for partitions by time, partition_range for integers", "Leave one out")
    integers = spec.partition_range.integers
    if not 1 <= integers.partitions <= MOST_PARTITIONS:
        return LayoutRefusal(
            "partition_range",
            f"partition_range makes {max(integers.partitions, 0)} partitions, BigQuery takes 1 to {MOST_PARTITIONS}",
            "end must be above start; a larger interval makes fewer",
        )
    return None
