"""BigQuery client: every call has a timeout, every error becomes a LakeferryError."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests
from google.api_core import exceptions as api
from google.api_core.client_options import ClientOptions
from google.auth.transport.requests import AuthorizedSession
from google.cloud import bigquery
from requests.adapters import HTTPAdapter

from connectors.bigquery.cost import Cost
from connectors.bigquery.credentials import OWN, Identity, kind_of, open_credentials
from connectors.bigquery.google_errors import (
    CLIENT_ERRORS,
    GoogleFixes,
    cause_of,
    lakeferry_error,
    message_of,
    reasons_of,
)
from connectors.errors import LakeferryError, LoadRefused, ServiceUnavailable

CONNECT_SECONDS = 4.0
METADATA_SECONDS = 30.0
JOB_SECONDS = 900.0
"""Longest wait for the answer to a job's submission. BigQuery answers at once; an emulator when the job is done."""
RETRY = bigquery.DEFAULT_RETRY.with_timeout(8.0)
"""The client retries for ten minutes by default. Eight seconds and one more connect stay under fifteen."""

NEEDED = (
    "bigquery.tables.get",
    "bigquery.tables.getData",
    "bigquery.tables.update",
    "bigquery.tables.updateData",
)
"""What a load does with a table that is there."""

_CONFLICT = re.compile(
    r"transaction is aborted due to concurrent update against table"
    r"|could not serialize access to table .{1,600}? due to concurrent update"
    r"|too many dml statements outstanding against",
    re.IGNORECASE | re.DOTALL,
)
"""BigQuery's words where it gives way to other changes of a table ("Troubleshoot query issues", Transaction aborted due
to concurrent update, and Too many DML statements). Their reason, invalidQuery, is that of any refused statement."""


class _Adapter(HTTPAdapter):
    """Waits at most `CONNECT_SECONDS` for a connection, independently of the caller's timeout after that."""

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        timeout = options.get("timeout")
        read = timeout[1] if isinstance(timeout, tuple) else timeout
        options["timeout"] = (CONNECT_SECONDS, METADATA_SECONDS if read is None else read)
        return super().send(request, *args, **options)


def open_session(credentials: Any) -> AuthorizedSession:
    """A session with these credentials whose every request has an end."""
    session: AuthorizedSession = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    session.mount("https://", _Adapter())
    session.mount("http://", _Adapter())
    return session


@dataclass(frozen=True)
class Address:
    """Where the warehouse is. `endpoint` is set for an emulator, which is asked without credentials. `kms_key`
    is the Cloud KMS key of what is made there."""

    project: str
    location: str
    ledger_dataset: str
    endpoint: str | None = None
    kms_key: str | None = None
    identity: Identity = OWN

    def __str__(self) -> str:
        return self.endpoint or f"project {self.project}"


class Warehouse:
    """BigQuery as the load stage needs it. Nothing is contacted before the first call.

    Errors of every method: `ServiceUnavailable` within 15 seconds where nothing answers, `AccessDenied`
    where the credentials or a right are refused, `ObjectNotFound`, and `LoadRefused` with BigQuery's
    own words where it refuses what it was given.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.cost = Cost()
        """What was asked of this object so far."""

    @cached_property
    def session(self) -> AuthorizedSession:
        """What the client's requests go through, and those it has no call for."""
        with self.translated():
            return open_session(open_credentials(None if self.address.endpoint else self.address.identity))

    @cached_property
    def client(self) -> bigquery.Client:
        project, endpoint = self.address.project, self.address.endpoint
        with self.translated():
            return bigquery.Client(
                project=project,
                location=self.address.location,
                credentials=self.session.credentials,
                _http=self.session,
                client_options=ClientOptions(api_endpoint=endpoint) if endpoint else None,
            )

    def ping(self, *, patiently: bool = True) -> str:
        """Tries the warehouse, more than once where it is done patiently; returns a line for people."""
        with self.translated():
            retry = RETRY if patiently else None
            next(iter(self.client.list_datasets(max_results=1, retry=retry, timeout=5.0)), None)
        kind = "emulator" if self.address.endpoint else "BigQuery"
        return f"{kind} at {self.address}, location {self.address.location}"

    def credentials_kind(self) -> str:
        """Whose credentials are used, for people."""
        with self.translated():
            return kind_of(self.client._credentials)

    def lacking(self, table: str) -> list[str]:
        """Names of the permissions on the table `dataset.name` that a load needs and the credentials do not have. An
        answer for people: BigQuery may say too much or too little ("tables.testIamPermissions")."""
        with self.translated():
            name = f"{self.address.project}.{table}"
            answer = self.client.test_iam_permissions(name, NEEDED, retry=RETRY, timeout=METADATA_SECONDS)
        return [permission for permission in NEEDED if permission not in answer.get("permissions", ())]

    @property
    def encryption(self) -> bigquery.EncryptionConfiguration | None:
        """The Cloud KMS key of tables and results, where one is set."""
        return bigquery.EncryptionConfiguration(self.address.kms_key) if self.address.kms_key else None

    def query(self, sql: str, most_bytes: int | None = None) -> list[tuple[Any, ...]]:
        """Rows of one statement; for small answers. BigQuery refuses it where it would bill more than `most_bytes`."""
        with self.translated():
            config = self._query_config(most_bytes)
            if self.encryption and sql.lstrip().upper().startswith("SELECT"):
                # For the table of its result. Scripts, DML and DDL take none: they write with the key of their table.
                config.destination_encryption_configuration = self.encryption
            job = self.wait(self.client.query(sql, config, retry=RETRY, job_retry=None, timeout=JOB_SECONDS))
            rows = [tuple(row.values()) for row in job.result(retry=RETRY, timeout=JOB_SECONDS)]
        self._count(job)
        return rows

    def estimate(self, sql: str, refused: type[LakeferryError] = LoadRefused) -> int:
        """Bytes one statement would process; nothing is run or billed, the statement is seen to be one BigQuery takes.

        BigQuery's dry run of a whole script or transaction says less than it scans ("Work with multi-statement
        queries"): ask for its statements one by one.
        """
        with self.translated(refused):
            config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
            job = self.client.query(sql, config, retry=RETRY, job_retry=None, timeout=METADATA_SECONDS)
            return int(job.total_bytes_processed or 0)

    def first_rows(self, table: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of a table `dataset.name`, by tabledata.list, which is not billed."""
        with self.translated():
            resource = self.client.get_table(f"{self.address.project}.{table}", retry=RETRY, timeout=METADATA_SECONDS)
            rows = self.client.list_rows(resource, max_results=limit, retry=RETRY, timeout=METADATA_SECONDS)
            return [field.name for field in resource.schema], [tuple(row.values()) for row in rows]

    def run_script(self, sql: str, base_id: str, stands: Callable[[], bool], most_bytes: int | None = None) -> None:
        """Runs a script once; raises the client's own errors, for the caller looks at the ledger first."""
        config = self._query_config(most_bytes)

        def begin(job_id: str) -> Any:
            return self.client.query(sql, config, job_id=job_id, retry=RETRY, job_retry=None, timeout=JOB_SECONDS)

        self._count(self.run_once(base_id, begin, stands))

    def _query_config(self, most_bytes: int | None) -> bigquery.QueryJobConfig:
        config = bigquery.QueryJobConfig()
        if most_bytes is not None:
            config.maximum_bytes_billed = most_bytes
        return config

    def _count(self, job: Any) -> None:
        self.cost.processed += job.total_bytes_processed or 0
        self.cost.billed += job.total_bytes_billed or 0

    def run_once(self, base_id: str, begin: Callable[[str], Any], stands: Callable[[], bool]) -> Any:
        """Runs a job under a name of its own, so that a second attempt finds the first.

        409 means that a job of this name was submitted before, perhaps by us with the reply lost: it is
        fetched, waited for, and taken if it succeeded and what it made still `stands`; else the next
        name is tried ("Generating a job ID" in BigQuery's documentation).
        """
        for attempt in itertools.count():
            job_id = f"{base_id}_{attempt}"
            try:
                job = begin(job_id)
            except api.Conflict:
                job = self.wait(self.client.get_job(job_id, retry=RETRY, timeout=METADATA_SECONDS))
                if job.error_result is None and stands():
                    return job
                continue
            job = self.wait(job)
            job.result(retry=RETRY, timeout=JOB_SECONDS)
            return job
        raise AssertionError("unreachable: job names do not end")

    def wait(self, job: Any) -> Any:
        """The job, done. A running job has no time limit of ours; each question after it has."""
        pause = 0.1
        while job.state != "DONE":
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)
            job.reload(retry=RETRY, timeout=METADATA_SECONDS)
        return job

    @contextmanager
    def translated(self, refused: type[LakeferryError] = LoadRefused) -> Iterator[None]:
        """Raise the client's errors as ours; `refused` is the class of a request that is refused."""
        try:
            yield
        except CLIENT_ERRORS as error:
            raise self.failure(error, refused) from None

    def failure(self, error: Exception, refused: type[LakeferryError] = LoadRefused) -> LakeferryError:
        """Return one of the client's errors as one of ours; `refused` is the class of a request that is refused."""
        place = f"BigQuery ({self.address})"
        answer = cause_of(error)
        if isinstance(answer, api.GoogleAPICallError):
            if "bytesBilledLimitExceeded" in reasons_of(answer):
                # The client knows no status for it and calls it 500.
                return LoadRefused(
                    f"{place} refuses: {message_of(answer)}",
                    fix="Raise bigquery.max_bytes_billed or LAKEFERRY_MAX_BYTES_BILLED, or see that less is read",
                )
            if is_conflict(answer):
                return ServiceUnavailable(
                    f"{place} cancels it in favour of other changes of the table: {message_of(answer)}",
                    fix='Run again later; if it stays so, end the session that holds the table ("Troubleshoot query '
                    "issues\" in BigQuery's documentation, Transaction aborted due to concurrent update)",
                )
        fixes = GoogleFixes(
            rights="Grant roles/bigquery.dataEditor on the datasets and roles/bigquery.jobUser on the project",
            unreachable="Locally: make up, then lakeferry doctor" if self.address.endpoint else GoogleFixes.unreachable,
        )
        return lakeferry_error(place, error, self.address.identity, fixes, refused=refused)


def is_conflict(error: Exception) -> bool:
    """Whether BigQuery did not run a statement, or cancelled its transaction, because others change the same table."""
    return isinstance(error, api.GoogleAPICallError) and _CONFLICT.search(message_of(error)) is not None
