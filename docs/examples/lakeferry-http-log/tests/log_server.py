"""A server with the API that the source reads, in this process."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token"


class LogServer:
    """Logs in memory, by name; each is a list of the texts of its records."""

    def __init__(self) -> None:
        self.logs: dict[str, list[str]] = {}
        logs = self.logs

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    return self._answer(401, None)
                url = urlsplit(self.path)
                _, _, name = url.path.removeprefix("/").partition("/")
                if not name:
                    return self._answer(200, sorted(logs))
                if name not in logs:
                    return self._answer(404, None)
                query = parse_qs(url.query)
                if not query:
                    return self._answer(200, {"records": len(logs[name])})
                return self._answer(200, logs[name][int(query["start"][0]) : int(query["end"][0])])

            def _answer(self, status: int, content: object) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keeps the output of the tests clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
