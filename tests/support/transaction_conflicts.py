"""BigQuery's conflicts between transactions, which the emulator does not detect, in front of it.

"Multi-statement transactions", Transaction concurrency: while a transaction updates or deletes rows of a table, no
other transaction that does so can run; it is cancelled. Reads and INSERTs conflict with nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from typing import Any

import sqlglot
from sqlglot import exp

from tests.support.bigquery_contract import CONTRACT, documented
from tests.support.faulty_endpoint import Answer, configuration

SECONDS = 120


class Conflicts:
    """Cancels a transaction that changes a table which another running transaction changes.

    A transaction runs from its arrival to its answer. It fails as a job does: the submission is accepted, the job is
    done and failed, and its id is taken.

    Args:
        together: no load's transaction runs before so many have arrived.
        held: tables (`dataset.table`) which a transaction that never ends has changed: a session somebody left open.
    """

    def __init__(self, together: int = 1, held: Collection[str] = ()) -> None:
        self.cancelled: list[str] = []
        """Ids of the jobs that were cancelled, and of those that ran."""
        self.ran: list[str] = []
        self._together = together
        self._arrived = 0
        self._all_here = threading.Event()
        self._lock = threading.Lock()
        self._changing: dict[str, set[str]] = {"an open session": set(held)}
        self._failed: dict[str, Answer] = {}

    def __call__(self, method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        name = path.split("?")[0].rsplit("/", 1)[-1]
        if method == "GET" and name in self._failed:
            return self._failed[name]
        job = json.loads(body) if method == "POST" and b"BEGIN TRANSACTION" in body else None
        if job is None or configuration(path, body).get("dryRun"):
            return forward()
        return self._transaction(job, forward)

    def _transaction(self, job: dict[str, Any], forward: Callable[[], Answer]) -> Answer:
        job_id, script = str(job["jobReference"]["jobId"]), str(job["configuration"]["query"]["query"])
        changes = changed_tables(script)
        with self._lock:
            if job_id in self._failed:
                return documented("job id taken", job=job_id)
            running = set().union(*self._changing.values())
            conflicts = sorted(changes & running)
            if conflicts:
                self.cancelled.append(job_id)
                self._failed[job_id] = cancelled_job(job, conflicts[0])
            else:
                self._changing[job_id] = changes
            if "MERGE" in script:
                self._arrived += 1
                if self._arrived >= self._together:
                    self._all_here.set()
        if conflicts:
            return self._failed[job_id]
        try:
            if "MERGE" in script:
                assert self._all_here.wait(SECONDS), f"{self._arrived} of {self._together} transactions came"
            self.ran.append(job_id)
            return forward()
        finally:
            with self._lock:
                del self._changing[job_id]


def changed_tables(script: str) -> set[str]:
    """The tables a script updates or deletes rows of, as `dataset.table`."""
    found = set()
    for statement in sqlglot.parse(script, dialect="bigquery"):
        if isinstance(statement, exp.Update | exp.Delete | exp.Merge):
            found.add(f"{statement.this.db}.{statement.this.name}")
        elif isinstance(statement, exp.TruncateTable):
            found |= {f"{table.db}.{table.name}" for table in statement.expressions}
    return found


def cancelled_job(job: dict[str, Any], table: str) -> Answer:
    """The job of a transaction that was cancelled ("REST Resource: jobs")."""
    entry = CONTRACT["transaction cancelled"]
    error = {"reason": entry.reason, "message": f"Query error: {entry.message.format(table=table)} at [3:1]"}
    answer = {
        "kind": "bigquery#job",
        **job,
        "status": {"state": "DONE", "errorResult": error, "errors": [error]},
        "statistics": {"query": {"statementType": "SCRIPT"}},
    }
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
