"""Kafka's part of the sample: the topic `app_events`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from world import DEVICES, Counts, World, decimal_text

from connectors.connection import find_connection
from connectors.errors import ServiceUnavailable

CONNECTION = "kafka_events"
TOPIC = "app_events"
PARTITIONS = 3
SECONDS = 20
TYPES = ("open", "open", "view", "view", "view", "pay", "charge")


class Message(NamedTuple):
    """One message: its partition, key, text, and time (naive UTC)."""

    partition: int
    key: bytes
    value: bytes
    occurred_at: datetime
    is_bad: bool


def messages(world: World, at: datetime) -> Iterator[Message]:
    """The messages an hour brings, a few of them broken JSON, in later hours a few of them late."""
    random = world.random("events")
    total, late = new_messages(world), late_messages(world)
    for index in range(total):
        if world.hour == 0:
            occurred = world.moment(index, total, random)
        elif index >= total - late:
            occurred = at - timedelta(hours=random.randrange(2, 40), milliseconds=random.randrange(1000))
        else:
            occurred = at - timedelta(milliseconds=total - index)
        user = random.randrange(1, max(10, world.rows // 20))
        kind = random.choice(TYPES)
        amount = decimal_text(random.randrange(100, 10_000_000), 2) if kind in ("pay", "charge") else "null"
        properties = {
            "screen": random.choice(("home", "決済", "履歴")),
            "tags": random.sample(("a", "b", "ポイント 🎁"), 2),
            "nested": {"n": random.randrange(10), "empty": None},
        }
        # Put together by hand: no JSON library writes a decimal without making it a float first.
        text = (
            f'{{"event_id":"{UUID(int=random.getrandbits(128), version=4)}","user_id":{user},"event_type":"{kind}",'
            f'"amount":{amount},"occurred_at":"{occurred.isoformat(timespec="milliseconds")}Z",'
            f'"device":{json.dumps(random.choice(DEVICES), ensure_ascii=False)},'
            f'"properties":{json.dumps(properties, ensure_ascii=False)}}}'
        )
        is_bad = index in bad_indexes(world)
        value = text[: len(text) // 2] if is_bad else text
        yield Message(user % PARTITIONS, str(user).encode(), value.encode(), occurred, is_bad)


def new_messages(world: World) -> int:
    """How many messages an hour brings: at hour 0 all, then 1 % and at least 6, late ones included."""
    return world.events if world.hour == 0 else max(6, world.share(10, world.events))


def late_messages(world: World) -> int:
    return 0 if world.hour == 0 else world.share(1)


def bad_indexes(world: World) -> frozenset[int]:
    """Which of an hour's messages are cut off in the middle: one in 5000, at least one."""
    return frozenset(range(3, new_messages(world), 5000))


def bootstrap() -> str:
    return find_connection(CONNECTION).address


def client_settings() -> dict[str, str | int]:
    """Options of every client: where, how long to try, and to say errors only (syslog level 3)."""
    return {"bootstrap.servers": bootstrap(), "socket.connection.setup.timeout.ms": 5000, "log_level": 3}


def recreate_topic() -> None:
    """Drop the topic, if it is there, and make it again, empty.

    Raises:
        ServiceUnavailable: the broker does not answer, or takes more than 20 seconds to forget the old topic.
    """
    admin = AdminClient(client_settings())
    try:
        if TOPIC in admin.list_topics(timeout=10).topics:
            admin.delete_topics([TOPIC], operation_timeout=SECONDS)[TOPIC].result(SECONDS)
        deadline = time.monotonic() + SECONDS
        while TOPIC in admin.list_topics(timeout=10).topics:  # metadata follows the deletion
            if time.monotonic() > deadline:
                raise ServiceUnavailable(f"Kafka still lists {TOPIC} {SECONDS} seconds after it was deleted")
            time.sleep(0.1)
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)], operation_timeout=SECONDS)[TOPIC].result(SECONDS)
    except KafkaException as error:
        raise _unavailable(error) from None


def produce(wanted: Iterator[Message]) -> tuple[int, int]:
    """Send messages and wait until the broker has them all: how many, and how many bad.

    Raises:
        ServiceUnavailable: one was not taken.
    """
    producer = Producer(
        {
            **client_settings(),
            "enable.idempotence": True,
            "linger.ms": 20,
            "message.timeout.ms": SECONDS * 1000,
            "queue.buffering.max.messages": 100_000,
        }
    )
    refused: list[str] = []
    sent = bad = 0
    for message in wanted:
        while True:
            try:
                producer.produce(
                    TOPIC,
                    message.value,
                    message.key,
                    message.partition,
                    on_delivery=lambda error, _: refused.append(str(error)) if error else None,
                    timestamp=int(message.occurred_at.replace(tzinfo=UTC).timestamp() * 1000),
                )
                break
            except BufferError:  # the local queue is full: wait for room
                producer.poll(0.5)
        sent, bad = sent + 1, bad + message.is_bad
        producer.poll(0)
    unsent = producer.flush(SECONDS * 3)
    if unsent or refused:
        raise ServiceUnavailable(
            f"Kafka at {bootstrap()} did not take {unsent + len(refused)} messages: {(refused or ['no answer'])[0]}",
            fix="Start the services: make up",
        )
    return sent, bad


def total() -> int:
    """How many messages the broker says the topic holds."""
    consumer = Consumer(client_settings() | {"group.id": "lakeferry-sample"})
    try:
        marks = [
            consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=10)
            for partition in range(PARTITIONS)
        ]
    except KafkaException as error:
        raise _unavailable(error) from None
    finally:
        consumer.close()
    return sum(high - low for low, high in marks)


def seed(world: World) -> dict[str, Counts]:
    """Make the topic from scratch and fill it."""
    recreate_topic()
    sent, bad = produce(messages(world, world.began))
    return {"app_events": Counts(sent, bad, total(), new=sent)}


def play(world: World, at: datetime) -> dict[str, Counts]:
    """Send an hour's messages."""
    sent, bad = produce(messages(world, at))
    late = late_messages(world)
    return {"app_events": Counts(sent, bad, total(), new=sent - late, late=late)}


def _unavailable(error: KafkaException) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"Kafka at {bootstrap()}: {error.args[0].str() if error.args else error}", fix="Start the services: make up"
    )
