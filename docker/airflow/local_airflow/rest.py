"""Airflow's REST API as the demo and the tests use it: trigger a run, wait for it, look at its tasks.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import json
import os
import socket
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from connectors.errors import ObjectNotFound, ServiceUnavailable, SettingError, UsageError
from jobs.launch.output_lines import output_lines

PORT_VARIABLE = "LAKEFERRY_AIRFLOW_PORT"
DEFAULT_PORT = 18080
_TIMEOUT_SECONDS = 15.0
_PAGE = 100


def port() -> int:
    """The port of this machine's Airflow.

    Raises:
        SettingError: the variable holds no port.
    """
    value = os.environ.get(PORT_VARIABLE, str(DEFAULT_PORT))
    if not value.isdecimal() or not 1024 <= int(value) <= 65535:
        raise SettingError(f"{PORT_VARIABLE}={value} is not a port", where=PORT_VARIABLE, fix="Set it to 1024 to 65535")
    return int(value)


def address() -> str:
    return f"http://127.0.0.1:{port()}"


def check_port_is_free() -> None:
    """Raise `SettingError` where something already listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        if probe.connect_ex(("127.0.0.1", port())) == 0:
            raise SettingError(
                f"port {port()}, meant for Airflow, is taken by something that was not started here",
                where=PORT_VARIABLE,
                fix=f"Stop it, or choose another: {PORT_VARIABLE}={port() + 1}",
            )


def is_healthy() -> bool:
    """Whether database, scheduler, DAG processor and triggerer all say so."""
    try:
        with urllib.request.urlopen(f"{address()}/api/v2/monitor/health", timeout=5) as answer:
            parts = json.load(answer)
    except (OSError, ValueError):
        return False
    return all(part.get("status") == "healthy" for part in parts.values() if isinstance(part, dict))


def trigger(dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
    """Start a run; returns its id.

    Raises:
        UsageError: the conf breaks the DAG's params, or the run id is taken.
        ObjectNotFound: no such DAG.
    """
    body: dict[str, Any] = {"logical_date": None, "conf": conf or {}}
    if run_id is not None:
        body["dag_run_id"] = run_id
    return str(call("POST", f"/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])


def wait(dag_id: str, run_id: str, *, timeout_seconds: float = 1800.0) -> str:
    """Block until the run has ended; `success` or `failed`.

    Raises:
        ServiceUnavailable: it has not ended in time.
    """
    path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}/wait?interval=1"
    # Airflow answers with a JSON line whenever it looked; the last one has the final state.
    state = ""
    for line in output_lines(_request("GET", path, None, timeout_seconds)):
        if line.strip():
            state = json.loads(line).get("state", state)
    return state


def run_state(dag_id: str, run_id: str) -> str:
    """State of a run now."""
    return str(call("GET", f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}")["state"])


def pause(dag_id: str, paused: bool) -> None:
    call("PATCH", f"/dags/{quote(dag_id)}?update_mask=is_paused", {"is_paused": paused})


def clear(dag_id: str, run_id: str, task_ids: list[str], *, downstream: bool = True) -> None:
    """Have tasks of a run done again, with all that follows them."""
    body = {
        "dry_run": False,
        "dag_run_id": run_id,
        "task_ids": task_ids,
        "include_downstream": downstream,
        "only_failed": False,
        "reset_dag_runs": True,
    }
    call("POST", f"/dags/{quote(dag_id)}/clearTaskInstances", body)


def runs(dag_id: str) -> list[dict[str, Any]]:
    """Runs of a DAG, newest first."""
    return every(f"/dags/{quote(dag_id)}/dagRuns?order_by=-run_after", "dag_runs")


def queued_events(dag_id: str) -> int:
    """How many assets of a DAG have events that have not started a run yet."""
    try:
        return int(call("GET", f"/dags/{quote(dag_id)}/assets/queuedEvents")["total_entries"])
    except ObjectNotFound:
        # Airflow 3.2 answers so if nothing is queued.
        return 0


def task_states(dag_id: str, run_id: str) -> dict[str, str | None]:
    """State of each task of a run."""
    path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}/taskInstances?order_by=id"
    return {task["task_id"]: task["state"] for task in every(path, "task_instances")}


def task_log(dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
    """The log of one try of a task, as JSON lines of its events."""
    path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}/taskInstances/{quote(task_id)}/logs/{attempt}"
    return _request("GET", f"{path}?full_content=true", None, _TIMEOUT_SECONDS)


def dag_ids() -> list[str]:
    """Ids of the DAGs that were read, sorted."""
    return sorted(dag["dag_id"] for dag in every("/dags?order_by=dag_id", "dags"))


def paused() -> set[str]:
    """Ids of the DAGs that start no run."""
    return {dag["dag_id"] for dag in every("/dags?paused=true&order_by=dag_id", "dags")}


def import_errors() -> dict[str, str]:
    """What could not be read: file → why."""
    return {error["filename"]: error["stack_trace"] for error in every("/importErrors?order_by=id", "import_errors")}


def every(path: str, key: str) -> list[dict[str, Any]]:
    """All entries of a collection, page by page: a page has at most `[api] maximum_page_limit` of them, by default 100.

    Args:
        path: below `/api/v2`, with a query that orders the entries.
        key: of the answer, under which the entries stand.
    """
    entries: list[dict[str, Any]] = []
    while True:
        answer = call("GET", f"{path}&limit={_PAGE}&offset={len(entries)}")
        entries += answer[key]
        if not answer[key] or len(entries) >= (answer.get("total_entries") or 0):
            return entries


def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One call of the API below `/api/v2`; the JSON it answers.

    Raises:
        UsageError, ObjectNotFound, ServiceUnavailable: as the answer's status says.
    """
    return json.loads(_request(method, path, body, _TIMEOUT_SECONDS))


def _request(method: str, path: str, body: dict[str, Any] | None, timeout_seconds: float) -> str:
    request = urllib.request.Request(
        f"{address()}/api/v2{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {_token()}", "Content-Type": "application/json"},
    )
    return _open(request, timeout_seconds)


def _token() -> str:
    answer = _open(urllib.request.Request(f"{address()}/auth/token"), _TIMEOUT_SECONDS)
    return str(json.loads(answer)["access_token"])


def _open(request: urllib.request.Request, timeout_seconds: float) -> str:
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:1000]
        if error.code == 404:
            raise ObjectNotFound(f"Airflow has no {request.selector}: {said}") from None
        if error.code in (400, 409, 422):
            raise UsageError(f"Airflow refuses {request.get_method()} {request.selector}: {said}") from None
        raise ServiceUnavailable(f"Airflow answers {error.code} to {request.selector}: {said}") from error
    except OSError as error:
        raise ServiceUnavailable(
            f"Airflow at {address()} does not answer: {error}", fix="Start it: make airflow"
        ) from None
