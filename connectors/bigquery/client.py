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
from google.auth import exceptions as auth
from google.auth.transport.requests import AuthorizedSession
from google.cloud import bigquery
from requests.adapters import HTTPAdapter

from connectors.bigquery.cost import Cost
from connectors.bigquery.credentials import OWN, Identity, kind_of, open_credentials, unusable
from connectors.errors import AccessDenied, LakeferryError, LoadRefused, ObjectNotFound, ServiceUnavailable

CONNECT_SECONDS = 4.0
METADATA_SECONDS = 30.0
JOB_SECONDS = 900.0
"""Longest wait for the answer to a job's submission. BigQuery answers at once; an emulator when the job is done."""
RETRY = bigquery.DEFAULT_RETRY.with_timeout(8.0)
"""The client retries for ten minutes by default. Eight seconds and one more connect stay under fifteen."""
TRANSPORT_ERRORS = (requests.exceptions.RequestException, ConnectionError, auth.TransportError, api.RetryError)
API_ERRORS = (api.GoogleAPICallError, *TRANSPORT_ERRORS)

NEEDED = (
    "bigquery.tables.get",
    "bigquery.tables.getData",
    "bigquery.tables.update",
    "bigquery.tables.updateData",
)
"""What a load does with a table that is there."""

_BUSY = {"rateLimitExceeded", "quotaExceeded", "backendError", "internalError", "jobRateLimitExceeded"}
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
        with self.told():
            return open_session(open_credentials(None if self.address.endpoint else self.address.identity))

    @cached_property
    def client(self) -> bigquery.Client:
        project, endpoint = self.address.project, self.address.endpoint
        with self.told():
            return bigquery.Client(
                project=project,
                location=self.address.location,
                credentials=self.session.credentials,
                _http=self.session,
                client_options=ClientOptions(api_endpoint=endpoint) if endpoint else None,
            )

    def ping(self, *, patiently: bool = True) -> str:
        """Tries the warehouse, more than once where it is done patiently; returns a line for people."""
        with self.told():
            retry = RETRY if patiently else None
            next(iter(self.client.list_datasets(max_results=1, retry=retry, timeout=5.0)), None)
        kind = "emulator" if self.address.endpoint else "BigQuery"
        return f"{kind} at {self.address}, location {self.address.location}"

    def credentials_kind(self) -> str:
        """Whose credentials are used, for people."""
        with self.told():
            return kind_of(self.client._credentials)

    def lacking(self, table: str) -> list[str]:
        """Names of the permissions on the table `dataset.name` that a load needs and the credentials do not have. An
        answer for people: BigQuery may say too much or too little ("tables.testIamPermissions")."""
        with self.told():
            name = f"{self.address.project}.{table}"
            answer = self.client.test_iam_permissions(name, NEEDED, retry=RETRY, timeout=METADATA_SECONDS)
        return [permission for permission in NEEDED if permission not in answer.get("permissions", ())]

    @property
    def encryption(self) -> bigquery.EncryptionConfiguration | None:
        """The Cloud KMS key of tables and results, where one is set."""
        return bigquery.EncryptionConfiguration(self.address.kms_key) if self.address.kms_key else None

    def query(self, sql: str, most_bytes: int | None = None) -> list[tuple[Any, ...]]:
        """Rows of one statement; for small answers. BigQuery refuses it where it would bill more than `most_bytes`."""
        with self.told():
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
        with self.told(refused):
            config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
            job = self.client.query(sql, config, retry=RETRY, job_retry=None, timeout=METADATA_SECONDS)
            return int(job.total_bytes_processed or 0)

    def first_rows(self, table: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of a table `dataset.name`, by tabledata.list, which is not billed."""
        with self.told():
            found = self.client.get_table(f"{self.address.project}.{table}", retry=RETRY, timeout=METADATA_SECONDS)
            rows = self.client.list_rows(found, max_results=limit, retry=RETRY, timeout=METADATA_SECONDS)
            return [field.name for field in found.schema], [tuple(row.values()) for row in rows]

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
    def told(self, refused: type[LakeferryError] = LoadRefused) -> Iterator[None]:
        """Turns the client's errors into ours; `refused` is what a refused request is."""
        try:
            yield
        except (*API_ERRORS, auth.GoogleAuthError) as error:
            raise self.failure(error, refused) from None

    def failure(self, error: Exception, refused: type[LakeferryError] = LoadRefused) -> LakeferryError:
        """One of the client's errors as one of ours."""
        place = f"BigQuery ({self.address})"
        if isinstance(error, auth.DefaultCredentialsError | auth.RefreshError):
            return unusable(place, self.address.identity)
        if isinstance(error, api.RetryError) and isinstance(error.cause, api.GoogleAPICallError):
            error = error.cause
        if not isinstance(error, api.GoogleAPICallError):
            name = type(getattr(error, "cause", None) or error).__name__
            fix = (
                "Locally: make up, then lakeferry doctor"
                if self.address.endpoint
                else "Check the network, then run again"
            )
            return ServiceUnavailable(f"{place} does not answer: {name}", fix=fix)
        code, reasons = error.code or 0, {str(item.get("reason")) for item in error.errors if isinstance(item, dict)}
        if "bytesBilledLimitExceeded" in reasons:
            # The client knows no status for it and calls it 500.
            return LoadRefused(
                f"{place} refuses: {words(error)}",
                fix="Raise bigquery.max_bytes_billed or LAKEFERRY_MAX_BYTES_BILLED, or see that less is read",
            )
        if is_conflict(error):
            return ServiceUnavailable(
                f"{place} cancels it in favour of other changes of the table: {words(error)}",
                fix='Run again later; if it stays so, end the session that holds the table ("Troubleshoot query '
                "issues\" in BigQuery's documentation, Transaction aborted due to concurrent update)",
            )
        if code == 429 or code >= 500 or reasons & _BUSY:
            return ServiceUnavailable(f"{place} answers {int(code)}: {words(error)}", fix="Run again later")
        if code in (401, 403):
            return AccessDenied(
                f"{place} refuses: {words(error)}",
                fix="Grant roles/bigquery.dataEditor on the datasets and roles/bigquery.jobUser on the project",
            )
        if code == 404:
            return ObjectNotFound(f"{place}: {words(error)}")
        return refused(f"{place} refuses: {words(error)}")


def is_conflict(error: Exception) -> bool:
    """Whether BigQuery did not run a statement, or cancelled its transaction, because others change the same table."""
    return isinstance(error, api.GoogleAPICallError) and _CONFLICT.search(words(error)) is not None


def words(error: api.GoogleAPICallError) -> str:
    """What BigQuery said, in one line of at most 600 characters."""
    first = next((item for item in error.errors if isinstance(item, dict) and item.get("message")), None)
    said = str(first["message"]) if first else str(error.message)
    return " ".join(said.split())[:600].rstrip(". ")
