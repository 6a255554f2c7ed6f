"""What a consumer meets at one offset of each partition: whether the log still reaches it, and how old the message is.

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

from connectors.kafka.cluster import TIMEOUT_SECONDS, Cluster, Topic

if TYPE_CHECKING:
    from confluent_kafka import Message

_END = re.compile(r"broker end offset is (\d+)")


@dataclass(frozen=True)
class Reached:
    """The next offset to read of a partition, and the leader epoch of the log's end when that was noted."""

    offset: int
    leader_epoch: int


def truncated(cluster: Cluster, topic: Topic, reached: Mapping[int, Reached]) -> dict[int, int]:
    """The partitions whose log no longer holds the messages before an offset, with the offset at which it parted from
    the one that was read. A leader that knows no such epoch proves nothing.

    Raises:
        ServiceUnavailable: a leader did not answer.
    """
    from confluent_kafka import KafkaError

    truncation = KafkaError(KafkaError._LOG_TRUNCATION).str()
    places = {p: (place.offset, place.leader_epoch) for p, place in reached.items()}
    met = _first(cluster, topic, places, "read_committed")
    silent = sorted(reached.keys() - met.keys())
    if silent:
        raise cluster.unavailable(
            f"did not say within {TIMEOUT_SECONDS} seconds whether partition {silent[0]} of {topic.name!r} still has "
            "the messages that were read"
        )
    errors = {p: message.error().str() for p, message in met.items() if message.error() is not None}
    ends = {p: _END.search(error) for p, error in errors.items() if truncation in error}
    return {p: int(end[1]) for p, end in ends.items() if end is not None}


def timestamps_at(cluster: Cluster, topic: Topic, offsets: Mapping[int, int]) -> dict[int, int]:
    """The timestamp (milliseconds since 1970) of the first message at or after an offset of each partition, be its
    transaction open or not; a partition without such a message is not there."""
    places = {p: (offset, -1) for p, offset in offsets.items()}
    found = {}
    for partition, message in _first(cluster, topic, places, "read_uncommitted").items():
        if message.error() is None:
            found[partition] = int(message.timestamp()[1])
    return found


def _first(cluster: Cluster, topic: Topic, places: Mapping[int, tuple[int, int]], isolation: str) -> dict[int, Message]:
    """The first message, end or error of each partition, for as long as a request may take."""
    from confluent_kafka import TopicPartition

    found: dict[int, Message] = {}
    # One small message a partition is wanted, and brokers send at least one batch whatever its size.
    settings: dict[str, Any] = {"isolation.level": isolation, "fetch.message.max.bytes": 1, "queued.min.messages": 1}
    with cluster.consumer(topic, settings) as consumer:
        consumer.assign([TopicPartition(topic.name, p, o, leader_epoch=epoch) for p, (o, epoch) in places.items()])
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while places.keys() - found.keys() and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is None or message.partition() in found or message.partition() not in places:
                continue
            found[message.partition()] = message
            consumer.pause([TopicPartition(topic.name, message.partition())])
    return found
