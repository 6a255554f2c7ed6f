"""A log that lost messages which were read, and has others in their place: only the leader epoch shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.base import ReadRequest
from connectors.errors import DataError
from connectors.kafka import KafkaOptions, KafkaSource
from tests.support.kafka.own_kafka import OwnKafka

pytestmark = pytest.mark.services


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OwnKafka]:
    broker = OwnKafka(tmp_path)
    yield broker
    broker.close()


def send(broker: OwnKafka, topic: str, counts: dict[int, int]) -> None:
    producer = Producer({"bootstrap.servers": broker.connection.address})
    for partition, count in counts.items():
        for number in range(count):
            producer.produce(topic, b'{"n":%d}' % number, partition=partition)
    assert producer.flush(30) == 0


def test_a_log_that_was_truncated_and_written_on_is_refused(broker: OwnKafka) -> None:
    admin = AdminClient({"bootstrap.servers": broker.connection.address})
    for future in admin.create_topics([NewTopic("whole", 2), NewTopic("cut", 2)]).values():
        future.result(30)
    whole, cut = (
        ReadRequest("app", name, (), KafkaOptions.model_validate({"topic": name, "columns": {"n": "bigint"}}))
        for name in ("whole", "cut")
    )
    for topic in ("whole", "cut"):
        send(broker, topic, {0: 5, 1: 2})
    source = KafkaSource(broker.connection)
    positions = {dataset.name: source.plan(dataset, None, None).position for dataset in (whole, cut)}
    broker.stop()
    broker.lose("cut", 0)
    broker.start()
    send(broker, "whole", {0: 1})
    send(broker, "cut", {0: 7, 1: 1})

    source = KafkaSource(broker.connection)
    again = source.plan(whole, positions["whole"], None)
    assert [piece.detail["ranges"] for piece in again.slices] == [[{"partition": 0, "start": 5, "end": 6}]], (
        "a new leader epoch alone is no loss"
    )
    assert positions["whole"] is not None
    assert again.position is not None
    assert again.position["leader_epochs"] != positions["whole"]["leader_epochs"]
    with pytest.raises(DataError) as caught:
        source.plan(cut, positions["cut"], None)
    for part in ("topic 'cut' partition 0", "offset 5", "offset 0", "lost 5 offsets", "new name"):
        assert part in str(caught.value)
