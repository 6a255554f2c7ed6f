"""The source. A plan freezes ranges of record numbers, which never change in a log that only grows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, JsonValue

from connectors.base import (
    READ_COLUMNS,
    REJECTED_TYPE,
    Column,
    Description,
    FingerprintOf,
    ReadPlan,
    ReadRequest,
    Slice,
    Source,
    SourceOptions,
    SourceSettings,
    Window,
)
from connectors.connection import Connection
from connectors.errors import LakeferryError, SourceMoved, WindowUnfit
from connectors.spark_errors import errors_for_the_driver, errors_of_workers
from connectors.versions import Version
from lakeferry_http_log.api import LogApi

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
LARGEST_BIGINT = 2**63 - 1
RECORD_COLUMN = Column(name="_record_number", source_type="number", spark_type="bigint", nullable=False)


def _known_type(value: str) -> str:
    if value not in ("string", "bigint") and not DECIMAL.fullmatch(value):
        raise ValueError("not a column type. Valid: string, bigint, decimal(p,s)")
    return value


class HttpLogOptions(SourceOptions):
    """The keys of a dataset in YAML: which log, and its fields with their types."""

    rows_name_their_place: ClassVar[bool] = True

    log: str
    columns: dict[str, Annotated[str, AfterValidator(_known_type)]]

    @property
    def continued_by(self) -> str | None:
        return "log"

    @property
    def window_bounds(self) -> frozenset[Any]:
        return frozenset()


class HttpLogSource(Source):
    """A log of JSON records. A record that is not JSON, or has a field of another type, is rejected with its text."""

    Options: ClassVar[type[SourceOptions]] = HttpLogOptions
    identity_columns: ClassVar[tuple[Column, ...]] = (RECORD_COLUMN,)
    later_batches_are_newer: ClassVar[bool] = True

    def __init__(self, connection: Connection, settings: SourceSettings | None = None) -> None:
        super().__init__(connection, settings)
        self._api = LogApi(connection)

    def ping(self) -> str:
        return f"HTTP log at {self.connection.address}, {len(self._api.log_names())} logs"

    def describe(self, dataset: ReadRequest) -> Description:
        with _located(dataset):
            records = self._api.record_count(dataset.options.log)
        return Description(columns=_columns(dataset), estimated_rows=records)

    def plan(self, dataset: ReadRequest, position: Mapping[str, JsonValue] | None, window: Window | None) -> ReadPlan:
        if window is not None:
            raise WindowUnfit("a log is read on from its position: it has no windows", fix="Run it without a window")
        with _located(dataset):
            end = self._api.record_count(dataset.options.log)
        start = int(str(position["records"])) if position else 0
        if end < start:
            raise SourceMoved(f"the log had {start} records and has {end}", fix="Restore it: records are missing")
        size = self.settings.rows_per_slice
        ranges = [(at, min(at + size, end)) for at in range(start, end, size)]
        return ReadPlan(
            columns=_columns(dataset),
            slices=tuple(
                Slice(id=number, detail={"start": first, "end": last}, expected_rows=last - first)
                for number, (first, last) in enumerate(ranges)
            ),
            position={"records": end},
        )

    @classmethod
    def describe_position(cls, position: Mapping[str, JsonValue]) -> str:
        return f"record {position['records']}"

    def read(
        self, spark: SparkSession, dataset: ReadRequest, plan: ReadPlan, fingerprint: FingerprintOf = "nothing"
    ) -> DataFrame:
        columns = [*plan.columns, RECORD_COLUMN]
        fields = [f"`{column.name}` {column.spark_type}" for column in columns]
        kinds = ("int", "bigint", REJECTED_TYPE)
        schema = ", ".join([*fields, *(f"{name} {kind}" for name, kind in zip(READ_COLUMNS, kinds, strict=True))])
        if not plan.slices:
            return spark.createDataFrame([], schema)
        api, log, slices = self._api, dataset.options.log, plan.slices

        def read_in_task(places: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            with errors_for_the_driver():
                for place in places:
                    for number in place.column(0).to_pylist():
                        yield _slice_rows(api, log, slices[number], plan.columns)

        return spark.range(0, len(slices), 1, len(slices)).mapInArrow(read_in_task, schema)

    @contextmanager
    def connections(self, plan: ReadPlan) -> Iterator[int]:
        with errors_of_workers():
            yield len(plan.slices)

    def count(self, dataset: ReadRequest, plan: ReadPlan) -> dict[int, int]:
        with _located(dataset):
            records = self._api.record_count(dataset.options.log)
        return {part.id: max(0, min(_end(part), records) - _start(part)) for part in plan.slices}

    @classmethod
    def version_columns(cls, dataset: ReadRequest) -> tuple[Version, ...]:
        return (RECORD_COLUMN.name,)


def _slice_rows(api: LogApi, log: str, part: Slice, columns: tuple[Column, ...]) -> pa.RecordBatch:
    """Reads one slice in a task of Spark. A large slice would come in several batches."""
    import pyarrow as pa

    rows = []
    for number, text in enumerate(api.records(log, _start(part), _end(part)), _start(part)):
        values, reason = _decoded(text, columns)
        rejected = {"reason": reason, "record": text} if reason else None
        rows.append((*values, number, part.id, None, rejected))
    types = [*(_arrow_type(column.spark_type) for column in columns), pa.int64(), pa.int32(), pa.int64()]
    types.append(pa.struct([("reason", pa.string()), ("record", pa.string())]))
    names = [*(column.name for column in columns), RECORD_COLUMN.name, *READ_COLUMNS]
    arrays = [pa.array([row[place] for row in rows], kind) for place, kind in enumerate(types)]
    return pa.RecordBatch.from_arrays(arrays, names)


def _decoded(text: str, columns: tuple[Column, ...]) -> tuple[list[Any], str | None]:
    """Returns a record's values, and why it is rejected. The reason shows no value: it is kept where masks apply."""
    nothing = [None] * len(columns)
    try:
        record = json.loads(text, parse_float=Decimal)
    except ValueError:
        return nothing, "not JSON"
    if not isinstance(record, dict):
        return nothing, "not a JSON object"
    values = []
    for column in columns:
        value = record.get(column.name)
        if value is not None and not _fits(value, column.spark_type):
            return nothing, f"column {column.name}: not a {column.spark_type}"
        values.append(Decimal(value) if isinstance(value, int) and column.spark_type != "bigint" else value)
    return values, None


def _fits(value: Any, spark_type: str) -> bool:
    """Whether a value survives exactly in a column of that type."""
    if spark_type == "string":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return False
    if spark_type == "bigint":
        return isinstance(value, int) and -LARGEST_BIGINT - 1 <= value <= LARGEST_BIGINT
    precision, scale = _sizes(spark_type)
    number = Decimal(value)
    return abs(number).adjusted() < precision - scale and number == round(number, scale)


def _arrow_type(spark_type: str) -> pa.DataType:
    import pyarrow as pa

    simple = {"string": pa.string(), "bigint": pa.int64()}
    return simple[spark_type] if spark_type in simple else pa.decimal128(*_sizes(spark_type))


def _sizes(spark_type: str) -> tuple[int, int]:
    found = DECIMAL.fullmatch(spark_type)
    assert found, "the options allow no other type"
    return int(found[1]), int(found[2])


def _columns(dataset: ReadRequest) -> tuple[Column, ...]:
    return tuple(
        Column(name=name, source_type="json field", spark_type=kind) for name, kind in dataset.options.columns.items()
    )


def _start(part: Slice) -> int:
    return int(str(part.detail["start"]))


def _end(part: Slice) -> int:
    return int(str(part.detail["end"]))


@contextmanager
def _located(dataset: ReadRequest) -> Iterator[None]:
    """Adds the pipeline and the dataset to errors of the client, which does not know them."""
    try:
        yield
    except LakeferryError as error:
        raise error.located(pipeline=dataset.pipeline, dataset=dataset.name) from None
