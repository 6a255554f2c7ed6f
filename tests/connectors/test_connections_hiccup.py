"""Secrets Manager that fails for a moment, over HTTP."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from connectors.connection import find_connection
from connectors.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.services


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[int]], None]]:
    """Takes the status of each next answer; 200 comes with a connection."""
    statuses: list[int] = []

    class Manager(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = statuses.pop(0) if statuses else 500
            self.rfile.read(int(self.headers["Content-Length"]))
            body = {"SecretString": "mysql://a:b@db:3306/"} if status == 200 else {"__type": "InternalServiceError"}
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Manager)
    Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://127.0.0.1:{server.server_port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "LAKEFERRY_SECRETS": "secrets_manager",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AIRFLOW_CONN_SHOP_DB", raising=False)
    yield statuses.extend
    server.shutdown()
    server.server_close()


def test_a_hiccup_is_asked_over(answering: Callable[[list[int]], None]) -> None:
    answering([500, 503, 200])
    assert find_connection("shop_db").address == "db:3306"


def test_an_outage_is_a_failure_for_now(answering: Callable[[list[int]], None]) -> None:
    answering([500] * 9)
    with pytest.raises(ServiceUnavailable, match="InternalServiceError") as caught:
        find_connection("shop_db")
    assert caught.value.exit_code == 3
