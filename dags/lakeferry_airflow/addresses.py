"""Where a browser finds what the lake, BigQuery and EMR hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from jobs.runtime.settings import Settings

_S3_CONSOLE = "https://s3.console.aws.amazon.com/s3"
_BIGQUERY_CONSOLE = "https://console.cloud.google.com/bigquery"


def in_lake(settings: Settings, key: str) -> str:
    """The address of a document of the lake, or of a folder where the key ends with `/`.

    It is below `LAKEFERRY_LAKE_URL` where that is set. Else a lake on S3 is shown by the S3 console, and one on a
    stand-in by the stand-in itself.
    """
    if settings.lake_url:
        return f"{settings.lake_url}/{quote(key)}"
    if settings.lake_bucket is None:
        return f"{settings.lake.rstrip('/')}/{quote(key)}"
    return _on_s3(f"{settings.lake.rstrip('/')}/{key}")


def bigquery_table(settings: Settings, table: str) -> str:
    """The page of a BigQuery table `dataset.name`.

    The form of the console's address is that of Airflow's Google provider (links/bigquery.py).
    """
    project = settings.warehouse_project
    dataset, name = table.split(".")
    if settings.warehouse_endpoint:
        where = settings.warehouse_endpoint.rstrip("/")
        return f"{where}/bigquery/v2/projects/{project}/datasets/{dataset}/tables/{name}"
    query = {"referrer": "search", "project": project, "d": dataset, "p": project, "page": "table", "t": name}
    return f"{_BIGQUERY_CONSOLE}?{urlencode(query)}"


def emr_job(settings: Settings, job_id: str) -> str:
    """The page of an EMR Serverless job `APPLICATION/JOBRUN`.

    EMR Studio is the console of EMR Serverless, and its address has the studio's id, which no API of EMR Serverless
    returns. Without `LAKEFERRY_EMR_STUDIO_URL` the address is that of the job's logs ("Logging and monitoring" in the
    EMR Serverless User Guide: `applications/ID/jobs/ID`).
    """
    application, _, job_run = job_id.rpartition("/")
    if settings.emr_studio_url:
        return f"{settings.emr_studio_url}/#/serverless-applications/{application}/{job_run}"
    artifacts = (settings.artifacts or "").rstrip("/")
    return _on_s3(f"{artifacts}/logs/applications/{application}/jobs/{job_run}/")


def _on_s3(uri: str) -> str:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    stand_in = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    folder = key.endswith("/")
    if stand_in:
        where = f"{stand_in.rstrip('/')}/{bucket}"
        return f"{where}?{urlencode({'prefix': key})}" if folder else f"{where}/{quote(key)}"
    kind = "buckets" if folder else "object"
    return f"{_S3_CONSOLE}/{kind}/{bucket}?{urlencode({'prefix': key})}"
