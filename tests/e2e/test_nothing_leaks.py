"""Masked values are masked everywhere: marked ones are planted at each source, and looked for in all a run leaves."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import sqlite3
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pyiceberg.avro.file import AvroFile
from pyiceberg.io.pyarrow import PyArrowFileIO

from connectors.connection import find_connection
from tests.e2e.ferry import Ferry, OwnDatabase

MASK = "{phone: hmac, number: hmac, memo: drop, email: null, card: truncate}"
RULES = """\
rows:
  - expect_column_values_to_match_regex: {column: phone, regex: "^0"}
  - expect_column_values_to_not_be_null: {column: open}
dataset:
  - expect_column_proportion_of_unique_values_to_be_between: {column: phone, min_value: 1}
  - expect_table_row_count_to_be_between: {min_value: 2}
"""
BREAKS_OPENLY = 'not_match_regex: {column: open, regex: "broken$"'
COLUMNS = "{phone: string, number: bigint, memo: string, email: string, card: string, open: string, day: date}"


@dataclass
class Planted:
    """Rows with marks no other test has. `open` is not masked: where it is found, the others would be.

    Marks stand in the first 16 characters, which Iceberg keeps of a column's bounds.
    """

    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    key: str = field(default_factory=lambda: uuid.uuid4().hex * 2)
    digits: list[str] = field(default_factory=list)

    def row(self, label: str, phone: str = "0") -> dict[str, Any]:
        card, number = ("".join(random.choices("123456789", k=length)) for length in (16, 15))
        self.digits += [card[:12], number]
        return {
            "phone": f"{phone}p{self.mark}{label}",
            "number": int(number),
            "memo": f"m{self.mark}{label}",
            "email": f"e{self.mark}{label}@example.jp",
            "card": f"{card[:4]} {card[4:8]} {card[8:12]} {card[12:]}",
            "open": f"o-{self.mark}-{label}",
            "day": "2026-11-20",
        }

    @property
    def needles(self) -> list[bytes]:
        texts = [f"{letter}{self.mark}" for letter in "pme"] + self.digits + [self.key]
        spaced = [" ".join(text[at : at + 4] for at in (0, 4, 8)) for text in self.digits if len(text) == 12]
        numbers = [struct.pack("<q", int(text)) for text in self.digits if len(text) == 15]
        return [text.encode() for text in texts + spaced] + numbers

    def hashed(self, value: object) -> str:
        return hmac.new(self.key.encode(), str(value).encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.mark.parametrize("by_spark", [True, False], ids=["by Spark's rows", "by columns"])
def test_of_a_table(ferry: Ferry, planted: Planted, aurora: OwnDatabase, by_spark: bool) -> None:
    # A rule on a masked column has the rows go through Spark, which judges before it masks.
    rules = RULES if by_spark else RULES.replace('match_regex: {column: phone, regex: "^0"', BREAKS_OPENLY)
    aurora.execute(
        "CREATE TABLE users (id INT PRIMARY KEY, phone VARCHAR(40), number BIGINT, memo TEXT, email VARCHAR(60),"
        " card VARCHAR(20), open VARCHAR(40), day DATE, born DATE, updated_at DATETIME(6), KEY (updated_at))"
    )
    good, other = planted.row("good"), planted.row("other")
    broken, zero, masked_zero = planted.row("broken", "9"), planted.row("zero"), planted.row("masked")
    zero["day"] = "0000-00-00"
    born = {"masked": "1987-00-13"}
    rows = [good, other, broken, zero, masked_zero]
    aurora.insert(
        "users",
        [
            (n, *row.values(), born.get(row["open"].rsplit("-")[-1], "1987-11-13"), f"2026-01-01 00:00:0{n}")
            for n, row in enumerate(rows)
        ],
    )
    name = f"l_{aurora.name}"
    left = _run(
        ferry,
        planted,
        name,
        "{type: aurora, connection: aurora_payments}",
        f"table: {aurora.name}.users\n    primary_key: [id]\n    cursor: updated_at\n    lag_seconds: 1",
        mask=MASK.replace("}", ", born: null}"),
        disposition="merge",
        rules=rules,
    )
    more = [b"1987-00-13", b"1987-11-13"]
    left.check(planted, published=[good, other], broken=broken, undecodable=2, more=more, by_spark=by_spark)


def test_of_a_topic(ferry: Ferry, planted: Planted, unique_name: Callable[[str], str]) -> None:
    topic = unique_name("leaks")
    address = find_connection("kafka_events").address
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    good, other, broken = planted.row("good"), planted.row("other"), planted.row("broken", "9")
    wrong = planted.row("wrong") | {"number": f"p{planted.mark}"}
    bad_bytes = json.dumps(planted.row("bytes")).encode() + b"\xff"
    values = [json.dumps(row).encode() for row in (good, other, broken, wrong)]
    values += [json.dumps(planted.row("cut"))[:-9].encode(), json.dumps([planted.row("list")]).encode(), bad_bytes]
    producer = Producer({"bootstrap.servers": address})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0
    left = _run(
        ferry,
        planted,
        topic,
        "{type: kafka, connection: kafka_events}",
        f"topic: {topic}\n    format: json\n    columns: {COLUMNS}",
    )
    left.check(planted, published=[good, other], broken=broken, undecodable=4)


def test_of_files(ferry: Ferry, planted: Planted, unique_name: Callable[[str], str]) -> None:
    folder = unique_name("leaks")
    good, other, broken = planted.row("good"), planted.row("other"), planted.row("broken", "9")
    wrong = planted.row("wrong") | {"number": f"p{planted.mark}"}
    lines = [",".join(str(value) for value in row.values()) for row in (good, other, broken, wrong)]
    short = ",".join(str(value) for value in planted.row("short").values()).rsplit(",", 2)[0]
    quote = '"' + ",".join(str(value) for value in planted.row("quote").values())
    s3 = boto3.client("s3", endpoint_url=find_connection("s3_landing").extra["endpoint_url"])
    files = {
        "a.csv": [",".join(good), *lines, short],
        "b.csv": [",".join(good), quote],
        # Without a header its first record is rejected like the others, and no reason may list it.
        "c.csv": [",".join(str(value) for value in planted.row(label).values()) for label in ("first", "second")],
    }
    for name, text in files.items():
        s3.put_object(Bucket="landing", Key=f"{folder}/{name}", Body="\n".join(text).encode())
    left = _run(
        ferry,
        planted,
        folder,
        "{type: s3, connection: s3_landing}",
        f"path: s3://landing/{folder}/\n    suffix: .csv\n    format: csv\n    columns: {COLUMNS}",
    )
    left.check(planted, published=[good, other], broken=broken, undecodable=5)


def test_a_masked_column_that_names_the_files_is_refused(
    ferry: Ferry, planted: Planted, unique_name: Callable[[str], str]
) -> None:
    folder = unique_name("leaks")
    s3 = boto3.client("s3", endpoint_url=find_connection("s3_landing").extra["endpoint_url"])
    s3.put_object(Bucket="landing", Key=f"{folder}/phone=p{planted.mark}/a.csv", Body=b"open\nx")
    ferry.spec(
        f"""\
        pipeline: {folder}
        source: {{type: s3, connection: s3_landing}}
        datasets:
          - name: {folder}
            path: s3://landing/{folder}/
            suffix: .csv
            format: csv
            columns: {{open: string, phone: string}}
            write_disposition: append
            mask: {{phone: drop}}
            bigquery: {{table: nowhere.t}}
        """
    )
    ran = ferry.cli("plan", folder)
    assert ran.returncode == 2
    assert "mask on 'phone', whose value is part of the files' names" in ran.stderr
    assert planted.mark not in ran.stderr + ran.stdout


@dataclass
class Left:
    """Everything a run left, by where it was found."""

    name: str
    target: str
    ferry: Ferry
    places: dict[str, bytes]

    def check(
        self,
        planted: Planted,
        *,
        published: list[dict[str, Any]],
        broken: dict[str, Any],
        undecodable: int,
        more: Sequence[bytes] = (),
        by_spark: bool = True,
    ) -> None:
        for where, content in self.places.items():
            for needle in [*planted.needles, *more]:
                assert needle not in content, f"{needle!r} is in {where}"
        # The same search finds what is not masked, in each kind of place that holds rows.
        control = {
            where.split(" ")[0] for where, content in self.places.items() if b"o-" + planted.mark.encode() in content
        }
        assert {"raw", "curated", "quarantine", "bigquery", "manifest"} <= control
        kinds = {where.split(" ")[0] for where in self.places}
        assert {"plans", "receipts", "docs", "eventlog", "stdout", "stderr", "log", "metadata"} <= kinds
        shown = any(b"keyed_hash(" in text for where, text in self.places.items() if where.startswith("eventlog"))
        assert shown is by_spark

        rows = sorted(self.ferry.warehouse_rows(self.target), key=lambda row: str(row["open"]))
        assert [(row["open"], row["phone"], row["number"], row["email"], row["card"]) for row in rows] == [
            (row["open"], planted.hashed(row["phone"]), planted.hashed(row["number"]), None, row["card"][-4:])
            for row in published
        ]
        assert all("memo" not in row for row in rows)
        quarantined = self.ferry.lake_rows("quarantine", self.name)
        assert len(quarantined) == undecodable + 1
        assert all(row["reason"] and row["place"] for row in quarantined)
        [record] = [json.loads(row["record"]) for row in quarantined if row["record"] is not None]
        assert (record["open"], record["phone"]) == (broken["open"], planted.hashed(broken["phone"]))
        assert "memo" not in record
        assert record["email"] is None


def _run(
    ferry: Ferry,
    planted: Planted,
    name: str,
    source: str,
    where: str,
    *,
    mask: str = MASK,
    disposition: str = "append",
    rules: str = RULES,
) -> Left:
    warehouse = ferry.warehouse_dataset()
    ferry.suite(name, rules)
    (ferry.folder / "pipelines" / f"{name}.yaml").write_text(
        f"pipeline: {name}\nsource: {source}\nmask_key: leaks\ndatasets:\n  - name: {name}\n    {where}\n"
        f"    write_disposition: {disposition}\n    mask: {mask}\n    expectations: {name}\n"
        f"    bigquery: {{table: {warehouse}.t}}\n",
        encoding="utf-8",
    )
    events = ferry.folder / f"events_{name}"
    events.mkdir()
    conf = ferry.folder / f"conf_{name}"
    conf.mkdir()
    (conf / "spark-defaults.conf").write_text(
        f"spark.eventLog.enabled true\nspark.eventLog.compress false\nspark.eventLog.dir file://{events}\n"
    )
    environment = {"SPARK_CONF_DIR": str(conf), "AIRFLOW_CONN_LEAKS": f"generic://:{planted.key}@"}
    drafted = ferry.cli("plan", name, **environment)
    assert drafted.returncode == 0, drafted.stderr
    ran = ferry.process("run", name, **environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    places = {
        "stdout": (drafted.stdout + ran.stdout).encode(),
        "stderr": (drafted.stderr + ran.stderr).encode(),
        **{f"log {path}": path.read_bytes() for path in Path(ferry.settings.state_dir).rglob("*.log")},
        **{f"eventlog {path}": path.read_bytes() for path in events.rglob("*") if path.is_file()},
        **dict(_lake(ferry, name)),
        **dict(_warehouse(ferry, warehouse)),
    }
    catalog = sqlite3.connect(ferry.settings.catalog.removeprefix("sqlite:///"))
    places["catalog"] = "\n".join(catalog.iterdump()).encode()
    return Left(name, f"{warehouse}.t", ferry, places)


def _lake(ferry: Ferry, name: str) -> Iterator[tuple[str, bytes]]:
    """Every object of the dataset, its bytes and, where it is compressed, what is in it."""
    root = ferry.settings.lake.removeprefix(f"s3://{ferry.settings.lake_bucket}/")
    bucket = boto3.resource("s3").Bucket(ferry.settings.lake_bucket or "")
    for entry in bucket.objects.filter(Prefix=f"{root}/"):
        path = entry.key.removeprefix(f"{root}/")
        if name not in path:
            continue
        body = entry.get()["Body"].read()
        kind = path.split("/")[0]
        if path.endswith(".avro"):
            kind = "manifest"
            local = ferry.folder / "manifest.avro"
            local.write_bytes(body)
            with AvroFile[Any](PyArrowFileIO().new_input(f"file://{local}")) as records:
                body += b"\n".join(_flat(record) for record in records)
        elif path.endswith(".parquet"):
            body += str(pq.read_table(BytesIO(body)).to_pylist()).encode()
        elif "/metadata/" in path:
            kind = "metadata"
        yield f"{kind} {path}", body


def _flat(value: Any) -> bytes:
    """All texts and bytes in a record of a manifest; the bounds of columns are bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Mapping):
        return b"\n".join(_flat(item) for item in (*value.keys(), *value.values()))
    if isinstance(value, list | tuple):
        return b"\n".join(map(_flat, value))
    inner = getattr(value, "_data", None)
    return _flat(inner) if inner is not None else str(value).encode()


def _warehouse(ferry: Ferry, dataset: str) -> Iterator[tuple[str, bytes]]:
    for name in (dataset, ferry.settings.warehouse_ledger_dataset):
        for table in ferry.warehouse.list_tables(name):
            rows = [dict(row.items()) for row in ferry.warehouse.list_rows(ferry.warehouse.get_table(table))]
            yield f"bigquery {table.reference}", str(rows).encode()
