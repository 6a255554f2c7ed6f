"""Airflow's API answers in pages of a hundred; an installation may have more DAGs than that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local_airflow import rest
from local_airflow.standalone import has_read_all

pytestmark = pytest.mark.services

DAGS = [{"dag_id": f"p{number:03d}"} for number in range(1000)]
ERRORS = [{"filename": f"generated/e{number:03d}.py", "stack_trace": f"no {number}"} for number in range(101)]
TASKS = [{"task_id": f"datasets.d{number:03d}", "state": "success"} for number in range(250)]


class Api(BaseHTTPRequestHandler):
    """Answers like Airflow: at most `maximum` entries from an offset on, for any limit that is asked for."""

    maximum = 100

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        lists: dict[str, tuple[str, list[dict[str, Any]]]] = {
            "/api/v2/dags": ("dags", DAGS[::2] if query.get("paused") == "true" else DAGS),
            "/api/v2/importErrors": ("import_errors", ERRORS),
            "/api/v2/dags/p/dagRuns/r/taskInstances": ("task_instances", TASKS),
            "/api/v2/dags/p/dagRuns": ("dag_runs", []),
        }
        if url.path == "/auth/token":
            answer: dict[str, Any] = {"access_token": "t"}
        else:
            key, entries = lists[url.path]
            begin = int(query["offset"])
            page = entries[begin : begin + min(int(query["limit"]), self.maximum)]
            answer = {key: page, "total_entries": len(entries)}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""


@pytest.fixture(params=[100, 7])
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    handler = type("Pages", (Api,), {"maximum": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setenv("LAKEFERRY_AIRFLOW_PORT", str(server.server_port))
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("api")
def test_every_page_is_read() -> None:
    assert rest.dag_ids() == [f"p{number:03d}" for number in range(1000)]
    assert len(rest.paused()) == 500
    assert len(rest.import_errors()) == 101
    assert len(rest.task_states("p", "r")) == 250
    assert rest.runs("p") == []


@pytest.mark.usefixtures("api")
def test_airflow_has_read_all_when_each_dag_is_there_or_its_error_is() -> None:
    there = {f"p{number:03d}": f"p{number:03d}" for number in range(1000)}
    assert has_read_all(there, any_broken=True)
    assert not has_read_all(there | {"late": "late"}, any_broken=False)
    assert has_read_all(there | {"x_e100": "e100"}, any_broken=False), "its own file says why"
