"""Rows that BigQuery refuses are in quarantine before anything is published, from every source."""

from __future__ import annotations

import json
from collections.abc import Callable

import boto3
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.connection import find_connection
from tests.e2e.ferry import Ferry, OwnDatabase

KEY = "id is NULL, and primary_key names it"
MICROSECONDS = 1_763_600_523_000_000
NANOSECONDS = 1_763_600_523_000_000_000


def _year(column: str) -> str:
    return f"BigQuery cannot hold {column}: its year is outside 1 to 9999 in UTC"


def _reasons(ferry: Ferry, dataset: str) -> list[str]:
    return sorted(row["reason"] for row in ferry.lake_rows("quarantine", dataset))


def test_messages(ferry: Ferry, unique_name: Callable[[str], str]) -> None:
    """Keys without a value, years no type of BigQuery has, timestamps in micro- and nanoseconds, framed messages."""
    address = find_connection("kafka_events").address
    broker = {"bootstrap.servers": address}
    keyed, timed, framed = (unique_name(stem) for stem in ("keyed", "timed", "framed"))
    topics = [
        NewTopic(keyed, 1, 1),
        NewTopic(timed, 2, 1, config={"message.timestamp.after.max.ms": str(2**63 - 1)}),
        NewTopic(framed, 1, 1),
    ]
    admin = AdminClient(broker)
    for future in admin.create_topics(topics).values():
        future.result(30)
    producer = Producer(broker)
    for message in (
        '{"id":1,"v":"a"}',
        '{"v":"b"}',
        '{"id":2,"v":"c"}',
        '{"id":3,"d":"0000-01-01"}',
        '{"id":4,"t":"0001-01-01T00:00:00+09:00"}',
        '{"id":5,"t":"9999-12-31T23:59:59-01:00"}',
        '{"id":6,"n":"0000-01-01T00:00:00"}',
        '{"id":7,"d":"0001-01-01","t":"9999-12-31T23:59:59.999999Z","n":"9999-12-31T23:59:59.999999"}',
        '{"id":8,"d":"9999-12-31","t":"0001-01-01T00:00:00Z","n":"0001-01-01T00:00:00"}',
    ):
        producer.produce(keyed, message.encode())
    good = 1_763_600_523_000
    for number, (partition, timestamp) in enumerate(
        [(0, good), (0, NANOSECONDS), (0, good), (0, MICROSECONDS), (1, good), (1, MICROSECONDS), (0, good)]
    ):
        producer.produce(timed, b'{"id":%d}' % number, partition=partition, timestamp=timestamp)
        assert producer.flush(30) == 0
    for _ in range(3):
        producer.produce(framed, b'\x00\x00\x00\x00\x07{"id":1}')
    assert producer.flush(30) == 0
    target = ferry.warehouse_dataset()
    name = ferry.spec(
        f"""\
        pipeline: {keyed}
        source: {{type: kafka, connection: kafka_events}}
        datasets:
          - name: {keyed}
            topic: {keyed}
            columns: {{id: bigint, v: string, d: date, t: timestamp, n: timestamp_ntz}}
            primary_key: [id]
            write_disposition: merge
            bigquery: {{table: {target}.keyed, partition_by: t}}
          - name: {timed}
            topic: {timed}
            columns: {{id: bigint}}
            write_disposition: append
            bigquery: {{table: {target}.timed, partition_by: _kafka_timestamp}}
          - name: {framed}
            topic: {framed}
            columns: {{id: bigint}}
            write_disposition: append
            bigquery: {{table: {target}.framed}}
        """
    )
    # The local stand-in for BigQuery cannot show the first and the last instant it holds.
    ran = ferry.run(name, through="check")
    assert ran.code == 0
    assert _reasons(ferry, keyed) == sorted([KEY, _year("d"), _year("n"), _year("t"), _year("t")])
    check = ran.receipt("check", keyed)
    assert (check.read, check.published, check.quarantined) == (9, 4, 5)
    assert sorted(row["id"] for row in ferry.lake_rows("curated", keyed)) == [1, 2, 7, 8]
    assert {json.loads(row["record"])["v"] for row in ferry.lake_rows("quarantine", keyed) if row["reason"] == KEY} == {
        "b"
    }
    aside = ferry.lake_rows("quarantine", timed)
    assert {row["reason"] for row in aside} == {_year("_kafka_timestamp")}
    places = [json.loads(row["place"]) for row in aside]
    assert sorted((at["_kafka_partition"], at["_kafka_offset"]) for at in places) == [(0, 1), (0, 3), (1, 1)]
    assert [row["record"] for row in aside if json.loads(row["place"])["_kafka_offset"] == 1] != []
    assert sorted(row["id"] for row in ferry.lake_rows("curated", timed)) == [0, 2, 4, 6]
    [reason] = set(_reasons(ferry, framed))
    assert "schema registry" in reason
    assert "schema id of 4 bytes" in reason

    # A later window behind the record in nanoseconds, which stays in the topic.
    producer.produce(timed, b'{"id":7}', partition=0, timestamp=good)
    producer.produce(timed, b'{"id":8}', partition=0, timestamp=NANOSECONDS)
    assert producer.flush(30) == 0
    again = ferry.run(name, through="check")
    check = again.receipt("check", timed)
    assert (again.code, check.read, check.published, check.quarantined) == (0, 2, 1, 1)


def test_files(ferry: Ferry, unique_name: Callable[[str], str]) -> None:
    folder, target = unique_name("unfit"), ferry.warehouse_dataset()
    s3 = boto3.client("s3", endpoint_url=find_connection("s3_landing").extra["endpoint_url"])
    keyed = "id,part,v\n1,a,x\n,b,y\n2,,z\n3,c,w\n"
    dated = "id,d,t,n\n1,0000-01-01,,\n2,,0001-01-01T00:00:00+09:00,\n3,,9999-12-31T23:59:59-01:00,\n4,,,"
    s3.put_object(Bucket="landing", Key=f"{folder}/keyed/a.csv", Body=keyed.encode())
    s3.put_object(Bucket="landing", Key=f"{folder}/dated/a.csv", Body=f"{dated}0000-01-01T00:00:00\n".encode())
    name = ferry.spec(
        f"""\
        pipeline: {folder}
        source: {{type: s3, connection: s3_landing}}
        datasets:
          - name: {folder}_keyed
            path: s3://landing/{folder}/keyed/
            suffix: .csv
            format: csv
            columns: {{id: bigint, part: string, v: string}}
            primary_key: [id, part]
            write_disposition: append
            bigquery: {{table: {target}.keyed}}
          - name: {folder}_dated
            path: s3://landing/{folder}/dated/
            suffix: .csv
            format: csv
            columns: {{id: bigint, d: date, t: timestamp, n: timestamp_ntz}}
            primary_key: [id]
            write_disposition: merge
            bigquery: {{table: {target}.dated, partition_by: d}}
        """
    )
    ran = ferry.run(name)
    assert ran.code == 0
    assert sorted(row["v"] for row in ferry.warehouse_rows(f"{target}.keyed", "v")) == ["w", "x", "z"]
    assert _reasons(ferry, f"{folder}_keyed") == [KEY]
    assert _reasons(ferry, f"{folder}_dated") == sorted([_year("d"), _year("n"), _year("t"), _year("t")])
    assert ran.receipt("check", f"{folder}_dated").published == 0


def test_rows_of_a_table(ferry: Ferry, aurora: OwnDatabase) -> None:
    """Columns copied without Spark's rows, and a window that looks back, judge alike and set a row aside once."""
    aurora.execute(
        "CREATE TABLE t (id INT NULL, kind VARCHAR(8) NULL, updated_at TIMESTAMP(6) NOT NULL DEFAULT NOW(6),"
        " UNIQUE (id, kind), KEY (updated_at))"
    )
    aurora.execute("INSERT INTO t (id, kind) VALUES (1, 'a'), (NULL, 'b'), (2, NULL), (3, 'c')")
    aurora.settle()
    target, whole, window = ferry.warehouse_dataset(), f"whole_{aurora.name}", f"window_{aurora.name}"
    name = ferry.spec(
        f"""\
        pipeline: {whole}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {whole}
            table: {aurora.name}.t
            primary_key: [id, kind]
            write_disposition: replace
            bigquery: {{table: {target}.whole}}
          - name: {window}
            table: {aurora.name}.t
            primary_key: [id, kind]
            cursor: updated_at
            lag_seconds: 1
            lookback_seconds: 3600
            write_disposition: merge
            bigquery: {{table: {target}.window}}
        """
    )
    first = ferry.run(name)
    assert first.code == 0
    wanted = ["id is NULL, and primary_key names it", "kind is NULL, and primary_key names it"]
    assert (_reasons(ferry, whole), _reasons(ferry, window)) == (wanted, wanted)
    assert [first.receipt("check", dataset).published for dataset in (whole, window)] == [2, 2]
    aurora.execute("INSERT INTO t (id, kind) VALUES (4, 'd'), (NULL, 'e')")
    aurora.settle()
    second = ferry.run(name)
    check = second.receipt("check", window)
    assert (second.code, check.known, check.published, check.quarantined) == (0, 4, 1, 1)
    assert sorted(row["id"] for row in ferry.warehouse_rows(f"{target}.window", "id")) == [1, 3, 4]
