"""Kafka topics of JSON messages: planned by offsets, read by Spark's Kafka source, typed without loss."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from pydantic import JsonValue, model_validator

from connectors.base import (
    READ_COLUMNS,
    REJECTED_TYPE,
    SLICE_COLUMN,
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
from connectors.declared.columns import (
    REASON,
    RECORD,
    DeclaredColumns,
    check_column_names,
    declared_columns,
    text_name,
    typed_rows,
)
from connectors.errors import LakeferryError, SourceMoved
from connectors.kafka.client_settings import portable_settings, spark_settings
from connectors.kafka.cluster import Cluster, OffsetRange, Topic, layers
from connectors.kafka.far_timestamps import FIRST_FAR_MS, far_messages, parted
from connectors.kafka.messages import text_batches
from connectors.kafka.open_transactions import hanging_warnings, waiting_messages
from connectors.kafka.position import Start, position_at
from connectors.kafka.windows import window_end_ms, window_offsets
from connectors.optional import hinted
from connectors.spark_errors import errors_of_workers
from connectors.versions import LogColumns

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

IDENTITY = (
    Column(name="_kafka_partition", source_type="partition", spark_type="int", nullable=False),
    Column(name="_kafka_offset", source_type="offset", spark_type="bigint", nullable=False),
    Column(name="_kafka_timestamp", source_type="timestamp", spark_type="timestamp", nullable=False),
)
SLICES_IN_ONE_READ = 64
"""Spark works a slice's number out with one CASE branch a slice: more would not be compiled."""


class KafkaOptions(SourceOptions):
    """Keys of a Kafka dataset.

    `columns` maps fields of the JSON object to types; fields that are not declared are ignored, missing ones are NULL.
    `lost_messages: accept` goes on at the oldest message that is left where retention took some before they were read.
    `equal_timestamps: accept` lets the higher partition win where different versions of one key are in several
    partitions at the same time.
    """

    rows_name_their_place: ClassVar[bool] = True

    topic: str
    format: Literal["json"] = "json"
    columns: DeclaredColumns
    lost_messages: Literal["fail", "accept"] = "fail"
    equal_timestamps: Literal["fail", "accept"] = "fail"

    @property
    def continued_by(self) -> str | None:
        return "topic"

    @model_validator(mode="after")
    def _no_name_twice(self) -> Self:
        check_column_names(self.columns, IDENTITY)
        return self


class KafkaSource(Source):
    """Messages of one topic, one row each.

    A row is rejected in any of these cases:

    - its value is empty (a tombstone), not UTF-8 (its record is then base64), or not one JSON object;
    - its timestamp is beyond the year 9999 (a producer that writes micro- or nanoseconds);
    - a declared field cannot be kept exactly: text in a number, a decimal that would be rounded, a number too large, an
      invalid time.

    A number in quotes is a number: that is how JSON carries money and 64-bit ids safely. A nested object or array in a
    `string` column stays the JSON text it was. Only committed messages of transactions are read.
    """

    Options: ClassVar[type[SourceOptions]] = KafkaOptions
    identity_columns: ClassVar[tuple[Column, ...]] = IDENTITY
    later_batches_are_newer: ClassVar[bool] = True

    def __init__(self, connection: Connection, settings: SourceSettings | None = None) -> None:
        super().__init__(connection, settings)
        with hinted():
            import confluent_kafka  # noqa: F401 - here, where it is opened: describing a pipeline does not need it
        self._cluster = Cluster(connection)

    def ping(self) -> str:
        return self._cluster.describe()

    def describe(self, dataset: ReadRequest) -> Description:
        """The declared columns; `estimated_rows` is the span of offsets now in the topic."""
        topic = self._topic(dataset)
        first, end = self._cluster.first_offsets(topic), self._cluster.end_offsets(topic)
        return Description(
            columns=self._columns(dataset), estimated_rows=sum(end[p] - first[p] for p in topic.partitions)
        )

    @classmethod
    def describe_position(cls, position: Mapping[str, JsonValue]) -> str:
        offsets = cast("dict[str, JsonValue]", position["offsets"])
        return "offsets " + ", ".join(f"{p}: {offsets[p]}" for p in sorted(offsets, key=int))

    def plan(self, dataset: ReadRequest, position: Mapping[str, JsonValue] | None, window: Window | None) -> ReadPlan:
        """Freezes offset ranges, one or more a partition, from `position` to the last stable offsets.

        For `position` see `connectors.kafka.position`; partitions it does not name are read from their beginning. A
        requested window becomes offsets by the broker's timestamp index: from the first message at or after its start
        to the first at or after its end, see `connectors.kafka.windows`. `expected_rows` is never given: no offsets
        prove that no transaction marker or compaction left a gap between them.

        Raises:
            DataError: see `Start.offsets`.
            ServiceUnavailable: a new leader does not say whether it has the messages that were read.
            UsageError: an end of the window is not an instant.
        """
        topic = self._topic(dataset)
        high_watermarks = self._cluster.high_watermarks(topic)
        first, ends = self._cluster.first_offsets(topic), self._cluster.ends(topic)
        end = {p: at.offset for p, at in ends.items()}
        warnings: list[str] = []
        waiting = waiting_messages(self._cluster, topic, high_watermarks, ends)
        if window is not None:
            start, end, warnings = window_offsets(self._cluster, topic, window, first, end)
            stop_ms = window_end_ms(window)
            waiting = [transaction for transaction in waiting if transaction.may_be_before(stop_ms)]
        else:
            accepted = _options(dataset).lost_messages == "accept"
            try:
                start, warnings = Start(self._cluster, topic, first, ends, accepted).offsets(position)
            except LakeferryError as error:
                raise error.located(pipeline=dataset.pipeline, dataset=dataset.name) from None
        now = datetime.now(UTC)
        hanging = hanging_warnings(self._cluster, topic, waiting, now)
        awaited = [transaction.text(now) for transaction in waiting]
        ranges = [(p, start[p], end[p]) for p in topic.partitions if start[p] < end[p]]
        slices = tuple(
            Slice(
                id=number, detail={"ranges": [dict(zip(("partition", "start", "end"), r, strict=True)) for r in part]}
            )
            for number, part in enumerate(_packed(ranges, self.settings.rows_per_slice))
        )
        return ReadPlan(
            columns=self._columns(dataset),
            window=window,
            slices=slices,
            position=position_at(topic, ends) if window is None else None,
            snapshot={"topic_id": topic.id},
            waiting="; ".join(awaited) or None,
            warnings=(*warnings, *hanging.values()),
            notes=tuple(
                f"topic {topic.name!r} {text}"
                for transaction, text in zip(waiting, awaited, strict=True)
                if transaction.partition not in hanging
            ),
        )

    def read(
        self, spark: SparkSession, dataset: ReadRequest, plan: ReadPlan, fingerprint: FingerprintOf = "nothing"
    ) -> DataFrame:
        """See `Source.read`. Retention that overtakes the read fails it, here or in Spark: it never skips.

        Raises:
            SourceMoved: the plan's first messages are gone, or the topic was created again.
        """
        if not plan.slices:
            kinds = [f"{c.name} {c.spark_type}" for c in (*plan.columns, *IDENTITY)]
            own = zip(READ_COLUMNS, ("int", "bigint", REJECTED_TYPE), strict=True)
            return spark.createDataFrame([], ", ".join([*kinds, *(f"{name} {kind}" for name, kind in own)]))
        topic = self._unmoved_topic(dataset, plan)
        groups = [plan.slices[at : at + SLICES_IN_ONE_READ] for at in range(0, len(plan.slices), SLICES_IN_ONE_READ)]
        first_far = self._cluster.offsets_at(topic, FIRST_FAR_MS)
        parts = [parted(_ranges(group), first_far) for group in groups]
        reads = [self._messages(spark, topic, runs) for near, _ in parts for runs in layers(near)]
        if far := [offset_range for _, group in parts for offset_range in group]:
            reads.append(far_messages(spark, portable_settings(self.connection), topic.name, far))
        messages = reduce(lambda one, other: one.unionByName(other), reads)
        columns = plan.columns
        kept = [*(column.name for column in IDENTITY), SLICE_COLUMN]

        def decode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return text_batches(batches, columns, kept)

        texts = [f"{text_name(index)} string" for index in range(len(columns))]
        identity = [f"{column.name} {column.spark_type}" for column in IDENTITY]
        schema = ", ".join([*texts, *identity, f"{SLICE_COLUMN} int", f"{REASON} string", f"{RECORD} string"])
        return typed_rows(messages.mapInArrow(decode, schema), plan.columns, IDENTITY)

    def _messages(self, spark: SparkSession, topic: Topic, runs: Sequence[Sequence[OffsetRange]]) -> DataFrame:
        from pyspark.sql import functions as F

        ranges = [offset_range for run in runs for offset_range in run]
        slice_of = F.lit(None).cast("int")
        for offset_range in ranges:
            inside = (F.col("partition") == offset_range.partition) & F.col("offset").between(
                offset_range.start, offset_range.end - 1
            )
            slice_of = F.when(inside, F.lit(offset_range.slice_id)).otherwise(slice_of)
        return (
            spark.read.format("kafka")
            .options(**spark_settings(self.connection))
            .option("assign", json.dumps({topic.name: [run[0].partition for run in runs]}))
            .option("startingOffsets", json.dumps({topic.name: {str(run[0].partition): run[0].start for run in runs}}))
            .option("endingOffsets", json.dumps({topic.name: {str(run[-1].partition): run[-1].end for run in runs}}))
            .option("failOnDataLoss", "true")
            .option("minPartitions", len(ranges))
            .load()
            .select(
                F.col("partition").alias("_kafka_partition"),
                F.col("offset").alias("_kafka_offset"),
                F.col("timestamp").alias("_kafka_timestamp"),
                slice_of.alias(SLICE_COLUMN),
                "value",
                F.when(F.col("value").isNull(), F.col("key")).alias("key"),
            )
        )

    @contextmanager
    def connections(self, plan: ReadPlan) -> Iterator[int]:
        """See `Source.reading`."""
        with errors_of_workers():
            yield len(plan.slices)

    def count(self, dataset: ReadRequest, plan: ReadPlan) -> dict[int, int]:
        """Committed messages by slice, consumed once more by another client (librdkafka; Spark uses the Java one)."""
        if not plan.slices:
            return {}
        topic = self._unmoved_topic(dataset, plan)
        try:
            return self._cluster.count(topic, _ranges(plan.slices))
        except LakeferryError as error:
            raise error.located(pipeline=dataset.pipeline, dataset=dataset.name) from None

    @classmethod
    def version_columns(cls, dataset: ReadRequest) -> tuple[str, ...]:
        return ("_kafka_timestamp", "_kafka_partition", "_kafka_offset")

    @classmethod
    def log_columns(cls, dataset: ReadRequest) -> LogColumns:
        return LogColumns(
            partition="_kafka_partition",
            offset="_kafka_offset",
            timestamp="_kafka_timestamp",
            equal_timestamps_refused=_options(dataset).equal_timestamps == "fail",
        )

    def _columns(self, dataset: ReadRequest) -> tuple[Column, ...]:
        return declared_columns(_options(dataset).columns, "json")

    def _topic(self, dataset: ReadRequest) -> Topic:
        try:
            return self._cluster.topic(_options(dataset).topic)
        except LakeferryError as error:
            raise error.located(pipeline=dataset.pipeline, dataset=dataset.name) from None

    def _unmoved_topic(self, dataset: ReadRequest, plan: ReadPlan) -> Topic:
        topic = self._topic(dataset)
        if plan.snapshot and plan.snapshot.get("topic_id") != topic.id:
            raise SourceMoved(
                f"topic {topic.name!r} was deleted and recreated since the plan",
                pipeline=dataset.pipeline,
                dataset=dataset.name,
                fix="Plan again",
            )
        first = self._cluster.first_offsets(topic)
        for offset_range in _ranges(plan.slices):
            if first[offset_range.partition] > offset_range.start:
                raise SourceMoved(
                    f"topic {topic.name!r} partition {offset_range.partition}: the plan begins at offset "
                    f"{offset_range.start}, the oldest one left is {first[offset_range.partition]}",
                    pipeline=dataset.pipeline,
                    dataset=dataset.name,
                    fix="Retention is shorter than the time from plan to read: lengthen it, then plan again",
                )
        return topic


def _options(dataset: ReadRequest) -> KafkaOptions:
    return cast("KafkaOptions", dataset.options)


def _packed(ranges: Sequence[tuple[int, int, int]], size: int) -> Iterator[list[tuple[int, int, int]]]:
    """Cut and pack ranges (partition, start, end) into parts of about `size` offsets: long ranges into even parts,
    short ones together."""
    part: list[tuple[int, int, int]] = []
    size_so_far = 0
    for partition, start, end in ranges:
        parts = math.ceil((end - start) / size)
        cuts = [start + (end - start) * number // parts for number in range(parts + 1)]
        for begin, stop in itertools.pairwise(cuts):
            if part and size_so_far + stop - begin > size:
                yield part
                part, size_so_far = [], 0
            part.append((partition, begin, stop))
            size_so_far += stop - begin
    if part:
        yield part


def _ranges(slices: Sequence[Slice]) -> list[OffsetRange]:
    return [
        OffsetRange(int(entry["partition"]), int(entry["start"]), int(entry["end"]), slice_.id)
        for slice_ in slices
        for entry in cast("list[dict[str, Any]]", slice_.detail["ranges"])
    ]
