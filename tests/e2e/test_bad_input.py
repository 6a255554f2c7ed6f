"""A user's mistakes and services that are down: one clear message, the right exit code, nothing begun."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from connectors.connection import find_connection
from jobs.lake.catalog import find_table
from jobs.lake.names import RAW
from jobs.runs.receipts import Receipt
from tests.e2e.ferry import Ferry, OwnDatabase

SPEC = """\
pipeline: {name}
source: {{type: {type}, connection: {connection}}}
datasets:
  - name: {name}
    {where}
    write_disposition: {disposition}
    bigquery: {{table: nowhere.{name}}}
{more}"""


@pytest.fixture
def write(ferry: Ferry, unique_name: Callable[[str], str]) -> Callable[..., str]:
    def made(
        where: str,
        *,
        type: str = "aurora",
        connection: str = "aurora_payments",
        disposition: str = "append",
        more: str = "",
    ) -> str:
        name = unique_name("mistake")
        if type in ("aurora", "tidb") and "primary_key" not in where:
            where += "\n    primary_key: [id]"
        return ferry.spec(
            SPEC.format(name=name, type=type, connection=connection, where=where, disposition=disposition, more=more)
        )

    return made


def _refused(ferry: Ferry, pipeline: str, code: int, *words: str, **environment: str) -> str:
    started = time.monotonic()
    ran = ferry.cli("run", pipeline, **environment)
    # The client libraries would try for ten minutes; the process's own start is in here, too.
    assert time.monotonic() - started < 90
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
    for word in words:
        assert word in ran.stderr, ran.stderr
    # Where only the source could say what is wrong, its receipt says so; nothing moved.
    left = [
        Receipt.model_validate_json(ferry.document(key)) for key in ferry.documents_of(pipeline) if "receipts/" in key
    ]
    assert {(receipt.stage, receipt.verdict) for receipt in left} <= {("plan", "failed")}
    assert find_table(ferry.catalog, RAW, pipeline) is None
    return ran.stderr


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("table: a.b\n    colour: red", [":6", "unknown key 'colour'", "cursor"]),
        ("table: a.b\n    crusor: x", [":6", "unknown key 'crusor'", "Did you mean cursor?"]),
        ("primary_key: [id]", ["key 'table' is missing"]),
        ("table: a.b\n    lag_seconds: soon", [":6", "lag_seconds"]),
    ],
)
def test_a_spec_that_is_wrong(ferry: Ferry, write: Callable[..., str], where: str, words: list[str]) -> None:
    name = write(where)
    _refused(ferry, name, 2, f"{name}.yaml", *words)


def test_two_datasets_of_one_name(ferry: Ferry, write: Callable[..., str]) -> None:
    keys = "table: a.b, primary_key: [id], write_disposition: append, bigquery: {table: a.b}"
    name = write("table: a.b", more=f"  - {{name: mistake_twice, {keys}}}\n" * 2)
    _refused(ferry, name, 2, f"{name}.yaml:10", "two datasets have this name", "mistake_twice")


def test_a_table_and_a_column_that_are_not_there(ferry: Ferry, write: Callable[..., str], aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE payments (id INT PRIMARY KEY, created_at DATETIME)")
    _refused(ferry, write(f"table: {aurora.name}.payment"), 2, f"{aurora.name}.payment", "payments")
    name = write(f"table: {aurora.name}.payments\n    cursor: updated_at")
    _refused(ferry, name, 2, name, "updated_at", "created_at")
    name = write(f"table: {aurora.name}.payments\n    primary_key: [ident]", disposition="merge")
    _refused(ferry, name, 2, name, "ident", "created_at")


def test_a_topic_that_is_not_there(ferry: Ferry, write: Callable[..., str]) -> None:
    name = write(
        "topic: nobody_writes_this\n    format: json\n    columns: {a: string}", type="kafka", connection="kafka_events"
    )
    _refused(ferry, name, 2, name, "nobody_writes_this")


def test_a_bucket_that_is_not_there(ferry: Ferry, write: Callable[..., str]) -> None:
    name = write(
        "path: s3://no-such-bucket-here/x/\n    suffix: .csv\n    format: csv\n    columns: {a: string}",
        type="s3",
        connection="s3_landing",
    )
    _refused(ferry, name, 2, name, "no-such-bucket-here")


def test_a_wrong_password(ferry: Ferry, write: Callable[..., str]) -> None:
    found = find_connection("aurora_payments")
    wrong = f"mysql://{found.login}:not-the-password@{found.host}:{found.port}/"
    said = _refused(ferry, write("table: a.b"), 2, "aurora_payments", AIRFLOW_CONN_AURORA_PAYMENTS=wrong)
    assert "not-the-password" not in said


def test_a_connection_nobody_defined(ferry: Ferry, write: Callable[..., str]) -> None:
    _refused(ferry, write("table: a.b", connection="no_such_connection"), 2, "AIRFLOW_CONN_NO_SUCH_CONNECTION")


@pytest.mark.parametrize(
    ("where", "type", "connection", "uri"),
    [
        ("table: a.b", "aurora", "aurora_payments", "mysql://u:p@127.0.0.1:{port}/"),
        ("table: a.b", "tidb", "tidb_wallet", "mysql://u:p@127.0.0.1:{port}/"),
        ("topic: t\n    format: json\n    columns: {a: string}", "kafka", "kafka_events", "kafka://127.0.0.1:{port}"),
        (
            "path: s3://b/x/\n    suffix: .csv\n    format: csv\n    columns: {a: string}",
            "s3",
            "s3_landing",
            "aws://k:s@/?region_name=us-east-1&endpoint_url=http%3A%2F%2F127.0.0.1%3A{port}",
        ),
    ],
)
def test_a_source_that_is_down_is_named(
    ferry: Ferry, write: Callable[..., str], where: str, type: str, connection: str, uri: str
) -> None:
    port = _closed_port()
    variable = f"AIRFLOW_CONN_{connection.upper()}"
    _refused(
        ferry,
        write(where, type=type, connection=connection),
        3,
        connection,
        str(port),
        **{variable: uri.format(port=port)},
    )


def test_a_lake_that_is_down_is_named(ferry: Ferry, write: Callable[..., str]) -> None:
    address = f"http://127.0.0.1:{_closed_port()}"
    ran = ferry.process("run", write("table: a.b"), AWS_ENDPOINT_URL_S3=address)
    assert ran.returncode == 3
    assert ferry.settings.lake in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_unknown_pipeline_and_a_window_that_is_none(
    ferry: Ferry, aurora: OwnDatabase, write: Callable[..., str]
) -> None:
    ran = ferry.cli("run", "paymints")
    assert ran.returncode == 2
    assert "no pipeline 'paymints'" in ran.stderr
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, updated_at DATETIME, KEY (updated_at))")
    name = write(f"table: {aurora.name}.t\n    cursor: updated_at")
    for start, end in (("yesterday", "2026-01-01"), ("2026-01-02", "2026-01-01")):
        ran = ferry.cli("run", name, "--start", start, "--end", end)
        assert ran.returncode == 2, ran.stdout
        assert start in ran.stderr


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
