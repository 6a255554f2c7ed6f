"""A load job whose file we send ourselves: a resumable upload in chunks of our size.

The client's `load_table_from_file` holds 100 MB of the file in memory and allows no other size. It also gives up an
upload for good after one refusal of a chunk that is not the last.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import requests
from google.api_core import exceptions as api
from google.cloud import bigquery
from google.resumable_media import InvalidResponse, RetryStrategy
from google.resumable_media.requests import ResumableUpload

from connectors.bigquery.client import JOB_SECONDS, METADATA_SECONDS, RETRY, Warehouse
from connectors.bigquery.google_errors import API_ERRORS
from connectors.bigquery.transport_files import TransportFile
from connectors.errors import ServiceUnavailable

CHUNK_BYTES = 16 * 1024 * 1024
"""Held in memory while it is sent. A multiple of 256 KiB ("Perform resumable uploads" in Cloud Storage's
documentation, which BigQuery's uploads follow)."""

_ENDPOINT = "https://bigquery.googleapis.com"
_PATH = "/upload/bigquery/v2/projects/{project}/jobs?uploadType=resumable"


def load_file(
    warehouse: Warehouse, file: TransportFile, table: bigquery.Table, job_id: str, config: bigquery.LoadJobConfig
) -> Any:
    """Sends the file and returns its load job, which begins once the last byte has arrived ("jobs.insert", upload).

    After a failure the service is asked how much of the file it has, and the rest is sent. If it has no more than ever
    before twice in a row, the failure is raised.

    Raises:
        google.api_core.exceptions.Conflict: the id is taken; the service says so before the first byte or after the
            last.
        ServiceUnavailable: the service keeps nothing more of the file.
        The client's errors, as its own calls raise them.
    """
    address = warehouse.address
    job = bigquery.LoadJob(job_id, None, table.reference, warehouse.client, config).to_api_repr()
    job["jobReference"]["location"] = address.location
    upload = _Upload((address.endpoint or _ENDPOINT) + _PATH.format(project=address.project))
    with file.path.open("rb") as opened:
        begin = partial(upload.initiate, warehouse.session, opened, job, "*/*", timeout=METADATA_SECONDS)
        RETRY(partial(_answer, begin))()
        return warehouse.client.job_from_resource(_send(upload, opened, warehouse.session).json())


def _send(upload: _Upload, opened: BinaryIO, session: requests.Session) -> requests.Response:
    """Returns the answer to the last chunk. It comes once the job exists; an emulator has finished the job by then."""
    furthest, idle = 0, False
    while True:
        # The service may have kept less of a chunk than was sent.
        opened.seek(upload.bytes_uploaded)
        try:
            answer = _answer(partial(upload.transmit_next_chunk, session, timeout=JOB_SECONDS))
        except API_ERRORS as error:
            if idle or not _passes(error):
                raise
            answer = RETRY(partial(_answer, partial(upload.recover, session)))()
        if answer.status_code == requests.codes.ok:
            return answer
        if upload.bytes_uploaded > furthest:
            furthest, idle = upload.bytes_uploaded, False
        elif idle:
            raise ServiceUnavailable(
                f"BigQuery takes what it is sent and keeps no more than {furthest:,} bytes of it", fix="Run again later"
            )
        else:
            idle = True


def _passes(error: Exception) -> bool:
    """Whether the rest can be sent after the error: nobody answered, a passing refusal, or no part of a chunk was kept
    (308 without a range)."""
    code = getattr(error, "code", None)
    return code is None or code in (308, 429) or code >= 500


def _answer(request: Callable[[], requests.Response]) -> requests.Response:
    """Returns the request's answer; raises a refusal as one of the client's errors."""
    try:
        return request()
    except InvalidResponse as error:
        response: requests.Response = error.response
        if response.status_code == requests.codes.ok:
            # What is left of the upload was asked for, and it is complete.
            return response
        raise api.from_http_response(response) from None  # type: ignore[no-untyped-call]


class _Upload(ResumableUpload):  # type: ignore[misc]
    """Does not repeat anything by itself. The library would do so for ten minutes, would send a chunk again that may
    have arrived, and accepts no strategy from its caller; the client sets this very attribute, too."""

    def __init__(self, url: str) -> None:
        super().__init__(url, CHUNK_BYTES, headers={"Accept": "application/json"})
        self._retry_strategy = RetryStrategy(max_retries=0)
