"""Sources with a writer: small random changes, and the rows after the writer has stopped."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Callable, Sequence
from io import StringIO
from random import Random
from threading import Event, Thread
from typing import Any, Protocol

import boto3
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.connection import find_connection
from tests.e2e.ferry import OwnDatabase
from tests.interleavings.oracle import Kind, Row
from tests.interleavings.worlds import settle

FIRST_ROWS = 30
PAUSE_SECONDS = 0.05
PLAIN_COLUMNS = ("id", "v", "note")
NO_NEGATIVE = "rows:\n  - expect_column_values_to_be_between: {column: v, min_value: 0}\n"


class LiveSource(Protocol):
    """A source of a pipeline. `head` is the YAML of the pipeline's `source`; `keys` are those of its dataset."""

    name: str
    kind: Kind
    head: str
    keys: str
    suite: str | None

    def change(self, random: Random) -> None:
        """Make one small change."""

    def settle(self) -> None:
        """Wait until the next run's window includes all changes."""

    def rows(self, where: str) -> Sequence[Row]:
        """The rows that meet a condition (`oracle.SourceRows`)."""

    def close(self) -> None: ...


class Writer:
    """Changes a source from a thread of its own until its context ends, which raises what the thread raised."""

    def __init__(self, source: LiveSource, random: Random) -> None:
        self._source, self._random = source, random
        self._stopping = Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._write, name=f"writer of {source.name}", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        try:
            while not self._stopping.wait(self._random.uniform(0, 2 * PAUSE_SECONDS)):
                self._source.change(self._random)
        except BaseException as error:  # noqa: BLE001 - raised by __exit__
            self._error = error


class LiveTable:
    """A table of MariaDB or TiDB. Rows are inserted and updated, some break a rule, and on TiDB some are deleted."""

    def __init__(self, connection: str) -> None:
        swept = connection == "tidb_wallet"
        self.name = "tidb" if swept else "aurora"
        self.kind = Kind(good="v >= 0", swept=swept)
        self.suite = NO_NEGATIVE
        self._database = OwnDatabase(connection)
        self._next = 1
        self._swept = swept
        self.head = f"{{type: {self.name}, connection: {connection}}}"
        self.keys = (
            f"table: {self._database.name}.t\n    primary_key: [id]\n    cursor: updated_at\n    lag_seconds: 1\n"
            "    write_disposition: merge\n    most_quarantined: 1"
            + ("\n    deletes: sweep\n    most_deleted: 1.0" if swept else "")
        )
        self._database.execute(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, v INT NOT NULL, note VARCHAR(100),"
            " updated_at DATETIME(6) NOT NULL, KEY (updated_at))"
        )
        for _ in range(FIRST_ROWS):
            self._insert(Random(self._next))

    def change(self, random: Random) -> None:
        one = random.randrange(1, self._next)
        kind = random.random()
        if kind < 0.4:
            self._insert(random)
        elif kind < 0.9 or not self._swept:
            # A row never turns from good to bad: curated would keep its last good version.
            self._database.execute(
                "UPDATE t SET v = v + 1, note = %s, updated_at = UTC_TIMESTAMP(6) WHERE id = %s AND v >= 0",
                (_note(random), one),
            )
        else:
            self._database.execute("DELETE FROM t WHERE id = %s AND v >= 0", (one,))

    def settle(self) -> None:
        settle(self._database)

    def rows(self, where: str) -> Sequence[Row]:
        return self._database.rows(f"SELECT id, v, note, updated_at FROM t WHERE {where}")

    def close(self) -> None:
        self._database.close()

    def _insert(self, random: Random) -> None:
        v = -1 if random.random() < 0.05 else 1
        self._database.execute("INSERT INTO t VALUES (%s, %s, %s, UTC_TIMESTAMP(6))", (self._next, v, _note(random)))
        self._next += 1


class LiveTopic:
    """A topic with three partitions. Some messages are not JSON."""

    name = "kafka"
    kind = Kind(columns=PLAIN_COLUMNS)
    suite = None
    head = "{type: kafka, connection: kafka_events}"

    def __init__(self) -> None:
        self._broker = {"bootstrap.servers": find_connection("kafka_events").address}
        self._topic = f"soak_{uuid.uuid4().hex[:8]}"
        self._admin = AdminClient(self._broker)
        self._admin.create_topics([NewTopic(self._topic, 3, 1)])[self._topic].result(10)
        self._producer = Producer(self._broker)
        self._next = 1
        self.keys = (
            f"topic: {self._topic}\n    format: json\n    columns: {{id: bigint, v: int, note: string}}\n"
            "    write_disposition: append\n    most_quarantined: 1"
        )
        for _ in range(FIRST_ROWS):
            self.change(Random(self._next))

    def change(self, random: Random) -> None:
        bad = random.random() < 0.05
        message = "{broken" if bad else json.dumps({"id": self._next, "v": 1, "note": _note(random)})
        self._producer.produce(self._topic, message.encode(), partition=random.randrange(3))
        # A message that is not acknowledged may be in the topic or not.
        assert self._producer.flush(30) == 0
        self._next += 1

    def settle(self) -> None:
        return None

    def rows(self, where: str) -> Sequence[Row]:
        good, bad = _parted(self._messages(), _of_message)
        return _chosen(where, good, bad)

    def close(self) -> None:
        self._admin.delete_topics([self._topic])[self._topic].result(10)

    def _messages(self) -> list[str]:
        consumer = Consumer(self._broker | {"group.id": self._topic, "enable.auto.commit": False})
        texts: list[str] = []
        try:
            for partition in range(3):
                place = TopicPartition(self._topic, partition, 0)
                _, end = consumer.get_watermark_offsets(place, timeout=30)
                if not end:
                    continue
                consumer.assign([place])
                messages = consumer.consume(end, timeout=30)
                assert len(messages) == end, f"{len(messages)} of {end} messages of partition {partition} were read"
                texts += [message.value().decode() for message in messages]
        finally:
            consumer.close()
        return texts


class LiveFolder:
    """CSV files on S3, each written once. Some lines are too short."""

    name = "s3"
    kind = Kind(columns=PLAIN_COLUMNS)
    suite = None
    head = "{type: s3, connection: s3_landing}"

    def __init__(self) -> None:
        connection = find_connection("s3_landing")
        self._client = boto3.client(
            "s3",
            endpoint_url=connection.extra["endpoint_url"],
            region_name=connection.extra["region_name"],
            aws_access_key_id=connection.login,
            aws_secret_access_key=connection.password,
        )
        self._bucket = f"soak-{uuid.uuid4().hex[:8]}"
        self._client.create_bucket(Bucket=self._bucket)
        self._next = 1
        self.keys = (
            f"path: s3://{self._bucket}/files/\n    suffix: .csv\n    format: csv\n"
            "    columns: {id: bigint, v: int, note: string}\n    write_disposition: append\n    most_quarantined: 1"
        )
        for _ in range(FIRST_ROWS // 5):
            self.change(Random(self._next))

    def change(self, random: Random) -> None:
        text = StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(PLAIN_COLUMNS)
        for _ in range(random.randint(1, 5)):
            lines.writerow([self._next] if random.random() < 0.05 else [self._next, 1, _note(random)])
            self._next += 1
        # The order of names is not the order of writing.
        key = f"files/{random.randrange(10**6):06}-{self._next}.csv"
        self._client.put_object(Bucket=self._bucket, Key=key, Body=text.getvalue().encode())

    def settle(self) -> None:
        return None

    def rows(self, where: str) -> Sequence[Row]:
        good, bad = _parted(self._lines(), _of_line)
        return _chosen(where, good, bad)

    def close(self) -> None:
        for key in self._keys():
            self._client.delete_object(Bucket=self._bucket, Key=key)
        self._client.delete_bucket(Bucket=self._bucket)

    def _keys(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def _lines(self) -> list[list[str]]:
        lines: list[list[str]] = []
        for key in self._keys():
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read().decode()
            lines += list(csv.reader(StringIO(body)))[1:]
        return lines


MAKERS: Sequence[Callable[[], LiveSource]] = (
    lambda: LiveTable("aurora_payments"),
    lambda: LiveTable("tidb_wallet"),
    LiveTopic,
    LiveFolder,
)


def _note(random: Random) -> str:
    return "".join(random.choices("abc, \"'済み✅\\", k=random.randint(0, 8)))


def _of_message(text: str) -> Row | None:
    if not text.endswith("}"):
        return None
    message: dict[str, Any] = json.loads(text)
    return (message["id"], message["v"], message["note"])


def _of_line(line: list[str]) -> Row | None:
    return (int(line[0]), int(line[1]), line[2]) if len(line) == len(PLAIN_COLUMNS) else None


def _parted(records: Sequence[Any], read: Callable[[Any], Row | None]) -> tuple[list[Row], list[Row]]:
    rows = [read(record) for record in records]
    return [row for row in rows if row is not None], [() for row in rows if row is None]


def _chosen(where: str, good: list[Row], bad: list[Row]) -> list[Row]:
    """Select rows by a condition without SQL: `Kind.good` is TRUE here, so NOT selects the bad rows."""
    return bad if where.startswith("NOT") else good
