"""The transform of the derived scenario: its input unchanged, by `day`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def mirrored(inputs: Mapping[str, DataFrame], partitions: DataFrame | None) -> DataFrame:
    [only] = inputs.values()
    rows = only.select("id", "v", "note", "day", "updated_at")
    return rows if partitions is None else rows.join(partitions, "day", "left_semi").select(*rows.columns)


def mirrored_partitions(changes: Mapping[str, DataFrame], inputs: Mapping[str, DataFrame]) -> DataFrame:
    [changed] = changes.values()
    return changed.select("day")
