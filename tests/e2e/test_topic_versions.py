"""Topics with one key in several partitions: the newest message wins in the lake and in BigQuery alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.base import Window
from connectors.connection import find_connection
from tests.e2e.ferry import Ferry

TEN = 1_795_168_800_000
"""2026-11-20T10:00:00Z in milliseconds."""


@dataclass
class Topics:
    """Topics of two partitions, one per dataset, all in one pipeline."""

    ferry: Ferry
    pipeline: str
    tables: str
    address: str = field(default_factory=lambda: find_connection("kafka_events").address)
    names: list[str] = field(default_factory=list)

    def name(self, stem: str) -> str:
        return f"{self.pipeline}_{stem}"

    def create(self, *stems: str) -> None:
        self.names += [self.name(stem) for stem in stems]
        admin = AdminClient({"bootstrap.servers": self.address})
        for future in admin.create_topics([NewTopic(name, 2) for name in self.names]).values():
            future.result(30)

    def spec(self, **more: str) -> str:
        """Write the pipeline; `more` has further keys of a dataset by its stem."""
        text = f"pipeline: {self.pipeline}\nsource: {{type: kafka, connection: kafka_events}}\ndatasets:\n"
        for name in self.names:
            own = more.get(name.removeprefix(f"{self.pipeline}_"), "")
            text += (
                f"  - {{name: {name}, topic: {name}, columns: {{id: bigint, v: string}}, primary_key: [id], {own}\n"
                f"     write_disposition: merge, bigquery: {{table: {self.tables}.{name}}}}}\n"
            )
        return self.ferry.spec(text)

    def send(self, stem: str, *messages: tuple[int, int, str, int]) -> None:
        """Messages (partition, id, value, seconds after ten)."""
        producer = Producer({"bootstrap.servers": self.address})
        for partition, key, value, seconds in messages:
            body = f'{{"id":{key},"v":"{value}"}}'.encode()
            producer.produce(self.name(stem), body, partition=partition, timestamp=TEN + seconds * 1000)
        assert producer.flush(30) == 0

    def remove(self, stem: str, *keys: int) -> None:
        """Tombstones: messages without a value."""
        producer = Producer({"bootstrap.servers": self.address})
        for key in keys:
            producer.produce(self.name(stem), None, key=str(key).encode(), partition=0)
        assert producer.flush(30) == 0

    def state(self, stem: str) -> dict[int, str]:
        """Key → value, the same in curated and in BigQuery."""
        curated = {row["id"]: row["v"] for row in self.ferry.lake_rows("curated", self.name(stem))}
        rows = self.ferry.warehouse_rows(f"{self.tables}.{self.name(stem)}", "id, v")
        assert {row["id"]: row["v"] for row in rows} == curated
        assert len(rows) == len(curated)
        return curated

    def forget_states(self, stem: str) -> None:
        """Drop what was made of raw: it is made again, batch by batch."""
        name, ledger = self.name(stem), self.ferry.settings.warehouse_ledger_dataset
        self.ferry.catalog.drop_table(("curated", name))
        for table in (f"{self.tables}.{name}", f"{ledger}.ledger_{name}"):
            self.ferry.warehouse.delete_table(f"{self.ferry.settings.warehouse_project}.{table}")


@pytest.fixture
def topics(ferry: Ferry, unique_name: Callable[[str], str]) -> Iterator[Topics]:
    made = Topics(ferry, unique_name("topics"), ferry.warehouse_dataset())
    yield made
    admin = AdminClient({"bootstrap.servers": made.address})
    for future in admin.delete_topics(made.names).values():
        future.result(30)


def test_the_newest_message_of_a_key_wins_whatever_its_partition(topics: Topics) -> None:
    topics.create("later", "apart", "backwards", "tied", "removed")
    topics.send("removed", *[(0, key, "a", 0) for key in range(20)])
    topics.send("later", (0, 9, "x", 0), (0, 1, "old", 0))
    topics.send("apart", (0, 1, "a", 0), (1, 1, "b", 1), (1, 2, "c", 0), (0, 2, "d", 1))
    # In partition 0 the offset orders the messages, and the last one is not older than those before it.
    topics.send("backwards", (0, 1, "first", 10), (0, 1, "last", 5), (1, 1, "between", 7), (1, 2, "p", 3))
    topics.remove("apart", 2)
    topics.send("tied", (0, 1, "a", 0), (1, 1, "b", 0), (0, 2, "same", 0), (1, 2, "same", 0))
    first = topics.ferry.run(topics.spec())
    assert first.code == 1
    assert topics.state("later") == {1: "old", 9: "x"}
    assert topics.state("apart") == {1: "b", 2: "d"}
    assert topics.state("backwards") == {1: "last", 2: "p"}
    (aside,) = topics.ferry.lake_rows("quarantine", topics.name("apart"))
    assert (aside["reason"], aside["record"]) == ("empty message (a tombstone)", '{"key": "2", "value": null}')
    failed = first.receipt("check", topics.name("tied"))
    assert failed.error_type == "DuplicateKey"
    place = "offset 0 of partition 0 and offset 0 of partition 1"
    for part in ("1 values of primary_key (id)", "several partitions", place, "equal_timestamps: accept"):
        assert part in str(failed.error)

    # A later batch is newer, at any time on the clock of its producer.
    topics.send("later", (1, 1, "new", 600), (1, 9, "y", 60))
    topics.send("backwards", (0, 1, "later still", 1), (0, 2, "q", 1))
    # More than a tenth of the messages, and then all of them, say that a row is gone: nothing is wrong with them.
    topics.send("removed", *[(0, key, "b", 60) for key in range(9)])
    topics.remove("removed", 17, 18, 19)
    assert topics.ferry.run(topics.spec(tied="equal_timestamps: accept,")).code == 0
    assert topics.state("later") == {1: "new", 9: "y"}
    assert topics.state("backwards") == {1: "later still", 2: "q"}
    assert topics.state("tied") == {1: "b", 2: "same"}

    topics.remove("removed", *range(12))

    # A backfill reads the old messages under a later batch number.
    window = Window(start="2026-11-20T10:00:00Z", end="2026-11-20T10:00:01Z")
    backfill = topics.ferry.run(topics.pipeline, window=window)
    assert backfill.code == 0
    assert backfill.receipt("check", topics.name("later")).published == 2
    assert topics.state("later") == {1: "new", 9: "y"}
    only_gone = [batch for batch in topics.ferry.published(topics.name("removed")) if batch.moved_position]
    assert [(batch.rows, batch.quarantined) for batch in only_gone] == [(20, 0), (9, 3)]
    topics.send("later", (0, 1, "newest", 601))
    topics.forget_states("later")
    assert topics.ferry.run(topics.pipeline).code == 0
    assert topics.state("later") == {1: "newest", 9: "y"}
    assert [batch.rows for batch in topics.ferry.published(topics.name("later"))] == [2, 2, 2, 1]
    newest = topics.ferry.published(topics.name("removed"))[-1]
    assert (newest.rows, newest.quarantined) == (0, 12)
    assert "every row of the last batch was rejected" not in topics.ferry.cli("status", topics.pipeline).stdout


def test_a_run_without_news_names_what_an_open_transaction_holds_back(topics: Topics) -> None:
    topics.create("held")
    pipeline = topics.spec()
    producer = Producer({"bootstrap.servers": topics.address, "transactional.id": topics.name("held")})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topics.name("held"), b'{"id":1}', partition=1, timestamp=TEN)
    assert producer.flush(30) == 0
    planned = topics.ferry.cli("plan", pipeline)
    assert planned.returncode == 0
    held = "partition 1: 1 offsets from 0 on wait for an open transaction, the first of them since 2026-11-20T10:00:00Z"
    (dataset,) = topics.ferry.plan(pipeline, "held").datasets
    assert dataset.state == "empty"
    assert held in str(dataset.reason)
    assert held in planned.stdout
    assert "seems to hang" in planned.stdout
    producer.abort_transaction(30)
