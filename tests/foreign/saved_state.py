"""A lake and a warehouse as they stood, to be put back: the catalog's file, all objects, all tables of BigQuery.

To run a pipeline twice costs far more than to put back what two runs left, so all cases begin at one state.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.cloud import bigquery

CATALOG_TABLE = "iceberg_tables"
_OF_THE_CATALOG = "table_namespace = ? AND table_name = ?"


class SavedCatalog:
    """A copy of the catalog's SQLite file, as somebody's backup has it."""

    def __init__(self, file: Path, copy: Path) -> None:
        self._file, self._copy = file, copy
        with sqlite3.connect(file) as live, sqlite3.connect(copy) as saved:
            live.backup(saved)

    def restore(self) -> None:
        """Put the whole catalog back."""
        with sqlite3.connect(self._copy) as saved, sqlite3.connect(self._file) as live:
            saved.backup(live)

    def restore_table(self, namespace: str, name: str) -> None:
        """Put back what the catalog says of one table."""
        row = table_row(self._copy, namespace, name)
        assert row is not None, "the copy was made when the table was there"
        put_table_row(self._file, row)

    def metadata_file(self, namespace: str, name: str) -> str:
        row = table_row(self._copy, namespace, name)
        assert row is not None, "the copy was made when the table was there"
        return str(row["metadata_location"])


def table_row(file: Path, namespace: str, name: str) -> dict[str, Any] | None:
    """Returns a catalog file's entry of a table; None if it does not know the table."""
    with sqlite3.connect(file) as catalog:
        catalog.row_factory = sqlite3.Row
        rows = catalog.execute(f"SELECT * FROM {CATALOG_TABLE} WHERE {_OF_THE_CATALOG}", (namespace, name)).fetchall()
    return dict(rows[0]) if rows else None


def put_table_row(file: Path, row: dict[str, Any]) -> None:
    """Have a catalog's file say this of a table."""
    marks = ", ".join("?" * len(row))
    with sqlite3.connect(file) as catalog:
        catalog.execute(
            f"DELETE FROM {CATALOG_TABLE} WHERE {_OF_THE_CATALOG}", (row["table_namespace"], row["table_name"])
        )
        catalog.execute(f"INSERT INTO {CATALOG_TABLE} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


class Objects:
    """The objects of a lake, below `prefix` of a bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def tags(self) -> dict[str, str]:
        """Key → ETag of every object."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())}

    def read(self, key: str) -> bytes:
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def put(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def delete_all(self, keys: Iterable[str]) -> None:
        """Delete objects, a thousand with one request (S3 API reference, DeleteObjects)."""
        entries = [{"Key": key} for key in sorted(keys)]
        for begin in range(0, len(entries), 1000):
            some = entries[begin : begin + 1000]
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": some, "Quiet": True})
            assert not answer.get("Errors"), answer["Errors"]

    def key(self, address: str) -> str:
        """The key in an address `s3://bucket/key`."""
        start = f"s3://{self._bucket}/"
        assert address.startswith(start), address
        return address.removeprefix(start)


class SavedObjects:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._tags = objects.tags()
        self._bodies = {key: objects.read(key) for key in self._tags}

    def restore(self) -> None:
        now = self._objects.tags()
        self._objects.delete_all(now.keys() - self._tags.keys())
        for key, tag in self._tags.items():
            if now.get(key) != tag:
                self._objects.put(key, self._bodies[key])


class SavedWarehouse:
    """All tables of some BigQuery datasets; their rows lie in copies in a dataset beside them."""

    def __init__(self, client: bigquery.Client, datasets: Iterable[str], beside: str) -> None:
        self._client, self._datasets, self._beside = client, tuple(datasets), beside
        client.create_dataset(beside, exists_ok=True)
        self._tables: dict[str, dict[str, Any]] = {}
        for name in self._names():
            shape = client.get_table(name).to_api_repr()
            kept = ("schema", "timePartitioning", "rangePartitioning", "clustering", "description", "labels")
            self._tables[name] = {key: shape[key] for key in (*kept, "tableReference") if key in shape}
            client.copy_table(name, self._copy_of(name)).result(timeout=60)

    def restore(self, unchanged: Iterable[str] = ()) -> None:
        """Put all tables back, but for those that are known to be as they were."""
        known = set(unchanged)
        for name in self._names():
            if name not in known:
                self._client.delete_table(name)
        for name, shape in self._tables.items():
            if name in known:
                continue
            self._client.create_table(bigquery.Table.from_api_repr(shape))
            self._client.query(f"INSERT INTO `{name}` SELECT * FROM `{self._copy_of(name)}`").result(timeout=60)
        for name in self._tables:
            if name.rpartition(".")[2].startswith("ledger_"):
                # What somebody who restores a table is asked to do: it was made after its last load.
                self._client.query(f"UPDATE `{name}` SET loaded_at = CURRENT_TIMESTAMP() WHERE TRUE").result(timeout=60)

    def _names(self) -> Iterator[str]:
        for dataset in self._datasets:
            for entry in list(self._client.list_tables(dataset)):
                yield f"{entry.project}.{entry.dataset_id}.{entry.table_id}"

    def _copy_of(self, name: str) -> str:
        project, dataset, table = name.split(".")
        return f"{project}.{self._beside}.{dataset}_{table}"
