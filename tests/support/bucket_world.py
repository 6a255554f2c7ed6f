"""A bucket of S3 sources' tests, and what they ask of plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.base import ReadRequest
from connectors.connection import find_connection
from connectors.s3 import S3Options, S3Source
from connectors.s3.bucket import Access

if TYPE_CHECKING:
    from tests.conftest import UniqueName


class World:
    """A bucket of its own, emptied and removed afterwards."""

    def __init__(self, unique_name: UniqueName) -> None:
        self.connection = find_connection("s3_landing")
        self.source = S3Source(self.connection)
        self.client = Access.of(self.connection).client()
        self.bucket = unique_name("files").replace("_", "-")
        self.client.create_bucket(Bucket=self.bucket)

    def dataset(self, **options: Any) -> ReadRequest:
        keys = {"path": f"s3://{self.bucket}/in/", "suffix": ".csv", "columns": {"a": "int", "s": "string"}}
        return ReadRequest("settlements", "files", ("a",), S3Options.model_validate(keys | options))

    def put(self, key: str, text: str) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=text.encode())

    def close(self) -> None:
        for entry in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", []):
            self.client.delete_object(Bucket=self.bucket, Key=entry["Key"])
        self.client.delete_bucket(Bucket=self.bucket)


def keys(plan: Any) -> list[list[str]]:
    return [[entry["key"] for entry in piece.detail["files"]] for piece in plan.slices]


def etag(world: World, key: str) -> str:
    return world.client.head_object(Bucket=world.bucket, Key=key)["ETag"].strip('"')


def read_through(world: World, dataset: ReadRequest, plan: Any) -> Any:
    """The position of a plan once its files were counted, as extract leaves it."""
    world.source.count(dataset, plan)
    return world.source.position_after(plan)


def put_in_parts(world: World, key: str, text: str) -> None:
    """As large uploads are made: the ETag is not the MD5 of the bytes."""
    client: Any = world.client
    place = {"Bucket": world.bucket, "Key": key}
    upload = {"UploadId": client.create_multipart_upload(**place)["UploadId"]}
    part = client.upload_part(**place, **upload, PartNumber=1, Body=text.encode())
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    client.complete_multipart_upload(**place, **upload, MultipartUpload=parts)


def listings(plan: Any) -> dict[str, int | None]:
    return {entry["key"]: entry["listing"] for piece in plan.slices for entry in piece.detail["files"]}
