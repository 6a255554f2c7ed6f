"""The control plane of a Kafka cluster: topics, offsets, and a count of messages, by librdkafka."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from connectors.connection import Connection, variable_name
from connectors.errors import (
    AccessDenied,
    LakeferryError,
    ObjectNotFound,
    ServiceError,
    ServiceUnavailable,
)
from connectors.kafka.client_settings import TIMEOUT_SECONDS, librdkafka_settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError
    from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo

ELECTION_SECONDS = 0.2
"""How long to wait before a partition without a leader is asked again."""
_FORGOTTEN_AFTER_SECONDS = 3 * TIMEOUT_SECONDS
SILENCE_SECONDS = 60
"""How long a count waits for the next message that the broker says is there."""


@dataclass(frozen=True)
class Topic:
    """`id` is the broker's own: a topic that was deleted and created again has another. `partitions` are in order."""

    name: str
    id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class End:
    """Where a partition ends for readers of committed messages, and the leader epoch of the log's end (None: the broker
    does not say)."""

    offset: int
    leader_epoch: int | None


@dataclass(frozen=True)
class Timestamped:
    """A message's offset and its timestamp (milliseconds since 1970)."""

    offset: int
    timestamp_ms: int


@dataclass(frozen=True)
class OffsetRange:
    """Messages `[start, end)` of one partition, read as part of slice `slice_id`."""

    partition: int
    start: int
    end: int
    slice_id: int


class Cluster:
    """One Kafka cluster reached over one connection. A dead broker is reported after `TIMEOUT_SECONDS`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._settings = librdkafka_settings(connection)
        self._last_error: KafkaError | None = None
        self._opened: AdminClient | None = None
        self._opening = Lock()

    @property
    def _admin(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient

        # Datasets are planned in parallel. A second client that replaced the first would take the first one's answers
        # with it, and the callers that wait for them would wait for ever.
        with self._opening:
            if self._opened is None:
                self._opened = AdminClient(self._settings | {"error_cb": self._remember})
            return self._opened

    def describe(self) -> str:
        """Returns a line for people."""
        with self._translated():
            metadata = self._admin.list_topics(timeout=TIMEOUT_SECONDS)
        topics = [name for name in metadata.topics if not name.startswith("__")]
        return f"Kafka, cluster {metadata.cluster_id}, {len(metadata.brokers)} broker(s), {len(topics)} topic(s)"

    def topic(self, name: str) -> Topic:
        """Looks up a topic.

        Raises:
            ObjectNotFound: there is no such topic; the error names the most similar ones.
        """
        from confluent_kafka import KafkaError, KafkaException, TopicCollection

        with self._translated(name):
            future = self._admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT_SECONDS)[name]
            try:
                description = self._answer(future)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._unknown_topic(name) from None
                raise
        return Topic(
            name, str(description.topic_id), tuple(sorted(partition.id for partition in description.partitions))
        )

    def first_offsets(self, topic: Topic) -> dict[int, int]:
        """Returns the low watermark of each partition: the oldest offset that retention has left."""
        from confluent_kafka.admin import OffsetSpec

        return self._offsets(topic, OffsetSpec.earliest())

    def end_offsets(self, topic: Topic) -> dict[int, int]:
        """Returns the last stable offset of each partition: everything below is committed or aborted."""
        return {p: end.offset for p, end in self.ends(topic).items()}

    def ends(self, topic: Topic) -> dict[int, End]:
        """Returns the last stable offset of each partition, with the leader epoch of the log's end."""
        from confluent_kafka.admin import OffsetSpec

        answers = self._answers(topic, OffsetSpec.latest())
        return {p: End(int(answer.offset), answer.leader_epoch) for p, answer in answers.items()}

    def high_watermarks(self, topic: Topic) -> dict[int, int]:
        """Returns the offset after the last replicated message of each partition, in open transactions too."""
        from confluent_kafka.admin import OffsetSpec

        answers = self._answers(topic, OffsetSpec.latest(), committed=False)
        return {p: int(answer.offset) for p, answer in answers.items()}

    def offsets_at(self, topic: Topic, instant_ms: int) -> dict[int, int]:
        """Returns the first offset of each partition with a timestamp of `instant_ms` or later; else its end."""
        firsts, ends = self.first_at(topic, instant_ms), self.end_offsets(topic)
        return {p: min(firsts[p].offset, end) if p in firsts else end for p, end in ends.items()}

    def first_at(self, topic: Topic, instant_ms: int) -> dict[int, Timestamped]:
        """Returns the first message of each partition whose timestamp is `instant_ms` or later; partitions without one
        are left out."""
        from confluent_kafka.admin import OffsetSpec

        answers = self._answers(topic, OffsetSpec.for_timestamp(instant_ms))
        return {p: Timestamped(int(a.offset), int(a.timestamp)) for p, a in answers.items() if a.offset >= 0}

    def _answer(self, future: Future[Any]) -> Any:
        """Returns librdkafka's answer. librdkafka keeps its own time limit, but if it forgets one, this does not wait
        for ever.

        Raises:
            ServiceUnavailable: there is no answer long after its time.
        """
        try:
            return future.result(_FORGOTTEN_AFTER_SECONDS)
        except TimeoutError:
            raise self.unavailable("does not answer (librdkafka lost the request)") from None

    def _offsets(self, topic: Topic, spec: Any) -> dict[int, int]:
        return {p: int(answer.offset) for p, answer in self._answers(topic, spec).items()}

    def _answers(self, topic: Topic, spec: Any, *, committed: bool = True) -> dict[int, ListOffsetsResultInfo]:
        from confluent_kafka import IsolationLevel, KafkaException, TopicPartition

        request = {TopicPartition(topic.name, partition): spec for partition in topic.partitions}
        isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with self._translated(topic.name):
            while True:
                futures: Mapping[Any, Future[Any]] = self._admin.list_offsets(
                    request, isolation_level=isolation, request_timeout=TIMEOUT_SECONDS
                )
                try:
                    return {place.partition: self._answer(future) for place, future in futures.items()}
                except KafkaException as error:
                    if not _settling(error.args[0]) or time.monotonic() > deadline:
                        raise
                time.sleep(ELECTION_SECONDS)

    @contextmanager
    def consumer(self, topic: Topic, settings: Mapping[str, Any]) -> Iterator[Consumer]:
        """Opens a consumer without a group, which commits nothing and reports where a partition ends. Kafka's errors
        leave the context as those of `Source`."""
        from confluent_kafka import Consumer

        own = {
            # A consumer without a group must name one nevertheless.
            "group.id": "lakeferry-count",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        consumer = Consumer(self._settings | own | dict(settings))
        try:
            with self._translated(topic.name):
                yield consumer
        finally:
            consumer.close()

    def broker_setting(self, name: str) -> str | None:
        """Returns a setting of one broker; None if the login may not ask (DescribeConfigs on the cluster)."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import ConfigResource

        with self._translated():
            brokers = self._admin.list_topics(timeout=TIMEOUT_SECONDS).brokers
        request = [ConfigResource(ConfigResource.Type.BROKER, str(min(brokers)))]
        (future,) = self._admin.describe_configs(request, request_timeout=TIMEOUT_SECONDS).values()
        try:
            entry = self._answer(future).get(name)
        except KafkaException:
            return None
        return None if entry is None else entry.value

    def count(self, topic: Topic, ranges: Sequence[OffsetRange]) -> dict[int, int]:
        """Counts the committed messages of each slice by consuming them. Offsets alone do not show the count, as
        transaction markers, aborted messages and compaction leave gaps (KIP-98)."""
        counts = {offset_range.slice_id: 0 for offset_range in ranges}
        for layer in layers(ranges):
            for slice_id, number in self._count_layer(topic, layer).items():
                counts[slice_id] += number
        return counts

    def _count_layer(self, topic: Topic, runs: Sequence[Sequence[OffsetRange]]) -> dict[int, int]:
        from confluent_kafka import KafkaError, KafkaException, TopicPartition

        waiting = {run[0].partition: list(run) for run in runs}
        counts = {offset_range.slice_id: 0 for run in runs for offset_range in run}
        settings = {"isolation.level": "read_committed", "queued.max.messages.kbytes": 16_384}
        with self.consumer(topic, settings) as consumer:
            consumer.assign([TopicPartition(topic.name, run[0].partition, run[0].start) for run in runs])
            heard = time.monotonic()
            while waiting:
                messages = consumer.consume(10_000, timeout=0.2)
                if messages:
                    heard = time.monotonic()
                elif time.monotonic() - heard > SILENCE_SECONDS:
                    raise self.unavailable(f"sent no message for {SILENCE_SECONDS} seconds")
                for message in messages:
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    remaining = waiting.get(message.partition())
                    if remaining is None:
                        continue
                    # The last stable offset never moves back, so its end of partition is past every range.
                    while remaining and (error is not None or message.offset() >= remaining[0].end):
                        del remaining[0]
                    if remaining:
                        counts[remaining[0].slice_id] += 1
                    else:
                        del waiting[message.partition()]
                        consumer.pause([TopicPartition(topic.name, message.partition())])
        return counts

    def _remember(self, error: KafkaError) -> None:
        # A refused login is followed by "all brokers are down", which would hide it.
        if self._last_error is None or not _refused(self._last_error):
            self._last_error = error

    @contextmanager
    def _translated(self, topic: str | None = None) -> Iterator[None]:
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as error:
            if self._opened is not None:
                self._opened.poll(0)
            raise self._translate(error.args[0], topic) from None

    def _translate(self, error: KafkaError, topic: str | None) -> LakeferryError:
        from confluent_kafka import KafkaError as Codes

        cause = self._last_error if self._last_error is not None and _refused(self._last_error) else error
        if _refused(cause):
            return AccessDenied(
                f"Kafka at {self.connection.address} refused connection {self.connection.id!r}: {cause.name()}"
                + (f" on topic {topic}" if topic else ""),
                fix="Check login, password, security.protocol and sasl.mechanism of the connection, and the ACLs",
            )
        if cause.code() == Codes.UNKNOWN_TOPIC_OR_PART and topic:
            return self._unknown_topic(topic)
        unreachable = (Codes._TRANSPORT, Codes._ALL_BROKERS_DOWN, Codes._TIMED_OUT, Codes._RESOLVE, Codes._SSL,
                       Codes.REQUEST_TIMED_OUT, Codes.LEADER_NOT_AVAILABLE, Codes.NOT_LEADER_FOR_PARTITION)  # fmt: skip
        if cause.code() in unreachable:
            return self.unavailable(f"does not answer ({cause.name()})")
        return ServiceError(f"Kafka at {self.connection.address}: {cause.name()}: {cause.str()}")

    def unavailable(self, what: str) -> ServiceUnavailable:
        """Returns the error for a cluster that does not do what it should; `what` follows its name."""
        return ServiceUnavailable(
            f"Kafka at {self.connection.address} (connection {self.connection.id!r}) {what}",
            fix=f"Start it, or correct host, port and security.protocol in {variable_name(self.connection.id)}",
        )

    def _unknown_topic(self, name: str) -> ObjectNotFound:
        with self._translated():
            names = [t for t in self._admin.list_topics(timeout=TIMEOUT_SECONDS).topics if not t.startswith("__")]
        near = difflib.get_close_matches(name, names, 5, 0.5) or sorted(names)[:20]
        return ObjectNotFound(
            f"no topic {name!r} in Kafka at {self.connection.address}",
            choices=near,
            fix="Correct `topic`, or create it" if near else "The cluster has no topic this login can see: create it",
            key=("topic",),
        )


def _settling(error: KafkaError) -> bool:
    """Whether a partition is between two leaders, for example just after it was created, so that the next answer is
    another. These are errors that Kafka's protocol calls retriable ("Error Codes" in its guide)."""
    from confluent_kafka import KafkaError as Codes

    return error.code() in (
        Codes.NOT_LEADER_FOR_PARTITION,
        Codes.LEADER_NOT_AVAILABLE,
        Codes.UNKNOWN_TOPIC_OR_PART,
        Codes.OFFSET_NOT_AVAILABLE,
        Codes.UNKNOWN_LEADER_EPOCH,
        Codes.FENCED_LEADER_EPOCH,
        Codes.REPLICA_NOT_AVAILABLE,
        Codes.KAFKA_STORAGE_ERROR,
    )


def _refused(error: KafkaError) -> bool:
    from confluent_kafka import KafkaError as Codes

    return error.code() in (
        Codes._AUTHENTICATION,
        Codes.SASL_AUTHENTICATION_FAILED,
        Codes.TOPIC_AUTHORIZATION_FAILED,
        Codes.GROUP_AUTHORIZATION_FAILED,
        Codes.CLUSTER_AUTHORIZATION_FAILED,
        Codes.UNSUPPORTED_SASL_MECHANISM,
        Codes.ILLEGAL_SASL_STATE,
    )


def layers(ranges: Sequence[OffsetRange]) -> list[list[list[OffsetRange]]]:
    """Returns runs of adjoining ranges in layers, with at most one run of a partition in each. One read, with one start
    and one end for each partition, can read a layer."""
    stacked: list[list[list[OffsetRange]]] = []
    depth: dict[int, int] = {}
    run: list[OffsetRange] = []
    for offset_range in sorted(ranges, key=lambda r: (r.partition, r.start)):
        if run and run[-1].partition == offset_range.partition and run[-1].end == offset_range.start:
            run.append(offset_range)
            continue
        run = [offset_range]
        level = depth.get(offset_range.partition, 0)
        depth[offset_range.partition] = level + 1
        if level == len(stacked):
            stacked.append([])
        stacked[level].append(run)
    return stacked
