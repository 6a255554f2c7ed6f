"""The conformance suite of sources: the promises of `connectors.base.Source` and of the capabilities, as tests.

A third party runs it on its own source, against a real service:

    from connectors.testing import SourceFactory, SourceSuite

    @pytest.fixture(scope="module")
    def factory() -> Iterator[SourceFactory]:
        factory = LedgerFactory("ledger")
        yield factory
        factory.close()

    class TestLedgerSource(SourceSuite):
        pass

It needs `pip install 'lakeferry[testing]'` and Java for Spark.
"""

from __future__ import annotations

import json
import pickle
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from connectors.base import READ_COLUMNS, REJECTED_COLUMN, SLICE_COLUMN, SOURCE_ROWS_COLUMN, ReadPlan
from connectors.capabilities import ArrowSource, KeyScanSource, SamplingSource
from connectors.errors import AccessDenied, ObjectNotFound, ServiceUnavailable
from connectors.versions import columns_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from connectors.testing.factory import Row, Sample, SourceFactory

SECONDS_TO_NAME_A_DEAD_SERVICE = 15


def texts(frame: DataFrame, columns: tuple[str, ...]) -> list[Row]:
    """Rows as Spark's text of each value."""
    from pyspark.sql import functions as F

    kinds = dict(frame.dtypes)
    shown = [
        (F.hex(frame[name]) if kinds[name] == "binary" else frame[name].cast("string")).alias(name) for name in columns
    ]
    return [row.asDict() for row in frame.select(*shown).collect()]


def in_order(rows: list[Row]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)


def good_rows(frame: DataFrame, plan: ReadPlan) -> list[Row]:
    return texts(frame.where(frame[REJECTED_COLUMN].isNull()), tuple(column.name for column in plan.columns))


class SourceSuite:
    """The tests. A subclass has a name that begins with `Test`, and its module the fixtures `factory` and `spark`.

    `spark` is a session in UTC: that of `connectors.testing.spark_session`, or one with the jars that the source needs.
    """

    @pytest.fixture
    def sample(self, factory: SourceFactory) -> Sample:
        return factory.sample()

    def test_ping_names_the_product(self, factory: SourceFactory) -> None:
        assert factory.product in factory.open().ping()

    def test_describe_and_plan_agree_on_the_columns(self, factory: SourceFactory, sample: Sample) -> None:
        source = factory.open()
        described = source.describe(sample.dataset)
        plan = source.plan(sample.dataset, None, None)
        assert described.columns == plan.columns
        assert {column.name for column in plan.columns} == set(sample.rows[0])
        assert set(columns_of(source.version_columns(sample.dataset))) <= {
            column.name for column in (*plan.columns, *source.identity_columns)
        }

    def test_a_plan_survives_being_written_down(self, factory: SourceFactory, sample: Sample) -> None:
        plan = factory.open().plan(sample.dataset, None, None)
        assert ReadPlan.model_validate_json(plan.model_dump_json()) == plan

    def test_slices_together_are_the_whole_and_share_no_row(
        self, factory: SourceFactory, sample: Sample, spark: SparkSession
    ) -> None:
        source = factory.open()
        plan = source.plan(sample.dataset, None, None)
        assert len(plan.slices) > 1
        parts = [good_rows(source.read(spark, sample.dataset, plan.only([slice_.id])), plan) for slice_ in plan.slices]
        together = [row for slice_ in parts for row in slice_]
        assert in_order(together) == in_order(sample.rows)
        keys = Counter(tuple(row[name] for name in sample.key) for row in together)
        assert max(keys.values()) == 1

    def test_rows_arrive_with_slice_and_count(
        self, factory: SourceFactory, sample: Sample, spark: SparkSession
    ) -> None:
        source = factory.open()
        plan = source.plan(sample.dataset, None, None)
        frame = source.read(spark, sample.dataset, plan)
        names = [column.name for column in (*plan.columns, *source.identity_columns)]
        assert frame.columns == [*names, *READ_COLUMNS]
        declared = {column.name: column.spark_type for column in (*plan.columns, *source.identity_columns)}
        assert {name: dict(frame.dtypes)[name] for name in names} == declared
        assert in_order(good_rows(frame, plan)) == in_order(sample.rows)
        counted = source.count(sample.dataset, plan)
        rows: list[Any] = frame.select(SLICE_COLUMN, SOURCE_ROWS_COLUMN).collect()
        assert Counter(row[0] for row in rows) == Counter({slice_: count for slice_, count in counted.items() if count})
        assert set(counted) == {slice_.id for slice_ in plan.slices}
        assert all(row[1] is None or row[1] == counted[row[0]] for row in rows)
        promised = {slice_.id: slice_.expected_rows for slice_ in plan.slices if slice_.expected_rows is not None}
        assert promised == {slice_: counted[slice_] for slice_ in promised}

    def test_what_cannot_be_decoded_arrives_with_its_text(
        self, factory: SourceFactory, sample: Sample, spark: SparkSession
    ) -> None:
        source = factory.open()
        plan = source.plan(sample.dataset, None, None)
        frame = source.read(spark, sample.dataset, plan)
        rejected = [row[0] for row in frame.where(frame[REJECTED_COLUMN].isNotNull()).select(REJECTED_COLUMN).collect()]
        assert len(rejected) == len(sample.rejected)
        assert all(row.reason for row in rejected)
        for text in sample.rejected:
            assert any(text in row.record for row in rejected), text

    def test_a_plan_reads_the_same_rows_after_the_source_moved_on(
        self, factory: SourceFactory, sample: Sample, spark: SparkSession
    ) -> None:
        source = factory.open()
        plan = source.plan(sample.dataset, None, None)
        before = good_rows(source.read(spark, sample.dataset, plan), plan)
        added = factory.add(sample)
        assert in_order(good_rows(source.read(spark, sample.dataset, plan), plan)) == in_order(before)
        following = source.plan(sample.dataset, plan.position, None)
        assert in_order(good_rows(source.read(spark, sample.dataset, following), following)) == in_order(added)

    def test_nothing_new_moves_nothing(self, factory: SourceFactory, sample: Sample) -> None:
        source = factory.open()
        plan = source.plan(sample.dataset, None, None)
        again = source.plan(sample.dataset, plan.position, None)
        assert again.slices == ()
        assert again.position is not None
        assert source.count(sample.dataset, again) == {}

    def test_an_empty_object_is_no_error(self, factory: SourceFactory, spark: SparkSession) -> None:
        source = factory.open()
        dataset = factory.empty()
        plan = source.plan(dataset, None, None)
        assert plan.slices == ()
        assert plan.position is not None
        assert source.read(spark, dataset, plan).count() == 0

    def test_an_unknown_object_is_named(self, factory: SourceFactory, sample: Sample) -> None:
        dataset = factory.unknown(sample)
        with pytest.raises(ObjectNotFound) as caught:
            factory.open().plan(dataset, None, None)
        assert caught.value.pipeline == dataset.pipeline
        assert caught.value.dataset == dataset.name
        if factory.near_name:
            assert factory.near_name in caught.value.choices

    def test_a_service_that_is_down_is_named_in_time(self, factory: SourceFactory, sample: Sample) -> None:
        down = factory.down()
        for attempt in (
            lambda: factory.open(down).ping(),
            lambda: factory.open(down).describe(sample.dataset),
            lambda: factory.open(down).plan(sample.dataset, None, None),
        ):
            began = time.monotonic()
            with pytest.raises(ServiceUnavailable) as caught:
                attempt()
            assert time.monotonic() - began < SECONDS_TO_NAME_A_DEAD_SERVICE
            assert str(down.port) in str(caught.value)

    def test_a_wrong_password_is_reported_and_not_repeated(self, factory: SourceFactory, sample: Sample) -> None:
        refused = factory.refused()
        if refused is None:
            pytest.skip("the source has no login")
        with pytest.raises(AccessDenied) as caught:
            factory.open(refused).plan(sample.dataset, None, None)
        assert refused.id in str(caught.value)
        assert refused.password is not None
        assert refused.password not in str(caught.value)

    def test_slices_read_as_columns_are_the_same_rows(self, factory: SourceFactory, sample: Sample) -> None:
        source = factory.open()
        if not isinstance(source, ArrowSource):
            pytest.skip("the source is no ArrowSource")
        plan = source.plan(sample.dataset, None, None)
        counted = source.count(sample.dataset, plan)
        names = [column.name for column in (*plan.columns, *source.identity_columns)]
        keys, rejected = Counter[tuple[str, ...]](), 0
        with source.connections(plan):
            reader = source.slice_reader(sample.dataset, plan)
            for slice_ in plan.slices:
                # Spark pickles the reader into the task of each slice.
                own = pickle.loads(pickle.dumps(reader.only(slice_.id)))
                with own.open(slice_.id) as opened:
                    rows = [row for batch in opened.batches for row in batch.to_pylist()]
                assert opened.source_rows in (None, len(rows))
                assert len(rows) == counted[slice_.id]
                assert all(list(row) == [*names, REJECTED_COLUMN] for row in rows)
                good = [row for row in rows if row[REJECTED_COLUMN] is None]
                rejected += len(rows) - len(good)
                keys += Counter(tuple(str(row[name]) for name in sample.key) for row in good)
        assert keys == Counter(tuple(str(row[name]) for name in sample.key) for row in sample.rows)
        assert rejected == len(sample.rejected)
        assert source.slices_at_once() >= 1

    def test_a_scan_of_keys_shows_every_key(self, factory: SourceFactory, sample: Sample, spark: SparkSession) -> None:
        source = factory.open()
        if not isinstance(source, KeyScanSource):
            pytest.skip("the source is no KeyScanSource")
        plan = source.plan(sample.dataset, None, None)
        scan = source.plan_key_scan(sample.dataset, plan)
        assert type(scan).model_validate_json(scan.model_dump_json()) == scan
        rows = texts(source.read(spark, sample.dataset, scan.read), sample.key)
        expected = {tuple(row[name] for name in sample.key) for row in sample.rows}
        assert expected <= {tuple(row[name] for name in sample.key) for row in rows}

    def test_samples_are_few_and_have_the_columns(self, factory: SourceFactory, sample: Sample) -> None:
        source = factory.open()
        if not isinstance(source, SamplingSource):
            pytest.skip("the source is no SamplingSource")
        rows = source.sample(sample.dataset, list(sample.key), 2)
        assert len(rows) <= 2
        assert all(len(row) == len(sample.key) for row in rows)

    def test_a_position_can_be_shown(self, factory: SourceFactory, sample: Sample) -> None:
        plan = factory.open().plan(sample.dataset, None, None)
        assert plan.position is not None
        assert isinstance(type(factory.open()).describe_position(plan.position), str)
