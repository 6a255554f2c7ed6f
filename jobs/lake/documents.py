"""Documents of the lake: small objects written once, on S3 or in a folder."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from connectors.aws_errors import AwsFixes, translated
from connectors.errors import ObjectNotFound, ServiceUnavailable, SettingError

_FIXES = AwsFixes(
    credentials="Locally: make up; elsewhere give it a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    rights="Check the AWS credentials and the bucket's policy",
    missing="Create the bucket, or set LAKEFERRY_LAKE; locally: make up",
    unavailable="Locally: make up, then lakeferry doctor",
    refused="Check LAKEFERRY_LAKE and the region",
)
_CONFLICT_SECONDS = 5.0
"""How long a write is tried again while S3 answers that another request on the key is in flight."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.8


class Documents(Protocol):
    """Keys are relative to the lake's root, with `/` between their parts."""

    root: str

    def create(self, key: str, text: str) -> bool:
        """Write the document unless it is there; False where it was (the old one stays).

        After either answer the document can be read. `ServiceUnavailable` where the lake does not settle which.
        """

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Write the object, over an older one if need be (reports only)."""

    def find(self, key: str) -> str | None:
        """Return its text, or None."""

    def read(self, key: str) -> str:
        """Return its text; `ObjectNotFound` if it is missing."""

    def first(self, prefix: str, count: int) -> list[str]:
        """Return the first keys that begin with the prefix, in order: at most `count`, and no more than 1,000. One
        request.
        """

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with the prefix, sorted."""

    def written(self, prefix: str) -> dict[str, float]:
        """Return keys that begin with the prefix, and when each was written, in seconds since 1970, without reading
        them.
        """

    def uri(self, key: str) -> str:
        """Return its whole address."""


def open_documents(root: str) -> Documents:
    """Open the documents of the lake at `root` (`s3://bucket/prefix` or `file:///folder`).

    Raises:
        SettingError: another kind of address.
    """
    parts = urlsplit(root)
    if parts.scheme == "s3":
        return S3Documents(root)
    if parts.scheme == "file":
        return FolderDocuments(root)
    raise SettingError(
        f"LAKEFERRY_LAKE={root} is not a place a lake can be",
        where="LAKEFERRY_LAKE",
        choices=["s3://bucket/prefix", "file:///folder"],
    )


class FolderDocuments:
    """Documents in a local folder."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._folder = Path(unquote(urlsplit(root).path))

    def create(self, key: str, text: str) -> bool:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link appears whole or not at all, and fails where the name is taken: a crash leaves no half document.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".new-", delete=False, encoding="utf-8") as file:
            file.write(text)
        try:
            os.link(file.name, path)
        except FileExistsError:
            return False
        finally:
            Path(file.name).unlink()
        return True

    def put(self, key: str, body: bytes, content_type: str) -> None:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two may write at once, and somebody may be reading: the name always holds one whole object.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            file.write(body)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)

    def find(self, key: str) -> str | None:
        path = self._folder / key
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def read(self, key: str) -> str:
        text = self.find(key)
        if text is None:
            raise ObjectNotFound(f"no document {self.uri(key)}")
        return text

    def first(self, prefix: str, count: int) -> list[str]:
        return sorted(self.written(prefix))[:count]

    def list(self, prefix: str) -> list[str]:
        return sorted(self.written(prefix))

    def written(self, prefix: str) -> dict[str, float]:
        start = self._folder / prefix.rsplit("/", 1)[0] if "/" in prefix else self._folder
        times = {
            str(path.relative_to(self._folder)): path.stat().st_mtime
            for path in start.rglob("*")
            if not path.name.startswith(".new-") and path.is_file()
        }
        return {key: at for key, at in times.items() if key.startswith(prefix)}

    def uri(self, key: str) -> str:
        return f"{self.root}/{key}"


class S3Documents:
    """Documents in an S3 bucket. `create` is a conditional put (`If-None-Match: *`)."""

    def __init__(self, root: str) -> None:
        import boto3
        from botocore.config import Config

        parts = urlsplit(root)
        self.root = root.rstrip("/")
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._client = boto3.client(
            "s3", config=Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 3})
        )

    def create(self, key: str, text: str) -> bool:
        with self._translated():
            return self._unless_exists(
                self.uri(key),
                lambda: self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(key),
                    Body=text.encode(),
                    IfNoneMatch="*",
                    ContentType="application/json",
                ),
            )

    def put(self, key: str, body: bytes, content_type: str) -> None:
        with self._translated():
            self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=body, ContentType=content_type)

    def find(self, key: str) -> str | None:
        with self._translated():
            try:
                return self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"].read().decode()
            except self._client.exceptions.NoSuchKey:
                return None

    def read(self, key: str) -> str:
        text = self.find(key)
        if text is None:
            raise ObjectNotFound(f"no document {self.uri(key)}")
        return text

    def first(self, prefix: str, count: int) -> list[str]:
        # S3 lists in the order of the keys' bytes in UTF-8 ("ListObjectsV2" in the S3 API Reference).
        with self._translated():
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._key(prefix), MaxKeys=count)
        return [item["Key"][self._cut :] for item in page.get("Contents", [])]

    def list(self, prefix: str) -> list[str]:
        return sorted(self.written(prefix))

    def written(self, prefix: str) -> dict[str, float]:
        with self._translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._key(prefix)
            )
            entries = [item for page in pages for item in page.get("Contents", [])]
            return {item["Key"][self._cut :]: item["LastModified"].timestamp() for item in entries}

    def uri(self, key: str) -> str:
        return f"{self.root}/{key}"

    @property
    def _cut(self) -> int:
        """Return how many characters of an object's key precede the document's."""
        return len(self._prefix) + 1 if self._prefix else 0

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _translated(self) -> AbstractContextManager[None]:
        return translated(f"the lake {self.root}", _FIXES)

    def _unless_exists(self, address: str, put: Callable[[], object]) -> bool:
        """Do a conditional put until S3 says that it wrote the object (True) or that one is there (False).

        412 says that it is there. 409 (ConditionalRequestConflict) says nothing of it: another request on the key is
        in flight, may fail, and may be a delete, so the put is tried again. Sources: "How to prevent object overwrites
        with conditional writes" in the S3 User Guide; PutObject, `If-None-Match`, in the S3 API Reference ("On a 409
        failure you should retry the upload").
        """
        from botocore.exceptions import ClientError

        deadline = time.monotonic() + _CONFLICT_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                put()
                return True
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 412:
                    return False
                if status != 409:
                    raise
                code = error.response["Error"].get("Code", "409")
            if time.monotonic() + pause > deadline:
                raise ServiceUnavailable(
                    f"the lake {self.root} answers {code} to every try to write {address}",
                    fix="Run again later: another request on this object has not ended",
                )
            # Two writers that met once must not keep in step.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
