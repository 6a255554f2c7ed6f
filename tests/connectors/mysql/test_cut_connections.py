"""Connections that break in the middle of a read: the slice is read again, it alone, and every row arrives once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from connectors.errors import ConfigurationError, ServiceError, ServiceUnavailable
from connectors.mysql.sessions import session
from connectors.mysql.slice_reader import MySQLSliceReader
from jobs.lake.spark_session import TASK_ATTEMPTS, retrying_master
from jobs.runs.plan_document import Plan
from tests.connectors.mysql.conftest import Server
from tests.e2e.ferry import Ferry
from tests.support.mysql.cutting_proxy import HOST, CuttingProxy, Passage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS = 30_000
NOTE = 2_000
FIRST_SLICE, INSIDE_IT = " slice 0 */", 500_000
"""The first slice has about 20 MB: more than all sockets on the way hold, so after that many bytes of its
answer the server is still sending."""


@pytest.fixture
def proxy(aurora: Server) -> Iterator[CuttingProxy]:
    made = CuttingProxy(aurora.connection.host or "", aurora.connection.port or 0)
    yield made
    made.close()


def large_table(server: Server) -> str:
    """30,000 rows of 2,000 bytes and more, each with a text of its own."""
    table = server.table("id INT PRIMARY KEY, note VARCHAR(3000) NOT NULL")
    server.run(f"USE {server.database}")
    server.run(f"INSERT INTO {table} SELECT seq, CONCAT(seq, REPEAT('x', {NOTE})) FROM seq_1_to_{ROWS}")
    return table


@dataclass
class Shipment:
    """A pipeline of one dataset, planned, whose connection goes through the proxy."""

    ferry: Ferry
    name: str
    plan: Plan

    def extract(self) -> int:
        return self.ferry.run_stage(self.plan, "extract", "check")

    def slices(self) -> dict[int, int]:
        """Each slice, read once."""
        [dataset] = self.plan.datasets
        assert dataset.source is not None
        assert len(dataset.source.slices) > 1
        return {piece.id: 1 for piece in dataset.source.slices}

    def arrived(self) -> None:
        """Every row is published, once, with its own text."""
        assert [batch.batch for batch in self.ferry.published(self.name)] == [1]
        rows = sorted((row["id"], row["note"]) for row in self.ferry.lake_rows("raw", self.name))
        assert rows == [(n, f"{n}{'x' * NOTE}") for n in range(1, ROWS + 1)]


@pytest.fixture
def shipment(
    request: pytest.FixtureRequest, ferry: Ferry, aurora: Server, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> Shipment:
    """A shipment of a dataset that replaces, or has the requested write disposition, over so many connections."""
    disposition, connections = getattr(request, "param", ("replace", 4))
    table = large_table(aurora)
    name = "cut_" + table.rpartition("_")[2]
    login, password = aurora.connection.login, aurora.connection.password
    address = f"mysql://{login}:{password}@{HOST}:{proxy.port}/?read_timeout_seconds=2&max_connections={connections}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", address)
    small = replace(ferry, settings=ferry.settings.model_copy(update={"rows_per_slice": 10_000}))
    small.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: {name}}}
        datasets:
          - name: {name}
            table: {table}
            primary_key: [id]
            write_disposition: {disposition}
            bigquery: {{table: {name}.t}}
        """
    )
    return Shipment(small, name, small.plan(name, "run"))


@pytest.mark.parametrize("harm", ["cut", "kill", "stall"])
def test_a_slice_whose_connection_breaks_is_read_again_alone(
    shipment: Shipment, proxy: CuttingProxy, aurora: Server, harm: str
) -> None:
    ways: dict[str, Callable[[Passage], None]] = {
        "cut": Passage.cut,
        "kill": lambda passage: aurora.run(f"KILL {passage.thread_id}") and None,
        "stall": Passage.stall,
    }
    proxy.harm(ways[harm], asked=FIRST_SLICE, after_bytes=INSIDE_IT)
    assert shipment.extract() == 0
    assert proxy.harmed == 1
    assert proxy.reads_of_slices() == {**shipment.slices(), 0: 2}
    shipment.arrived()


# A merge without a cursor goes through Spark's rows; over one connection one task reads all its slices.
@pytest.mark.parametrize("shipment", [("merge", 1)], indirect=True)
@pytest.mark.parametrize("harm", [Passage.cut, Passage.stall])
def test_of_several_slices_of_a_task_the_one_that_breaks_is_read_again_alone(
    shipment: Shipment, proxy: CuttingProxy, harm: Callable[[Passage], None]
) -> None:
    proxy.harm(harm, asked=" slice 1 */", after_bytes=INSIDE_IT)
    assert shipment.extract() == 0
    assert proxy.harmed == 1
    assert proxy.reads_of_slices() == {**shipment.slices(), 1: 2}
    shipment.arrived()


def test_a_connection_that_always_breaks_ends_in_a_failure_outside_and_nothing_is_published(
    shipment: Shipment, proxy: CuttingProxy, capfd: pytest.CaptureFixture[str]
) -> None:
    proxy.harm(Passage.cut, asked=FIRST_SLICE, after_bytes=INSIDE_IT, times=1_000)
    assert shipment.extract() == 3
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith(f"pipeline {shipment.name}")]
    assert len(told) == 1
    assert f"{shipment.name} ({HOST}:{proxy.port}) broke off in the middle of a read" in told[0]
    assert proxy.reads_of_slices()[0] == TASK_ATTEMPTS
    assert shipment.ferry.published(shipment.name) == []
    proxy.harm(Passage.cut, asked="", after_bytes=0, times=0)
    assert shipment.extract() == 0
    shipment.arrived()


def test_a_server_that_stalls_in_the_middle_of_a_read_is_told(
    aurora: Server, spark: SparkSession, proxy: CuttingProxy
) -> None:
    dataset = aurora.dataset(large_table(aurora))
    connection = replace(aurora.connection, port=proxy.port, extra={"read_timeout_seconds": "1"})
    source = aurora.source(connection=connection)
    plan = source.plan(dataset, None, None)
    rows = source.read(spark, dataset, plan)
    proxy.harm(Passage.stall, asked=FIRST_SLICE, after_bytes=INSIDE_IT, times=1_000)
    stopped = "stopped answering in the middle of a read"
    with pytest.raises(ServiceUnavailable, match=stopped) as caught, source.connections(plan):
        rows.write.format("noop").mode("overwrite").save()
    assert "raise read_timeout_seconds (1) in AIRFLOW_CONN_AURORA_PAYMENTS" in str(caught.value)
    assert proxy.harmed == TASK_ATTEMPTS


def test_what_the_server_says_in_the_middle_of_the_rows_is_told(aurora: Server) -> None:
    dataset = aurora.dataset(large_table(aurora))
    source = aurora.source()
    reader = source.slice_reader(dataset, source.plan(dataset, None, None))
    mark = "/* lakeferry things slice 0 */"
    with reader.open(0) as piece:
        next(piece.batches)
        [(thread,)] = aurora.run(
            "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND INSTR(info, %s)", [mark]
        )
        aurora.run(f"KILL QUERY {thread}")
        with pytest.raises(ServiceError, match="failed with error 1317: Query execution was interrupted") as caught:
            list(piece.batches)
    assert (caught.value.pipeline, caught.value.dataset) == ("tests", "things")


def test_a_connection_cut_in_the_middle_is_told_without_spark(aurora: Server, proxy: CuttingProxy) -> None:
    dataset = aurora.dataset(large_table(aurora))
    source = aurora.source(connection=replace(aurora.connection, port=proxy.port, extra={"read_timeout_seconds": "1"}))
    reader = source.slice_reader(dataset, source.plan(dataset, None, None))
    for harm, words in ((Passage.cut, "broke off"), (Passage.stall, "stopped answering")):
        proxy.harm(harm, asked=FIRST_SLICE, after_bytes=INSIDE_IT, times=proxy.harmed + 1)
        with pytest.raises(ServiceUnavailable, match=f"{words} in the middle of a read"), reader.open(0) as piece:
            list(piece.batches)


def test_a_table_altered_right_after_the_snapshot_is_read_at_the_next(aurora: Server) -> None:
    table = aurora.table("id INT PRIMARY KEY")
    aurora.run(f"INSERT INTO {table} VALUES (1)")
    source, dataset = aurora.source(), aurora.dataset(table)
    reader = source.slice_reader(dataset, source.plan(dataset, None, None))
    assert isinstance(reader, MySQLSliceReader)
    slow = replace(reader, transaction=(*reader.transaction, "DO SLEEP(1)"))
    alter = threading.Timer(0.4, lambda: aurora.run(f"ALTER TABLE {table} ADD COLUMN added INT, ALGORITHM = COPY"))
    began = time.monotonic()
    alter.start()
    with slow.open(0) as piece:
        assert piece.source_rows == 1
        assert [batch.num_rows for batch in piece.batches] == [1]
    assert time.monotonic() - began > 2
    alter.join()


def test_a_server_that_takes_connections_and_says_nothing_is_told_when_planning(aurora: Server) -> None:
    with socket.create_server((HOST, 0)) as silent:
        connection = replace(aurora.connection, port=silent.getsockname()[1])
        with pytest.raises(ServiceUnavailable, match=r"does not answer: .*timed out"):
            aurora.source(connection=connection).plan(aurora.dataset("shop.payments"), None, None)
    assert session.CONNECT_TIMEOUT + session.SHORT_READ_TIMEOUT < 15


@pytest.mark.parametrize("seconds", ["0", "-1", "1.5", "soon", "86401"])
def test_a_timeout_that_is_none_is_refused(aurora: Server, seconds: str) -> None:
    connection = replace(aurora.connection, extra={"read_timeout_seconds": seconds})
    with pytest.raises(ConfigurationError, match="read_timeout_seconds is"):
        aurora.source(connection=connection).plan(aurora.dataset("shop.payments"), None, None)


@pytest.mark.parametrize(
    ("master", "tried"),
    [
        ("local", "local[1,4]"),
        ("local[2]", "local[2,4]"),
        ("local[*]", "local[*,4]"),
        ("local[3,1]", "local[3,1]"),
        ("yarn", "yarn"),
        ("spark://host:7077", "spark://host:7077"),
    ],
)
def test_a_task_is_tried_as_often_here_as_on_a_cluster(master: str, tried: str) -> None:
    assert retrying_master(master) == tried
