"""Load jobs that fill a staging table: each runs once, in order, however the previous attempt ended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from google.api_core import exceptions as api
from google.cloud import bigquery

from connectors.bigquery.client import JOB_SECONDS, METADATA_SECONDS, RETRY, Warehouse
from connectors.bigquery.file_upload import load_file
from connectors.bigquery.tables import find_table
from connectors.bigquery.transport_files import TransportFile
from connectors.errors import ObjectNotFound

MOST_OBJECTS = 10_000
"""The most source URIs of a load job ("Quotas and limits" in BigQuery's documentation). This many transport files are
also below its limit of 15 TB."""

_Submit = Callable[[str, bigquery.LoadJobConfig], Any]


def load_files(warehouse: Warehouse, table: bigquery.Table, files: Sequence[TransportFile], base_id: str) -> None:
    """Uploads the files into the table, in place of what it holds: one job per file.

    Args:
        table: an existing table from `make_staging`; its name and `base_id` belong to these very files (`mark_of`).

    Raises:
        ObjectNotFound: somebody dropped the table meanwhile.
        LoadRefused, ServiceUnavailable, AccessDenied: see `Warehouse`.
    """

    def uploading(file: TransportFile) -> _Submit:
        def submit(job_id: str, config: bigquery.LoadJobConfig) -> Any:
            return load_file(warehouse, file, table, job_id, config)

        return submit

    _load(warehouse, table, base_id, [uploading(file) for file in files])


def load_objects(warehouse: Warehouse, table: bigquery.Table, uris: Sequence[str], base_id: str) -> None:
    """Loads objects of Cloud Storage into the table, in place of what it holds: one job for every `MOST_OBJECTS`.

    Arguments and errors are those of `load_files`; `ObjectNotFound` also where an object is gone.
    """

    def reading(some: Sequence[str]) -> _Submit:
        def submit(job_id: str, config: bigquery.LoadJobConfig) -> Any:
            return warehouse.client.load_table_from_uri(
                list(some), table.reference, job_id=job_id, job_config=config, retry=RETRY, timeout=JOB_SECONDS
            )

        return submit

    starts = range(0, len(uris), MOST_OBJECTS)
    _load(warehouse, table, base_id, [reading(uris[start : start + MOST_OBJECTS]) for start in starts])


def _load(warehouse: Warehouse, table: bigquery.Table, base_id: str, submits: Sequence[_Submit]) -> None:
    """Runs the jobs one after the other: the first truncates, the others append.

    Their names carry a round and a number. A second attempt continues the round in which the first stopped. If a job of
    the round failed, or its result is gone, the next round begins, with its own truncation. So no append comes before
    the truncation to which it belongs, and none is done twice ("Generating a job ID" in BigQuery's documentation: an id
    that was used answers 409).
    """
    with warehouse.translated():
        for attempt in itertools.count():
            done = (
                _run(warehouse, table, f"{base_id}_{attempt}_{number}", submit, first=number == 0)
                for number, submit in enumerate(submits)
            )
            if all(done):
                return


def _run(warehouse: Warehouse, table: bigquery.Table, job_id: str, submit: _Submit, *, first: bool) -> bool:
    """Returns whether the job's rows are in the table. Raises the client's errors of a job that is ours and fails."""
    try:
        job = warehouse.wait(submit(job_id, _config(warehouse, table, first=first)))
    except api.Conflict:
        job = warehouse.wait(warehouse.client.get_job(job_id, retry=RETRY, timeout=METADATA_SECONDS))
        return job.error_result is None and _stands(warehouse, table, job)
    try:
        job.result(retry=RETRY, timeout=JOB_SECONDS)
    except api.GoogleAPICallError:
        # BigQuery itself says that it does not find the table; an emulator may say something else.
        if find_table(warehouse, f"{table.dataset_id}.{table.table_id}") is None:
            raise ObjectNotFound(f"table {table.dataset_id}.{table.table_id} was dropped while it was loaded") from None
        raise
    return True


def _config(warehouse: Warehouse, table: bigquery.Table, *, first: bool) -> bigquery.LoadJobConfig:
    write = bigquery.WriteDisposition
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        schema=table.schema,
        write_disposition=write.WRITE_TRUNCATE if first else write.WRITE_APPEND,
        # A table dropped between two jobs would come back with a part of the rows, and would not expire.
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
    )
    if warehouse.encryption:
        config.destination_encryption_configuration = warehouse.encryption
    return config


def _stands(warehouse: Warehouse, table: bigquery.Table, job: Any) -> bool:
    """Whether the table is the one to which the job wrote, not one that replaced it after it was dropped."""
    present = find_table(warehouse, f"{table.dataset_id}.{table.table_id}")
    if present is None:
        return False
    return job.ended is None or present.created is None or present.created <= job.ended
