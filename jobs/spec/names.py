"""How names, addresses and sizes are written, in a pipeline's YAML and in settings."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from connectors.bigquery.cost import bytes_of

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

_LONGEST_TABLE = 1_400
"""Airflow stores 1,500 characters of an asset's name and URI (airflow/models/asset.py), project included."""


def _checked_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(
            "a name is lower case letters, digits and _, begins with a letter and has at most 63 characters"
        )
    return value


def _checked_table(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("a BigQuery table is written dataset.table")
    if len(value) > _LONGEST_TABLE:
        raise ValueError(
            f"the name of a BigQuery table has {_LONGEST_TABLE:,} characters at most, its dataset included"
        )
    return value


def _checked_bucket(value: str) -> str:
    """Names are those of "About Cloud Storage buckets" in Google Cloud's documentation; a prefix has no odd signs,
    which would have to be escaped in a URI."""
    url = value.rstrip("/")
    if url and not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._=-]*)*", url):
        raise ValueError(
            "a bucket is written gs://bucket or gs://bucket/prefix: its name in lower case letters, digits and "
            "-_. and the prefix in letters, digits and -_=./"
        )
    return url


def _checked_audience(value: str) -> str:
    """As "Configure Workload Identity Federation with AWS" in Google Cloud's documentation writes it."""
    audience = value.removeprefix("https:")
    if audience and not re.fullmatch(
        r"//iam\.googleapis\.com/projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+",
        audience,
    ):
        raise ValueError(
            "an audience is written //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/"
            "providers/PROVIDER"
        )
    return audience


def _checked_web_address(value: str) -> str:
    address = value.rstrip("/")
    if address and not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~%/-]*)?", address):
        raise ValueError("an address is written https://host or https://host/path, without a query")
    return address


Name = Annotated[str, AfterValidator(_checked_name)]
WarehouseTable = Annotated[str, AfterValidator(_checked_table)]
BucketUrl = Annotated[str, AfterValidator(_checked_bucket)]
Audience = Annotated[str, AfterValidator(_checked_audience)]
WebAddress = Annotated[str, AfterValidator(_checked_web_address)]
Bytes = Annotated[int, BeforeValidator(bytes_of)]
"""A size: a number of bytes, or a text such as `10 GB`."""
