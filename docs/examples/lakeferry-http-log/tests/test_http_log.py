"""The source keeps the promises that Lakeferry asks of every source."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from lakeferry_http_log import HttpLogOptions
from log_server import TOKEN, LogServer

from connectors.base import ReadRequest
from connectors.connection import Connection
from connectors.testing import Row, Sample, SourceFactory, SourceSuite

COLUMNS = {"id": "bigint", "amount": "decimal(12,2)", "note": "string"}


class HttpLogFactory(SourceFactory):
    """Logs with names of their own on a server in this process."""

    product = "HTTP log"

    def __init__(self, source_type: str) -> None:
        super().__init__(source_type)
        self._server = LogServer()

    @property
    def connection(self) -> Connection:
        return Connection(id="shop_log", conn_type="http", host="127.0.0.1", port=self._server.port, password=TOKEN)

    def sample(self) -> Sample:
        dataset = self.empty()
        self.near_name = dataset.options.log
        self._server.logs[dataset.options.log] += [
            '{"id": 9223372036854775807, "amount": 1234567890.12, "note": "日本語 🚢"}',
            '{"id": 2, "amount": -0.10, "note": ""}',
            '{"id": 3, "amount": 1e2, "unknown": true}',
            "{broken",
            '{"id": 4, "amount": 1.005}',
            '{"id": 5, "note": "line\\nbreak \\"quoted\\""}',
            '{"id": 6, "amount": null}',
            '{"id": 7, "amount": 5}',
        ]
        rows = [
            _row("9223372036854775807", "1234567890.12", "日本語 🚢"),
            _row("2", "-0.10", ""),
            _row("3", "100.00", None),
            _row("5", None, 'line\nbreak "quoted"'),
            _row("6", None, None),
            _row("7", "5.00", None),
        ]
        return Sample(dataset, ("id",), rows, ["{broken", "1.005"])

    def empty(self) -> ReadRequest:
        log = f"log-{uuid.uuid4().hex[:8]}"
        self._server.logs[log] = []
        return ReadRequest("conformance", "sample", ("id",), HttpLogOptions(log=log, columns=COLUMNS))

    def add(self, sample: Sample) -> list[Row]:
        self._server.logs[sample.dataset.options.log].append('{"id": 41000, "note": "added"}')
        return [_row("41000", None, "added")]

    def unknown(self, sample: Sample) -> ReadRequest:
        return replace(sample.dataset, options=HttpLogOptions(log="absent", columns=COLUMNS))

    def refused(self) -> Connection:
        return replace(self.connection, password="another-token")

    def down(self) -> Connection:
        return replace(self.connection, port=1)

    def close(self) -> None:
        self._server.close()


def _row(*values: str | None) -> Row:
    return dict(zip(COLUMNS, values, strict=True))


@pytest.fixture(scope="module")
def factory() -> Iterator[SourceFactory]:
    factory = HttpLogFactory("http_log")
    yield factory
    factory.close()


class TestHttpLog(SourceSuite):
    """The tests of `SourceSuite`, on this source."""
