"""Which objects are archived, by the headers that S3 documents; the local S3 knows no archive tiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from connectors.connection import Connection
from connectors.errors import SourceMoved
from connectors.s3.bucket import Access, S3File
from connectors.s3.listing import archived, is_data

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DONE = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"'
UNDER_WAY = 'ongoing-request="true"'


class Answering(Access):
    """Access whose client answers HeadObject, and nothing else, with `answer`."""

    answer: Any = None

    def client(self) -> S3Client:
        client = super().client()
        stub = Stubber(client)
        if self.answer is not None:
            stub.add_response("head_object", self.answer, {"Bucket": "b", "Key": "in/a.csv"})
        stub.activate()
        return client


def condition(kind: str, modified_at: str, answer: dict[str, str] | None) -> str | None:
    access = Answering.of(Connection.parse("s", "aws://k:s@/?region_name=us-east-1"))
    object.__setattr__(access, "answer", answer)
    file = S3File("b", "in/a.csv", "0", 8, modified_at, kind)
    return archived(access, [file]).get("in/a.csv")


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        ("GLACIER", {}, "GLACIER"),
        ("DEEP_ARCHIVE", {"Restore": UNDER_WAY}, "DEEP_ARCHIVE, its restore is under way"),
        ("DEEP_ARCHIVE", {"Restore": DONE}, None),
        ("INTELLIGENT_TIERING", {}, None),
        ("INTELLIGENT_TIERING", {"ArchiveStatus": "ARCHIVE_ACCESS"}, "INTELLIGENT_TIERING, ARCHIVE_ACCESS"),
        (
            "INTELLIGENT_TIERING",
            {"ArchiveStatus": "DEEP_ARCHIVE_ACCESS", "Restore": UNDER_WAY},
            "INTELLIGENT_TIERING, its restore is under way",
        ),
    ],
)
def test_what_must_be_restored_is_archived(kind: str, answer: dict[str, str], expected: str | None) -> None:
    assert condition(kind, "2020-01-01T00:00:00+00:00", answer) == expected


def test_an_object_that_is_deleted_after_the_listing_has_moved() -> None:
    class Deleted(Access):
        def client(self) -> S3Client:
            client = super().client()
            stub = Stubber(client)
            stub.add_client_error("head_object", "404", http_status_code=404)
            stub.activate()
            return client

    access = Deleted.of(Connection.parse("s", "aws://k:s@/?region_name=us-east-1"))
    file = S3File("b", "in/a.csv", "0", 8, "2020-01-01T00:00:00+00:00", "GLACIER")
    with pytest.raises(SourceMoved, match=r"s3://b/in/a\.csv was replaced or deleted"):
        archived(access, [file])


@pytest.mark.parametrize("kind", ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR"])
def test_nothing_is_asked_of_what_can_always_be_read(kind: str) -> None:
    assert condition(kind, "2020-01-01T00:00:00+00:00", None) is None


def test_nothing_is_asked_of_a_young_object_of_intelligent_tiering() -> None:
    assert condition("INTELLIGENT_TIERING", "2999-01-01T00:00:00+00:00", None) is None


@pytest.mark.parametrize("key", ["a.csv", "day=1/a.csv", "_day=1/a_.csv", "a_b/c.d/e.csv"])
def test_data(key: str) -> None:
    assert is_data(key)


@pytest.mark.parametrize(
    "key", ["_a.csv", ".a.csv", "_x=1.csv", "_temporary/a.csv", ".b=1/a.csv", "a/_b/c.csv", "a/.b/c.csv"]
)
def test_not_data(key: str) -> None:
    assert not is_data(key)
