"""A first load over years of days, and what becomes of the other datasets where the driver dies all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobs.runtime.driver_end import driver_end
from jobs.spec.reader import load_pipeline
from jobs.stages.check.partition_count import check_partition_count
from tests.e2e.ferry import Ferry, OwnDatabase, events_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = 600
"""With a file open for each, more than a driver of 1 GiB holds; 1,000 are more than one of 2 GiB does."""


@pytest.fixture
def years(ferry: Ferry, aurora: OwnDatabase) -> tuple[str, str, str, str]:
    """The pipeline, its small dataset, its dataset of 600 days with a row each, and the BigQuery dataset of both."""
    aurora.execute("CREATE TABLE s (id INT PRIMARY KEY)")
    aurora.execute("INSERT INTO s VALUES (1)")
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, created_at DATE NOT NULL)")
    aurora.execute(f"INSERT INTO t SELECT seq, date '2015-01-01' + interval seq day FROM seq_1_to_{DAYS}")
    mark, target = aurora.name, ferry.warehouse_dataset()
    name = ferry.spec(
        f"""\
        pipeline: years_{mark}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: s_{mark}
            table: {mark}.s
            primary_key: [id]
            write_disposition: merge
            bigquery: {{table: {target}.s}}
          - name: t_{mark}
            table: {mark}.t
            primary_key: [id]
            write_disposition: merge
            bigquery: {{table: {target}.t, partition_by: created_at}}
        """
    )
    return name, f"s_{mark}", f"t_{mark}", target


def test_a_dead_driver_leaves_no_published_dataset_unloaded(ferry: Ferry, years: tuple[str, str, str, str]) -> None:
    name, small, large, target = years
    died = ferry.process(
        "run",
        name,
        "--run-id=dies",
        LAKEFERRY_CRASH_AT=f"curated.read:{large}",
        LAKEFERRY_DATASETS_IN_PARALLEL="1",
    )
    assert died.returncode == 3
    for word in ("was killed (SIGKILL)", "memory", "LAKEFERRY_SPARK_DRIVER_MEMORY"):
        assert word in died.stderr
    # It died behind publishing and before the receipt of it: the lake says so, and what it holds is loaded.
    assert "Not published" not in died.stderr
    assert [row["id"] for row in ferry.warehouse_rows(f"{target}.s")] == [1]
    assert ferry.warehouse_rows(f"{target}.t", "COUNT(*) AS entries") == [{"entries": DAYS}]
    receipts = {(receipt.stage, receipt.dataset) for receipt in ferry.receipts(name, "dies")}
    assert ("load", small) in receipts
    assert ("load", large) not in receipts

    # The same run goes on, in little memory: a file is open for one day at a time.
    again = ferry.process("run", name, "--run-id=dies", LAKEFERRY_SPARK_DRIVER_MEMORY="1g")
    assert again.returncode == 0, again.stderr
    done = {event["dataset"]: event for event in events_of(again) if event["event"] == "done"}
    assert done[large]["loaded"] == DAYS
    days = ferry.warehouse_rows(f"{target}.t", "COUNT(DISTINCT created_at) AS days, COUNT(*) AS entries")
    assert days == [{"days": DAYS, "entries": DAYS}]
    assert len(ferry.lake_rows("curated", large)) == DAYS


def test_more_partitions_than_a_table_takes_are_not_published(
    ferry: Ferry, aurora: OwnDatabase, spark: SparkSession
) -> None:
    """A load of them would be refused for ever, and later batches would wait behind it."""
    mark, target = aurora.name, ferry.warehouse_dataset()
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, at DATETIME NOT NULL)")
    aurora.execute("INSERT INTO t SELECT seq, '2025-01-01' + INTERVAL seq HOUR FROM seq_1_to_10001")
    name = ferry.spec(
        f"""\
        pipeline: hours_{mark}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: hours_{mark}
            table: {mark}.t
            primary_key: [id]
            write_disposition: merge
            bigquery: {{table: {target}.t, partition_by: at, partition_granularity: hour}}
        """
    )
    refused = ferry.run(name, through="check")
    assert refused.code == 1
    error = refused.receipt("check", name).error or ""
    for word in ("rows of 10001 partitions", "by hour", "takes 10000", "partition_granularity: month"):
        assert word in error
    assert ferry.published(name) == []

    # As many as it takes are healthy, and so are many rows of a few.
    dataset = load_pipeline(ferry.settings.pipelines, name).dataset(name)
    for hours in (10_000, 5):
        at = f"TIMESTAMP_NTZ '2025-01-01 00:00:00' + make_interval(0, 0, 0, 0, id % {hours}) AS at"
        check_partition_count(dataset, 20_000, lambda at=at: spark.range(20_000).selectExpr(at))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("code", "output", "words"),
    [
        (52, "", ["ran out of memory", "LAKEFERRY_SPARK_DRIVER_MEMORY (it is 2g)", "LAKEFERRY_DATASETS_IN_PARALLEL"]),
        (1, "Caused by: java.lang.OutOfMemoryError: Java heap space", ["ran out of memory"]),
        (137, "", ["killed (SIGKILL)", "more memory"]),
        (-9, "", ["killed (SIGKILL)", "more memory"]),
        (None, "Job execution failed. ExitCode: 52. Last few exceptions: …", ["ran out of memory"]),
    ],
)
def test_an_end_by_memory_is_named(code: int | None, output: str, words: list[str]) -> None:
    ended = driver_end(code, output, "2g", 4)
    assert ended is not None
    assert all(word in f"{ended.problem}. {ended.fix}" for word in words)


@pytest.mark.parametrize(
    ("code", "output"),
    [(1, ""), (3, ""), (-15, ""), (143, ""), (1, "-XX:OnOutOfMemoryError='kill -9 %p'"), (None, "ExitCode: 1")],
)
def test_another_end_is_not_blamed_on_memory(code: int | None, output: str) -> None:
    assert driver_end(code, output, "2g", 4) is None
