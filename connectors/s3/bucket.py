"""The control plane of S3: what lies where, and one object's bytes as they were planned."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from connectors.aws_errors import AwsFixes, code_of, lakeferry_error
from connectors.connection import Connection, variable_name
from connectors.errors import ConfigurationError, ObjectNotFound, ServiceUnavailable, SourceMoved
from connectors.md5 import md5

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

ALLOWED_EXTRA = ("endpoint_url", "region_name", "aws_session_token")
CONNECT_SECONDS = 4
READ_SECONDS = 30
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class S3File:
    """One object as it was listed. `modified_at` is ISO 8601 in UTC, to the second. `listing` is the number of the
    listing that first showed it; None where that was before listings had numbers."""

    bucket: str
    key: str
    etag: str
    size: int
    modified_at: str
    storage_class: str = "STANDARD"
    listing: int | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def modified(self) -> datetime:
        return datetime.fromisoformat(self.modified_at)


@dataclass(frozen=True)
class Access:
    """What a client needs, picklable: it reaches executors inside the function they run, so neither plan nor Spark
    configuration ever holds it. Without a login, boto3's default chain finds the machine's own role."""

    connection_id: str
    endpoint_url: str | None = None
    region_name: str | None = None
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, connection: Connection) -> Access:
        """Raises `ConfigurationError` for an extra that would have no effect."""
        unknown = sorted(set(connection.extra) - set(ALLOWED_EXTRA))
        if unknown:
            raise ConfigurationError(
                f"connection {connection.id!r} has an extra {unknown[0]!r} that is not passed on to S3",
                choices=ALLOWED_EXTRA,
                fix=f"Remove it from {variable_name(connection.id)}",
            )
        return cls(
            connection.id,
            connection.extra.get("endpoint_url"),
            connection.extra.get("region_name"),
            connection.login,
            connection.password,
            connection.extra.get("aws_session_token"),
        )

    @property
    def address(self) -> str:
        return self.endpoint_url or f"S3 in {self.region_name or 'the default region'}"

    def client(self) -> S3Client:
        """A client that gives up on a dead endpoint after two tries of `CONNECT_SECONDS`."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region_name,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
            aws_session_token=self.session_token,
            config=Config(
                connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 2}
            ),
        )

    @contextmanager
    def translated(self, bucket: str | None = None, key: str | None = None) -> Iterator[None]:
        """Raise what botocore raises as an error of Lakeferry. `key` is that of the object the request is for."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and code_of(error) == "NoSuchBucket":
                raise self._unknown_bucket(bucket) from None
            what = f", s3://{bucket}/{key}" if key else f", bucket {bucket!r}" if bucket else ""
            variable = variable_name(self.connection_id)
            who = "the login" if self.key_id else "the role"
            fixes = AwsFixes(
                credentials=f"Put a login into {variable}, or give the machine a role",
                rights=f"Check the rights s3:ListBucket and s3:GetObject of {who}",
                missing="Correct `path`",
                unavailable=f"Start it, or correct endpoint_url and region_name in {variable}",
                refused=f"Correct `path`, or endpoint_url and region_name in {variable}",
            )
            raise lakeferry_error(f"{self.address} (connection {self.connection_id!r}{what})", error, fixes) from None

    def _unknown_bucket(self, bucket: str | None) -> ObjectNotFound:
        from botocore.exceptions import ClientError

        try:
            names = [str(entry["Name"]) for entry in self.client().list_buckets().get("Buckets", [])]
        except ClientError:  # the right to list buckets is not needed to read one
            names = []
        near = difflib.get_close_matches(bucket or "", names, 5, 0.5) or sorted(names)[:20]
        return ObjectNotFound(
            f"no bucket {bucket!r} at {self.address}", choices=near, fix="Correct `path`", key=("path",)
        )


class ObjectStream(io.RawIOBase):
    """The bytes of one planned file, as they come: nothing is held but what is being read. `digest` is their MD5.

    Raises:
        SourceMoved: the object is gone, was replaced or archived since it was listed (`If-Match`, 404, 412, or
            InvalidObjectState, see "GetObject" in the Amazon S3 API Reference).
        ServiceUnavailable: the stream broke off before `size` bytes.
    """

    def __init__(self, access: Access, client: S3Client, file: S3File) -> None:
        from botocore.exceptions import ClientError

        self._access = access
        self._file = file
        self.bytes_read = 0
        self.digest = md5(b"")
        with access.translated(file.bucket, file.key):
            try:
                answer = client.get_object(Bucket=file.bucket, Key=file.key, IfMatch=file.etag)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in ("PreconditionFailed", "412", "NoSuchKey", "404"):
                    raise moved(file) from None
                if code == "InvalidObjectState":
                    raise SourceMoved(
                        f"{file.uri} was archived since the plan ({code})", fix="Plan again: it is left out then"
                    ) from None
                raise
        self._body = answer["Body"]
        self.size = int(answer["ContentLength"])

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        from urllib3.exceptions import HTTPError

        try:
            with self._access.translated(self._file.bucket, self._file.key):
                data = self._body.read(len(buffer))
        except HTTPError as error:
            raise self._broken(type(error).__name__) from None
        if not data and self.bytes_read != self.size:
            raise self._broken(f"ended after {self.bytes_read} of {self.size} bytes")
        buffer[: len(data)] = data
        self.bytes_read += len(data)
        self.digest.update(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()

    def _broken(self, why: str) -> ServiceUnavailable:
        return ServiceUnavailable(f"reading {self._file.uri} broke off: {why}", fix="Run it again")


def head(access: Access, client: S3Client, file: S3File) -> HeadObjectOutputTypeDef:
    """Return the headers of an object that was listed.

    Raises:
        SourceMoved: it is gone.
    """
    from botocore.exceptions import ClientError

    with access.translated(file.bucket, file.key):
        try:
            return client.head_object(Bucket=file.bucket, Key=file.key)
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "404"):
                raise moved(file) from None
            raise


def moved(file: S3File) -> SourceMoved:
    """The file is not the one that was planned."""
    return SourceMoved(
        f"{file.uri} was replaced or deleted since the plan (ETag {file.etag} is gone)", fix="Plan again"
    )


def open_file(access: Access, client: S3Client, file: S3File) -> io.BufferedReader[ObjectStream]:
    """A buffered `ObjectStream`: close it."""
    return io.BufferedReader(ObjectStream(access, client, file), BUFFER_BYTES)
