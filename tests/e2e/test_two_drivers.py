"""Two drivers of one plan, one of them thought dead: the batch is published once, and neither of them fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from jobs.runs.receipts import Stage
from jobs.runtime.fault_points import listening
from tests.e2e.ferry import Ferry, OwnDatabase

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Batch:
    """A batch of three good rows and a bad one, planned, and extracted where `extracted` says so; not checked."""

    def __init__(
        self,
        ferry: Ferry,
        database: OwnDatabase,
        *keys: str,
        extracted: bool = True,
    ) -> None:
        self.ferry, self.name = ferry, f"d_{database.name}"
        self.target = f"{ferry.warehouse_dataset()}.t"
        database.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
        database.insert("t", [(1, 1), (2, 2), (3, 3), (4, -1)])
        ferry.suite(self.name, "rows:\n  - expect_column_values_to_be_between: {column: v, min_value: 0}\n")
        more = f"\n{' ' * 16}".join(keys or ("write_disposition: merge",))
        ferry.spec(
            f"""\
            pipeline: {self.name}
            source: {{type: aurora, connection: aurora_payments}}
            datasets:
              - name: {self.name}
                table: {database.name}.t
                primary_key: [id]
                {more}
                expectations: {self.name}
                bigquery: {{table: {self.target}}}
            """
        )
        self.plan = ferry.plan(self.name, "twice")
        if extracted:
            assert ferry.run_stage(self.plan, "extract", "extract") == 0

    @contextmanager
    def another_driver(self, point: str, first: Stage = "check") -> Iterator[None]:
        """The stages up to check by another driver of the plan, when the first one has come to this point."""
        codes: list[int] = []

        def drive(reached: str, dataset: str) -> None:
            if (reached, dataset) == (point, self.name) and not codes:
                codes.append(-1)
                codes.append(self.ferry.run_stage(self.plan, first, "check"))

        with listening(drive):
            yield
        assert codes == [-1, 0]

    def assert_once(self) -> None:
        check = next(r for r in self.ferry.receipts(self.name, "twice") if r.stage == "check")
        assert (check.verdict, check.published, check.quarantined) == ("done", 3, 1)
        assert [batch.batch for batch in self.ferry.published(self.name)] == [1]
        for namespace in ("raw", "curated"):
            assert sorted(row["id"] for row in self.ferry.lake_rows(namespace, self.name)) == [1, 2, 3]
        assert len(self.ferry.lake_rows("quarantine", self.name)) == 1
        assert self.ferry.run_stage(self.plan, "load", "load") == 0
        assert sorted(row["id"] for row in self.ferry.warehouse_rows(self.target, "id")) == [1, 2, 3]


@pytest.mark.parametrize("point", ["check.proved", "publish.read", "publish.commit"])
def test_another_driver_publishes_first(ferry: Ferry, aurora: OwnDatabase, point: str) -> None:
    batch = Batch(ferry, aurora)
    with batch.another_driver(point):
        assert ferry.run_stage(batch.plan, "check", "check") == 0
    batch.assert_once()


@pytest.mark.parametrize("reconcile", ["fingerprint", "off"])
def test_a_driver_that_reads_after_another_has_published(ferry: Ferry, aurora: OwnDatabase, reconcile: str) -> None:
    keys = ("cursor: id", "write_disposition: append", f"reconcile: {reconcile}")
    batch = Batch(ferry, aurora, *keys, extracted=False)
    with batch.another_driver("extract.before", first="extract"):
        assert ferry.run_stage(batch.plan, "extract", "check") == 0
    batch.assert_once()


def test_a_driver_that_sets_aside_after_another_has_published(ferry: Ferry, aurora: OwnDatabase) -> None:
    batch = Batch(ferry, aurora, "cursor: id", "write_disposition: append", extracted=False)
    with batch.another_driver("extract.quarantining", first="extract"):
        assert ferry.run_stage(batch.plan, "extract", "check") == 0
    batch.assert_once()


def test_both_follow_a_compaction(ferry: Ferry, aurora: OwnDatabase, spark: SparkSession) -> None:
    batch = Batch(ferry, aurora)
    # Maintenance that commits: main is no ancestor of the proved head any more.
    spark.sql(f"INSERT INTO lake.raw.{batch.name} SELECT * FROM lake.raw.{batch.name} WHERE FALSE")
    with batch.another_driver("publish.following"):
        assert ferry.run_stage(batch.plan, "check", "check") == 0
    batch.assert_once()
