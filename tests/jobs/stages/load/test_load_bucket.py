"""A batch that goes through a Cloud Storage bucket: copied, proved, loaded by one job, cleared."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery import staging_load
from connectors.bigquery.bucket import Bucket, BucketAddress
from connectors.bigquery.transport_files import TransportFile, transport_file
from connectors.errors import (
    AccessDenied,
    CopyDiffers,
    LakeferryError,
    ObjectNotFound,
    ServiceUnavailable,
    SettingError,
)
from jobs.cli.doctor import examine
from jobs.runs.receipts import Receipt
from jobs.runtime.settings import load_settings
from jobs.stages.load import transport_files as transport
from tests.support.bigquery_contract import documented
from tests.support.faulty_endpoint import Answer, configuration, endpoint, refusal
from tests.support.load_world import World, payment
from tests.support.storage_stand_in import Storage

ROWS = [payment(1, "1.00"), payment(2, "2.00"), payment(3, "3.00")]
ARRIVED = {1: "1.00", 2: "2.00", 3: "3.00"}
Forward = Callable[[], Answer]


@pytest.fixture(autouse=True)
def row_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_FILE_BYTES", 1)


def load(world: World, storage: Storage, warehouse: str | None = None, storage_address: str | None = None) -> Receipt:
    changed = {
        "warehouse_bucket": f"gs://{storage.bucket}/lakeferry",
        "warehouse_bucket_endpoint": storage_address or storage.address,
        "warehouse_endpoint": warehouse or world.settings.warehouse_endpoint,
    }
    return world.load(settings=world.settings.model_copy(update=changed))


def loads_to(loads: list[dict[str, Any]], status: int = 200) -> Any:
    """Listen to load jobs; refuse them with a status other than 200."""

    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        asked = configuration(path, body).get("load")
        if asked:
            loads.append(asked)
            if status != 200:
                return documented("backend")
        return forward()

    return fault


def test_a_batch_goes_through_the_bucket_in_one_job(world: World, storage: Storage) -> None:
    world.publish(ROWS)
    loads: list[dict[str, Any]] = []
    with endpoint(str(world.settings.warehouse_endpoint), loads_to(loads)) as address:
        receipt = load(world, storage, address)

    assert world.amounts() == ARRIVED
    assert (receipt.loaded, receipt.warehouse_rows) == (3, 3)
    (job,) = loads
    folders = {uri.rsplit("/", 1)[0] for uri in job["sourceUris"]}
    (folder,) = folders
    assert folder.startswith(f"gs://{storage.bucket}/lakeferry/transport/{world.name}/1_")
    assert job["sourceUris"] == [f"{folder}/{n:05}.parquet" for n in range(3)]
    assert job["writeDisposition"] == "WRITE_TRUNCATE"
    # Committed, so cleared.
    assert len(storage.sent) == 3
    assert storage.names() == []
    assert world.staging_tables() == []


def test_more_objects_than_a_job_takes_are_several_jobs(
    world: World, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert staging_load.MOST_OBJECTS == 10_000
    monkeypatch.setattr(staging_load, "MOST_OBJECTS", 2)
    world.publish(ROWS)
    loads: list[dict[str, Any]] = []
    with endpoint(str(world.settings.warehouse_endpoint), loads_to(loads)) as address:
        load(world, storage, address)

    assert [(len(job["sourceUris"]), job["writeDisposition"]) for job in loads] == [
        (2, "WRITE_TRUNCATE"),
        (1, "WRITE_APPEND"),
    ]
    assert world.amounts() == ARRIVED


def test_a_copy_that_was_broken_off_is_taken_up(world: World, storage: Storage) -> None:
    world.publish(ROWS)
    with (
        endpoint(str(world.settings.warehouse_endpoint), loads_to([], status=503)) as address,
        pytest.raises(ServiceUnavailable),
    ):
        load(world, storage, address)
    first, second, third = storage.names()
    # Three objects: one was never there, one has changed.
    (storage.folder / first).unlink()
    storage.damage(third)
    storage.sent.clear()

    load(world, storage)
    assert sorted(storage.sent) == [first, third]
    assert second not in storage.sent
    assert world.amounts() == ARRIVED


def test_an_object_that_is_not_what_was_sent_is_refused_and_nothing_loaded(world: World, storage: Storage) -> None:
    world.publish(ROWS)
    damaged: list[str] = []

    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        answer = forward()
        if method == "POST" and len(storage.sent) == 3 and not damaged:
            damaged.append(storage.sent[0])
            storage.damage(damaged[0])
        return answer

    loads: list[dict[str, Any]] = []
    with (
        endpoint(storage.address, fault) as storage_address,
        endpoint(str(world.settings.warehouse_endpoint), loads_to(loads)) as address,
    ):
        with pytest.raises(
            CopyDiffers, match=r"gs://\S+\.parquet has \d+ bytes with CRC32C \S+, .*nothing was"
        ) as told:
            load(world, storage, address, storage_address)
        assert (told.value.exit_code, told.value.dataset) == (3, world.name)
        assert damaged[0] in str(told.value)
        assert loads == []
        assert world.ledger() == [(0, None, 0)]

        storage.sent.clear()
        load(world, storage, address, storage_address)
    assert storage.sent == damaged
    assert world.amounts() == ARRIVED


def test_bytes_that_change_on_the_way_are_refused(world: World, storage: Storage) -> None:
    world.publish(ROWS)
    storage.garbled.add("/00001.parquet")
    with pytest.raises(CopyDiffers, match=r"00001\.parquet did not arrive as it was sent: nothing was loaded"):
        load(world, storage)
    assert world.ledger() == [(0, None, 0)]
    load(world, storage)
    assert world.amounts() == ARRIVED


def test_a_lost_reply_and_a_busy_service_cost_nothing(world: World, storage: Storage) -> None:
    world.publish(ROWS)
    faults = ["lost", "busy"]

    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        happens = faults.pop() if method == "POST" and faults else ""
        if happens == "busy":
            return refusal(503, "backendError", "We encountered an internal error")
        answer = forward()
        return None if happens == "lost" else answer

    with endpoint(storage.address, fault) as storage_address:
        load(world, storage, storage_address=storage_address)
    assert faults == []
    assert world.amounts() == ARRIVED


def test_objects_that_cannot_be_deleted_are_told_and_the_batch_is_in(
    world: World, storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    world.publish(ROWS)

    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        if method == "DELETE":
            return refusal(403, "forbidden", "ferry does not have storage.objects.delete access")
        return forward()

    with endpoint(storage.address, fault) as storage_address:
        receipt = load(world, storage, storage_address=storage_address)
    assert (receipt.verdict, receipt.loaded) == ("done", 3)
    assert world.amounts() == ARRIVED
    assert "storage.objects.delete access" in capsys.readouterr().out
    assert len(storage.names()) == 3


def test_objects_of_an_attempt_cut_otherwise_are_cleared_too(
    world: World, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(ROWS)
    with (
        endpoint(str(world.settings.warehouse_endpoint), loads_to([], status=503)) as address,
        pytest.raises(ServiceUnavailable),
    ):
        load(world, storage, address)
    theirs = f"lakeferry/transport/{world.name}_other/1_x/00000.parquet"
    (storage.folder / theirs).parent.mkdir(parents=True)
    (storage.folder / theirs).write_bytes(b"x")
    monkeypatch.undo()
    load(world, storage)
    assert storage.names() == [theirs]


@pytest.mark.parametrize(
    ("status", "reason", "error"), [(403, "forbidden", AccessDenied), (404, "notFound", ObjectNotFound)]
)
def test_a_bucket_that_refuses_is_told(
    world: World, storage: Storage, status: int, reason: str, error: type[LakeferryError]
) -> None:
    world.publish(ROWS)
    with (
        endpoint(storage.address, lambda *_: refusal(status, reason, "Not for you")) as storage_address,
        pytest.raises(error, match=rf"Cloud Storage \(gs://{storage.bucket}/lakeferry\).*: Not for you"),
    ):
        load(world, storage, storage_address=storage_address)
    assert world.ledger() == [(0, None, 0)]


def bucket_of(storage: Storage, address: str | None = None) -> Bucket:
    return Bucket(BucketAddress(f"gs://{storage.bucket}", "p", endpoint=address or storage.address))


@pytest.fixture
def large(tmp_path: Path) -> TransportFile:
    """More than the client sends in one request, and more than one chunk."""
    path = tmp_path / "00000.parquet"
    path.write_bytes(os.urandom(17 * 1024 * 1024))
    return transport_file(path, 1)


@pytest.mark.services
def test_a_large_file_is_sent_in_chunks_and_proved(storage: Storage, large: TransportFile) -> None:
    lost: list[str] = []

    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        answer = forward()
        if method == "PUT" and not lost:
            lost.append(path)
            return None
        return answer

    with endpoint(storage.address, fault) as address:
        assert bucket_of(storage, address).upload([large], "transport/d/1_x") == [
            f"gs://{storage.bucket}/transport/d/1_x/00000.parquet"
        ]
    assert lost
    assert (storage.folder / "transport/d/1_x/00000.parquet").read_bytes() == large.path.read_bytes()


@pytest.mark.services
def test_a_large_file_that_changes_on_the_way_is_refused_and_taken_away(storage: Storage, large: TransportFile) -> None:
    storage.garbled.add("00000.parquet")
    with pytest.raises(CopyDiffers):
        bucket_of(storage).upload([large], "transport/d/1_x")
    assert storage.names() == []


@pytest.mark.services
def test_a_refused_upload_does_not_tell_the_address_of_its_session(storage: Storage, large: TransportFile) -> None:
    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        return refusal(403, "forbidden", "Quota project is wrong") if method == "PUT" else forward()

    with endpoint(storage.address, fault) as address, pytest.raises(AccessDenied) as told:
        bucket_of(storage, address).upload([large], "transport/d/1_x")
    assert "Quota project is wrong" in str(told.value)
    assert "upload_id" not in str(told.value)


@pytest.mark.services
def test_a_storage_that_is_down_is_said(storage: Storage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServiceUnavailable, match=rf"Cloud Storage \(gs://{storage.bucket}\) does not answer"):
        bucket_of(storage, f"http://127.0.0.1:{port}").ping()


def test_doctor_tries_the_bucket_and_names_what_is_missing(world: World, storage: Storage, tmp_path: Path) -> None:
    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        if "/iam/testPermissions" in path:
            has = b'{"permissions": ["storage.objects.create", "storage.objects.get", "storage.objects.list"]}'
            return 200, {"Content-Type": "application/json"}, has
        return forward()

    (tmp_path / "none").mkdir()

    def found(address: str) -> tuple[str, int]:
        changed = {
            "warehouse_bucket": f"gs://{storage.bucket}",
            "warehouse_bucket_endpoint": address,
            "pipelines": tmp_path / "none",
        }
        findings = examine(world.settings.model_copy(update=changed))
        (bucket,) = (finding for finding in findings if finding.what == f"bucket gs://{storage.bucket}")
        return bucket.detail, bucket.exit_code

    assert found(storage.address) == (f"read and written through {storage.address}", 0)
    with endpoint(storage.address, fault) as address:
        detail, exit_code = found(address)
    assert (exit_code, "the permissions storage.objects.delete are missing" in detail) == (2, True)


@pytest.mark.parametrize(
    ("value", "taken"),
    [("gs://my-bucket", "gs://my-bucket"), ("gs://my_bucket.jp/a/b=1/", "gs://my_bucket.jp/a/b=1"), ("", "")],
)
def test_a_bucket_is_named_by_its_address(monkeypatch: pytest.MonkeyPatch, value: str, taken: str) -> None:
    monkeypatch.setenv("LAKEFERRY_WAREHOUSE_BUCKET", value)
    assert load_settings().warehouse_bucket == taken


@pytest.mark.parametrize(
    "value", ["my-bucket", "s3://my-bucket", "gs://My-Bucket", "gs://b", "gs://my-bucket//a", "gs://a b"]
)
def test_another_address_is_refused_when_settings_are_read(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LAKEFERRY_WAREHOUSE_BUCKET", value)
    with pytest.raises(SettingError, match=r"LAKEFERRY_WAREHOUSE_BUCKET=.*a bucket is written gs://bucket or gs://"):
        load_settings()
