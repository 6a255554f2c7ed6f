"""Topics of awkward JSON messages, with a transaction that was rolled back among them."""

from __future__ import annotations

import uuid
from dataclasses import replace

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.base import ReadRequest
from connectors.connection import Connection, find_connection
from connectors.kafka import KafkaOptions
from connectors.testing import Row, Sample, SourceFactory

PARTITIONS = 3
COLUMNS = {
    "id": "bigint",
    "amount": "decimal(22,2)",
    "paid": "boolean",
    "day": "date",
    "seen_at": "timestamp",
    "local_at": "timestamp_ntz",
    "note": "string",
    "properties": "string",
}


def open_factory(source_type: str) -> SourceFactory:
    return KafkaFactory(source_type)


class KafkaFactory(SourceFactory):
    """Topics with names of their own on the broker."""

    product = "Kafka"

    def __init__(self, source_type: str) -> None:
        super().__init__(source_type)
        self._connection = find_connection("kafka_events")
        self._broker = {"bootstrap.servers": f"{self._connection.host}:{self._connection.port}"}
        self._admin = AdminClient(self._broker)
        self._topics: list[str] = []

    @property
    def connection(self) -> Connection:
        return self._connection

    def sample(self) -> Sample:
        dataset = self.empty()
        topic = dataset.options.topic
        self.near_name = topic
        self._produce(
            topic,
            [
                (0, '{"id":1,"amount":12345678901234567890.12,"paid":true,"day":"2026-11-20","note":"🚢 日本語"}'),
                (1, '{"id":"9223372036854775807","amount":"-0.10","seen_at":"2026-03-08T02:30:00.123Z","note":""}'),
                (2, ' {"id":3, "seen_at":"2026-11-20 10:02:03+09:00", "local_at":"2026-03-08T02:30:00"}\n'),
                (0, '{"id":4,"properties":{"b": 1.50, "a":[1,  2], "e":"😀"},"unknown":1,"note":null}'),
                (1, '{"id":5,"amount":1.005}'),
                (2, "{broken"),
                (0, '{"id":6,"amount":1e2,"note":"line\\nbreak \\"quoted\\""}'),
            ],
        )
        self._produce(topic, [(p, '{"id":99}') for p in range(PARTITIONS)], commit=False)
        self._produce(topic, [(p, f'{{"id":{p + 7}}}') for p in range(PARTITIONS)], commit=True)
        self._wait_for_commit(topic, [4, 3, 3])
        rows = [
            _row(id="1", amount="12345678901234567890.12", paid="true", day="2026-11-20", note="🚢 日本語"),
            _row(id="9223372036854775807", amount="-0.10", seen_at="2026-03-08 02:30:00.123", note=""),
            _row(id="3", seen_at="2026-11-20 01:02:03", local_at="2026-03-08 02:30:00"),
            _row(id="4", properties='{"b": 1.50, "a":[1,  2], "e":"😀"}'),
            _row(id="6", amount="100.00", note='line\nbreak "quoted"'),
            _row(id="7"),
            _row(id="8"),
            _row(id="9"),
        ]
        return Sample(dataset, ("id",), rows, ["1.005", "{broken"])

    def empty(self) -> ReadRequest:
        topic = f"conformance_{uuid.uuid4().hex[:8]}"
        self._admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(10)
        self._topics.append(topic)
        return ReadRequest("conformance", "sample", (), KafkaOptions(topic=topic, columns=COLUMNS))

    def add(self, sample: Sample) -> list[Row]:
        self._produce(sample.dataset.options.topic, [(1, '{"id":41000,"note":"added"}')])
        return [_row(id="41000", note="added")]

    def unknown(self, sample: Sample) -> ReadRequest:
        options = sample.dataset.options.model_copy(update={"topic": f"{sample.dataset.options.topic}_gone"})
        return replace(sample.dataset, options=options)

    def refused(self) -> None:
        return None

    def down(self) -> Connection:
        return replace(self._connection, port=1)

    def close(self) -> None:
        for future in self._admin.delete_topics(self._topics).values():
            future.result(10)

    def _wait_for_commit(self, topic: str, offsets: list[int]) -> None:
        """Until each partition gives a committed message: a commit is acknowledged before it is visible (KIP-98)."""
        settings = {"group.id": "lakeferry-tests", "isolation.level": "read_committed", "enable.auto.commit": False}
        consumer = Consumer(self._broker | settings)
        consumer.assign([TopicPartition(topic, p, offset) for p, offset in enumerate(offsets)])
        assert len(consumer.consume(len(offsets), timeout=30)) == len(offsets)
        consumer.close()

    def _produce(self, topic: str, messages: list[tuple[int, str]], *, commit: bool | None = None) -> None:
        """In a transaction where `commit` says how it ends."""
        settings = self._broker | ({} if commit is None else {"transactional.id": uuid.uuid4().hex})
        producer = Producer(settings)
        if commit is not None:
            producer.init_transactions(30)
            producer.begin_transaction()
        for partition, message in messages:
            producer.produce(topic, message.encode(), partition=partition)
        assert producer.flush(10) == 0
        if commit is not None:
            (producer.commit_transaction if commit else producer.abort_transaction)(30)


def _row(**values: str) -> Row:
    return dict.fromkeys(COLUMNS) | values
