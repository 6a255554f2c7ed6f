"""Files that cannot be read, copies of what is published, archived and hidden files, through the whole way."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from connectors.base import Window
from connectors.connection import find_connection
from connectors.s3.bucket import Access
from jobs.runtime.fault_points import Crash, listening
from tests.e2e.ferry import Ferry, Ran, events_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Files:
    """A bucket of its own, and a pipeline of datasets that are folders of it."""

    def __init__(self, ferry: Ferry, name: str, datasets: dict[str, str]) -> None:
        self.ferry = ferry
        self.bucket = name.replace("_", "-")
        self.client: S3Client = Access.of(find_connection("s3_landing")).client()
        self.client.create_bucket(Bucket=self.bucket)
        self.names = {folder: f"{name}_{folder}" for folder in datasets}
        target = ferry.warehouse_dataset()
        self.tables = {folder: f"{target}.{dataset}" for folder, dataset in self.names.items()}
        self.name = name
        self.specify(datasets)

    def specify(self, datasets: dict[str, str]) -> None:
        """Write the spec, again with other keys."""
        entries = "".join(
            f"  - {{name: {self.names[folder]}, path: 's3://{self.bucket}/{folder}/', suffix: .csv, "
            f"columns: {{id: bigint, v: string}}, {keys}, bigquery: {{table: {self.tables[folder]}}}}}\n"
            for folder, keys in datasets.items()
        )
        self.pipeline = self.ferry.spec(
            f"pipeline: {self.name}\nsource: {{type: s3, connection: s3_landing}}\ndatasets:\n{entries}"
        )

    def put(self, key: str, data: bytes | str, **more: Any) -> None:
        body = data.encode() if isinstance(data, str) else data
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def put_in_parts(self, key: str, text: str) -> None:
        """As large uploads are made: the ETag is not the MD5 of the bytes."""
        place: Any = {"Bucket": self.bucket, "Key": key}
        place["UploadId"] = self.client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]
        part = self.client.upload_part(**place, PartNumber=1, Body=text.encode())
        parts: Any = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
        self.client.complete_multipart_upload(**place, MultipartUpload=parts)

    def move(self, key: str, to: str) -> None:
        self.client.copy_object(Bucket=self.bucket, Key=to, CopySource=f"{self.bucket}/{key}")
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def counts(self, ran: Ran, folder: str) -> tuple[int | None, int | None, int | None]:
        """Read, published and quarantined of a run."""
        receipt = ran.receipt("check", self.names[folder])
        return receipt.read, receipt.published, receipt.quarantined

    def rows(self, folder: str, namespace: str = "curated") -> list[tuple[int, str]]:
        return sorted((row["id"], row["v"]) for row in self.ferry.lake_rows(namespace, self.names[folder]))

    def loaded(self, folder: str) -> list[tuple[int, str]]:
        return sorted((row["id"], row["v"]) for row in self.ferry.warehouse_rows(self.tables[folder]))

    def reasons(self, folder: str) -> list[tuple[str, str]]:
        """Reason and record of what is in quarantine."""
        rows = self.ferry.lake_rows("quarantine", self.names[folder])
        return sorted((row["reason"], row["record"]) for row in rows)

    def close(self) -> None:
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for entry in page.get("Contents", []):
                self.client.delete_object(Bucket=self.bucket, Key=entry["Key"])
        self.client.delete_bucket(Bucket=self.bucket)


Open = Callable[[dict[str, str]], Files]
MERGE = "primary_key: [id], write_disposition: merge"


@pytest.fixture
def files(ferry: Ferry, unique_name: Callable[[str], str]) -> Iterator[Open]:
    opened: list[Files] = []

    def open_files(datasets: dict[str, str]) -> Files:
        opened.append(Files(ferry, unique_name("files"), datasets))
        return opened[-1]

    yield open_files
    for one in opened:
        one.close()


def test_a_file_that_cannot_be_read_is_in_quarantine(files: Open) -> None:
    world = files({"broken": MERGE, "cr": MERGE, "quiet": MERGE})
    world.put("broken/1.csv", gzip.compress(b"id,v\n1,x\n", mtime=0))
    world.put("broken/2.csv", b'id,"v\n1,x\n2,y\n')
    world.put("broken/3.csv", b"3,x\n")
    world.put("broken/4.csv", "取引番号,金額\r\n1,100\r\n".encode("cp932"))
    world.put("broken/5.csv", "id,v\r\n1,売上\r\n".encode("utf-16"))
    world.put("broken/6.csv", b"id,v\n9,good\n")
    world.put("cr/a.csv", b"id,v\r1,x\r2,y\r")
    world.put("quiet/empty.csv", b"")
    world.put("quiet/header.csv", b"id,v\n")
    ran = world.ferry.run(world.pipeline)
    assert ran.code == 0
    assert world.counts(ran, "broken") == (7, 1, 6)
    assert world.counts(ran, "cr") == (2, 2, 0)
    assert world.rows("cr") == [(1, "x"), (2, "y")]
    assert world.counts(ran, "quiet") == (0, 0, 0)
    assert not any(plan.source.warnings for plan in ran.plan.datasets if plan.source)
    reasons = world.reasons("broken")
    for number, words in enumerate(("gzip", "a quote is never closed", "no", "not UTF-8", "UTF-16"), 1):
        assert any(f"/broken/{number}.csv: " in reason and words in reason for reason, _ in reasons), words
    why = f"s3://{world.bucket}/broken/4.csv: its header is not UTF-8"
    assert (why, "1,100") in reasons


def test_old_content_that_comes_again_changes_nothing(files: Open) -> None:
    world = files({"merge": MERGE, "append": "write_disposition: append"})
    for folder in ("merge", "append"):
        world.put(f"{folder}/a.csv", "id,v\n1,old\n")
        world.put(f"{folder}/b.csv", "id,v\n1,new\n")
    assert world.ferry.run(world.pipeline).code == 0
    assert world.loaded("merge") == [(1, "new")]
    for folder in ("merge", "append"):
        world.move(f"{folder}/a.csv", f"{folder}/archive/a.csv")
        world.put(f"{folder}/c.csv", "id,v\n2,more\n")
    ran = world.ferry.run(world.pipeline)
    assert ran.code == 0
    for folder in ("merge", "append"):
        assert world.counts(ran, folder) == (1, 1, 0)
        source = ran.plan.dataset(world.names[folder]).source
        assert source is not None
        assert f"{folder}/archive/a.csv (as {folder}/a.csv)" in source.warnings[0]
    assert world.rows("merge") == world.loaded("merge") == [(1, "new"), (2, "more")]
    assert world.rows("append") == world.loaded("append") == [(1, "new"), (1, "old"), (2, "more")]

    # A file that is read again for a window is as old as it was.
    assert world.ferry.run(world.pipeline, window=Window(start="2020-01-01T00:00:00Z")).code == 0
    world.put("merge/0.csv", "id,v\n1,newest\n")
    assert world.ferry.run(world.pipeline).code == 0
    assert world.rows("merge") == world.loaded("merge") == [(1, "newest"), (2, "more")]
    assert world.rows("append") == world.loaded("append") == [(1, "new"), (1, "old"), (2, "more")]


def test_what_published_no_row_comes_again_and_a_later_content_wins(files: Open) -> None:
    world = files({"fixed": MERGE, "replaced": MERGE})
    all_bad, some_bad = "id,v\n1,売上\n".encode("cp932"), "id,v\n3,x\n4,売上\n".encode("cp932")
    world.put("fixed/1.csv", all_bad)
    world.put("fixed/2.csv", "id,v\n2,x\n")
    world.put("fixed/3.csv", some_bad)
    world.put("replaced/a.csv", "id,v\n9,x\n")
    ran = world.ferry.run(world.pipeline)
    assert world.counts(ran, "fixed") == (4, 2, 2)

    # A window reads a file that no scheduled run has seen.
    world.put("replaced/f.csv", "id,v\n3,x\n2,x\n1,OLD\n")
    assert world.ferry.run(world.pipeline, window=Window(start="2020-01-01T00:00:00Z")).code == 0
    assert world.rows("replaced") == world.loaded("replaced") == [(1, "OLD"), (2, "x"), (3, "x"), (9, "x")]
    world.put("replaced/f.csv", "id,v\n1,NEW\n2,y\n3,y\n")

    world.specify({"fixed": f"{MERGE}, encoding: cp932", "replaced": MERGE})
    world.put("fixed/1_again.csv", all_bad)
    world.put("fixed/3_again.csv", some_bad)
    ran = world.ferry.run(world.pipeline)
    assert ran.code == 0
    assert world.rows("replaced") == world.loaded("replaced") == [(1, "NEW"), (2, "y"), (3, "y"), (9, "x")]
    assert world.counts(ran, "fixed") == (1, 1, 0)
    source = ran.plan.dataset(world.names["fixed"]).source
    assert source is not None
    assert "1 files of" in source.warnings[0]
    assert "fixed/3_again.csv (as fixed/3.csv)" in source.warnings[0]
    assert world.rows("fixed") == world.loaded("fixed") == [(1, "売上"), (2, "x"), (3, "x")]
    # If a file has published rows, the window brings the others.
    assert world.ferry.run(world.pipeline, window=Window(start="2020-01-01T00:00:00Z")).code == 0
    assert world.rows("fixed") == world.loaded("fixed") == [(1, "売上"), (2, "x"), (3, "x"), (4, "売上")]
    assert world.rows("replaced") == [(1, "NEW"), (2, "y"), (3, "y"), (9, "x")]


def test_archived_and_hidden_files_stop_nothing(files: Open) -> None:
    world = files({"cold": MERGE, "good": MERGE})
    world.put("cold/2019.csv", "id,v\n1,old\n", StorageClass="GLACIER")
    world.put("cold/2026.csv", "id,v\n1,new\n")
    for key in ("part-0.csv", "_temporary/0/_temporary/attempt_1/part-0.csv", ".part-0.csv.crc.csv"):
        world.put(f"good/{key}", "id,v\n1,x\n")
    told = events_of(world.ferry.cli("plan", world.pipeline, LAKEFERRY_PROGRESS="json"))
    said = {
        event.get("dataset"): event.get("warning") or event.get("note")
        for event in told
        if event["event"] in ("warning", "note")
    }
    assert "cold/2019.csv (GLACIER). Restore them, or move them out of" in str(said[world.names["cold"]])
    assert "2 files are not data" in str(said[world.names["good"]])
    ran = world.ferry.run(world.pipeline)
    assert ran.code == 0
    assert world.counts(ran, "cold") == (1, 1, 0)
    assert world.counts(ran, "good") == (1, 1, 0)
    world.put("cold/2027.csv", "id,v\n2,more\n")
    assert world.ferry.run(world.pipeline).code == 0
    world.client.restore_object(Bucket=world.bucket, Key="cold/2019.csv", RestoreRequest={"Days": 1})
    ran = world.ferry.run(world.pipeline)
    assert world.counts(ran, "cold") == (1, 1, 0)
    assert world.rows("cold") == world.loaded("cold") == [(1, "new"), (2, "more")]


def test_no_content_is_lost_by_a_crash_or_by_its_key(files: Open) -> None:
    append = "write_disposition: append"
    world = files({"bad": append, "good": append, "keys": append})
    for folder in ("bad", "good"):
        world.put_in_parts(f"{folder}/1.csv", "id,v\n1,x\n2,y\n" + ("z,z\n" if folder == "bad" else ""))
    world.put("keys/1.csv", "id,v\n1,x\n")
    world.put("keys/2.csv", "id,v\n1,y\n")
    plan = world.ferry.plan(world.pipeline, "crashed")

    # Counts are noted when rejected rows are set aside, and with the seal: a retry begins behind either.
    dying = {("extract.read", world.names["bad"]), ("extract.sealed", world.names["good"])}
    reached: set[tuple[str, str]] = set()

    def crash(point: str, dataset: str) -> None:
        if (point, dataset) in dying:
            reached.add((point, dataset))
            raise Crash(point)

    with listening(crash), pytest.raises(Crash):
        world.ferry.run_stage(plan, "extract", "extract")
    assert reached == dying
    ran = world.ferry.run(world.pipeline, "crashed")
    assert ran.code == 0
    assert world.counts(ran, "bad") == (3, 2, 1)
    for folder in ("bad", "good"):
        world.move(f"{folder}/1.csv", f"{folder}/archive/1.csv")
        world.put(f"{folder}/2.csv", "id,v\n3,new\n")
    world.put("keys/1.csv", "id,v\n1,y\n")
    world.put("keys/3.csv", "id,v\n3,z\n")
    ran = world.ferry.run(world.pipeline)
    assert ran.code == 0
    for folder in ("bad", "good"):
        source = ran.plan.dataset(world.names[folder]).source
        assert source is not None
        assert f"{folder}/archive/1.csv (as {folder}/1.csv)" in source.warnings[0]
        assert world.rows(folder) == world.loaded(folder) == [(1, "x"), (2, "y"), (3, "new")]
    # A key that became a copy of another has had a content that is published.
    world.put("keys/archive/1.csv", "id,v\n1,x\n")
    entry = world.ferry.plan(world.pipeline, "later").dataset(world.names["keys"])
    assert entry.state == "empty"
    assert entry.source is not None
    assert "keys/archive/1.csv (as keys/1.csv)" in entry.source.warnings[0]
