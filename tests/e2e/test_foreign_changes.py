"""Changes to the lake's tables by other tools and other hands: harmless, or refused by name with the way out."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from connectors.errors import LakeAltered, SettingError
from jobs.lake.batch_log import CONSUMED, PREFIX, History, properties_of
from jobs.lake.catalog import ensure_namespaces, find_table, open_catalog
from jobs.lake.foreign_changes import verified_batches
from jobs.lake.spark_session import session_with_properties
from jobs.runs.receipts import Stage
from jobs.runtime.settings import Settings
from tests.e2e.ferry import Ferry, OwnDatabase, Ran
from tests.e2e.test_increments import Payments

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Shared:
    """Payments of which two batches are delivered, and somebody else's SQL on their tables.

    Args:
        through: the last stage of each run.
    """

    def __init__(self, ferry: Ferry, database: OwnDatabase, spark: SparkSession, *, through: Stage = "load") -> None:
        self._through = through
        self.payments = Payments(ferry, database, "aurora")
        self.ferry, self.spark, self.name = ferry, spark, self.payments.name
        began = database.now() - timedelta(hours=1)
        for identity in (1, 2, 3):
            self.payments.put(identity, "1.00", "old", began + timedelta(minutes=identity))
        assert self.run().code == 0
        self.change(2, 4)
        assert self.run().code == 0

    def change(self, *identities: int) -> None:
        """Write these payments now; the next run finds them."""
        for identity in identities:
            self.payments.put(identity, f"{identity}.50", "changed", self.payments.database.now())
        self.payments.database.settle()

    def run(self) -> Ran:
        return self.ferry.run(self.name, through=self._through)

    def sql(self, statement: str) -> None:
        self.spark.sql(statement.format(raw=f"raw.{self.name}", curated=f"curated.{self.name}"))

    def compact_and_expire(self, times: int = 2) -> None:
        """What AWS Glue's optimizer does by default, twice: no snapshot of ours stays in the history of main."""
        for table in ("raw", "curated"):
            for _ in range(times):
                name = f"{table}.{self.name}"
                self.sql(
                    f"CALL lake.system.rewrite_data_files(table => '{name}', options => map('rewrite-all', 'true'))"
                )
        self.expire()

    def expire(self) -> None:
        """Expire all snapshots that no tag and no branch keeps."""
        for table in ("raw", "curated"):
            name = f"{table}.{self.name}"
            self.sql(
                f"CALL lake.system.expire_snapshots(table => '{name}', retain_last => 1,"
                " older_than => TIMESTAMP '2100-01-01 00:00:00')"
            )

    def assert_refused(self, ran: Ran, *words: str) -> None:
        """The run names what was done, and nothing of it was published or loaded."""
        assert ran.code == 2
        error = ran.plan.failures[self.name]
        assert error.error_type == "LakeAltered"
        for word in (*words, self.name):
            assert word in error.error

    def assert_whole(self) -> None:
        source = self.payments.at_source()
        assert self.payments.in_warehouse() == source
        rows = self.ferry.lake_rows("curated", self.name)
        assert {row["id"]: (row["amount"], row["memo"], row["updated_at"]) for row in rows} == source
        assert len(rows) == len(source)


@pytest.fixture
def shared(ferry: Ferry, aurora: OwnDatabase, spark: SparkSession) -> Shared:
    return Shared(ferry, aurora, spark)


def test_a_compacted_and_expired_lake_goes_on_from_its_position(shared: Shared) -> None:
    shared.compact_and_expire()
    history = shared.ferry.catalog.load_table(("raw", shared.name)).history()
    assert len(history) >= 1
    shared.change(1, 5)
    ran = shared.run()
    assert ran.code == 0
    [entry] = ran.plan.datasets
    assert entry.batch == 3
    assert entry.window is not None
    assert entry.window.start is not None
    assert ran.receipt("check", shared.name).published == 2
    shared.assert_whole()
    shared.compact_and_expire()
    shared.change(3)
    assert shared.run().receipt("check", shared.name).published == 1
    shared.assert_whole()
    assert [batch.batch for batch in shared.ferry.published(shared.name)] == [1, 2, 3, 4]


def test_a_dataset_whose_log_was_expired_is_loaded_afresh(shared: Shared) -> None:
    # As a hundred batches later.
    shared.sql("ALTER TABLE lake.{raw} DROP TAG batch_1")
    shared.compact_and_expire()
    assert [batch.batch for batch in shared.ferry.published(shared.name)] == [2]
    ledger = f"{shared.ferry.settings.warehouse_ledger_dataset}.ledger_{shared.name}"
    for table in (shared.payments.target, ledger):
        shared.ferry.warehouse.delete_table(table)
    shared.change(1, 5)
    ran = shared.run()
    assert ran.code == 0
    assert ran.receipt("load", shared.name).details.batches == [1, 2, 3]
    shared.assert_whole()


def test_a_table_whose_batches_were_all_expired_is_not_taken_for_a_new_one(shared: Shared) -> None:
    for tag in ("position", "batch_1", "batch_2"):
        shared.sql(f"ALTER TABLE lake.{{raw}} DROP TAG {tag}")
    shared.compact_and_expire()
    shared.change(5)
    shared.assert_refused(shared.run(), "neither they nor its tags say which batches it holds")


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("DELETE FROM lake.{raw} WHERE id = 1", "deleted 3"),
        ("UPDATE lake.{raw} SET amount = 0 WHERE id = 1", "were changed from outside"),
        ("INSERT INTO lake.{raw} SELECT * FROM lake.{raw} WHERE id = 1", "added 1"),
        ("DELETE FROM lake.{curated} WHERE id = 1", "rows of curated."),
    ],
)
def test_rows_changed_by_hand_are_refused_until_they_are_undone(shared: Shared, statement: str, word: str) -> None:
    shared.sql(statement)
    shared.change(5)
    ran = shared.run()
    shared.assert_refused(ran, word)
    # The way out is what the error says.
    call = ran.plan.failures[shared.name].error.partition("CALL ")[2].partition(")")[0]
    shared.sql(f"CALL {call})")
    assert shared.run().code == 0
    shared.assert_whole()


def test_a_main_that_was_set_back_is_refused_until_it_is_set_forward(shared: Shared) -> None:
    first, _ = shared.ferry.published(shared.name)
    shared.sql(f"CALL lake.system.rollback_to_snapshot('{{raw}}', {first.snapshot_id})")
    shared.change(5)
    ran = shared.run()
    shared.assert_refused(ran, "ends with batch 1, and batch 2 was published")
    call = ran.plan.failures[shared.name].error.partition("CALL ")[2].partition(")")[0]
    shared.sql(f"CALL {call})")
    assert shared.run().code == 0
    shared.assert_whole()


def test_a_curated_table_that_was_set_back_is_merged_again(shared: Shared) -> None:
    history = shared.ferry.catalog.load_table(("curated", shared.name)).history()
    shared.sql(f"CALL lake.system.rollback_to_snapshot('{{curated}}', {history[-2].snapshot_id})")
    shared.change(5)
    assert shared.run().code == 0
    shared.assert_whole()


def test_a_curated_table_that_was_dropped_is_rebuilt_from_raw(shared: Shared) -> None:
    shared.sql("DROP TABLE lake.{curated}")
    # Nothing is new at the source: no extract makes the table.
    ran = shared.run()
    assert [entry.state for entry in ran.plan.datasets] == ["empty"]
    assert ran.code == 0
    shared.assert_whole()
    shared.change(5)
    assert shared.run().code == 0
    shared.assert_whole()


def test_properties_that_reading_relies_on_are_set_back(shared: Shared) -> None:
    for table in ("raw", "curated", "quarantine"):
        shared.sql(
            f"ALTER TABLE lake.{table}.{shared.name} SET TBLPROPERTIES ('write.format.default' = 'orc',"
            " 'write.delete.mode' = 'merge-on-read', 'write.wap.enabled' = 'true', 'comment' = 'theirs')"
        )
    shared.change(1, 5)
    shared.payments.put(6, "-1.00", "bad", shared.payments.database.now())
    shared.payments.database.settle()
    check = shared.run().receipt("check", shared.name)
    assert (check.published, check.quarantined) == (2, 1)
    shared.assert_whole()
    for table in ("raw", "curated", "quarantine"):
        properties = shared.ferry.catalog.load_table((table, shared.name)).properties
        assert properties["write.format.default"] == "parquet"
        assert properties["comment"] == "theirs"


MERGE_ON_READ = (
    "'write.merge.mode' = 'merge-on-read', 'write.update.mode' = 'merge-on-read', 'write.delete.mode' = 'merge-on-read'"
)


def delete_files(shared: Shared, namespace: str) -> int:
    return len(shared.ferry.catalog.load_table((namespace, shared.name)).inspect.delete_files())


@pytest.mark.parametrize("extracted", [True, False])
def test_a_merge_writes_no_delete_files(shared: Shared, extracted: bool) -> None:
    shared.change(1, 5)
    plan = shared.ferry.plan(shared.name, "under-way")
    if extracted:
        # Nothing but the merge is left to see to curated's properties.
        assert shared.ferry.run_stage(plan, "extract", "extract") == 0
    for namespace in ("raw", "curated"):
        shared.sql(f"ALTER TABLE lake.{{{namespace}}} SET TBLPROPERTIES ({MERGE_ON_READ})")
    assert shared.ferry.run_stage(plan, "check" if extracted else "extract", "load") == 0
    shared.assert_whole()
    assert (delete_files(shared, "raw"), delete_files(shared, "curated")) == (0, 0)
    properties = shared.ferry.catalog.load_table(("curated", shared.name)).properties
    assert {properties[f"write.{kind}.mode"] for kind in ("merge", "update", "delete")} == {"copy-on-write"}


def merged_with_delete_files(shared: Shared) -> None:
    """Have curated hold its last batch as an earlier version merged it under merge-on-read."""
    table = shared.ferry.catalog.load_table(("curated", shared.name))
    current = table.current_snapshot()
    assert current is not None
    ours = {key: value for key, value in properties_of(current).items() if key.startswith(PREFIX)}
    shared.sql(f"ALTER TABLE lake.{{curated}} SET TBLPROPERTIES ({MERGE_ON_READ})")
    update = f"UPDATE lake.curated.{shared.name} SET memo = memo WHERE id = 1"
    session_with_properties(shared.spark, ours).sql(update)
    shared.sql("ALTER TABLE lake.{curated} REPLACE TAG consumed")
    assert delete_files(shared, "curated") > 0


def test_delete_files_whose_rows_are_gone_are_no_foreign_change(shared: Shared) -> None:
    merged_with_delete_files(shared)
    # A second compaction would drop the delete files; this is another commit after which ours leave the history.
    curated = f"lake.curated.{shared.name}"
    shared.sql(f"CALL lake.system.rewrite_data_files(table => '{curated}', options => map('rewrite-all', 'true'))")
    shared.sql(f"CALL lake.system.rewrite_manifests('{curated}')")
    shared.expire()
    table = shared.ferry.catalog.load_table(("curated", shared.name))
    assert not any(properties_of(snapshot).get(CONSUMED) for snapshot in History(table).snapshots)
    assert delete_files(shared, "curated") > 0
    shared.change(5)
    assert shared.run().code == 0
    shared.assert_whole()


def test_a_row_deleted_beside_delete_files_is_a_foreign_change(shared: Shared) -> None:
    merged_with_delete_files(shared)
    shared.sql("DELETE FROM lake.{curated} WHERE id = 3")
    shared.compact_and_expire(times=1)
    shared.change(5)
    ran = shared.run()
    shared.assert_refused(ran, "holds 3 rows, and held 4", f"or drop curated.{shared.name}: it is rebuilt from raw")
    # The way out.
    shared.sql("DROP TABLE lake.{curated}")
    assert shared.run().code == 0
    shared.assert_whole()


def test_a_renamed_column_is_refused_until_it_has_its_name_again(shared: Shared) -> None:
    shared.sql("ALTER TABLE lake.{raw} RENAME COLUMN memo TO note")
    shared.change(5)
    shared.assert_refused(shared.run(), "'memo'", "renamed to 'note'")
    shared.sql("ALTER TABLE lake.{raw} RENAME COLUMN `note` TO `memo`")
    assert shared.run().code == 0
    shared.assert_whole()


def test_a_raw_table_that_is_gone_or_made_anew_is_refused(shared: Shared) -> None:
    shared.sql("CREATE TABLE lake.raw.copy_of_it USING iceberg AS SELECT * FROM lake.{raw}")
    shared.sql("DROP TABLE lake.{raw}")
    shared.change(5)
    shared.assert_refused(shared.run(), "is gone", "that curated.")
    shared.sql("ALTER TABLE lake.raw.copy_of_it RENAME TO {raw}")
    shared.assert_refused(shared.run(), "were changed from outside", "Nothing of it was published by Lakeferry")


def test_a_lake_without_the_batches_that_bigquery_has_is_not_taken_for_a_new_one(shared: Shared) -> None:
    shared.sql("DROP TABLE lake.{curated}")
    shared.sql("DROP TABLE lake.{raw}")
    shared.change(5)
    shared.assert_refused(shared.run(), "is gone or has no batch", "says batch 2 is loaded")


def test_a_raw_table_with_as_many_batches_as_the_old_one_is_not_the_old_one(
    ferry: Ferry, aurora: OwnDatabase, spark: SparkSession
) -> None:
    # Nothing is loaded: only curated shows which raw table it was merged from.
    shared = Shared(ferry, aurora, spark, through="check")
    shared.sql("ALTER TABLE lake.{curated} RENAME TO curated.kept")
    shared.sql("DROP TABLE lake.{raw}")
    for identity in (5, 6, 7):
        # Without curated beside it the dataset looks new, as after a change of the catalog.
        shared.change(identity)
        assert shared.run().code == 0
    shared.sql("DROP TABLE lake.{curated}")
    shared.sql("ALTER TABLE lake.curated.kept RENAME TO {curated}")
    assert len(shared.ferry.published(shared.name)) == 3
    shared.change(8)
    shared.assert_refused(shared.run(), "was recreated", "up to batch 2")


def test_the_tables_of_another_lake_are_refused(ferry: Ferry, shared: Shared) -> None:
    staging = ferry.settings.model_copy(update={"lake": f"{ferry.settings.lake}-staging"})
    with pytest.raises(SettingError, match="outside the lake") as caught:
        find_table(open_catalog(staging), "raw", shared.name)
    assert "LAKEFERRY_DATABASE_PREFIX" in str(caught.value.fix)
    apart = staging.model_copy(update={"database_prefix": "staging_"})
    assert find_table(open_catalog(apart), "raw", shared.name) is None


@pytest.mark.parametrize(
    ("lake", "catalog", "prefix", "databases"),
    [
        ("s3://pay-lake/production", "glue", None, "pay_lake_production_"),
        ("s3://pay-lake/staging", "glue", None, "pay_lake_staging_"),
        ("s3://pay-lake/staging", "glue", "", ""),
        ("s3://pay-lake/staging", "sqlite:////tmp/catalog.db", None, ""),
        ("s3://pay-lake/staging", "sqlite:////tmp/catalog.db", "own_", "own_"),
    ],
)
def test_lakes_of_one_account_have_databases_of_their_own(
    lake: str, catalog: str, prefix: str | None, databases: str
) -> None:
    assert Settings(lake=lake, catalog=catalog, database_prefix=prefix).databases == databases


def test_a_glue_lake_of_an_earlier_version_is_not_taken_for_a_new_one(
    ferry: Ferry, unique_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", os.environ["AWS_ENDPOINT_URL_S3"])
    lake = f"{ferry.settings.lake}/{unique_name('glue')}"
    settings = ferry.settings.model_copy(update={"catalog": "glue", "lake": lake})
    plain = open_catalog(settings.model_copy(update={"database_prefix": ""}))
    ensure_namespaces(plain)
    schema = Schema(NestedField(1, "id", LongType()))
    name = unique_name("table")
    # Another lake shares the database, and its tables come first in the list.
    others = [f"{letter}_{name}" for letter in ("a", "b")]
    for other in others:
        plain.create_table(("raw", other), schema, location=f"{lake}-other/raw/{other}")
    plain.create_table(("raw", name), schema, location=f"{lake}/raw/{name}")
    try:
        with pytest.raises(SettingError, match="a database raw of an earlier version") as caught:
            ensure_namespaces(open_catalog(settings))
        assert "LAKEFERRY_DATABASE_PREFIX" in str(caught.value)
        # The plain databases are another lake's for every other lake of the account.
        third = open_catalog(settings.model_copy(update={"lake": f"{lake}-third"}))
        ensure_namespaces(third)
        assert find_table(third, "raw", name) is None
        # Nobody can tell whose an unreadable table is: the setting must say so.
        ours = plain.load_table(("raw", name))
        ours.io.delete(ours.metadata_location)
        with pytest.raises(SettingError, match=rf"cannot be read \(raw.{name}\)") as caught:
            ensure_namespaces(open_catalog(settings))
        assert f"set it to {settings.databases}" in str(caught.value.fix)
        ensure_namespaces(open_catalog(settings.model_copy(update={"database_prefix": settings.databases})))
    finally:
        for table in (*others, name):
            plain.drop_table(("raw", table))


def test_a_foreign_change_is_seen_at_publish_too(shared: Shared) -> None:
    shared.change(5)
    plan = shared.ferry.plan(shared.name, "under-way")
    assert shared.ferry.run_stage(plan, "extract", "extract") == 0
    shared.sql("DELETE FROM lake.{raw} WHERE id = 1")
    assert shared.ferry.run_stage(plan, "check", "load") == 2
    with pytest.raises(LakeAltered, match="were changed from outside"):
        verified_batches(shared.ferry.catalog.load_table(("raw", shared.name)))
