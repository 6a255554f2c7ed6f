"""A Cloud Storage bucket on the way into BigQuery: files are copied there side by side, proved by their checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from google.api_core import exceptions as api
from google.api_core.client_options import ClientOptions

from connectors.bigquery.client import METADATA_SECONDS, RETRY, open_session
from connectors.bigquery.credentials import OWN, STORAGE, Identity, open_credentials
from connectors.bigquery.google_errors import CLIENT_ERRORS, GoogleFixes, lakeferry_error, message_of
from connectors.bigquery.transport_files import TransportFile
from connectors.errors import (
    AccessDenied,
    ConfigurationError,
    CopyDiffers,
)

THREADS = 4
CHUNK_BYTES = 16 * 1024 * 1024
"""What one thread holds of a file in memory: the client reads 100 MiB by default."""
UPLOAD_RETRY_SECONDS = 60.0
"""How long the client goes on trying to send one chunk."""
NEEDED = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
"""The permissions for copying, verifying and clearing, and for BigQuery's reads as the account that submits the job."""


@dataclass(frozen=True)
class BucketAddress:
    """`url` is `gs://bucket` or `gs://bucket/prefix`. `endpoint` is set for a stand-in, which is asked without
    credentials."""

    url: str
    project: str
    endpoint: str | None = None
    identity: Identity = OWN


class Bucket:
    """Objects below the address. Nothing is contacted before the first call.

    Errors of every method: `ServiceUnavailable`, `AccessDenied` where the credentials or a right are refused, and
    `ObjectNotFound` where there is no such bucket.
    """

    def __init__(self, address: BucketAddress) -> None:
        self.address = address
        self._name, _, prefix = address.url.removeprefix("gs://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    @cached_property
    def _client(self) -> Any:
        # Here, because most loads go without a bucket and the library takes its time to import.
        from google.cloud import storage

        endpoint = self.address.endpoint
        with self._translated():
            credentials = open_credentials(self.address.identity if endpoint is None else None, STORAGE)
            return storage.Client(
                project=self.address.project,
                credentials=credentials,
                _http=open_session(credentials),
                client_options=ClientOptions(api_endpoint=endpoint) if endpoint else None,
            )

    def ping(self) -> str:
        """Tries the bucket, changing nothing; returns a line for people.

        Raises:
            AccessDenied: names the permissions that are missing.
        """
        with self._translated():
            bucket = self._client.bucket(self._name)
            has = bucket.test_iam_permissions(list(NEEDED), timeout=METADATA_SECONDS, retry=RETRY)
            lacking = [permission for permission in NEEDED if permission not in has]
            if lacking:
                raise AccessDenied(
                    f"{self.address.url}: the permissions {', '.join(lacking)} are missing",
                    fix=f"Grant roles/storage.objectUser on the bucket {self._name}",
                )
            list(self._listed(f"{self._prefix}transport/", most=1))
        return f"read and written through {self.address.endpoint or 'Cloud Storage'}"

    def upload(self, files: Sequence[TransportFile], folder: str) -> list[str]:
        """Copies the files into the folder, several at a time; returns their `gs://` URIs in the same order.

        What is there already with the size and checksum of its file is not sent again. In the end the server is asked
        for all of them once more.

        Args:
            folder: a path below the address, without a slash at its ends.

        Raises:
            CopyDiffers: an object is not what was sent.
        """
        base = f"{self._prefix}{folder}/"
        with self._translated():
            there = self._checksums(base)
            lacking = [file for file in files if there.get(base + file.path.name) != (file.size_bytes, file.crc32c)]
            self._side_by_side(lambda file: self._send(file, base), lacking)
            if lacking:
                there = self._checksums(base)
        for file in files:
            size_bytes, crc32c = there.get(base + file.path.name, (0, "none"))
            if (size_bytes, crc32c) != (file.size_bytes, file.crc32c):
                raise _differs(
                    f"gs://{self._name}/{base}{file.path.name} has {size_bytes} bytes with CRC32C {crc32c}, "
                    f"{file.size_bytes} with {file.crc32c} were sent"
                )
        return [f"gs://{self._name}/{base}{file.path.name}" for file in files]

    def clear(self, stem: str) -> None:
        """Deletes every object whose path below the address begins so."""
        with self._translated():
            self._side_by_side(self._delete, list(self._checksums(self._prefix + stem)))

    def _send(self, file: TransportFile, base: str) -> None:
        from google.cloud.storage.exceptions import DataCorruption
        from google.cloud.storage.retry import DEFAULT_RETRY

        blob = self._client.bucket(self._name).blob(base + file.path.name, chunk_size=CHUNK_BYTES)
        try:
            blob.upload_from_filename(
                str(file.path),
                content_type="application/vnd.apache.parquet",
                checksum="crc32c",
                timeout=METADATA_SECONDS,
                retry=DEFAULT_RETRY.with_timeout(UPLOAD_RETRY_SECONDS),
            )
        except DataCorruption:
            # The client has taken the object away again.
            raise _differs(f"gs://{self._name}/{blob.name} did not arrive as it was sent") from None
        except api.BadRequest as error:
            if "CRC32C" not in message_of(error):
                raise
            raise _differs(f"gs://{self._name}/{blob.name} did not arrive as it was sent") from None

    def _delete(self, name: str) -> None:
        try:
            self._client.bucket(self._name).blob(name).delete(timeout=METADATA_SECONDS, retry=RETRY)
        except api.NotFound:
            return

    def _checksums(self, stem: str) -> dict[str, tuple[int, str]]:
        """Size and CRC32C of each object whose name begins so."""
        return {blob.name: (int(blob.size), str(blob.crc32c)) for blob in self._listed(stem)}

    def _listed(self, stem: str, most: int | None = None) -> Iterator[Any]:
        blobs: Iterator[Any] = self._client.list_blobs(
            self._name,
            prefix=stem,
            max_results=most,
            fields="items(name,size,crc32c),nextPageToken",
            timeout=METADATA_SECONDS,
            retry=RETRY,
        )
        return blobs

    def _side_by_side(self, work: Callable[[Any], None], items: Sequence[Any]) -> None:
        """Do it to each; the first failure is raised when those that had begun have ended, and no more are begun."""
        with ThreadPoolExecutor(THREADS) as pool:
            begun = [pool.submit(work, item) for item in items]
            try:
                for future in begun:
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        fixes = GoogleFixes(
            rights=f"Grant roles/storage.objectUser on the bucket {self._name}",
            unreachable="Check the network and LAKEFERRY_WAREHOUSE_BUCKET_ENDPOINT, then run again",
            missing="Create the bucket, or name another",
            endpoint=self.address.endpoint,
            setting="LAKEFERRY_WAREHOUSE_BUCKET",
        )
        place = f"Cloud Storage ({self.address.url})"
        try:
            yield
        except CLIENT_ERRORS as error:
            raise lakeferry_error(place, error, self.address.identity, fixes, refused=ConfigurationError) from None


def _differs(problem: str) -> CopyDiffers:
    return CopyDiffers(f"{problem}: nothing was loaded", fix="Run again: what did not arrive whole is sent again")
