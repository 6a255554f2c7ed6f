"""Names the table of the lake that is gone, or lacks a file, when Spark or Iceberg fails for it in a stage."""

from __future__ import annotations

import re

from connectors.errors import LakeAltered
from jobs.lake.names import CURATED, QUARANTINE, RAW

_NO_FILE = ("NoSuchKeyException", "iceberg.exceptions.NotFoundException", "java.io.FileNotFoundException")
"""What errors of S3's client, of Iceberg and of Hadoop's file systems have in their text."""
_NO_TABLE = ("iceberg.exceptions.NoSuchTableException", "[TABLE_OR_VIEW_NOT_FOUND]")


def missing_part(error: BaseException, dataset: str) -> LakeAltered | None:
    """The refusal of a table where an error of Spark or Iceberg says that it, or one of its files, is not there.

    Args:
        dataset: whose tables were read.

    Returns:
        None where the error says something else.
    """
    text = str(error)
    name = re.search(rf"\b\w*({RAW}|{CURATED}|{QUARANTINE})\.(\w+)", text.replace("`", ""))
    if name and any(sign in text for sign in _NO_TABLE):
        return LakeAltered(
            f"{name[1]}.{name[2]} was dropped or renamed from outside while a batch was on its way",
            fix="Restore it under its name, then run again; or start another run, which creates it again",
        )
    return missing_file(text, dataset) if any(sign in text for sign in _NO_FILE) else None


def missing_file(text: str, dataset: str) -> LakeAltered:
    """The refusal of a table that lacks a file.

    Args:
        text: the error's text, which may hold the file's address. Only its table and file name are shown:
            folders of partitions are named after values.
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
