"""The sample: the same seed and hour make the same rows, and the servers hold what the counts say."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import events
import pymysql
import pytest
import settlements
import shop
import wallet
from confluent_kafka import Consumer, TopicPartition
from world import World

from connectors.connection import Connection

if TYPE_CHECKING:
    from local_services import Place

BEGAN = datetime(2026, 1, 31, 12, 0, 0)
WORLD = World(rows=2000, seed=1, began=BEGAN)
AT = BEGAN + timedelta(hours=1)


def everything(world: World) -> list[Any]:
    files = settlements.files(world, AT)
    return [
        list(shop.payments(world, AT)),
        list(shop.merchants(world, AT)),
        list(shop.payment_changes(world, AT)) if world.hour else [],
        list(shop.merchant_changes(world, AT)) if world.hour else [],
        list(wallet.entries(world, AT)),
        list(wallet.changes(world, AT)) if world.hour else [],
        list(events.messages(world, AT)),
        {key: settlements.csv_text(records) for key, records in files.items()},
    ]


@pytest.mark.parametrize("hour", [0, 1, 7])
def test_same_seed_and_hour_make_the_same_rows(hour: int) -> None:
    assert everything(WORLD.at_hour(hour)) == everything(WORLD.at_hour(hour))


def test_another_seed_or_hour_makes_other_rows() -> None:
    assert everything(replace(WORLD, seed=2)) != everything(WORLD)
    assert everything(WORLD.at_hour(2)) != everything(WORLD.at_hour(1))


def test_first_rows_fill_three_days_and_end_minutes_before_the_beginning() -> None:
    moments = [row.updated_at for row in shop.payments(WORLD, AT)]
    moments += [row.updated_at for row in shop.merchants(WORLD, AT)]
    moments += [row.updated_at for row in wallet.entries(WORLD, AT)]
    assert min(moments) < BEGAN - timedelta(days=2, hours=23)
    assert max(moments) <= BEGAN - timedelta(minutes=3)
    assert all(row.created_at <= row.updated_at for row in shop.payments(WORLD, AT))


def test_keys_are_never_given_twice() -> None:
    payments, entries, records = Counter[int](), Counter[int](), Counter[str]()
    corrections = 0
    for hour in range(5):
        world = WORLD.at_hour(hour)
        payments.update(row.payment_id for row in shop.payments(world, AT))
        entries.update(row.entry_id for row in wallet.entries(world, AT))
        made = [one for each in settlements.files(world, AT).values() for one in each]
        records.update(one.settlement_id for one in made if not one.memo.startswith("corrected"))
        corrections += sum(one.memo.startswith("corrected") for one in made)
    assert max(payments.values()) == max(entries.values()) == max(records.values()) == 1
    assert corrections == 4 * 2
    assert all(0 < entry < 2**63 for entry in entries)


def test_money_is_exact_and_balances_add_up() -> None:
    balances: dict[int, Decimal] = {}
    for row in wallet.entries(WORLD, AT):
        sign = 1 if row.kind in ("TOPUP", "REFUND") else -1
        balances[row.wallet_id] = balances.get(row.wallet_id, Decimal(0)) + sign * row.amount
        assert row.balance_after == balances[row.wallet_id]
        assert row.amount > 0
        assert row.balance_after >= 0
    assert all(type(row.amount) is Decimal for row in shop.payments(WORLD, AT))


def test_hard_texts_are_there() -> None:
    memos = {row.memo for row in shop.payments(WORLD, AT)}
    assert None in memos
    assert "" in memos
    assert any(memo and memo != memo.rstrip(" ") for memo in memos)
    assert any(memo and max(map(ord, memo)) > 0xFFFF for memo in memos)
    assert any(row.name.endswith("  ") for row in shop.merchants(WORLD, AT))


def test_changed_rows_were_good_before() -> None:
    bad = {row.payment_id for row in shop.payments(WORLD, AT) if row.amount < 0 or row.status == "LEGACY"}
    changed = [row.payment_id for row in shop.payment_changes(WORLD.at_hour(1), AT)]
    assert len(bad) == 3
    assert len(set(changed)) == len(changed) == 10
    assert not bad & set(changed)


class Sources:
    """What the servers themselves say, asked without the sample's own code."""

    def __init__(self, place: Place) -> None:
        self.settings = place.settings()

    def query(self, connection_id: str, sql: str) -> tuple[Any, ...]:
        found = Connection.parse(connection_id, self.settings[f"AIRFLOW_CONN_{connection_id.upper()}"])
        with (
            pymysql.connect(
                host=found.host,
                port=found.port or 0,
                user=found.login,
                password=found.password or "",
                charset="utf8mb4",
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            row = cursor.fetchone()
        assert row is not None
        return row

    def events(self) -> list[bytes]:
        address = self.settings["AIRFLOW_CONN_KAFKA_EVENTS"].removeprefix("kafka://")
        consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "enable.partition.eof": False})
        parts = [TopicPartition("app_events", number, 0) for number in range(3)]
        expected = sum(consumer.get_watermark_offsets(part, timeout=10)[1] for part in parts)
        consumer.assign(parts)
        values: list[bytes] = []
        while len(values) < expected:
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None
            value = message.value()
            assert isinstance(value, bytes)
            values.append(value)
        consumer.close()
        return values

    def records(self) -> list[list[str]]:
        client = boto3.client(
            "s3",
            endpoint_url=self.settings["AWS_ENDPOINT_URL_S3"],
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        records: list[list[str]] = []
        for found in client.list_objects_v2(Bucket="landing", Prefix="settlements/dt=")["Contents"]:
            text = client.get_object(Bucket="landing", Key=found["Key"])["Body"].read().decode()
            header, *rows = csv.reader(io.StringIO(text, newline=""))
            assert header == ["settlement_id", "merchant_id", "amount", "fee", "currency", "settled_at", "memo"]
            records += rows
        return records


def is_broken(value: bytes) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return True
    return False


def held(sources: Sources) -> dict[str, tuple[int, int]]:
    """Per dataset: rows, and bad rows among them."""
    payments = sources.query(
        "aurora_payments", "SELECT COUNT(*), CAST(SUM(amount < 0 OR status = 'LEGACY') AS SIGNED) FROM shop.payments"
    )
    values, records = sources.events(), sources.records()
    return {
        "payments": (payments[0], payments[1]),
        "merchants": (sources.query("aurora_payments", "SELECT COUNT(*) FROM shop.merchants")[0], 0),
        "balance_entries": (sources.query("tidb_wallet", "SELECT COUNT(*) FROM wallet.balance_entries")[0], 0),
        "app_events": (len(values), sum(map(is_broken, values))),
        "settlements": (len(records), sum(len(record) != 7 for record in records)),
    }


@pytest.mark.services
def test_the_servers_hold_what_seeding_and_each_hour_say(running: Place) -> None:
    sources = Sources(running)
    running.sample("seed.py", "--rows", "300")
    seeded = running.sample("seed.py", "--rows", "2000")
    assert held(sources) == {dataset: (count["total"], count["bad"]) for dataset, count in seeded.items()}
    assert all(count["rows"] == count["total"] == count["new"] for count in seeded.values())
    assert [seeded[dataset]["bad"] for dataset in ("payments", "app_events", "settlements")] == [3, 1, 1]
    bad = {dataset: count["bad"] for dataset, count in seeded.items()}
    clock = sources.query("aurora_payments", "SELECT UTC_TIMESTAMP(6)")[0]
    tidb_clock = sources.query("tidb_wallet", "SELECT UTC_TIMESTAMP(6)")[0]

    for _ in range(2):
        played = running.sample("next_hour.py")
        bad = {dataset: bad[dataset] + count["bad"] for dataset, count in played.items()}
        assert held(sources) == {dataset: (count["total"], bad[dataset]) for dataset, count in played.items()}

        # All rows that moved, late ones too, lie behind an earlier run's window and before a later one's.
        for dataset, connection_id, since in (
            ("payments", "aurora_payments", clock),
            ("merchants", "aurora_payments", clock),
            ("balance_entries", "tidb_wallet", tidb_clock),
        ):
            table = f"{'wallet' if connection_id == 'tidb_wallet' else 'shop'}.{dataset}"
            moved = sources.query(
                connection_id,
                f"SELECT COUNT(*) FROM {table} WHERE updated_at >= '{since}' - INTERVAL 5 SECOND "
                "AND updated_at < UTC_TIMESTAMP(6) - INTERVAL 5 SECOND",
            )
            assert moved == (played[dataset]["rows"],)
        clock = sources.query("aurora_payments", "SELECT UTC_TIMESTAMP(6)")[0]
        tidb_clock = sources.query("tidb_wallet", "SELECT UTC_TIMESTAMP(6)")[0]
