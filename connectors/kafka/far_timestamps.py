"""Messages whose timestamps are beyond what Spark can read, consumed by librdkafka in Spark's tasks.

A record's timestamp is a number of milliseconds. Spark's Kafka source makes microseconds of it and fails the task where
64 bits do not hold them (`KafkaRecordToRowConverter`, `DateTimeUtils.fromJavaTimestamp` of Spark): one record of a
producer that writes nanoseconds would stop its topic for ever. The broker's index of timestamps says where the first
such record of a partition lies (ListOffsets in Kafka's protocol), so a healthy topic costs that one question.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from connectors.base import SLICE_COLUMN
from connectors.errors import ServiceUnavailable, SourceMoved
from connectors.kafka.cluster import SILENCE_SECONDS, OffsetRange
from connectors.spark_errors import errors_for_the_driver

if TYPE_CHECKING:
    import pyarrow as pa
    from confluent_kafka import Message
    from pyspark.sql import DataFrame, SparkSession

FIRST_FAR_MS = (2**63 - 1) // 1000 + 1
"""The first millisecond that has no microsecond in 64 bits."""
_MESSAGES = 2_000


def parted(ranges: Sequence[OffsetRange], first_far: Mapping[int, int]) -> tuple[list[OffsetRange], list[OffsetRange]]:
    """The ranges Spark can read, and those in which a timestamp may be too far.

    Args:
        first_far: each partition's first offset with such a timestamp, or its end.
    """
    near: list[OffsetRange] = []
    far: list[OffsetRange] = []
    for span in ranges:
        cut = min(max(first_far[span.partition], span.start), span.end)
        if span.start < cut:
            near.append(replace(span, end=cut))
        if cut < span.end:
            far.append(replace(span, start=cut))
    return near, far


def far_messages(
    spark: SparkSession, settings: Mapping[str, Any], topic: str, ranges: Sequence[OffsetRange]
) -> DataFrame:
    """The messages of these ranges as Spark's source would give them, a partition for each range.

    `_kafka_timestamp` is NULL where microseconds do not hold it.

    Args:
        settings: of librdkafka, good on any machine.

    Raises:
        SourceMoved: in a task, retention took the first message of a range.
        ServiceUnavailable: in a task, the broker does not send what it says it has.
    """
    ranges, wanted = tuple(ranges), dict(settings)

    def read(places: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with errors_for_the_driver():
            for batch in places:
                for place in batch.column(0).to_pylist():
                    yield from _batches(wanted, topic, ranges[place])

    identity = "_kafka_partition int, _kafka_offset bigint, _kafka_timestamp timestamp"
    schema = f"{identity}, {SLICE_COLUMN} int, value binary, key binary"
    return spark.range(0, len(ranges), 1, len(ranges)).mapInArrow(read, schema)


def _batches(settings: Mapping[str, Any], topic: str, span: OffsetRange) -> Iterator[pa.RecordBatch]:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {
            **settings,
            "group.id": "lakeferry-read",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": 16_384,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, span.partition, span.start)])
        heard = time.monotonic()
        ended = False
        while not ended:
            messages = consumer.consume(_MESSAGES, timeout=0.2)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise ServiceUnavailable(f"Kafka sent no message of topic {topic!r} for {SILENCE_SECONDS} seconds")
            taken: list[Message] = []
            for message in messages:
                # The last stable offset never moves back, so the end of the partition is past the range.
                ended = ended or _is_end(message, topic, span) or (message.offset() or 0) >= span.end
                if not ended:
                    taken.append(message)
            if taken:
                yield _as_batch(taken, span)
    finally:
        consumer.close()


def _is_end(message: Message, topic: str, span: OffsetRange) -> bool:
    """Whether this is the end of the partition, not a message."""
    from confluent_kafka import KafkaError

    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise SourceMoved(
            f"topic {topic!r} partition {span.partition}: retention took offset {span.start} since the plan",
            fix="Lengthen the topic's retention, then plan again",
        )
    raise ServiceUnavailable(f"Kafka does not send topic {topic!r} ({error.name()})")


def _as_batch(messages: Sequence[Message], span: OffsetRange) -> pa.RecordBatch:
    import pyarrow as pa

    milliseconds = [message.timestamp()[1] for message in messages]
    instants = [ms * 1000 if abs(ms) < FIRST_FAR_MS else None for ms in milliseconds]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([span.partition] * len(messages), pa.int32()),
            pa.array([message.offset() for message in messages], pa.int64()),
            pa.array(instants, pa.int64()).cast(pa.timestamp("us", "UTC")),
            pa.array([span.slice_id] * len(messages), pa.int32()),
            pa.array([message.value() for message in messages], pa.binary()),
            pa.array([message.key() if message.value() is None else None for message in messages], pa.binary()),
        ],
        names=["_kafka_partition", "_kafka_offset", "_kafka_timestamp", SLICE_COLUMN, "value", "key"],
    )
