"""S3's part of the sample: CSV files under `s3://landing/settlements/dt=YYYY-MM-DD/`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import boto3
from botocore.config import Config
from world import HISTORY, QUIET, Counts, World, decimal_text

from connectors.aws_errors import AwsFixes, translated
from connectors.connection import find_connection

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECTION = "s3_landing"
BUCKET = "landing"
PREFIX = "settlements/"
HEADER = ("settlement_id", "merchant_id", "amount", "fee", "currency", "settled_at", "memo")
ACQUIRERS = ("acquirer-a", "acquirer-b")
MEMOS = (
    "",
    "",
    "月次精算",
    "includes, a comma",
    'says "quoted"',
    "line one\nline two",
    "返金を含む 💴",
    "trailing blanks  ",
)


class Record(NamedTuple):
    """One CSV record. A bad one is cut off after its third field."""

    settlement_id: str
    merchant_id: int
    amount: str
    fee: str
    currency: str
    settled_at: datetime
    memo: str
    is_bad: bool = False

    def fields(self) -> list[str]:
        whole = [
            self.settlement_id,
            str(self.merchant_id),
            self.amount,
            self.fee,
            self.currency,
            f"{self.settled_at.isoformat(timespec='seconds')}Z",
            self.memo,
        ]
        return whole[:3] if self.is_bad else whole


def record(world: World, number: int, settled_at: datetime, memo: str, is_bad: bool = False) -> Record:
    """A settlement whose amounts follow from the seed, the hour and its number."""
    random = world.random(f"settlement {number}")
    amount = random.randrange(1_000, 900_000_000)
    return Record(
        f"S-{number:09d}",
        random.randrange(1, world.merchants + 1),
        decimal_text(amount, 2),
        decimal_text(amount * random.randrange(100, 600) // 100, 4),
        "JPY",
        settled_at,
        memo or random.choice(MEMOS),
        is_bad,
    )


def files(world: World, at: datetime) -> dict[str, list[Record]]:
    """The files an hour brings: key → records.

    Hour 0: two acquirers' files for each day of the history, with one short line a day. Later hours: one
    file of today with new, corrected and one short record, and one late file of an earlier day.
    """
    if world.hour == 0:
        return _history(world)
    today, earlier = f"{PREFIX}dt={at:%Y-%m-%d}/", f"{PREFIX}dt={at - timedelta(days=2):%Y-%m-%d}/"
    first = world.settlements + 1 + (world.hour - 1) * new_records(world)
    numbers = list(range(first, first + new_records(world)))
    late = late_records(world)
    fresh = [record(world, number, at, "", is_bad=number == first) for number in numbers[:-late]]
    corrected = [
        record(world, number, at, f"corrected in hour {world.hour}") for number in _corrected(world, world.share(1))
    ]
    behind = [record(world, number, at - timedelta(days=2), "late") for number in numbers[-late:]]
    return {f"{today}hour-{world.hour:04d}.csv": fresh + corrected, f"{earlier}late-{world.hour:04d}.csv": behind}


def new_records(world: World) -> int:
    """How many settlements an hour after the first brings, late ones included."""
    return max(4, world.share(10, world.settlements))


def late_records(world: World) -> int:
    return world.share(1, world.settlements)


def csv_text(records: list[Record]) -> str:
    """Records as CSV with a header, quoted where RFC 4180 asks for it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(one.fields() for one in records)
    return text.getvalue()


def seed(world: World) -> dict[str, Counts]:
    """Remove the files that are there and put the first ones."""
    client = connect()
    with _translated():
        if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=BUCKET)
        for key in keys(client):
            client.delete_object(Bucket=BUCKET, Key=key)
        return {"settlements": _put(client, files(world, world.began))}


def play(world: World, at: datetime) -> dict[str, Counts]:
    """Put an hour's files."""
    with _translated():
        written = _put(connect(), files(world, at))
    changed, late = world.share(1), late_records(world)
    return {
        "settlements": Counts(
            written.rows, written.bad, written.total, new=written.rows - changed - late, changed=changed, late=late
        )
    }


def connect() -> S3Client:
    """An S3 client of the landing connection."""
    landing = find_connection(CONNECTION)
    return boto3.client(
        "s3",
        endpoint_url=landing.extra.get("endpoint_url"),
        region_name=landing.extra.get("region_name"),
        aws_access_key_id=landing.login,
        aws_secret_access_key=landing.password,
        config=Config(
            connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2}, s3={"addressing_style": "path"}
        ),
    )


def keys(client: S3Client) -> list[str]:
    """Keys of the settlement files that are there."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def total(client: S3Client) -> int:
    """How many records, short ones included, all files that are there hold."""
    count = 0
    for key in keys(client):
        text = client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode("utf-8")
        count += sum(1 for _ in csv.reader(io.StringIO(text, newline=""))) - 1
    return count


def _history(world: World) -> dict[str, list[Record]]:
    random = world.random("settlements")
    span = (HISTORY - 2 * QUIET) // timedelta(seconds=1)
    records_by_key: dict[str, list[Record]] = {}
    for index in range(world.settlements):
        settled = (world.began - HISTORY).replace(microsecond=0) + timedelta(seconds=span * index // world.settlements)
        key = f"{PREFIX}dt={settled:%Y-%m-%d}/{random.choice(ACQUIRERS)}.csv"
        records_by_key.setdefault(key, []).append(record(world, index + 1, settled, "", is_bad=index in _bad(world)))
    return records_by_key


def _bad(world: World) -> range:
    """Which of the first settlements are short lines: one in 500, at least one."""
    return range(5, world.settlements, 500)


def _corrected(world: World, count: int) -> list[int]:
    bad = _bad(world)
    good = [index + 1 for index in range(world.settlements) if index not in bad]
    return world.random("corrections").sample(good, count)


def _put(client: S3Client, records_by_key: dict[str, list[Record]]) -> Counts:
    for key in sorted(records_by_key):
        client.put_object(
            Bucket=BUCKET,
            Key=key,
            Body=csv_text(records_by_key[key]).encode("utf-8"),
            ContentType="text/csv; charset=utf-8",
        )
    records = _flat(records_by_key)
    rows = len(list(records))
    return Counts(rows, sum(one.is_bad for one in _flat(records_by_key)), total(client), new=rows)


def _flat(records_by_key: dict[str, list[Record]]) -> Iterator[Record]:
    return (one for records in records_by_key.values() for one in records)


def _translated() -> AbstractContextManager[None]:
    endpoint = find_connection(CONNECTION).extra.get("endpoint_url", "AWS")
    fixes = AwsFixes(unavailable="Start the services: make up")
    return translated(f"S3 of connection {CONNECTION!r} ({endpoint})", fixes)
