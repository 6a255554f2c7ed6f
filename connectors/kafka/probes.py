"""Probes one offset of each partition: whether the log still reaches it, and how old the message there is.

A consumer that is assigned an offset with its leader epoch asks the leader where that epoch ends in its log
(OffsetForLeaderEpoch, KIP-320; librdkafka does so at assignment since 2.12). An end below the offset means that a
replica without these messages became leader, and that they are gone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.kafka.client_settings import TIMEOUT_SECONDS
from connectors.kafka.cluster import Cluster, Topic

if TYPE_CHECKING:
    from confluent_kafka import Message

_END = re.compile(r"broker end offset is (\d+)")
_ONE_MESSAGE: dict[str, Any] = {
    # The first message counts, even if its transaction is aborted later: aborted messages are not read through.
    "isolation.level": "read_uncommitted",
    # A broker fills a response with the partitions whose next batch is no larger than this. Larger batches come one per
    # response (KIP-74), and each time another partition with messages is the first.
    "fetch.message.max.bytes": 65_536,
    "fetch.max.bytes": 4_194_304,
    # librdkafka asks for more once its one queue for all partitions is empty, which bounds the memory to one response
    # of each broker; it looks again after this time, by default a second ("fetch.queue.backoff.ms" in its manual).
    "queued.min.messages": 1,
    "fetch.queue.backoff.ms": 10,
}


@dataclass(frozen=True)
class Reached:
    """The next offset to read of a partition, and the leader epoch of the log's end when the offset was recorded."""

    offset: int
    leader_epoch: int


def truncated(cluster: Cluster, topic: Topic, reached: Mapping[int, Reached]) -> dict[int, int]:
    """Returns the partitions whose log no longer holds the messages before an offset, each with the offset at which it
    diverged from the log that was read. A leader that does not know such an epoch proves nothing.

    Raises:
        ServiceUnavailable: a leader did not answer.
    """
    from confluent_kafka import KafkaError

    truncation = KafkaError(KafkaError._LOG_TRUNCATION).str()
    places = {p: (place.offset, place.leader_epoch) for p, place in reached.items()}
    met = _first(cluster, topic, places)
    silent = sorted(reached.keys() - met.keys())
    if silent:
        raise cluster.unavailable(
            f"did not say within {TIMEOUT_SECONDS} seconds whether partition {silent[0]} of {topic.name!r} still has "
            "the messages that were read"
        )
    errors = {p: message.error().str() for p, message in met.items() if message.error() is not None}
    ends = {p: _END.search(error) for p, error in errors.items() if truncation in error}
    return {p: int(end[1]) for p, end in ends.items() if end is not None}


def timestamps_at(cluster: Cluster, topic: Topic, offsets: Mapping[int, int]) -> dict[int, int | None]:
    """Returns the timestamp (milliseconds since 1970; -1: it has none) of the first message at or after an offset of
    each partition, whether its transaction is open or not. None: the broker does not send the message. A partition that
    ends before such a message is left out."""
    from confluent_kafka import KafkaError

    places = {p: (offset, -1) for p, offset in offsets.items()}
    met = _first(cluster, topic, places)
    timestamps: dict[int, int | None] = dict.fromkeys(offsets)
    for partition, message in met.items():
        error = message.error()
        if error is None:
            timestamps[partition] = int(message.timestamp()[1])
        elif error.code() == KafkaError._PARTITION_EOF:
            del timestamps[partition]
    return timestamps


def _first(cluster: Cluster, topic: Topic, places: Mapping[int, tuple[int, int]]) -> dict[int, Message]:
    """Returns the first message, end or error of each partition. It stops when no further partition answers for as long
    as a request may take."""
    from confluent_kafka import TopicPartition

    messages: dict[int, Message] = {}
    with cluster.consumer(topic, _ONE_MESSAGE) as consumer:
        consumer.assign([TopicPartition(topic.name, p, o, leader_epoch=epoch) for p, (o, epoch) in places.items()])
        heard = time.monotonic()
        while places.keys() - messages.keys() and time.monotonic() - heard < TIMEOUT_SECONDS:
            message = consumer.poll(0.2)
            if message is None or message.partition() in messages or message.partition() not in places:
                continue
            heard = time.monotonic()
            messages[message.partition()] = message
            consumer.pause([TopicPartition(topic.name, message.partition())])
    return messages
