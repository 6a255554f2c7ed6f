"""Buckets with awkward CSV files."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import boto3

from connectors.base import ReadRequest
from connectors.connection import Connection, find_connection
from connectors.s3 import S3Options
from connectors.testing import Row, Sample, SourceFactory

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

COLUMNS = {
    "dt": "date",
    "id": "bigint",
    "amount": "decimal(18,2)",
    "ratio": "double",
    "paid": "boolean",
    "seen_at": "timestamp",
    "local_at": "timestamp_ntz",
    "note": "string",
}
HEADER = "id,amount,ratio,paid,seen_at,local_at,note\n"


def open_factory(source_type: str) -> SourceFactory:
    return S3Factory(source_type)


class S3Factory(SourceFactory):
    """One bucket of its own."""

    product = "bucket"

    def __init__(self, source_type: str) -> None:
        super().__init__(source_type)
        self._connection = find_connection("s3_landing")
        self._bucket = f"conformance-{uuid.uuid4().hex[:8]}"
        self.near_name = self._bucket
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=self._connection.extra["endpoint_url"],
            region_name=self._connection.extra["region_name"],
            aws_access_key_id=self._connection.login,
            aws_secret_access_key=self._connection.password,
        )
        self._client.create_bucket(Bucket=self._bucket)

    @property
    def connection(self) -> Connection:
        return self._connection

    def sample(self) -> Sample:
        dataset = self.empty()
        self._put(
            dataset,
            "dt=2026-11-20/a.csv",
            HEADER
            + '1,9999999999999999.99,0.5,true,2026-11-20T01:02:03.456Z,2026-03-08 02:30:00,"a, ""b""\nsecond line 🚢"\n'
            + "2,-0.10,1e-7,FALSE,2026-03-08 02:30:00,,日本語\r\n"
            + "3,,,,,,\n"
            + "\n"
            + "4,1.005,,,,,rounded\n"
            + "5,1\n"
            + "6,1.5000,,1,2026-11-20 10:02:03+09:00,,last without a line end",
        )
        self._put(
            dataset, "dt=2026-11-21/b.csv", "\ufeffnote,local_at,id,seen_at,more,paid,ratio,amount\nx,,7,,?,,,7\n"
        )
        self._put(dataset, "dt=2026-11-21/c.csv", "id,amount\n8,1.00\n")
        self._put(dataset, "dt=2026-11-21/ignored.txt", "id\n")
        first = "2026-11-20"
        rows = [
            _row(
                dt=first, id="1", amount="9999999999999999.99", ratio="0.5", paid="true",
                seen_at="2026-11-20 01:02:03.456", local_at="2026-03-08 02:30:00", note='a, "b"\nsecond line 🚢',
            ),
            _row(
                dt=first, id="2", amount="-0.10", ratio="1.0E-7", paid="false", seen_at="2026-03-08 02:30:00",
                note="日本語",
            ),
            _row(dt=first, id="3", note=""),
            _row(
                dt=first, id="6", amount="1.50", paid="true", seen_at="2026-11-20 01:02:03",
                note="last without a line end",
            ),
            _row(dt="2026-11-21", id="7", amount="7.00", note="x"),
        ]  # fmt: skip
        return Sample(dataset, ("id",), rows, ["4,1.005,,,,,rounded", "5,1", "8,1.00"])

    def empty(self) -> ReadRequest:
        path = f"s3://{self._bucket}/{uuid.uuid4().hex[:8]}/"
        return ReadRequest("conformance", "sample", ("id",), S3Options(path=path, suffix=".csv", columns=COLUMNS))

    def add(self, sample: Sample) -> list[Row]:
        self._put(sample.dataset, "dt=2026-11-22/d.csv", HEADER + "41000,3.5,,,,,added\n")
        return [_row(dt="2026-11-22", id="41000", amount="3.50", note="added")]

    def unknown(self, sample: Sample) -> ReadRequest:
        options = sample.dataset.options.model_copy(update={"path": f"s3://{self._bucket}-gone/"})
        return replace(sample.dataset, options=options)

    def refused(self) -> None:
        return None

    def down(self) -> Connection:
        extra = dict(self._connection.extra) | {"endpoint_url": "http://127.0.0.1:1"}
        return replace(self._connection, port=1, extra=extra)

    def close(self) -> None:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket):
            for entry in page.get("Contents", []):
                self._client.delete_object(Bucket=self._bucket, Key=entry["Key"])
        self._client.delete_bucket(Bucket=self._bucket)

    def _put(self, dataset: ReadRequest, name: str, text: str) -> None:
        self._client.put_object(Bucket=self._bucket, Key=dataset.options.prefix + name, Body=text.encode())


def _row(**values: str) -> Row:
    return dict.fromkeys(COLUMNS) | values
