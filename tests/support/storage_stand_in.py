"""A Cloud Storage that keeps objects as files: what the JSON API answers to uploads, lists and deletes.

No server for it runs here. Objects lie where the BigQuery emulator looks for `gs://` URIs. Requests are those of "Cloud
Storage JSON API" (uploads: multipart and resumable); sizes and checksums are reported as they are on disk.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

from tests.support.faulty_endpoint import Answer, refusal

JSON = {"Content-Type": "application/json"}


@dataclass
class Storage:
    """`sent` are the names whose uploads were accepted, in that order; `garbled` are ends of names, of which the next
    upload each arrives with another byte in it."""

    root: Path
    bucket: str
    address: str = ""
    sent: list[str] = field(default_factory=list)
    garbled: set[str] = field(default_factory=set)
    sessions: dict[str, tuple[dict[str, Any], bytearray]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.root / self.bucket

    def names(self) -> list[str]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def damage(self, name: str) -> None:
        """Change a byte of an object."""
        path = self.folder / name
        path.write_bytes(_changed(path.read_bytes()))

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> Answer:
        parts = urlsplit(url)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        found = re.fullmatch(r"(/upload)?/storage/v1/b/([^/]+)/(o|iam/testPermissions)(?:/(.+))?", parts.path)
        assert found, f"{method} {url} is not known here"
        upload, bucket, what, name = found.groups()
        if bucket != self.bucket:
            return refusal(404, "notFound", "The specified bucket does not exist.")
        if what != "o":
            permissions = parse_qs(parts.query)["permissions"]
            return 200, JSON, json.dumps({"permissions": permissions}).encode()
        if upload and asked.get("uploadType") == "multipart":
            return self._put(*_parts(body, headers["Content-Type"]))
        if upload:
            return self._resumable(method, url, asked, headers, body)
        if method == "DELETE":
            return self._delete(unquote(name))
        assert (method, name) == ("GET", None), f"{method} {url} is not known here"
        items = [self._metadata(other) for other in self.names() if other.startswith(asked.get("prefix", ""))]
        return 200, JSON, json.dumps({"items": items}).encode()

    def _resumable(self, method: str, url: str, asked: dict[str, str], headers: Any, body: bytes) -> Answer:
        if method == "POST":
            session = uuid.uuid4().hex
            self.sessions[session] = (json.loads(body), bytearray())
            return 200, {"Location": f"{self.address}{url}&upload_id={session}"}, b""
        metadata, held = self.sessions[asked["upload_id"]]
        first, last, total = (int(n) for n in re.findall(r"\d+", headers["Content-Range"]))
        held[first : last + 1] = body
        if last + 1 < total:
            return 308, {"Range": f"bytes=0-{len(held) - 1}"}, b""
        return self._put(metadata, bytes(held))

    def _put(self, metadata: dict[str, Any], data: bytes) -> Answer:
        name = str(metadata["name"])
        hit = next((end for end in self.garbled if name.endswith(end)), None)
        if hit:
            self.garbled.remove(hit)
            data = _changed(data)
        given = metadata.get("crc32c")
        if given is not None and given != _crc32c(data):
            said = f'Provided CRC32C "{given}" doesn\'t match calculated CRC32C "{_crc32c(data)}".'
            return refusal(400, "invalid", said)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.sent.append(name)
        return 200, JSON, json.dumps(self._metadata(name)).encode()

    def _delete(self, name: str) -> Answer:
        if not (self.folder / name).is_file():
            return refusal(404, "notFound", f"No such object: {self.bucket}/{name}")
        (self.folder / name).unlink()
        return 204, {}, b""

    def _metadata(self, name: str) -> dict[str, str]:
        data = (self.folder / name).read_bytes()
        return {"name": name, "bucket": self.bucket, "size": str(len(data)), "crc32c": _crc32c(data)}


@contextmanager
def serving(root: Path, bucket: str) -> Iterator[Storage]:
    """A storage with one bucket, whose files lie in `root/bucket`."""
    storage = Storage(root, bucket)
    storage.folder.mkdir(parents=True)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = storage.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _any

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    storage.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield storage
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _changed(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def _parts(body: bytes, content_type: str) -> tuple[dict[str, Any], bytes]:
    """Metadata and data of a multipart upload."""
    boundary = content_type.split("boundary=")[1].strip('"').encode()
    _, metadata, data, _ = body.split(b"--" + boundary)
    return json.loads(metadata.split(b"\r\n\r\n", 1)[1]), data.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
