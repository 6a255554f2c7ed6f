"""Foreign operations on columns, rows, files, and whole tables."""

from __future__ import annotations

from tests.foreign.operations import ALL, BACK, KINDS, LOG
from tests.foreign.saved_state import put_table_row, table_row
from tests.foreign.target import CURATED, QUARANTINE, RAW, Target, Undo

COLUMNS_CHANGED = ("column", "renamed", "dropped", "type", "required", "schema")
ROWS_CHANGED = ("row", "changed", "outside", "by hand", "deleted", "holds")
REMADE = ("not the table", "recreated", "remade", "dropped", "gone", "not there", "uuid", "registered", "empty", "lost")
FILE_GONE = ("gone", "missing", "cannot be read", "not there", "deleted", "lost")

# Columns.


@KINDS.add(LOG, words=COLUMNS_CHANGED)
def column_added(t: Target) -> Undo:
    t.sql(f"ALTER TABLE {t.name} ADD COLUMN margin STRING")
    return lambda: t.sql(f"ALTER TABLE {t.name} DROP COLUMN margin")


@KINDS.add(LOG, words=COLUMNS_CHANGED)
def column_renamed(t: Target) -> Undo:
    t.sql(f"ALTER TABLE {t.name} RENAME COLUMN {t.value} TO remark")
    return lambda: t.sql(f"ALTER TABLE {t.name} RENAME COLUMN remark TO {t.value}")


@KINDS.add(LOG, words=COLUMNS_CHANGED)
def column_dropped(t: Target) -> None:
    t.sql(f"ALTER TABLE {t.name} DROP COLUMN {t.value}")


@KINDS.add(LOG, words=COLUMNS_CHANGED)
def column_dropped_and_added(t: Target) -> None:
    """The same name and type: another column all the same, empty in all rows there are."""
    kind = next(field for field in t.spark.table(t.name).schema if field.name == t.value).dataType.simpleString()
    column = t.value
    t.sql(f"ALTER TABLE {t.name} DROP COLUMN {column}")
    t.sql(f"ALTER TABLE {t.name} ADD COLUMN {column} {kind}")


@KINDS.add(LOG, words=COLUMNS_CHANGED)
def own_column_dropped(t: Target) -> None:
    """One that Lakeferry wrote for itself."""
    t.sql(f"ALTER TABLE {t.name} DROP COLUMN {t.random.choice(['_batch', '_run_id'])}")


@KINDS.add(LOG, words=COLUMNS_CHANGED)
def column_widened(t: Target) -> None:
    wide = {"units": "BIGINT"} if t.key == "id" else {"total": "DECIMAL(32,2)"}
    for name, kind in wide.items():
        t.sql(f"ALTER TABLE {t.name} ALTER COLUMN {name} TYPE {kind}")


@KINDS.add(LOG, harmless=True)
def column_moved(t: Target) -> None:
    t.sql(f"ALTER TABLE {t.name} ALTER COLUMN {t.value} FIRST")


@KINDS.add(ALL, harmless=True)
def commented(t: Target) -> None:
    t.sql(f"ALTER TABLE {t.name} ALTER COLUMN {t.value} COMMENT 'what the till printed'")
    t.set_properties(comment="a table of the shop's")


@KINDS.add(LOG, words=COLUMNS_CHANGED)
def column_required(t: Target) -> Undo:
    t.java_update("updateSchema", ("allowIncompatibleChanges",), ("requireColumn", t.value))
    return lambda: t.java_update("updateSchema", ("makeColumnOptional", t.value))


@KINDS.add(LOG, words=("partition",))
def partitioned(t: Target) -> Undo:
    field = f"bucket(2, {t.key})" if t.key == "id" else "truncate(10, total)"
    t.sql(f"ALTER TABLE {t.name} ADD PARTITION FIELD {field}")
    return lambda: t.sql(f"ALTER TABLE {t.name} DROP PARTITION FIELD {field}")


@KINDS.add(LOG, words=("partition",))
def partitioned_and_back(t: Target) -> None:
    partitioned(t)()


@KINDS.add(LOG, harmless=True)
def sort_order_set(t: Target) -> None:
    t.sql(f"ALTER TABLE {t.name} WRITE ORDERED BY {t.key} DESC")


# Rows.


@KINDS.add(ALL, words=ROWS_CHANGED)
def row_deleted(t: Target) -> Undo:
    before = t.table.current_snapshot().snapshot_id
    t.sql(f"DELETE FROM {t.name} WHERE {_one_row(t)}")
    return t.back_to(before)


@KINDS.add(ALL, words=ROWS_CHANGED)
def row_updated(t: Target) -> Undo:
    before = t.table.current_snapshot().snapshot_id
    value = "total + 1000" if t.value == "total" else "'by hand'"
    t.sql(f"UPDATE {t.name} SET {t.value} = {value} WHERE {_one_row(t)}")
    return t.back_to(before)


@KINDS.add(ALL, words=ROWS_CHANGED)
def row_inserted(t: Target) -> Undo:
    """A row of another key, which no source ever had."""
    before = t.table.current_snapshot().snapshot_id
    key = {"id": "id + 100000", "sold_on": "date_add(sold_on, 4000)"}.get(t.key, "'{\"id\":100000}'")
    columns = [f"{key} AS {name}" if name == t.key else name for name in t.spark.table(t.name).columns]
    t.sql(f"INSERT INTO {t.name} SELECT {', '.join(columns)} FROM {t.name} WHERE {_one_row(t)} LIMIT 1")
    return t.back_to(before)


@KINDS.add(ALL, words=ROWS_CHANGED)
def row_doubled(t: Target) -> Undo:
    before = t.table.current_snapshot().snapshot_id
    t.sql(f"INSERT INTO {t.name} SELECT * FROM {t.name} WHERE {_one_row(t)} LIMIT 1")
    return t.back_to(before)


@KINDS.add(ALL, words=(*ROWS_CHANGED, *REMADE))
def truncated(t: Target) -> Undo:
    before = t.table.current_snapshot().snapshot_id
    t.sql(f"TRUNCATE TABLE {t.name}")
    return t.back_to(before)


@KINDS.add(LOG, words=ROWS_CHANGED)
def overwritten_with_its_rows(t: Target) -> Undo:
    before = t.table.current_snapshot().snapshot_id
    t.sql(f"INSERT OVERWRITE {t.name} SELECT * FROM {t.name}")
    return t.back_to(before)


@KINDS.add(LOG, words=ROWS_CHANGED)
def rows_changed_merge_on_read(t: Target) -> Undo:
    """A delete file, not a rewritten data file, takes the row away."""
    before = t.table.current_snapshot().snapshot_id
    t.set_properties(**{"write.delete.mode": "merge-on-read"})
    t.sql(f"DELETE FROM {t.name} WHERE {_one_row(t)}")
    return t.back_to(before)


# Whole tables.


@KINDS.add(ALL, words=REMADE)
def dropped(t: Target) -> Undo:
    now = t.metadata_file()
    t.drop()
    return t.registered_again(now)


@KINDS.add((*ALL, "raw+curated+quarantine"), words=REMADE)
def purged(t: Target) -> None:
    t.drop(purge=True)


@KINDS.add(ALL, words=REMADE)
def renamed_away(t: Target) -> Undo:
    t.sql(f"ALTER TABLE {t.name} RENAME TO {t.path}_away")
    return lambda: t.sql(f"ALTER TABLE {t.name}_away RENAME TO {t.path}")


@KINDS.add(ALL, harmless=True)
def renamed_away_and_back(t: Target) -> None:
    renamed_away(t)()


@KINDS.add(ALL, words=REMADE)
def remade_empty(t: Target) -> Undo:
    now, table = t.metadata_file(), t.java_table
    schema, spec = table.schema(), table.spec()
    t.drop()
    t.java_catalog.buildTable(t.identifier(), schema).withPartitionSpec(spec).create()
    return t.registered_again(now)


@KINDS.add(ALL, words=REMADE)
def remade_with_its_rows(t: Target) -> Undo:
    now = t.metadata_file()
    t.sql(f"CREATE TABLE {t.name}_copy USING iceberg AS SELECT * FROM {t.name}")
    t.drop()
    t.sql(f"ALTER TABLE {t.name}_copy RENAME TO {t.path}")
    return t.registered_again(now)


@KINDS.add(LOG, words=(*REMADE, *ROWS_CHANGED))
def replaced_by_a_select_of_itself(t: Target) -> Undo:
    """`CREATE OR REPLACE`: the table stays the same one and its history begins again."""
    now = t.metadata_file()
    t.sql(f"CREATE OR REPLACE TABLE {t.name} USING iceberg AS SELECT * FROM {t.name}")
    return t.registered_again(now)


@KINDS.add(LOG, words=(*BACK, *REMADE))
def registered_from_an_old_metadata_file(t: Target) -> Undo:
    now = t.metadata_file()
    t.drop()
    t.register(t.yesterday.metadata_file(t.namespace, t.dataset))
    return t.registered_again(now)


@KINDS.add((RAW, CURATED, "raw+curated+quarantine"), words=(*BACK, *REMADE))
def catalog_restored_from_yesterday(t: Target) -> Undo:
    today = table_row(t.catalog_file, t.namespace, t.dataset)
    assert today is not None, f"{t.path} is there"
    t.yesterday.restore_table(t.namespace, t.dataset)
    return lambda: put_table_row(t.catalog_file, today)


# Files.


@KINDS.add(ALL, words=FILE_GONE)
def data_file_deleted(t: Target) -> Undo:
    return t.delete_object(t.random.choice(t.data_files()))


@KINDS.add(ALL, words=FILE_GONE)
def metadata_file_deleted(t: Target) -> Undo:
    return t.delete_object(t.metadata_file())


@KINDS.add(ALL, words=FILE_GONE)
def manifest_list_deleted(t: Target) -> Undo:
    return t.delete_object(t.table.current_snapshot().manifest_list)


@KINDS.add(LOG, words=FILE_GONE)
def manifest_deleted(t: Target) -> Undo:
    table = t.table
    manifests = sorted(m.manifest_path for m in table.current_snapshot().manifests(table.io))
    return t.delete_object(t.random.choice(manifests))


def _one_row(t: Target) -> str:
    """A condition that one row meets, of the newest batch or of any."""
    rows = t.spark.table(t.name)
    if t.namespace != QUARANTINE and t.random.random() < 0.5:
        newest = rows.agg({"_batch": "max"}).first()[0]
        rows = rows.where(f"_batch = {newest}")
    keys = sorted(str(row[0]) for row in rows.select(t.key).collect())
    condition = f"CAST({t.key} AS STRING) = '{t.random.choice(keys)}'"
    if t.namespace == RAW:
        versions = t.spark.table(t.name).where(condition).agg({"_batch": "max"}).first()[0]
        condition += f" AND _batch = {versions}"
    return condition


__all__ = ["CURATED", "KINDS"]
