"""Foreign operations on snapshots, references and properties: maintenance, rollbacks, branches, tags.

Procedures are those of "Spark Procedures" in Iceberg's documentation, properties those of its "Configuration".
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.foreign.target import CURATED, MAIN, QUARANTINE, RAW, Kinds, Target, Undo

KINDS = Kinds()
ALL = (RAW, CURATED, QUARANTINE)
LOG = (RAW, CURATED)
_EVERYWHERE = "raw+curated+quarantine"
BACK = ("roll", "back", "older", "gone", "lost", "behind", "history", "earlier")

# Maintenance: what optimizers do by themselves. All of it is harmless.


@KINDS.add(ALL, harmless=True)
def compacted(t: Target) -> None:
    t.call("rewrite_data_files", f"table => '{t.path}', options => map('rewrite-all', 'true')")


@KINDS.add(ALL, harmless=True)
def compacted_twice(t: Target) -> None:
    t.call("rewrite_data_files", f"table => '{t.path}', options => map('min-input-files', '2')")
    t.call("rewrite_data_files", f"table => '{t.path}', options => map('rewrite-all', 'true')")


@KINDS.add(ALL, harmless=True)
def compacted_with_a_sort(t: Target) -> None:
    order = f"strategy => 'sort', sort_order => '{t.key} DESC NULLS LAST'"
    t.call("rewrite_data_files", f"table => '{t.path}', {order}, options => map('rewrite-all', 'true')")


@KINDS.add(ALL, harmless=True)
def expired(t: Target) -> None:
    t.call("expire_snapshots", f"table => '{t.path}', older_than => TIMESTAMP '2100-01-01', retain_last => 1")


@KINDS.add((RAW, CURATED, "raw+curated", _EVERYWHERE), harmless=True)
def optimized_as_glue_does(t: Target) -> None:
    """Compacted, then expired: no snapshot with our properties is in main's history any more."""
    compacted(t)
    compacted(t)
    expired(t)
    orphans_removed(t)


@KINDS.add((RAW, CURATED, _EVERYWHERE), harmless=True)
def orphans_removed(t: Target) -> None:
    """By the procedure, which takes no `older_than` within the last day: younger files may be a running commit's."""
    yesterday = datetime.now(UTC) - timedelta(hours=25)
    older = f"older_than => TIMESTAMP '{yesterday:%Y-%m-%d %H:%M:%S}'"
    t.call("remove_orphan_files", f"table => '{t.path}', {older}, prefix_listing => true")


@KINDS.add((RAW, CURATED, _EVERYWHERE), harmless=True)
def young_orphans_removed(t: Target) -> None:
    """By the action, which takes any `olderThan`; no commit is under way at this moment."""
    actions = t.java("org.apache.iceberg.spark.actions.SparkActions").get(t.spark._jsparkSession)
    actions.deleteOrphanFiles(t.java_table).olderThan(t.tomorrow()).usePrefixListing(True).execute()


@KINDS.add(ALL, harmless=True)
def manifests_rewritten(t: Target) -> None:
    t.call("rewrite_manifests", f"table => '{t.path}'")


@KINDS.add(LOG, harmless=True)
def statistics_computed(t: Target) -> None:
    t.call("compute_table_stats", f"table => '{t.path}'")


@KINDS.add(LOG, harmless=True)
def old_metadata_deleted(t: Target) -> None:
    for entry in t.table.metadata.metadata_log:
        t.objects.delete(t.objects.key(entry.metadata_file))


# References.


@KINDS.add(LOG, harmless=True)
def tags_removed(t: Target) -> Undo | None:
    return _without(t, "TAG")


@KINDS.add((RAW,), harmless=True, extracted=True)
def branches_removed(t: Target) -> None:
    """Those of a run under way: its rows are gone, and the run is planned again."""
    _without(t, "BRANCH")


@KINDS.add(LOG)
def tags_removed_and_optimized(t: Target) -> None:
    """What says where the log stands is gone from main's history, and from the tags."""
    tags_removed(t)
    optimized_as_glue_does(t)


@KINDS.add(ALL, harmless=True)
def tag_added(t: Target) -> None:
    t.sql(f"ALTER TABLE {t.name} CREATE TAG audit")


@KINDS.add(LOG, harmless=True)
def branch_added(t: Target) -> None:
    """With rows of its own, which nobody is to see."""
    t.sql(f"ALTER TABLE {t.name} CREATE BRANCH audit")
    t.sql(f"INSERT INTO {t.name}.branch_audit SELECT * FROM {t.name}")


@KINDS.add(LOG)
def cherry_picked(t: Target) -> Undo:
    """A commit of another branch, brought onto main."""
    before = t.table.current_snapshot().snapshot_id
    t.sql(f"ALTER TABLE {t.name} CREATE BRANCH audit")
    t.sql(f"INSERT INTO {t.name}.branch_audit SELECT * FROM {t.name} LIMIT 1")
    # Were main still where the branch began, it would be moved to the branch's snapshot as it is.
    t.java_table.newAppend().commit()
    picked = t.table.refs()["audit"].snapshot_id
    t.call("cherrypick_snapshot", f"table => '{t.path}', snapshot_id => {picked}")
    return t.back_to(before)


@KINDS.add((RAW,), extracted=True)
def run_cherry_picked(t: Target) -> Undo:
    """The rows of a run under way, brought onto main by hand before they are checked."""
    before = t.table.current_snapshot().snapshot_id
    branch = next(name for name in sorted(t.table.refs()) if name != MAIN and name.startswith("run_"))
    on_main = {snapshot.snapshot_id for snapshot in t.lineage()}
    snapshot = t.table.snapshot_by_id(t.table.refs()[branch].snapshot_id)
    rows = None
    while snapshot is not None and snapshot.snapshot_id not in on_main:
        rows = snapshot if "added-records" in snapshot.summary.additional_properties else rows
        snapshot = t.table.snapshot_by_id(snapshot.parent_snapshot_id)
    assert rows is not None, "the branch of an extracted run has rows"
    t.call("cherrypick_snapshot", f"table => '{t.path}', snapshot_id => {rows.snapshot_id}")
    return t.back_to(before)


@KINDS.add((RAW,), extracted=True)
def published_by_hand(t: Target) -> None:
    """Main is fast-forwarded to the branch of a run under way."""
    branch = next(name for name in sorted(t.table.refs()) if name != MAIN and name.startswith("run_"))
    t.call("fast_forward", f"table => '{t.path}', branch => 'main', to => '{branch}'")


# History.


@KINDS.add(LOG, words=BACK)
def rolled_back(t: Target) -> Undo:
    newest, older = t.table.current_snapshot().snapshot_id, t.batch_ends()[1]
    t.call("rollback_to_snapshot", f"table => '{t.path}', snapshot_id => {older}")
    return t.back_to(newest)


@KINDS.add(LOG, words=BACK)
def rolled_back_by_time(t: Target) -> Undo:
    newest, older = t.table.current_snapshot().snapshot_id, t.batch_ends()[1]
    moment = t.table.snapshot_by_id(older).timestamp_ms
    millis = f"timestamp_millis({moment + 1})"
    t.call("rollback_to_timestamp", f"table => '{t.path}', timestamp => {millis}")
    return t.back_to(newest)


@KINDS.add(LOG, words=BACK)
def set_to_the_first_snapshot(t: Target) -> Undo:
    newest, first = t.table.current_snapshot().snapshot_id, t.batch_ends()[-1]
    t.set_current(first)
    return t.back_to(newest)


@KINDS.add(LOG, harmless=True)
def rolled_back_and_forth(t: Target) -> None:
    rolled_back(t)()


# Properties: on all tables, as somebody who sets them sets them everywhere. All are harmless.


@KINDS.add((_EVERYWHERE,), harmless=True)
def merge_on_read(t: Target) -> None:
    modes = {f"write.{kind}.mode": "merge-on-read" for kind in ("delete", "update", "merge")}
    t.set_properties(**modes)


@KINDS.add((_EVERYWHERE,), harmless=True)
def merge_on_read_with_format_version_3(t: Target) -> None:
    t.set_properties(**{"format-version": "3"})
    merge_on_read(t)


@KINDS.add((_EVERYWHERE,), harmless=True)
def format_version_3(t: Target) -> None:
    t.set_properties(**{"format-version": "3"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def orc_by_default(t: Target) -> None:
    t.set_properties(**{"write.format.default": "orc"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def avro_by_default(t: Target) -> None:
    t.set_properties(**{"write.format.default": "avro"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def distributed_by_hash(t: Target) -> None:
    t.set_properties(**{"write.distribution-mode": "hash", "write.spark.fanout.enabled": "false"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def write_audit_publish(t: Target) -> None:
    t.set_properties(**{"write.wap.enabled": "true"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def no_retries(t: Target) -> None:
    t.set_properties(**{"commit.retry.num-retries": "0", "commit.status-check.num-retries": "0"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def short_history(t: Target) -> None:
    short = {
        "history.expire.max-snapshot-age-ms": "1",
        "history.expire.min-snapshots-to-keep": "1",
        "history.expire.max-ref-age-ms": "1",
    }
    t.set_properties(**short)


@KINDS.add((_EVERYWHERE,))
def expired_with_references(t: Target) -> None:
    """An expiry under `max-ref-age-ms` takes tags and branches, too."""
    short_history(t)
    expired(t)


@KINDS.add((_EVERYWHERE,), harmless=True)
def no_garbage_collection(t: Target) -> None:
    t.set_properties(**{"gc.enabled": "false"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def metadata_kept_short(t: Target) -> None:
    t.set_properties(**{"write.metadata.previous-versions-max": "1", "write.metadata.compression-codec": "gzip"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def parquet_written_otherwise(t: Target) -> None:
    otherwise = {
        "write.parquet.compression-codec": "snappy",
        "write.parquet.row-group-size-bytes": "1024",
        "write.metadata.metrics.default": "none",
        "write.target-file-size-bytes": "4096",
        "read.parquet.vectorization.enabled": "false",
        "read.split.target-size": "1024",
    }
    t.set_properties(**otherwise)


@KINDS.add((_EVERYWHERE,), harmless=True)
def object_storage_layout(t: Target) -> None:
    t.set_properties(**{"write.object-storage.enabled": "true"})


@KINDS.add((_EVERYWHERE,), harmless=True)
def data_written_elsewhere(t: Target) -> None:
    elsewhere = f"{t.table.location().rstrip('/')}_elsewhere"
    t.set_properties(**{"write.data.path": f"{elsewhere}/data", "write.metadata.path": f"{elsewhere}/metadata"})


def _without(t: Target, kind: str) -> Undo:
    """Drop all references of a kind but main, and all that are no branch of a run; return what makes them again."""
    removed = {
        name: ref.snapshot_id
        for name, ref in t.table.refs().items()
        if name != MAIN and str(ref.snapshot_ref_type.value).upper() == kind
    }
    for name in removed:
        t.sql(f"ALTER TABLE {t.name} DROP {kind} `{name}`")

    def undo() -> None:
        for name, snapshot_id in removed.items():
            t.sql(f"ALTER TABLE {t.name} CREATE OR REPLACE {kind} `{name}` AS OF VERSION {snapshot_id}")

    return undo
