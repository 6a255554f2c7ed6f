"""Documents of a lake in a folder and on S3: written once, whole, and found again."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from connectors.errors import ObjectNotFound, SchemaBroken, ServiceUnavailable, SettingError
from jobs.lake.documents import Documents, open_documents
from jobs.lake.large_properties import LARGEST_PROPERTY_BYTES, read_position, write_position
from jobs.runs.receipts import Receipt, Receipts, safe_run_id
from jobs.runtime.settings import Settings
from tests.support.faulty_endpoint import Answer, endpoint


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


@pytest.mark.services
def test_a_lake_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match="s3://nowhere"):
        open_documents("s3://nowhere").list("")


CONFLICT: Answer = (
    409,
    {"Content-Type": "application/xml"},
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>ConditionalRequestConflict</Code>"
    b"<Message>The conditional request cannot succeed due to a conflicting operation against this resource.</Message>"
    b"</Error>",
)
"""The answer of S3 while another request on the key is in flight ("Amazon S3 API Reference", "PutObject")."""


@dataclass
class ContestedLake:
    """An S3 that answers the first `conflicts` writes that come through it with 409.

    `direct` goes to S3 itself. `finish` is what the other request does before the last of these answers. `writes`
    counts all that came.
    """

    root: str
    direct: Documents
    conflicts: float = 0
    finish: Callable[[], object] | None = None
    writes: int = 0

    def answer(self, method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer:
        if method != "PUT":
            return forward()
        self.writes += 1
        if self.writes > self.conflicts:
            return forward()
        if self.writes == self.conflicts and self.finish:
            self.finish()
        return CONFLICT


@pytest.fixture
def contested(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ContestedLake]:
    prefix = f"documents-{uuid.uuid4().hex[:8]}"
    root = f"s3://{settings.lake_bucket}/{prefix}"
    lake = ContestedLake(root, open_documents(root))
    bucket = boto3.resource("s3").Bucket(settings.lake_bucket or "")
    with endpoint(os.environ["AWS_ENDPOINT_URL_S3"], lake.answer) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        yield lake
    bucket.objects.filter(Prefix=prefix).delete()


def test_a_write_in_conflict_is_tried_again_until_it_succeeds(contested: ContestedLake) -> None:
    contested.conflicts = 3
    documents = open_documents(contested.root)
    assert documents.create("plans/a/1.json", "mine") is True
    assert documents.read("plans/a/1.json") == "mine"
    assert contested.writes == 4


def test_a_write_in_conflict_is_tried_again_until_the_other_document_is_there(contested: ContestedLake) -> None:
    contested.conflicts = 2
    contested.finish = lambda: contested.direct.create("plans/a/1.json", "theirs")
    documents = open_documents(contested.root)
    assert documents.create("plans/a/1.json", "mine") is False
    assert documents.read("plans/a/1.json") == "theirs"
    assert contested.writes == 3


@pytest.mark.timeout(60)
def test_a_conflict_that_does_not_end_is_an_error(contested: ContestedLake) -> None:
    contested.conflicts = float("inf")
    documents = open_documents(contested.root)
    begun = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=r"ConditionalRequestConflict.*plans/a/1\.json"):
        documents.create("plans/a/1.json", "mine")
    assert time.monotonic() - begun < 15
    assert 1 < contested.writes < 100
    assert documents.find("plans/a/1.json") is None
