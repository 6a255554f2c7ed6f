"""Behaviour that Google documents of BigQuery and the emulator lacks, recorded once: every stand-in answers from here.

Each entry names the page it was taken from. Reasons and statuses are those of "Error messages"
(cloud.google.com/bigquery/docs/error-messages) where nothing else is said.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from tests.support.faulty_endpoint import Answer, Fault, job_id, refusal


@dataclass(frozen=True)
class Refusal:
    status: int
    reason: str
    message: str


CONTRACT = {
    # "Run jobs programmatically", Generating a job ID: the id is taken when the job is made, succeed or fail.
    "job id taken": Refusal(409, "duplicate", "Already Exists: Job {job}"),
    # "Estimate and control costs", Restrict the number of bytes billed: the job fails and bills nothing.
    "bytes limit": Refusal(
        500, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: {limit}. {needed} or higher required."
    ),
    "too many requests": Refusal(429, "rateLimitExceeded", "Too many requests"),
    "rate limit": Refusal(403, "rateLimitExceeded", "Exceeded rate limits: too many table update operations"),
    "quota": Refusal(403, "quotaExceeded", "Quota exceeded: Your project exceeded quota for {what}"),
    "backend": Refusal(503, "backendError", "Try again later"),
    "access denied": Refusal(403, "accessDenied", "Access Denied: {what}"),
    # "Multi-statement transactions", Transaction concurrency: the later of two that change one table is cancelled.
    # The words are those of "Troubleshoot query issues", Transaction aborted due to concurrent update.
    "transaction cancelled": Refusal(
        400, "invalidQuery", "Transaction is aborted due to concurrent update against table {table}"
    ),
    # "Troubleshoot query issues", Too many DML statements.
    "too many DML statements": Refusal(
        400, "invalidQuery", "Too many DML statements outstanding against {table}, limit is 20"
    ),
    # For single statements, in the words people report of BigQuery (m-lab/etl-gardener, issue 272).
    "statement conflicts": Refusal(
        400, "invalidQuery", "Could not serialize access to table {table} due to concurrent update"
    ),
    # "Quotas and limits", Partitioned tables: partitions modified by a single job. The words are those people report of
    # BigQuery (fivetran/dbt_zendesk, issue 39).
    "too many partitions": Refusal(
        400,
        "invalidQuery",
        "Too many partitions produced by query, allowed {allowed}, query produces at least {found} partitions",
    ),
    # "Method: tables.patch" with If-Match, "API resources: conditional requests".
    "changed meanwhile": Refusal(412, "conditionNotMet", "Precondition Failed"),
}


def documented(name: str, **values: object) -> Answer:
    """The answer of an entry, with the values its message has places for."""
    entry = CONTRACT[name]
    return refusal(entry.status, entry.reason, entry.message.format(**values))


def with_bytes(answer: Answer, **numbers: int) -> Answer:
    """The answer of a query job with these statistics: `totalBytesProcessed`, of a dry run too, and
    `totalBytesBilled`, as texts ("REST Resource: jobs", JobStatistics2)."""
    status, headers, content = answer
    job = json.loads(content)
    told = {key: str(value) for key, value in numbers.items()}
    job.setdefault("statistics", {}).setdefault("query", {}).update(told)
    return status, headers, json.dumps(job).encode()


def partitions_a_job(count: Callable[[str], int], column: str, allowed: int, sent: list[str]) -> Fault:
    """As the real service: a transaction of which one statement modifies more than `allowed` days of `column` is
    refused. `count` asks for a number by a query; `sent` gets the statements of the transactions that ran."""

    def modified(tree: exp.Expression) -> int:
        if isinstance(tree, exp.Insert):
            days = f"SELECT DATE_TRUNC({column}, DAY) AS day FROM ({tree.expression.sql('bigquery')})"
        elif isinstance(tree, exp.Merge):
            rows, on = tree.args["using"].sql("bigquery"), tree.args["on"].sql("bigquery")
            days = (
                f"SELECT DATE_TRUNC(S.{column}, DAY) AS day FROM {rows} UNION ALL "
                f"SELECT DATE_TRUNC(T.{column}, DAY) FROM {tree.this.sql('bigquery')} JOIN {rows} ON {on}"
            )
        elif isinstance(tree, exp.Delete):
            table, where = tree.this.sql("bigquery"), tree.args["where"].sql("bigquery")
            days = f"SELECT DATE_TRUNC(T.{column}, DAY) AS day FROM {table} {where}"
        else:
            return 0
        return count(f"SELECT COUNT(DISTINCT day) FROM ({days})")

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COMMIT TRANSACTION" in body:
            trees = sqlglot.parse(json.loads(body)["configuration"]["query"]["query"], dialect="bigquery")
            changes = [tree for tree in trees if isinstance(tree, exp.Insert | exp.Merge | exp.Delete)]
            most = max(map(modified, changes), default=0)
            if most > allowed:
                return documented("too many partitions", allowed=allowed, found=most)
            sent.extend(tree.key.upper() for tree in changes)
        return forward()

    return fault


def once_a_job(seen: dict[str, int]) -> Fault:
    """As the real service: a job id is taken once, 409 is the answer after that, and the job can be fetched. An upload
    takes its id when it is complete, not when it is begun; of two that come together one is first. `seen` counts the
    submissions."""
    one_by_one = threading.Lock()
    done: dict[str, Answer] = {}
    uploads: dict[str, str] = {}
    taken: set[str] = set()

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        with one_by_one:
            return served(method, path, body, forward)

    def served(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        last = path.split("?")[0].rsplit("/", 1)[-1]
        name = job_id(path, body) if method == "POST" else None
        upload = uploads.get(path.rsplit("=", 1)[-1]) if method == "PUT" else None
        if name is not None:
            seen[name] = seen.get(name, 0) + 1
        if name in taken or upload in taken:
            return documented("job id taken", job=name or upload)
        if method == "GET" and last in done:
            return done[last]
        status, headers, content = forward()
        if name is not None and "Location" in headers:
            uploads[headers["Location"].rsplit("=", 1)[-1]] = name
        elif name is not None:
            taken.add(name)
        if upload is not None and status != 308:
            taken.add(upload)
            # The emulator gives uploaded jobs names of its own, no times, and forgets them.
            job = json.loads(content)
            job["statistics"]["endTime"] = str(int(time.time() * 1000))
            job["jobReference"]["jobId"] = upload
            content = json.dumps(job).encode()
            done[upload] = (status, headers, content)
        return status, headers, content

    return fault
