"""Rows of a plan's slices as a Spark DataFrame; one JDBC partition, one statement, a slice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from connectors.base import (
    FINGERPRINT_COLUMN,
    REJECTED_COLUMN,
    REJECTED_TYPE,
    SLICE_COLUMN,
    SOURCE_ROWS_COLUMN,
    Column,
    FingerprintOf,
)
from connectors.mysql.column_types import ZeroDates, column_type
from connectors.mysql.fingerprints import server_fingerprint
from connectors.mysql.sql import quote_identifier
from connectors.mysql.tables import TableName

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession


_HASH = "h"
"""Columns travel as c0, c1, …: no name is taken twice."""


def read_slices(
    spark: SparkSession,
    jdbc: Mapping[str, str],
    table: TableName,
    columns: Sequence[Column],
    predicates: Mapping[int, str],
    zero_dates: ZeroDates = "quarantine",
    fingerprint: FingerprintOf = "nothing",
    hidden: Collection[str] = (),
    required: str | None = None,
) -> DataFrame:
    """The columns in order, then `_slice`, `_source_rows`, `_rejected`, and `_fingerprint` where one is
    asked for; `predicates` by slice id. A reason shows no value of a `hidden` column. A row
    without a value in the `required` column is rejected.
    """
    if not predicates:
        types = [f"{quote_identifier(column.name)} {column.spark_type}" for column in columns]
        own = [f"{SLICE_COLUMN} int", f"{SOURCE_ROWS_COLUMN} bigint", f"{REJECTED_COLUMN} {REJECTED_TYPE}"]
        own += [f"{FINGERPRINT_COLUMN} string"] if fingerprint != "nothing" else []
        return spark.createDataFrame([], ", ".join(types + own))
    kinds = [column_type(column.source_type, zero_dates) for column in columns]
    # Columns travel under numbers: no name can then collide, or need quoting twice.
    selected = [
        f"{kind.select(quote_identifier(column.name))} AS c{n}"
        for n, (column, kind) in enumerate(zip(columns, kinds, strict=True))
    ]
    counted, sliced = _unused("counted", columns), _unused("sliced", columns)
    transport = [f"c{n} {kind.transport_type}" for n, kind in enumerate(kinds)]
    if fingerprint != "nothing":
        proved = [
            (kind.select(quote_identifier(column.name)), kind) for column, kind in zip(columns, kinds, strict=True)
        ]
        selected.append(f"{server_fingerprint(proved, fingerprint)} AS {_HASH}")
        transport.append(f"{_HASH} string")
    reader = (
        spark.read.format("jdbc")
        .options(**jdbc)
        .option("customSchema", ", ".join([*transport, f"{sliced} int", f"{counted} bigint"]))
    )
    # The server says which slice a row is of. As a literal here it would make the code that Spark generates another one
    # for each slice, to be compiled, and to become fast, as often as there are slices.
    slices = [
        reader.option(
            "dbtable",
            f"({_statement(table, [*selected, f'{slice_id:d} AS {sliced}'], counted, predicate)}) AS s{slice_id}",
        ).load()
        for slice_id, predicate in predicates.items()
    ]
    rows = reduce(lambda whole, piece: whole.unionAll(piece), slices)
    # Two steps: in one, each date would be parsed for its value and again to see whether it is one.
    rows = rows.select("*", *(_decode(F.col(f"c{n}"), column).alias(f"d{n}") for n, column in enumerate(columns)))
    decoded = [F.col(f"d{n}") for n in range(len(columns))]
    return rows.select(
        *(value.alias(column.name) for value, column in zip(decoded, columns, strict=True)),
        F.col(sliced).cast("int").alias(SLICE_COLUMN),
        F.col(counted).cast("bigint").alias(SOURCE_ROWS_COLUMN),
        _rejected(columns, decoded, hidden, required).alias(REJECTED_COLUMN),
        *([F.col(_HASH).alias(FINGERPRINT_COLUMN)] if fingerprint != "nothing" else []),
    )


def _statement(table: TableName, selected: Sequence[str], counted: str, predicate: str) -> str:
    """The rows of a slice, each with their number: one statement, so one read view of the server."""
    # Spark wraps this into a SELECT of its own. A join lets MySQL merge the two, where a subquery among
    # the columns would make it write all rows to a temporary table first (manual, Optimizing Derived Tables).
    count = f"(SELECT COUNT(*) AS {counted} FROM {table.quoted} WHERE {predicate}) AS whole_slice"
    return f"SELECT {', '.join(selected)}, {counted} FROM {count} CROSS JOIN {table.quoted} WHERE {predicate}"


def _unused(stem: str, columns: Sequence[Column]) -> str:
    """A name no column has."""
    taken = {column.name.lower() for column in columns}
    while stem in taken:
        stem += "_"
    return stem


def _decode(raw: Expression, column: Column) -> Expression:
    match column.spark_type:
        # The year 0, which MySQL stores, is one that BigQuery's types do not have.
        case "date" | "timestamp_ntz":
            return F.when(~raw.startswith("0000"), raw.try_cast(column.spark_type))
        case "timestamp":
            # The offset makes it an instant whatever the time zone of the Spark session.
            return F.when(~raw.startswith("0000"), F.concat(raw, F.lit("+00:00")).try_cast("timestamp"))
        case _:
            return raw.cast(column.spark_type)


def _rejected(
    columns: Sequence[Column], decoded: Sequence[Expression], hidden: Collection[str], required: str | None
) -> Expression:
    """Why a row cannot be decoded: a zero date, or one with a zero month or day, is a value no date
    type holds, and NULL would be a lie; or the `required` column has no value."""
    broken = {
        column.name: (F.col(f"c{n}"), F.col(f"c{n}").isNotNull() & value.isNull())
        for n, (column, value) in enumerate(zip(columns, decoded, strict=True))
        if column.spark_type in ("date", "timestamp_ntz", "timestamp")
    }
    if not broken and required is None:
        return F.lit(None).cast(REJECTED_TYPE)
    missing = F.lit(False)
    if required is not None:
        missing = F.col(f"c{[column.name for column in columns].index(required)}").isNull()
    reason = F.concat_ws(
        "; ",
        F.when(missing, F.lit(f"{required}: NULL, so no window holds the row")),
        *(
            F.when(
                is_broken,
                F.lit(f"{name}: not a date") if name in hidden else F.concat(F.lit(f"{name}: not a date: "), raw),
            )
            for name, (raw, is_broken) in broken.items()
        ),
    )
    texts = [
        (F.base64(f"c{n}") if column.spark_type == "binary" else F.col(f"c{n}").cast("string")).alias(column.name)
        for n, column in enumerate(columns)
    ]
    record = F.to_json(F.struct(*texts), {"ignoreNullFields": "false"})
    any_broken = reduce(or_, (is_broken for _, is_broken in broken.values()), missing)
    return F.when(any_broken, F.struct(reason.alias("reason"), record.alias("record"))).otherwise(
        F.lit(None).cast(REJECTED_TYPE)
    )
