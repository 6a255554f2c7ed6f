"""Topics of a test's own on the shared broker, and what a plan reads of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.base import ReadPlan, ReadRequest
from connectors.connection import find_connection
from connectors.kafka import KafkaOptions, KafkaSource

if TYPE_CHECKING:
    from tests.conftest import UniqueName


class World:
    """A broker, and topics that are removed afterwards."""

    def __init__(self, unique_name: UniqueName) -> None:
        self.connection = find_connection("kafka_events")
        self.broker = {"bootstrap.servers": f"{self.connection.host}:{self.connection.port}"}
        self.admin = AdminClient(self.broker)
        self.source = KafkaSource(self.connection)
        self._unique_name = unique_name
        self._topics: list[str] = []

    def dataset(self, partitions: int = 3, *, any_timestamp: bool = False, **options: Any) -> ReadRequest:
        topic = self._unique_name("events")
        self.create(topic, partitions, {"message.timestamp.after.max.ms": str(2**63 - 1)} if any_timestamp else {})
        self._topics.append(topic)
        columns = {"n": "bigint"}
        return ReadRequest(
            "app", "events", (), KafkaOptions.model_validate({"topic": topic, "columns": columns} | options)
        )

    def create(self, topic: str, partitions: int, config: dict[str, str] | None = None) -> None:
        new = NewTopic(topic, partitions, 1, config=config or {})
        self.admin.create_topics([new], operation_timeout=10)[topic].result(10)

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic], operation_timeout=10)[topic].result(10)

    def send(self, dataset: ReadRequest, partition: int, count: int, *, timestamp_ms: int = 0) -> None:
        producer = Producer(self.broker)
        for number in range(count):
            producer.produce(dataset.options.topic, b'{"n":%d}' % number, partition=partition, timestamp=timestamp_ms)
        assert producer.flush(10) == 0

    def forget(self, dataset: ReadRequest, partition: int, before: int) -> None:
        """Deletes the messages below an offset, as retention does."""
        place = TopicPartition(dataset.options.topic, partition, before)
        self.admin.delete_records([place])[place].result(10)

    def wait_for(self, dataset: ReadRequest, partition: int, offset: int, count: int) -> None:
        """Until that many committed messages can be read: a commit is acknowledged before it is visible (KIP-98)."""
        settings = {"group.id": "lakeferry-tests", "isolation.level": "read_committed", "enable.auto.commit": False}
        consumer = Consumer(self.broker | settings)
        consumer.assign([TopicPartition(dataset.options.topic, partition, offset)])
        assert len(consumer.consume(count, timeout=30)) == count
        consumer.close()

    def close(self) -> None:
        for topic in self._topics:
            self.delete(topic)


def ranges(plan: ReadPlan) -> list[list[tuple[int, int, int]]]:
    return [
        [(entry["partition"], entry["start"], entry["end"]) for entry in json.loads(json.dumps(piece.detail))["ranges"]]
        for piece in plan.slices
    ]
