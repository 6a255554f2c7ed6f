"""The current state (curated) where a batch is the state: copied as columns, and merged into from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.lake.curated_copy import write_whole_state
from jobs.lake.java_api import java_table
from jobs.lake.raw_table import advance_main
from tests.e2e.ferry import Ferry, OwnDatabase

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = (
    "id BIGINT PRIMARY KEY, amount DECIMAL(18,2) NOT NULL, `pay.memo` VARCHAR(100), paid_at TIMESTAMP(3) NULL,"
    " at DATETIME(6) NOT NULL, day DATE, KEY (at)"
)
ROWS = 2_000


class State:
    """A table, the pipeline that ferries it, and what curated has of it."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, disposition: str, partition_by: str | None = None) -> None:
        self.ferry, self.database = ferry, database
        self.name = f"s_{database.name}"
        database.execute(f"CREATE TABLE t ({COLUMNS})")
        cursor = "cursor: at\n                lag_seconds: 1" if disposition == "merge" else ""
        partition = f", partition_by: {partition_by}" if partition_by else ""
        self.pipeline = ferry.spec(
            f"""\
            pipeline: {self.name}
            source: {{type: aurora, connection: aurora_payments}}
            datasets:
              - name: {self.name}
                table: {database.name}.t
                primary_key: [id]
                {cursor}
                write_disposition: {disposition}
                bigquery: {{table: {ferry.warehouse_dataset()}.t{partition}}}
            """
        )

    def fill(self) -> None:
        self.database.execute(
            "INSERT INTO t SELECT seq, seq * 7 % 1000 / 100, IF(seq % 3, CONCAT('定期便 🚚 ', seq), NULL),"
            " IF(seq % 4, '2026-03-08 02:30:00.123' + INTERVAL seq SECOND, NULL), '2026-01-01' + INTERVAL seq SECOND,"
            f" '2026-01-01' + INTERVAL seq % 5 DAY FROM seq_1_to_{ROWS}"
        )

    def run(self) -> None:
        """Carry over what there is; small slices, so that the state is of several files."""
        self.database.settle()
        small = self.ferry.settings.model_copy(update={"rows_per_slice": 500})
        ferry = Ferry(self.ferry.folder, self.ferry.environment, small, self.ferry.warehouse, self.ferry.datasets)
        assert ferry.run(self.pipeline, through="check").code == 0

    def at_source(self) -> list[tuple[Any, ...]]:
        return self.database.rows("SELECT id, amount, `pay.memo`, paid_at, at, day FROM t ORDER BY id")

    def in_curated(self) -> list[tuple[Any, ...]]:
        rows = self.ferry.lake_rows("curated", self.name)
        names = ("id", "amount", "pay.memo", "paid_at", "at", "day")
        found = [tuple(row[name] for name in names) for row in sorted(rows, key=lambda row: int(row["id"]))]
        return [(*row[:3], row[3] and row[3].replace(tzinfo=None), *row[4:]) for row in found]

    def files(self) -> list[str]:
        table = self.ferry.catalog.load_table(("curated", self.name))
        return [path.rpartition("/")[2] for path in table.inspect.files()["file_path"].to_pylist()]


def test_a_first_batch_is_the_state_and_later_ones_are_merged_into_it(ferry: Ferry, aurora: OwnDatabase) -> None:
    state = State(ferry, aurora, "merge")
    state.fill()
    state.run()
    assert len(state.at_source()) == ROWS
    assert state.in_curated() == state.at_source()
    assert len(state.files()) == 4
    assert all(name.startswith("slice_") for name in state.files())

    aurora.execute("UPDATE t SET amount = -0.01, `pay.memo` = '', at = UTC_TIMESTAMP(6) WHERE id IN (7, 1999)")
    aurora.execute("INSERT INTO t VALUES (5000, 1, NULL, NULL, UTC_TIMESTAMP(6), NULL)")
    state.run()
    assert len(state.at_source()) == ROWS + 1
    assert state.in_curated() == state.at_source()


def test_a_snapshot_takes_the_place_of_the_one_before(ferry: Ferry, aurora: OwnDatabase) -> None:
    state = State(ferry, aurora, "replace")
    state.fill()
    state.run()
    assert state.in_curated() == state.at_source()
    aurora.execute(f"DELETE FROM t WHERE id > {ROWS // 2}")
    aurora.execute("ALTER TABLE t DROP COLUMN paid_at, ADD COLUMN paid_at TIMESTAMP(3) NULL")
    state.run()
    assert len(state.at_source()) == ROWS // 2
    assert state.in_curated() == state.at_source()


def test_a_state_in_partitions_stands_in_them(ferry: Ferry, aurora: OwnDatabase) -> None:
    state = State(ferry, aurora, "merge", partition_by="day")
    state.fill()
    state.run()
    assert state.in_curated() == state.at_source()
    assert len(state.files()) == 5


def test_a_state_another_run_has_changed_meanwhile_stays(
    ferry: Ferry, aurora: OwnDatabase, spark: SparkSession
) -> None:
    state = State(ferry, aurora, "replace")
    state.fill()
    state.run()
    [first] = ferry.published(state.name)
    before = ferry.catalog.load_table(("curated", state.name))
    main = before.metadata.current_snapshot_id
    assert main is not None
    aurora.execute("DELETE FROM t WHERE id > 10")
    state.run()
    name = f"lake.curated.{state.name}"
    java_table(spark, name).manageSnapshots().createBranch("late", main).commit()
    assert write_whole_state(spark, state.name, first, before, "late", {"lakeferry.consumed-batch": "1"})
    assert not advance_main(spark, java_table(spark, name), "late", main, tags=["consumed"])
    assert len(state.in_curated()) == 10
