"""Every value in BigQuery against the source, read by another way: four sources and a derived dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import boto3
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.connection import find_connection
from tests.e2e.ferry import Ferry, OwnDatabase

COLUMNS = "id, merchant_id, amount, status, memo, paid_at, created_at, updated_at, flags, photo, rate, born"
ROWS = [
    (
        1,
        10,
        "0.00",
        "CREATED",
        "",
        None,
        "2026-03-29 01:30:00.000001",
        "2026-03-29 01:30:00.000001",
        None,
        None,
        0.1,
        None,
    ),
    (
        2,
        10,
        "-99999999999999.99",
        "CAPTURED",
        "髙島屋 👨‍👩‍👧‍👦",
        "2026-03-29 02:30:00.123",
        "1970-01-01 00:00:00",
        "2026-03-29 02:30:00",
        2,
        b"\x00\xff",
        1e300,
        "0001-01-01",
    ),
    (
        3,
        11,
        "99999999999999.99",
        "CAPTURED",
        "trailing  ",
        "2038-01-19 03:14:07.999",
        "9999-12-31 23:59:59.999999",
        "2026-03-29 03:30:00.9",
        127,
        b"",
        -0.0,
        "9999-12-31",
    ),
    (
        18446744073709551615,
        12,
        "12.34",
        "CAPTURED",
        "二行の\nメモ",
        "2026-11-01 05:30:00.5",
        "2026-11-01 15:00:00",
        "2026-11-01 05:30:00",
        -128,
        b"abc",
        2.5,
        "2026-02-28",
    ),
]
TABLE = (
    "CREATE TABLE payments (id BIGINT UNSIGNED PRIMARY KEY, merchant_id INT NOT NULL, amount DECIMAL(18,2) NOT NULL,"
    " status ENUM('CREATED','CAPTURED') NOT NULL, memo VARCHAR(100), paid_at TIMESTAMP(3) NULL,"
    " created_at DATETIME(6) NOT NULL,"
    " updated_at DATETIME(6) NOT NULL, flags TINYINT(1), photo VARBINARY(10), rate DOUBLE, born DATE, KEY (updated_at))"
)


@pytest.mark.parametrize("source", ["aurora", "tidb"])
def test_relational(ferry: Ferry, request: pytest.FixtureRequest, source: str) -> None:
    database: OwnDatabase = request.getfixturevalue(source)
    target = f"{ferry.warehouse_dataset()}.payments"
    database.execute(TABLE)
    database.insert("payments", ROWS)
    name = ferry.spec(
        f"""\
        pipeline: v_{database.name}
        source: {{type: {source}, connection: {"aurora_payments" if source == "aurora" else "tidb_wallet"}}}
        datasets:
          - name: v_{database.name}
            table: {database.name}.payments
            primary_key: [id]
            cursor: updated_at
            lag_seconds: 1
            write_disposition: merge
            bigquery: {{table: {target}, partition_by: created_at, cluster_by: [merchant_id]}}
        """
    )
    ran = ferry.run(name)
    assert ran.code == 0
    source_rows = {row[0]: row for row in database.rows(f"SELECT {COLUMNS} FROM payments")}
    arrived = ferry.warehouse_rows(target, COLUMNS)
    assert len(arrived) == len(source_rows) == 4
    for row in arrived:
        expected = list(source_rows[int(row["id"])])
        if expected[5] is not None:
            expected[5] = expected[5].replace(tzinfo=UTC)  # TIMESTAMP: an instant; read here in a UTC session
        found = list(row.values())
        assert found == expected
        assert isinstance(row["amount"], Decimal)
    types = {field.name: field.field_type for field in ferry.warehouse.get_table(target).schema}
    assert (types["amount"], types["paid_at"], types["created_at"], types["id"]) == (
        "NUMERIC",
        "TIMESTAMP",
        "DATETIME",
        "NUMERIC",
    )


def test_kafka(ferry: Ferry, unique_name: Callable[[str], str]) -> None:
    topic, target = unique_name("events"), f"{ferry.warehouse_dataset()}.events"
    address = find_connection("kafka_events").address
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, 3)])[topic].result(30)
    producer = Producer({"bootstrap.servers": address})
    messages = [
        '{"event_id": "a", "user_id": 9223372036854775807, "amount": 1234567890123456.78,'
        ' "at": "2026-11-20T01:02:03.456Z", "p": {"k": [1, 2]}}',
        '{"event_id": "b", "user_id": null, "amount": null, "at": "2026-11-20T10:02:03.456+09:00", "p": "文字 🍣"}',
        '{"event_id": "c", "extra": 1}',
        '{"event_id": "broken"',
        '{"event_id": "d", "user_id": "many"}',
    ]
    for number, message in enumerate(messages):
        producer.produce(topic, message.encode(), partition=number % 3)
    assert producer.flush(30) == 0
    name = ferry.spec(
        f"""\
        pipeline: {topic}
        source: {{type: kafka, connection: kafka_events}}
        datasets:
          - name: {topic}
            topic: {topic}
            format: json
            columns: {{event_id: string, user_id: bigint, amount: "decimal(18,2)", at: timestamp, p: string}}
            write_disposition: append
            bigquery: {{table: {target}}}
        """
    )
    ran = ferry.run(name)
    assert ran.code == 0
    check = ran.receipt("check", topic)
    assert (check.source_rows, check.read, check.published, check.quarantined) == (5, 5, 3, 2)
    # `at` is a word the emulator cannot parse, so the rows are listed, not selected.
    listed = [dict(row.items()) for row in ferry.warehouse.list_rows(ferry.warehouse.get_table(target))]
    arrived = sorted(listed, key=lambda row: str(row["event_id"]))
    instant = datetime(2026, 11, 20, 1, 2, 3, 456000, tzinfo=UTC)
    wanted = [
        ("a", 9223372036854775807, Decimal("1234567890123456.78"), instant, {"k": [1, 2]}, 0, 0),
        ("b", None, None, instant, "文字 🍣", 1, 0),
        ("c", None, None, None, None, 2, 0),
    ]
    for row, (event_id, user_id, amount, at, properties, partition, offset) in zip(arrived, wanted, strict=True):
        assert (row["event_id"], row["user_id"], row["amount"], row["at"]) == (event_id, user_id, amount, at)
        assert (row["_kafka_partition"], row["_kafka_offset"]) == (partition, offset)
        assert (json.loads(row["p"]) if row["p"] and row["p"].startswith("{") else row["p"]) == properties
    reasons = {row["record"]: row["reason"] for row in ferry.lake_rows("quarantine", topic)}
    assert set(reasons) == set(messages[3:])
    assert "user_id" in reasons[messages[4]]

    producer.produce(topic, b'{"event_id": "e"}', partition=1)
    assert producer.flush(30) == 0
    again = ferry.run(name)
    assert again.receipt("check", topic).published == 1
    assert [entry.state for entry in ferry.run(name).plan.datasets] == ["empty"]


def test_s3(ferry: Ferry, unique_name: Callable[[str], str]) -> None:
    folder, target = unique_name("settlements"), f"{ferry.warehouse_dataset()}.settlements"
    found = find_connection("s3_landing")
    s3 = boto3.client("s3", endpoint_url=found.extra["endpoint_url"])
    header = "settlement_id,amount,settled_at,memo\n"
    first = (
        header
        + 's1,10.10,2026-11-20 01:02:03,"二行の\nメモ, 🍣"\ns2,-99999999999999.99,,""\n'
        + "s3,1\ns4,1.005,2026-11-20 00:00:00,x\n"
    )
    s3.put_object(Bucket="landing", Key=f"{folder}/dt=2026-11-20/a.csv", Body=first.encode())
    name = ferry.spec(
        f"""\
        pipeline: {folder}
        source: {{type: s3, connection: s3_landing}}
        datasets:
          - name: {folder}
            path: s3://landing/{folder}/
            suffix: .csv
            format: csv
            columns: {{dt: date, settlement_id: string, amount: "decimal(18,2)", settled_at: timestamp, memo: string}}
            primary_key: [settlement_id]
            write_disposition: merge
            bigquery: {{table: {target}, partition_by: dt}}
        """
    )
    ran = ferry.run(name)
    assert ran.code == 0
    check = ran.receipt("check", folder)
    assert (check.source_rows, check.published, check.quarantined) == (4, 2, 2)
    bad = {row["record"].split(",")[0] for row in ferry.lake_rows("quarantine", folder)}
    assert bad == {"s3", "s4"}
    s3.put_object(
        Bucket="landing",
        Key=f"{folder}/dt=2026-11-21/b.csv",
        Body=(header + "s2,5.00,2026-11-21 00:00:00,fixed\n").encode(),
    )
    again = ferry.run(name)
    assert again.receipt("check", folder).read == 1
    rows = sorted(
        ferry.warehouse_rows(target, "settlement_id, dt, amount, settled_at, memo"),
        key=lambda row: str(row["settlement_id"]),
    )
    assert [tuple(row.values()) for row in rows] == [
        ("s1", date(2026, 11, 20), Decimal("10.10"), datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC), "二行の\nメモ, 🍣"),
        ("s2", date(2026, 11, 21), Decimal("5.00"), datetime(2026, 11, 21, tzinfo=UTC), "fixed"),
    ]
    assert [entry.state for entry in ferry.run(name).plan.datasets] == ["empty"]
