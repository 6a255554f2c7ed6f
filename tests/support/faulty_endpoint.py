"""A door before the BigQuery emulator that does what the real service can do and the emulator cannot."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, dict[str, str], bytes]
Fault = Callable[[str, str, bytes, Callable[[], Answer]], Answer | None]
"""(method, path, body, forward) → the answer to give, or None to close the connection without one."""


@contextmanager
def endpoint(upstream: str, fault: Fault) -> Iterator[str]:
    """Serve `upstream` through `fault`; yields the address."""
    target = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def forward() -> Answer:
                connection = http.client.HTTPConnection(str(target.hostname), int(target.port or 80), timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "accept-encoding")}
                connection.request(self.command, self.path, body=body, headers=headers)
                response = connection.getresponse()
                kept = {
                    k.title(): v
                    for k, v in response.getheaders()
                    if k.lower() in ("content-type", "location", "etag", "range")
                }
                if "Location" in kept:
                    kept["Location"] = kept["Location"].replace(upstream, f"http://{self.headers['Host']}")
                return response.status, kept, response.read()

            answer = fault(self.command, self.path, body, forward)
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            status, headers, content = answer
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refusal(status: int, reason: str, message: str) -> Answer:
    """An error as the API writes it."""
    errors = [{"reason": reason, "message": message}]
    text = json.dumps({"error": {"code": status, "message": message, "errors": errors}})
    return status, {"Content-Type": "application/json"}, text.encode()


def job_id(path: str, body: bytes) -> str | None:
    """The id of the job a request submits, or None where it submits none."""
    found = re.search(rb'"jobId"\s*:\s*"([^"]+)"', body) if path.split("?")[0].endswith("/jobs") else None
    return found[1].decode() if found else None


def configuration(path: str, body: bytes) -> dict[str, Any]:
    """The configuration of the job a request submits, an upload's included; empty where it submits none."""
    if not path.split("?")[0].endswith("/jobs") or b"jobReference" not in body:
        return {}
    # An upload in one request is multipart: its first part is the job.
    start = body.index(b"{")
    found: dict[str, Any] = json.JSONDecoder().raw_decode(body[start:].decode("utf-8", "replace"))[0]
    return dict(found["configuration"])
