"""Names the table of the lake one of whose files is gone: somebody deleted an object that its metadata names."""

from __future__ import annotations

import re

from connectors.errors import LakeAltered
from jobs.lake.names import CURATED, QUARANTINE, RAW

_SIGNS = ("NoSuchKeyException", "iceberg.exceptions.NotFoundException", "java.io.FileNotFoundException")
"""What the errors of S3's client, of Iceberg and of Hadoop's file systems have in their text."""


def names_missing_file(error: Exception) -> bool:
    """Whether an error of Spark or Iceberg says that a file of the lake is not there."""
    return any(sign in str(error) for sign in _SIGNS)


def missing_file(text: str, dataset: str) -> LakeAltered:
    """The refusal of a table that lacks a file.

    Args:
        text: the error's text, which may hold the file's address. Of that only table and file name are shown: folders
            of partitions are named after values.
        dataset: whose tables were read.
    """
    address = re.search(rf"/\w*({RAW}|{CURATED}|{QUARANTINE})/(\w+)/(?:data|metadata)/(?:\S*/)?([\w.=-]+)", text)
    tables = (
        f"{address[1]}.{address[2]}" if address else f"{RAW}.{dataset}, {CURATED}.{dataset} or {QUARANTINE}.{dataset}"
    )
    file = f" ({address[3]})" if address else ""
    restore = (
        "Run again if another tool was just removing files. Else restore the object from the bucket's older versions"
    )
    if address and address[1] == CURATED:
        restore += f", or drop {tables}: it is rebuilt from raw by the next run"
    return LakeAltered(f"a file of {tables} is gone from the lake{file}", fix=restore)
