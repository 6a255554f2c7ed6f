"""Faults that reconciliation must catch: each is planted between the server and the lake, or in the lake's files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark import cloudpickle
from pyspark.sql import functions as F

from connectors.base import OpenSlice, SliceReader
from connectors.mysql.source import MySQLSource
from jobs.lake.raw_table import RawTable
from jobs.runtime.fault_points import listening
from tests.e2e.ferry import Ferry, OwnDatabase

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Row = dict[str, Any]
Fault = Callable[[list[Row]], list[Row]]
# Spark's workers cannot import a test.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def _changed(column: str, change: Callable[[Row], Any]) -> Fault:
    """Row 2 gets another value."""
    return lambda rows: [row | {column: change(row)} if row["id"] == 2 else row for row in rows]


def _swapped(rows: list[Row]) -> list[Row]:
    memos = {row["id"]: row["memo"] for row in rows}
    return [row | {"memo": memos[{2: 3, 3: 2}.get(row["id"], row["id"])]} for row in rows]


FAULTS: dict[str, tuple[Fault, str]] = {
    "a row dropped": (
        lambda rows: [row for row in rows if row["id"] != 2],
        "the source has 4 rows, raw 3 .*row id=2 did not come",
    ),
    "a row doubled": (
        lambda rows: [*rows, *(row for row in rows if row["id"] == 2)],
        "the source has 4 rows, raw 5 .*row id=2 came 2 times",
    ),
    "two rows' values swapped": (_swapped, "2 of 4 rows .*row id=2 differs in memo; row id=3 differs in memo"),
    "a decimal's last digit": (
        _changed("amount", lambda row: Decimal("20.01")),
        "1 of 4 rows .*row id=2 differs in amount",
    ),
    "a blank padded": (_changed("memo", lambda row: "two "), "row id=2 differs in memo"),
    "a time moved by an hour": (_changed("at", lambda row: row["at"] + timedelta(hours=1)), "row id=2 differs in at"),
    "a text cut at 255": (_changed("story", lambda row: row["story"][:255]), "row id=2 differs in story"),
    "a NULL turned empty": (_changed("note", lambda row: ""), "row id=2 differs in note"),
    "values of two columns swapped": (_changed("note", lambda row: row["memo"]), "row id=2 differs in note"),
}


class FaultyReader(SliceReader):
    """A reader with a fault between the server's rows and their taker."""

    def __init__(self, whole: SliceReader, fault: Fault) -> None:
        self._whole, self._fault = whole, fault

    @property
    def schema(self) -> pa.Schema:
        return self._whole.schema

    def only(self, slice_id: int) -> FaultyReader:
        return FaultyReader(self._whole.only(slice_id), self._fault)

    @contextmanager
    def open(self, slice_id: int) -> Iterator[OpenSlice]:
        with self._whole.open(slice_id) as opened:
            batches = (
                pa.RecordBatch.from_pylist(self._fault(batch.to_pylist()), schema=self.schema)
                for batch in opened.batches
            )
            yield OpenSlice(opened.source_rows, batches)

    def altered(self, batch: pa.RecordBatch) -> int:
        return self._whole.altered(batch)


class Ledger:
    """A table of four rows and the pipeline that ferries it."""

    def __init__(
        self,
        ferry: Ferry,
        database: OwnDatabase,
        more: str = "",
        disposition: str = "replace",
        source: str = "type: aurora, connection: aurora_payments",
    ) -> None:
        self.ferry, self.database = ferry, database
        self.name = f"r_{database.name}"
        database.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, amount DECIMAL(18,2), memo VARCHAR(20), at DATETIME(6),"
            " story TEXT, note VARCHAR(20))"
        )
        words = ("one", "two", "three", "four")
        database.insert(
            "t", [(n, f"{n}0.00", words[n - 1], "2026-11-01 01:30:00.5", "物語" * 200, None) for n in range(1, 5)]
        )
        ferry.spec(
            f"""\
            pipeline: {self.name}
            source: {{{source}}}
            datasets:
              - name: {self.name}
                table: {database.name}.t
                primary_key: [id]
                write_disposition: {disposition}
                {more}
                bigquery: {{table: {ferry.warehouse_dataset()}.t}}
            """
        )

    def extract(self, run_id: str) -> tuple[int, str]:
        """Extract and check in this process: the exit code and what the failed receipt says."""
        plan = self.ferry.plan(self.name, run_id)
        code = self.ferry.run_stage(plan, "extract", "check")
        failed = [r for r in self.ferry.receipts(self.name, run_id) if r.verdict == "failed"]
        return code, failed[-1].error or "" if failed else ""


def _plant(monkeypatch: pytest.MonkeyPatch, next_fault: Callable[[], Fault | None]) -> None:
    """Have each read but that of bare keys, which narrowing down asks for, go through the next fault."""
    healthy = MySQLSource.slice_reader

    def slice_reader(source: Any, dataset: Any, plan: Any, fingerprint: str = "nothing", **more: Any) -> SliceReader:
        whole = healthy(source, dataset, plan, fingerprint, **more)  # type: ignore[arg-type]
        fault = next_fault() if fingerprint != "nothing" or "counted" in more else None
        return FaultyReader(whole, fault) if fault else whole

    monkeypatch.setattr(MySQLSource, "slice_reader", slice_reader)


@pytest.mark.parametrize(
    ("server", "source", "disposition"),
    [
        ("aurora", "type: aurora, connection: aurora_payments", "replace"),
        ("aurora", "type: aurora, connection: aurora_payments", "merge"),
        ("tidb", "type: tidb, connection: tidb_wallet", "replace"),
    ],
)
def test_what_is_altered_on_the_way_is_caught_and_named(
    ferry: Ferry,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    source: str,
    disposition: str,
) -> None:
    # A replace goes into the lake's files as columns, a merge without a cursor as Spark's rows.
    ledger = Ledger(ferry, request.getfixturevalue(server), "reads: 1", disposition, source)
    for number, (what, (fault, told)) in enumerate(FAULTS.items()):
        with monkeypatch.context() as faulty:
            _plant(faulty, lambda fault=fault: fault)
            code, error = ledger.extract(f"faulty-{number}")
        assert code == 1, what
        if disposition == "merge":
            # Rows that earlier batches hold do not come either: of one that is lost only the count is known.
            told = told.removesuffix(" .*row id=2 did not come")
        with pytest.raises(AssertionError, match=told):
            raise AssertionError(error)
        assert "20.01" not in error, "values are not told"
    assert ledger.ferry.published(ledger.name) == []
    assert ledger.extract("healthy")[0] == 0
    assert [batch.rows for batch in ledger.ferry.published(ledger.name)] == [4]


WRITTEN: dict[str, Callable[[DataFrame], DataFrame]] = {
    "a decimal's last digit": lambda rows: rows.withColumn(
        "amount", F.expr("if(id = 2, cast(20.01 as decimal(18,2)), amount)")
    ),
    "a NULL turned empty": lambda rows: rows.withColumn("note", F.expr("if(id = 2, '', note)")),
    "values of two columns swapped": lambda rows: rows.withColumn("note", F.expr("if(id = 2, memo, note)")),
}


def test_what_spark_alters_as_it_writes_is_caught(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(ferry, aurora, "reads: 1", "merge")
    append = RawTable.append
    for what, fault in WRITTEN.items():
        with monkeypatch.context() as faulty:
            faulty.setattr(RawTable, "append", lambda self, rows, *a, fault=fault: append(self, fault(rows), *a))
            code, error = ledger.extract(f"written {what}")
        assert code == 1, what
        assert "the lake's files do not hold the 4 rows that were read" in error
    assert ledger.ferry.published(ledger.name) == []


def _with_another_decimal(body: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(body))
    rows = [row | {"amount": Decimal("20.01")} if row["id"] == 2 else row for row in table.to_pylist()]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("alter", [_with_another_decimal, None], ids=["another decimal", "gone"])
def test_a_file_that_is_altered_before_check_is_caught(
    ferry: Ferry, aurora: OwnDatabase, alter: Callable[[bytes], bytes] | None
) -> None:
    ledger = Ledger(ferry, aurora)
    plan = ferry.plan(ledger.name, "altered")
    assert ferry.run_stage(plan, "extract", "extract") == 0
    table = ferry.catalog.load_table(("raw", ledger.name))
    bucket, _, prefix = table.location().removeprefix("s3://").partition("/")
    [file] = boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=f"{prefix}/data/")
    if alter is None:
        file.delete()
    else:
        file.Object().put(Body=alter(file.get()["Body"].read()))
    assert ferry.run_stage(plan, "check", "check") == 1
    [failed] = [receipt for receipt in ferry.receipts(ledger.name, "altered") if receipt.verdict == "failed"]
    assert "slice 0: the lake's files do not hold the 4 rows that were read" in (failed.error or "")
    assert ferry.published(ledger.name) == []
    assert ledger.extract("altered")[0] == 0
    assert [batch.rows for batch in ferry.published(ledger.name)] == [4]


def test_a_fault_that_passes_is_mended_by_reading_again(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(ferry, aurora)
    faults = [FAULTS["a blank padded"][0], FAULTS["a row dropped"][0]]
    _plant(monkeypatch, lambda: faults.pop() if faults else None)
    assert ledger.extract("twice")[0] == 0
    assert faults == []
    assert [batch.rows for batch in ferry.published(ledger.name)] == [4]


def test_a_slice_is_taken_back_and_the_others_stay(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run id this short is a bound of its files as it is: Iceberg can drop whole files for a DELETE.
    small = replace(ferry, settings=ferry.settings.model_copy(update={"rows_per_slice": 2}))
    ledger = Ledger(small, aurora)
    faults = [FAULTS["a blank padded"][0]]
    _plant(monkeypatch, lambda: faults.pop() if faults else None)
    read: list[str] = []
    with listening(lambda point, _: read.append(point)):
        assert ledger.extract("nightly")[0] == 0
    assert faults == []
    assert [batch.rows for batch in ferry.published(ledger.name)] == [4]
    assert len(ferry.lake_rows("raw", ledger.name)) == 4
    # Two slices at once, then the one that was taken back.
    assert read.count("extract.appended") == 2


def test_every_slice_that_does_not_hold_is_named_and_the_first_looked_into(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(ferry, settings=ferry.settings.model_copy(update={"rows_per_slice": 2}))
    ledger = Ledger(small, aurora, "reads: 1")
    aurora.insert("t", [(n, "1.00", "memo", "2026-11-01", "story", None) for n in range(5, 9)])

    def padded(rows: list[Row]) -> list[Row]:
        return [row | {"memo": f"{row['memo']} "} if row["id"] in (3, 7) else row for row in rows]

    with monkeypatch.context() as faulty:
        _plant(faulty, lambda: padded)
        code, error = ledger.extract("faulty")
    assert code == 1
    plan = small.plan(ledger.name, "planned")
    assert len(plan.datasets[0].source.slices) == 4  # type: ignore[union-attr]
    assert "slice 1: 1 of 2 rows did not arrive as the source has them (row id=3 differs in memo)" in error
    assert "; other slices do not reconcile either: 3" in error
    assert ferry.published(ledger.name) == []


def test_what_proof_costs_is_told(ferry: Ferry, aurora: OwnDatabase) -> None:
    ledger = Ledger(ferry, aurora)
    assert ledger.extract("proved")[0] == 0
    for stage in ("extract", "check"):
        [receipt] = [receipt for receipt in ferry.receipts(ledger.name, "proved") if receipt.stage == stage]
        assert receipt.details.proof_seconds > 0, stage


@pytest.mark.parametrize(("reconcile", "caught"), [("counts", {"a row dropped"}), ("off", set())])
def test_the_spec_may_ask_for_less(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch, reconcile: str, caught: set[str]
) -> None:
    ledger = Ledger(ferry, aurora, f"reconcile: {reconcile}")
    for what in ("a row dropped", "a blank padded"):
        fault = FAULTS[what][0]
        with monkeypatch.context() as faulty:
            _plant(faulty, lambda fault=fault: fault)
            assert ledger.extract(f"less {what}")[0] == (1 if what in caught else 0)
