"""Documents of a lake in a folder and on S3: written once, whole, and found again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from connectors.errors import ObjectNotFound, SchemaBroken, ServiceUnavailable, SettingError
from jobs.lake.documents import Documents, open_documents
from jobs.lake.position import LARGEST_PROPERTY_BYTES, read_position, write_position
from jobs.receipts import Receipt, Receipts, safe_run_id
from jobs.settings import Settings


@pytest.fixture(params=["file", "s3"])
def documents(request: pytest.FixtureRequest, tmp_path: Path, settings: Settings) -> Iterator[Documents]:
    if request.param == "file":
        yield open_documents(f"file://{tmp_path}/lake")
        return
    prefix = f"documents-{uuid.uuid4().hex[:8]}"
    yield open_documents(f"s3://{settings.lake_bucket}/{prefix}")
    boto3.resource("s3").Bucket(settings.lake_bucket or "").objects.filter(Prefix=prefix).delete()


def test_a_document_is_written_once(documents: Documents) -> None:
    assert documents.find("plans/a/1.json") is None
    with ThreadPoolExecutor(8) as pool:
        wrote = list(pool.map(lambda n: documents.create("plans/a/1.json", f"日本 {n}"), range(8)))
    assert wrote.count(True) == 1
    assert documents.read("plans/a/1.json") == f"日本 {wrote.index(True)}"
    assert documents.create("plans/a/10.json", "") is True
    documents.put("plans/b/1.html", b"<p>", "text/html")
    assert documents.list("plans/a/") == ["plans/a/1.json", "plans/a/10.json"]
    assert documents.list("plans/") == ["plans/a/1.json", "plans/a/10.json", "plans/b/1.html"]
    assert documents.list("nothing/") == []
    with pytest.raises(ObjectNotFound, match="nothing"):
        documents.read("nothing")


def test_a_receipt_that_is_there_stays(documents: Documents) -> None:
    receipts = Receipts(documents)
    receipt = Receipt(pipeline="p", run_id="r/1:+", generation=1, stage="load", dataset="d", verdict="done", loaded=3)
    assert receipts.leave(receipt) == receipt
    assert receipts.leave(receipt.model_copy(update={"loaded": 4})).loaded == 3
    assert [found.loaded for found in receipts.of_run("p", "r/1:+")] == [3]
    assert receipts.find("p", "r/1:+", 2, "load", "d") is None


def test_a_large_position_lies_beside_and_is_verified(documents: Documents) -> None:
    small = {"cursor": "2026-01-01"}
    large = {"files": {f"k{n}": "etag" * 8 for n in range(500)}}
    assert write_position(documents, "d", None) is None
    import json

    for position in (small, large):
        written = write_position(documents, "d", position)  # type: ignore[arg-type]
        assert written is not None
        assert len(written.encode()) <= LARGEST_PROPERTY_BYTES
        assert read_position(documents, json.loads(written)) == position
    [key] = documents.list("positions/")
    documents.put(key, b"{}", "application/json")
    with pytest.raises(SchemaBroken, match=key):
        read_position(documents, json.loads(written))


def test_run_ids_never_share_a_segment() -> None:
    ids = ["manual__2026-11-23T01:02:03+00:00", "a/b", "a=2Fb", "a_b", "日本", "a:b", "A:b"]
    safe = [safe_run_id(run_id) for run_id in ids]
    assert len(set(safe)) == len(ids)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=") for name in safe)


def test_places_that_are_no_lake() -> None:
    with pytest.raises(SettingError, match="LAKEFERRY_LAKE"):
        open_documents("hdfs://x")


def test_a_lake_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match="s3://nowhere"):
        open_documents("s3://nowhere").list("")
