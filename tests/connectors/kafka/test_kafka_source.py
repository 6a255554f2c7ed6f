"""Planning by offsets on a real broker: nothing is skipped without a word."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from connectors.base import ReadRequest, SourceSettings, Window
from connectors.connection import Connection
from connectors.errors import ConfigurationError, DataError, ObjectNotFound, SourceMoved, UsageError
from connectors.kafka import KafkaSource
from connectors.kafka.client_settings import spark_settings
from tests.support.kafka.topics import World, ranges

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_long_partitions_are_cut_evenly_and_short_ones_share_a_slice(world: World) -> None:
    dataset = world.dataset()
    world.send(dataset, 0, 10)
    world.send(dataset, 1, 1)
    world.send(dataset, 2, 2)
    world.source.settings = SourceSettings(rows_per_slice=4)
    plan = world.source.plan(dataset, None, None)
    assert ranges(plan) == [[(0, 0, 3)], [(0, 3, 6)], [(0, 6, 10)], [(1, 0, 1), (2, 0, 2)]]
    assert plan.position is not None
    assert plan.position["offsets"] == {"0": 10, "1": 1, "2": 2}
    assert all(piece.expected_rows is None for piece in plan.slices)


def test_a_partition_that_is_new_is_read_from_its_beginning(world: World) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 2)
    before = world.source.plan(dataset, None, None)
    topic = dataset.options.topic
    world.admin.create_partitions([NewPartitions(topic, 2)])[topic].result(10)
    world.send(dataset, 1, 3)
    world.send(dataset, 0, 1)
    assert ranges(world.source.plan(dataset, before.position, None)) == [[(0, 2, 3), (1, 0, 3)]]


def test_messages_that_retention_took_are_an_error_with_a_way_out(world: World) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 2)
    position = world.source.plan(dataset, None, None).position
    world.send(dataset, 0, 5)
    world.forget(dataset, 0, 4)
    with pytest.raises(DataError) as caught:
        world.source.plan(dataset, position, None)
    message = str(caught.value)
    for part in (dataset.options.topic, "partition 0", "offset 2", "4 to 7", "lost_messages: accept", "dataset events"):
        assert part in message
    accepting = ReadRequest("app", "events", (), dataset.options.model_copy(update={"lost_messages": "accept"}))
    plan = world.source.plan(accepting, position, None)
    assert ranges(plan) == [[(0, 4, 7)]]
    assert "2 offsets are lost" in plan.warnings[0]


def test_messages_of_a_new_partition_that_retention_took_are_an_error_with_a_way_out(world: World) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 2)
    position = world.source.plan(dataset, None, None).position
    topic = dataset.options.topic
    world.admin.create_partitions([NewPartitions(topic, 2)])[topic].result(10)
    world.send(dataset, 1, 5)
    world.forget(dataset, 1, 3)
    with pytest.raises(DataError) as caught:
        world.source.plan(dataset, position, None)
    for part in (topic, "partition 1 is new", "3 to 5", "retention took 3 offsets", "lost_messages: accept"):
        assert part in str(caught.value)
    accepting = ReadRequest("app", "events", (), dataset.options.model_copy(update={"lost_messages": "accept"}))
    plan = world.source.plan(accepting, position, None)
    assert ranges(plan) == [[(1, 3, 5)]]
    assert "partition 1 is new" in plan.warnings[0]
    assert "3 offsets are lost" in plan.warnings[0]
    assert world.source.plan(dataset, plan.position, None).warnings == ()
    first = world.source.plan(dataset, None, None)
    assert ranges(first) == [[(0, 0, 2), (1, 3, 5)]]
    assert first.warnings == (), "nobody expects a first run to read what retention took before"


def test_a_position_without_leader_epochs_goes_on(world: World) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 2)
    position = world.source.plan(dataset, None, None).position
    assert position is not None
    assert position["leader_epochs"] == {"0": 0}
    old = {name: value for name, value in position.items() if name != "leader_epochs"}
    world.send(dataset, 0, 1)
    assert ranges(world.source.plan(dataset, old, None)) == [[(0, 2, 3)]]


def test_a_log_shorter_than_the_position_is_refused_with_both_offsets(world: World) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 2)
    position = world.source.plan(dataset, None, None).position
    assert position is not None
    beyond = position | {"offsets": {"0": 5}}
    with pytest.raises(DataError) as caught:
        world.source.plan(dataset, beyond, None)
    for part in ("partition 0", "offset 5", "offset 2", "lost 3 offsets", "unclean.leader.election.enable", "new name"):
        assert part in str(caught.value)


def test_retention_between_plan_and_read_is_told_before_spark_starts(world: World, spark: SparkSession) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 3)
    plan = world.source.plan(dataset, None, None)
    world.forget(dataset, 0, 1)
    with pytest.raises(SourceMoved, match="begins at offset 0, the oldest one left is 1"):
        world.source.read(spark, dataset, plan)
    with pytest.raises(SourceMoved):
        world.source.count(dataset, plan)


def test_a_topic_made_anew_is_not_taken_for_the_old_one(world: World, spark: SparkSession) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 2)
    plan = world.source.plan(dataset, None, None)
    world.delete(dataset.options.topic)
    world.create(dataset.options.topic, 1)
    world.send(dataset, 0, 3)
    with pytest.raises(DataError, match="deleted and recreated"):
        world.source.plan(dataset, plan.position, None)
    with pytest.raises(SourceMoved, match="deleted and recreated"):
        world.source.read(spark, dataset, plan)


def test_a_window_is_found_by_timestamp_and_moves_no_position(world: World) -> None:
    dataset = world.dataset(partitions=2)
    ten = 1_795_168_800_000  # 2026-11-20T10:00:00Z
    for hour in range(4):
        world.send(dataset, 0, 2, timestamp_ms=ten + hour * 3_600_000)
    world.send(dataset, 1, 1, timestamp_ms=ten)
    plan = world.source.plan(dataset, None, Window(start="2026-11-20T11:00:00Z", end="2026-11-20T22:00:00+09:00"))
    assert ranges(plan) == [[(0, 2, 6)]]
    assert plan.position is None
    assert plan.warnings == ()
    assert ranges(world.source.plan(dataset, None, Window(start="2026-11-20T13:00:00"))) == [[(0, 6, 8)]]
    assert ranges(world.source.plan(dataset, None, Window(end="2026-11-20T10:00:00.001Z"))) == [[(0, 0, 2), (1, 0, 1)]]
    assert world.source.plan(dataset, None, Window(start="2027-01-01T00:00:00Z")).slices == ()
    all_there_is = Window(start="1969-12-31T23:59:59.999Z")
    assert ranges(world.source.plan(dataset, None, all_there_is)) == [[(0, 0, 8), (1, 0, 1)]]
    with pytest.raises(UsageError):
        world.source.plan(dataset, None, Window(start="yesterday"))


def test_an_open_transaction_holds_the_end_back_until_it_is_committed(world: World) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 2)
    producer = Producer(world.broker | {"transactional.id": dataset.options.topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(dataset.options.topic, b'{"n":7}', partition=0)
    assert producer.flush(10) == 0
    world.send(dataset, 0, 1)
    first = world.source.plan(dataset, None, None)
    assert ranges(first) == [[(0, 0, 2)]]
    assert world.source.count(dataset, first) == {0: 2}
    producer.commit_transaction(30)
    world.wait_for(dataset, partition=0, offset=2, count=2)
    second = world.source.plan(dataset, first.position, None)
    assert ranges(second) == [[(0, 2, 5)]]
    assert world.source.count(dataset, second) == {0: 2}, "the commit marker is an offset and no message"


def test_messages_behind_an_open_transaction_are_named_and_warned_of_once_it_hangs(world: World) -> None:
    dataset = world.dataset(partitions=2)
    world.send(dataset, 1, 2)
    before = world.source.plan(dataset, None, None)
    assert (before.waiting, before.warnings, before.notes) == (None, (), ())
    producer = Producer(world.broker | {"transactional.id": dataset.options.topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(dataset.options.topic, b'{"n":7}', partition=1)
    assert producer.flush(10) == 0
    world.send(dataset, 1, 3)
    world.send(dataset, 0, 1)
    young = world.source.plan(dataset, before.position, None)
    assert ranges(young) == [[(0, 0, 1)]]
    assert young.waiting is not None
    assert "partition 1: 4 offsets from 2 on wait for an open transaction" in young.waiting
    assert young.warnings == (), "a transaction may be open while it is young"
    assert young.notes == (f"topic {dataset.options.topic!r} {young.waiting}",)
    ten = 1_795_168_800_000  # 2026-11-20T10:00:00Z
    assert world.source.plan(dataset, None, Window(end="2026-11-20T10:00:00Z")).waiting is None
    producer.abort_transaction(30)

    producer.begin_transaction()
    producer.produce(dataset.options.topic, b'{"n":8}', partition=0, timestamp=ten)
    assert producer.flush(10) == 0
    world.wait_for(dataset, partition=1, offset=3, count=3)
    hanging = world.source.plan(dataset, young.position, None)
    assert ranges(hanging) == [[(1, 2, 7)]]
    (warning,) = hanging.warnings
    assert hanging.notes == ()
    for part in (
        dataset.options.topic,
        "partition 0: 1 offsets from 1 on",
        "since 2026-11-20T10:00:00Z (",
        "900,000",
        "hang",
    ):
        assert part in warning
    producer.abort_transaction(30)


def test_slices_with_a_hole_between_them_are_read_and_counted_alone(world: World, spark: SparkSession) -> None:
    dataset = world.dataset(partitions=1)
    world.send(dataset, 0, 9)
    world.source.settings = SourceSettings(rows_per_slice=3)
    plan = world.source.plan(dataset, None, None).only([0, 2])
    assert world.source.count(dataset, plan) == {0: 3, 2: 3}
    rows = (
        world.source.read(spark, dataset, plan)
        .select("_slice", "_kafka_offset", "n")
        .orderBy("_kafka_offset")
        .collect()
    )
    assert [tuple(row) for row in rows] == [(0, 0, 0), (0, 1, 1), (0, 2, 2), (2, 6, 6), (2, 7, 7), (2, 8, 8)]


def test_an_unknown_topic_lists_those_like_it(world: World) -> None:
    dataset = world.dataset(partitions=1)
    options = dataset.options.model_copy(update={"topic": dataset.options.topic + "x"})
    with pytest.raises(ObjectNotFound) as caught:
        world.source.describe(ReadRequest("app", "events", (), options))
    assert dataset.options.topic in caught.value.choices


def test_a_setting_that_would_not_reach_both_clients_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        KafkaSource(Connection.parse("k", "kafka://localhost:9092?group.id=mine"))
    assert "group.id" in str(caught.value)
    assert "security.protocol" in caught.value.choices


def test_a_login_reaches_spark_as_its_client_wants_it() -> None:
    connection = Connection.parse("k", "kafka://me:p%22w%5C@broker:9096?sasl.mechanism=SCRAM-SHA-512")
    assert spark_settings(connection) == {
        "kafka.bootstrap.servers": "broker:9096",
        "kafka.isolation.level": "read_committed",
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="me" password="p\\"w\\\\";',
    }


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.FENCED_LEADER_EPOCH])
def test_a_partition_between_two_leaders_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    dataset = world.dataset(1)
    world.send(dataset, 0, 2)
    answered = AdminClient.list_offsets
    refused: list[int] = []

    def refuse_once(
        client: AdminClient, request: dict[TopicPartition, Any], **options: Any
    ) -> dict[TopicPartition, Any]:
        if refused:
            return dict(answered(client, request, **options))
        refused.append(code)
        futures = {place: Future[Any]() for place in request}
        for future in futures.values():
            future.set_exception(KafkaException(KafkaError(code)))
        return futures

    monkeypatch.setattr(AdminClient, "list_offsets", refuse_once)
    plan = world.source.plan(dataset, None, None)
    assert refused == [code]
    assert ranges(plan) == [[(0, 0, 2)]]
