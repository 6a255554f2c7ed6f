"""Finds texts that BigQuery could not parse as their column requires.

Their rows are set aside before they could fail a load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from connectors.bigquery.geography_limits import geography_problem
from connectors.bigquery.json_limits import json_problem

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column as SparkColumn

    from connectors.base import Column, ParsedType

_PROBLEMS: dict[ParsedType, Callable[[str], str | None]] = {"JSON": json_problem, "GEOGRAPHY": geography_problem}


def parse_rejection(columns: Sequence[Column]) -> SparkColumn | None:
    """Return NULL for a row whose parsed columns all fit, else the reason; None if no column is parsed."""
    from pyspark.sql import functions as F

    from jobs.lake.schema import quoted
    from jobs.stages.batch.spark_landing import as_udf

    reasons = [
        F.concat(
            F.lit(f"BigQuery cannot hold {column.name} as {column.parsed}: "),
            as_udf("problems", _problems(_PROBLEMS[column.parsed]))(F.col(quoted(column.name)).cast("string")),
        )
        for column in columns
        if column.parsed
    ]
    return F.coalesce(*reasons) if reasons else None


def _problems(problem: Callable[[str], str | None]) -> Callable[[pa.Array], pa.Array]:
    def problems(values: pa.Array) -> pa.Array:
        import pyarrow as pa

        return pa.array([None if text is None else problem(text) for text in values.to_pylist()], pa.string())

    return problems
