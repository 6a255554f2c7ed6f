"""What lies under a prefix: files of data, files beside the data, and files that must be restored first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from connectors.s3.bucket import Access, S3File, head

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ARCHIVED_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
"""Storage classes whose objects must be restored before they can be read; GLACIER_IR is not one of them ("Working with
archived objects", Amazon S3 User Guide)."""
_TIERED = "INTELLIGENT_TIERING"
_SOONEST_ARCHIVED = timedelta(days=90)
"""Objects of S3 Intelligent-Tiering move to an archive tier after 90 days without access at the soonest ("How S3
Intelligent-Tiering works", Amazon S3 User Guide)."""
_REQUESTS_AT_ONCE = 16


@dataclass(frozen=True)
class Listing:
    """`files` are the files of data by key, `beside` counts those that are not data by their names (`is_data`)."""

    files: list[S3File]
    beside: int


def list_files(access: Access, bucket: str, prefix: str, suffix: str) -> Listing:
    """The objects under a prefix whose key ends in `suffix`, by key; placeholders of folders are left out."""
    files: list[S3File] = []
    beside = 0
    with access.translated(bucket):
        pages = access.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for entry in (entry for page in pages for entry in page.get("Contents", [])):
            key = entry["Key"]
            if not key.endswith(suffix) or key.endswith("/"):
                continue
            if not is_data(key.removeprefix(prefix)):
                beside += 1
                continue
            modified_at = entry["LastModified"].isoformat()
            etag = entry["ETag"].strip('"')
            files.append(S3File(bucket, key, etag, entry["Size"], modified_at, entry.get("StorageClass", "STANDARD")))
    return Listing(files, beside)


def is_data(key: str) -> bool:
    """Whether a key, as of the prefix, names a file of data: no segment of it begins with `.` or `_`.

    That is how Hadoop, Hive and Spark name files in the making, markers and checksums (`_temporary/`, `_SUCCESS`,
    `.part-0.csv.crc`). A folder of a partition (`_day=2026-11-20/`) is data, as for Spark.
    """
    *folders, name = key.split("/")
    beside = name.startswith(("_", ".")) or any(
        folder.startswith(".") or (folder.startswith("_") and "=" not in folder) for folder in folders
    )
    return not beside


def archived(access: Access, files: Iterable[S3File]) -> dict[str, str]:
    """The keys of those files that cannot be read now, and why: `GLACIER`, or `GLACIER, its restore is under way`.

    One HEAD request for each file of a storage class that may be archived; of no other.
    """
    old = datetime.now(UTC) - _SOONEST_ARCHIVED
    asked = [
        file
        for file in files
        if file.storage_class in ARCHIVED_CLASSES or (file.storage_class == _TIERED and file.modified < old)
    ]
    if not asked:
        return {}
    client = access.client()
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        conditions = pool.map(lambda file: _condition(access, client, file), asked)
        return {file.key: condition for file, condition in zip(asked, conditions, strict=True) if condition}


def _condition(access: Access, client: S3Client, file: S3File) -> str | None:
    """Why a file cannot be read now; None where it can. For the headers see "HeadObject", Amazon S3 API Reference."""
    headers = head(access, client, file)
    restore = headers.get("Restore", "")
    if 'ongoing-request="true"' in restore:
        return f"{file.storage_class}, its restore is under way"
    if file.storage_class == _TIERED:
        tier = headers.get("ArchiveStatus")
        return f"{file.storage_class}, {tier}" if tier else None
    return None if restore else file.storage_class


def named(files: Sequence[str], most: int = 10) -> str:
    """Some of these names, and how many more there are."""
    more = f" and {len(files) - most:,} more" if len(files) > most else ""
    return ", ".join(files[:most]) + more
