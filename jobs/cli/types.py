"""What becomes of each column of a pipeline's real tables, from the source through the lake into BigQuery."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from connectors.base import TypeVerdict
from connectors.bigquery.columns import warehouse_type
from jobs.masking.masks import lake_columns_after
from jobs.runs.source import request_of, source_of
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec

_ICEBERG = {
    "tinyint": "int",
    "smallint": "int",
    "bigint": "long",
    "timestamp": "timestamptz",
    "timestamp_ntz": "timestamp",
}
"""Iceberg's words for Spark's types, where they differ (its specification, "Primitive Types")."""


@dataclass(frozen=True)
class TypeLine:
    """The types of one column on its way. `warehouse_type`: None if BigQuery has no column for it. If a mask drops
    the column, the lake's types are empty, too."""

    dataset: str
    column: str
    source_type: str
    spark_type: str
    lake_type: str
    warehouse_type: str | None
    verdict: TypeVerdict
    note: str | None


def type_lines(spec: PipelineSpec, settings: Settings) -> Iterator[TypeLine]:
    """The ledger's lines for every dataset that has a source, asked of the source now.

    Raises:
        ObjectNotFound: a table that is not there.
        ServiceUnavailable: the source does not answer.
    """
    for dataset in spec.datasets:
        if dataset.derived:
            continue
        source, request = source_of(spec, settings), request_of(spec, dataset)
        columns = source.describe(request).columns
        landed = {column.name: column for column in lake_columns_after(dataset.mask, columns)}
        for column in columns:
            kept, mask = landed.get(column.name), dataset.mask.get(column.name)
            yield TypeLine(
                dataset=dataset.name,
                column=column.name,
                source_type=column.source_type,
                spark_type=kept.spark_type if kept else "",
                lake_type=lake_type(kept.spark_type) if kept else "",
                warehouse_type=(kept.parsed or warehouse_type(kept.spark_type)) if kept else None,
                verdict="lossy" if mask else column.verdict,
                note=f"mask: {mask}" if mask else column.note,
            )


def lake_type(spark_type: str) -> str:
    """Iceberg's word for a Spark type."""
    return _ICEBERG.get(re.sub(r"\s", "", spark_type.lower()), spark_type)
