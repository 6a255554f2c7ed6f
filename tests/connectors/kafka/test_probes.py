"""The questions of a plan about partitions: all answer, for any number of partitions and any timestamps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer

from connectors.base import ReadRequest, Window
from connectors.kafka.cluster import Cluster, End, Topic
from tests.support.kafka.topics import World, ranges

PARTITIONS = 30


@contextmanager
def open_transaction(
    world: World, dataset: ReadRequest, timestamps_ms: dict[int, int], size: int = 0
) -> Iterator[None]:
    """One message in each of these partitions, in a transaction that is aborted afterwards."""
    producer = Producer(world.broker | {"transactional.id": dataset.options.topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition, timestamp_ms in timestamps_ms.items():
        value = b'{"n":7,"text":"%s"}' % (b"x" * size)
        producer.produce(dataset.options.topic, value, partition=partition, timestamp=timestamp_ms)
    assert producer.flush(10) == 0
    try:
        yield
    finally:
        producer.abort_transaction(30)


def test_every_partition_with_a_new_leader_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a rolling restart. Messages larger than what a fetch asks for come one partition a fetch."""
    dataset = world.dataset(PARTITIONS)
    for partition in range(PARTITIONS):
        world.send(dataset, partition, 1)
    position = world.source.plan(dataset, None, None).position
    producer = Producer(world.broker)
    for partition in range(PARTITIONS):
        text = b"x" * (300_000 if partition % 3 == 0 else 10)
        producer.produce(dataset.options.topic, b'{"n":1,"text":"%s"}' % text, partition=partition)
    assert producer.flush(10) == 0
    ends = Cluster.ends

    def of_new_leaders(cluster: Cluster, topic: Topic) -> dict[int, End]:
        found = ends(cluster, topic)
        return {p: replace(end, leader_epoch=(end.leader_epoch or 0) + 1) for p, end in found.items()}

    monkeypatch.setattr(Cluster, "ends", of_new_leaders)
    plan = world.source.plan(dataset, position, None)
    assert ranges(plan) == [[(p, 1, 2) for p in range(PARTITIONS)]]


def test_every_partition_that_a_transaction_holds_back_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = world.dataset(PARTITIONS)
    with open_transaction(world, dataset, dict.fromkeys(range(PARTITIONS), 0), size=100_000):
        notes = world.source.plan(dataset, None, None).notes
        assert len(notes) == PARTITIONS
        assert all(" from 0 on wait for an open transaction, the first of them since 20" in note for note in notes)
        monkeypatch.setattr("connectors.kafka.probes.TIMEOUT_SECONDS", 0)
        unanswered = world.source.plan(dataset, None, None)
    assert len(unanswered.notes) == PARTITIONS
    assert all("since an unknown time" in note for note in unanswered.notes)
    assert unanswered.warnings == ()


def test_a_timestamp_that_is_no_time_gives_a_transaction_no_age(world: World) -> None:
    dataset = world.dataset(4, any_timestamp=True)
    now_ms = int(time.time() * 1000)
    timestamps = {0: now_ms * 1000, 1: now_ms * 1_000_000, 2: 2**63 - 1, 3: -1}
    with open_transaction(world, dataset, timestamps):
        plan = world.source.plan(dataset, None, None)
        windowed = world.source.plan(dataset, None, Window(end="2026-11-20T10:00:00Z"))
    assert plan.warnings == ()
    assert len(plan.notes) == 4
    for partition, note in enumerate(plan.notes):
        assert f"partition {partition}: 1 offsets from 0 on wait for an open transaction" in note
        assert "since an unknown time" in note
    assert windowed.notes == plan.notes, "nothing shows that the window ends before them"


def test_a_window_is_read_past_a_timestamp_in_the_future(world: World) -> None:
    """The broker's index names the first message at or after an instant, and this one is after all of them."""
    dataset = world.dataset(3, any_timestamp=True)
    now_ms = int(time.time() * 1000)
    world.send(dataset, 0, 1, timestamp_ms=now_ms * 1000)
    for partition in (0, 1):
        world.send(dataset, partition, 5, timestamp_ms=now_ms)
    world.send(dataset, 2, 2, timestamp_ms=now_ms)
    world.send(dataset, 2, 1, timestamp_ms=now_ms * 1000)
    begin, end = (datetime.fromtimestamp(now_ms / 1000 + seconds, UTC).isoformat() for seconds in (-60, 60))
    plan = world.source.plan(dataset, None, Window(start=begin, end=end))
    assert ranges(plan) == [[(0, 0, 6), (1, 0, 5), (2, 0, 2)]]
    (warning,) = plan.warnings
    for part in (repr(dataset.options.topic), "partition 0", "at offset 0", "in the future", "to offset 6"):
        assert part in warning
    assert world.source.plan(dataset, None, Window(start=begin)).warnings == ()
