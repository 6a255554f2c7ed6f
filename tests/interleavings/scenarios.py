"""The scenarios: worlds of every write disposition, and the actors that run concurrently in each.

Most runs have three gates. At `publish.commit` the run has read main and not yet committed. At `publish.following` it
was overtaken and has read number and position of the newest batch. At `curated.read` it has read which batches curated
lacks. Where merges compete, `curated.scanned` is a gate inside the MERGE. Plan and extract form one turn with the start
of check unless the source or quarantine is contested: plans, branches and receipts belong to one run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jobs.runs.receipts import Stage
from jobs.runtime.fault_points import crash_point
from tests.interleavings.oracle import Kind
from tests.interleavings.parts import Part, Scenario
from tests.interleavings.scheduler import Work
from tests.interleavings.worlds import Place, Recipe

PUBLISH = ("publish.commit", "publish.following", "curated.read")
READ_AND_PUBLISH = ("extract.before", *PUBLISH)
SWEEP_AND_PUBLISH = ("extract.before", "extract.comparing", "extract.compared", *PUBLISH)
JUDGE_AND_PUBLISH = ("extract.quarantining", *PUBLISH)
MERGE = ("check.published", "curated.read", "curated.scanned")
LOAD = ("load.before", "load.committing")
COMPACTED = "compaction.done"


def run(
    run_id: str, *, window: tuple[str, str] | None = None, through: Stage = "check", derived: bool = False
) -> Callable[[Place], Work]:
    """The work of a driver with this run id. `window`: see `World.window`."""

    def work(place: Place) -> Work:
        asked = place.world.window(*window) if window else None
        return lambda: (place.last if derived else place).drive(run_id, window=asked, through=through)

    return work


def compaction(namespace: str) -> Part:
    """Another tool that rewrites all files of a table once."""
    return Part("compaction", lambda place: lambda: place.last.compact(namespace), does=(namespace, namespace))


def compactions(namespace: str, times: int) -> Part:
    """Another tool that rewrites a table several times, one turn each."""

    def work(place: Place) -> Work:
        def compact() -> int:
            for _ in range(times):
                place.last.compact(namespace)
                crash_point(COMPACTED, place.dataset)
            return 0

        return compact

    return Part("compaction", work, (COMPACTED,), does=(namespace, namespace))


def writer(*statements: str) -> Part:
    """An application that changes the source in one turn."""

    def work(place: Place) -> Work:
        def change() -> int:
            for statement in statements:
                place.execute(statement)
            return 0

        return change

    return Part("writer", work, does=("", "source"))


def publisher(name: str, gates: Sequence[str] = PUBLISH, *, run_id: str | None = None, **how: Any) -> Part:
    """A run. The search does not expect it to be overtaken."""
    likely = [gate for gate in gates if gate != "publish.following"]
    return Part(name, run(run_id or name, **how), gates, likely=likely, owner=run_id or name)


STAMPED = "id BIGINT PRIMARY KEY, v INT NOT NULL, note VARCHAR(20), updated_at DATETIME(6) NOT NULL, KEY (updated_at)"
BY_DAY = STAMPED.replace("updated_at", "day DATE, updated_at", 1)
PLAIN = "id BIGINT PRIMARY KEY, v INT NOT NULL, note VARCHAR(20)"
PLAIN_COLUMNS = ("id", "v", "note")
BY_TIME = "primary_key: [id]\ncursor: updated_at\nlag_seconds: 1\nwrite_disposition: merge"
PAST_HOURS = ("{old}", "{later}")

FORGOTTEN = "INSERT INTO {table} VALUES (9, 1, 'forgotten', '{past}')"
FRESH = [
    "UPDATE {table} SET v = 2, updated_at = '{fresh}' WHERE id = 2",
    "INSERT INTO {table} VALUES (4, 1, 'fresh', '{fresh}')",
]
CHANGED = "UPDATE {table} SET v = v + 1 WHERE id IN (2, 4)"
DELETED = "DELETE FROM {table} WHERE id = 3"

MERGED = Recipe(
    name="merge",
    keys=BY_TIME,
    columns=STAMPED,
    rows=[f"({n}, 1, 'first', '{{past}}')" for n in (1, 2, 3)],
    fresh=[*FRESH, FORGOTTEN],
)
APPENDED = Recipe(
    name="append",
    keys="primary_key: [id]\ncursor: id\nwrite_disposition: append",
    columns=PLAIN,
    rows=[f"({n}, 1, 'first')" for n in (10, 20, 30)],
    fresh=["INSERT INTO {table} VALUES (15, 1, 'forgotten')"],
)
JUDGED = replace(
    APPENDED,
    name="judged",
    suite="rows:\n  - expect_column_values_to_be_between: {column: v, min_value: 0}\n",
    fresh=["INSERT INTO {table} VALUES (40, 1, 'fresh'), (41, -1, 'bad')"],
)
COMPARED = Recipe(
    name="compared",
    keys="primary_key: [id]\nwrite_disposition: merge",
    columns=PLAIN,
    rows=[f"({n}, 1, 'first')" for n in (1, 2, 3)],
    fresh=["INSERT INTO {table} VALUES (4, 1, 'fresh')"],
)
REPLACED = replace(COMPARED, name="replace", keys="primary_key: [id]\nwrite_disposition: replace")
SWEPT = replace(
    MERGED,
    name="sweep",
    keys=f"{BY_TIME}\ndeletes: sweep",
    fresh=[*FRESH, DELETED],
    connection="tidb_wallet",
)
SWEPT_INNODB = replace(SWEPT, name="sweep_innodb", connection="aurora_payments")
SWEPT_AND_REMOVED = replace(
    SWEPT_INNODB, name="sweep_removed", target=", deletes: remove", fresh=[*FRESH, DELETED, FORGOTTEN]
)
SWEPT_COMPARED = replace(
    COMPARED,
    name="sweep_compared",
    keys="primary_key: [id]\nwrite_disposition: merge\ndeletes: sweep",
    fresh=[DELETED],
    connection="tidb_wallet",
)
MIRRORED = replace(
    MERGED,
    name="mirror",
    columns=BY_DAY,
    rows=[f"({n}, 1, 'first', '2026-01-0{n}', '{{past}}')" for n in (1, 2, 3)],
    # One row moves to another day, one is new.
    fresh=[
        "UPDATE {table} SET v = 2, day = '2026-01-03', updated_at = '{fresh}' WHERE id = 2",
        "INSERT INTO {table} VALUES (4, 1, 'fresh', '2026-01-04', '{fresh}')",
    ],
    derived=True,
)

STAMPED_PROBE = [
    "INSERT INTO {table} VALUES (100, 1, 'probe', UTC_TIMESTAMP(6))",
    "UPDATE {table} SET v = v + 1, updated_at = UTC_TIMESTAMP(6) WHERE id = 1",
]
PLAIN_PROBE = ["INSERT INTO {table} VALUES (100, 1, 'probe')", "UPDATE {table} SET v = v + 1 WHERE id = 1"]
ADDED_PROBE = PLAIN_PROBE[:1]
MIRRORED_PROBE = [
    "INSERT INTO {table} VALUES (100, 1, 'probe', '2026-01-01', UTC_TIMESTAMP(6))",
    "UPDATE {table} SET v = v + 1, updated_at = UTC_TIMESTAMP(6) WHERE id = 4",
]

NUMBERED = Kind(columns=PLAIN_COLUMNS, cursor="id")
JUDGED_KIND = replace(NUMBERED, good="v >= 0")
LATE = {"a late driver publishes what was before": "early@publish.commit writer@end late@end early@end"}
UNSEEN = {"a row that came after the sweep's snapshot": "schedule@extract.before writer@end backfill@end schedule@end"}
TWO_LOADERS = {
    "two loaders at once": "schedule@load.before backfill@load.committing schedule@load.committing backfill@end"
    " schedule@end"
}

SCENARIOS = (
    # A backfill beside the schedule, and a compaction of raw: batch numbers, positions and branch bases.
    Scenario(
        name="merge",
        recipe=MERGED,
        kind=Kind(cursor="updated_at"),
        parts=[publisher("schedule"), publisher("backfill", window=PAST_HOURS), compaction("raw")],
        probe=STAMPED_PROBE,
        named={
            "a publish between number and base": "backfill@publish.commit compaction@end backfill@publish.following"
            " schedule@end backfill@end",
        },
    ),
    # Two scheduled runs and a backfill: positions.
    Scenario(
        name="positions",
        recipe=MERGED,
        kind=Kind(cursor="updated_at"),
        parts=[publisher("schedule"), publisher("other"), publisher("backfill", window=PAST_HOURS)],
        probe=STAMPED_PROBE,
        named={
            "all three overtake each other": "backfill@publish.commit other@publish.commit schedule@end"
            " backfill@publish.following other@end backfill@end",
        },
    ),
    # A backfill and an hourly run without new rows both merge the backfill's batch, and another tool compacts curated.
    Scenario(
        name="merges",
        recipe=replace(MERGED, fresh=[FORGOTTEN]),
        kind=Kind(cursor="updated_at"),
        parts=[
            Part("backfill", run("backfill", window=PAST_HOURS), MERGE),
            Part("schedule", run("schedule"), MERGE[1:], finds_nothing=True),
            compaction("curated"),
        ],
        probe=STAMPED_PROBE,
        named={
            "a compaction while two merge": "backfill@check.published schedule@curated.scanned backfill@curated.scanned"
            " compaction@end backfill@end schedule@end",
        },
    ),
    Scenario(
        name="append",
        recipe=APPENDED,
        kind=NUMBERED,
        parts=[
            Part("backfill", run("backfill", window=("10", "20")), MERGE),
            Part("schedule", run("schedule"), MERGE[1:], finds_nothing=True),
            compaction("curated"),
        ],
        probe=ADDED_PROBE,
        named={
            "two catch up at once": "backfill@check.published schedule@curated.scanned backfill@end schedule@end",
        },
    ),
    # Two drivers of one plan, one of them presumed dead, and new rows: generations and quarantine.
    Scenario(
        name="twice",
        recipe=JUDGED,
        kind=JUDGED_KIND,
        parts=[
            publisher("first", JUDGE_AND_PUBLISH, run_id="run"),
            publisher("second", JUDGE_AND_PUBLISH, run_id="run"),
            writer("INSERT INTO {table} VALUES (50, 1, 'later'), (51, -1, 'bad')"),
        ],
        probe=ADDED_PROBE,
        named={
            "the next generation sets aside": "first@publish.commit second@curated.read writer@end first@end second@end"
        },
    ),
    # The same with an explicit window, which does not move the position.
    Scenario(
        name="backfill-twice",
        recipe=replace(JUDGED, fresh=["INSERT INTO {table} VALUES (15, -1, 'forgotten'), (16, 1, 'forgotten')"]),
        kind=JUDGED_KIND,
        parts=[
            publisher(name, ("plan.writing", *JUDGE_AND_PUBLISH), run_id="run", window=("10", "20"))
            for name in ("first", "second")
        ],
        probe=ADDED_PROBE,
        named={
            "both publish": "first@publish.commit second@publish.commit first@curated.read second@end first@end",
        },
    ),
    # A run publishes, fails to merge, and is planned again: quarantine of the published generation.
    Scenario(
        name="kept-from-merging",
        recipe=replace(
            COMPARED,
            name="kept",
            suite=JUDGED.suite,
            fresh=["UPDATE {table} SET v = 2 WHERE id = 2", "INSERT INTO {table} VALUES (4, -1, 'bad')"],
        ),
        kind=replace(JUDGED_KIND, cursor=None),
        parts=[
            Part("run", run("run"), ("curated.scanned",)),
            compactions("curated", 5),
            writer("INSERT INTO {table} VALUES (5, 1, 'later'), (6, -1, 'bad')"),
        ],
        probe=PLAIN_PROBE,
        knows_rows=True,
        named={
            "the next generation sets aside": "run@curated.scanned "
            + "compaction@compaction.done run@curated.scanned " * 4
            + "compaction@end writer@end run@end",
        },
        only_named=True,
    ),
    # Two runs without a cursor, and a change of the source between them.
    Scenario(
        name="no-cursor",
        recipe=COMPARED,
        kind=Kind(columns=PLAIN_COLUMNS),
        parts=[publisher("early", READ_AND_PUBLISH), publisher("late", READ_AND_PUBLISH), writer(CHANGED)],
        probe=PLAIN_PROBE,
        knows_rows=True,
        named=LATE,
    ),
    Scenario(
        name="replace",
        recipe=REPLACED,
        kind=Kind(columns=PLAIN_COLUMNS, whole=True),
        parts=[publisher("early", READ_AND_PUBLISH), publisher("late", READ_AND_PUBLISH), writer(CHANGED)],
        probe=PLAIN_PROBE,
        named=LATE,
    ),
    # A sweep beside a backfill that delivers a row inserted after the sweep read its keys.
    Scenario(
        name="sweep",
        recipe=SWEPT,
        kind=Kind(swept=True),
        parts=[
            publisher("schedule", SWEEP_AND_PUBLISH),
            publisher("backfill", window=PAST_HOURS),
            writer(FORGOTTEN),
        ],
        probe=STAMPED_PROBE,
        knows_rows=True,
        named=UNSEEN,
    ),
    Scenario(
        name="sweep-innodb",
        recipe=SWEPT_INNODB,
        kind=Kind(swept=True),
        parts=[
            publisher("schedule", SWEEP_AND_PUBLISH),
            publisher("backfill", window=PAST_HOURS),
            writer(FORGOTTEN),
        ],
        probe=STAMPED_PROBE,
        knows_rows=True,
        named={
            "a row that came after the comparison": "schedule@extract.compared writer@end backfill@end schedule@end",
        },
    ),
    Scenario(
        name="sweep-no-cursor",
        recipe=SWEPT_COMPARED,
        kind=Kind(columns=PLAIN_COLUMNS, swept=True),
        parts=[
            publisher("early", READ_AND_PUBLISH),
            publisher("late", READ_AND_PUBLISH),
            writer("INSERT INTO {table} VALUES (4, 1, 'later')", "UPDATE {table} SET v = 2 WHERE id = 2"),
        ],
        probe=PLAIN_PROBE,
        knows_rows=True,
        named={
            "a row that came after the sweep's snapshot": "early@extract.before writer@end late@end early@end",
        },
    ),
    # Two runs of a derived dataset, and a run of its input.
    Scenario(
        name="derived",
        recipe=MIRRORED,
        kind=Kind(columns=("id", "v", "note", "day", "updated_at"), rebuilt=True),
        parts=[
            publisher("early", derived=True),
            publisher("late", derived=True),
            Part("input", run("input"), does=("source input", "input")),
        ],
        probe=MIRRORED_PROBE,
        reads_input=True,
        named={
            "a late driver publishes what was before": "early@publish.commit input@end late@end early@end",
        },
    ),
    # Two runs that load.
    Scenario(
        name="load-merge",
        recipe=MERGED,
        kind=Kind(cursor="updated_at"),
        parts=[
            Part("schedule", run("schedule", through="load"), LOAD),
            Part("backfill", run("backfill", window=PAST_HOURS, through="load"), LOAD),
        ],
        probe=STAMPED_PROBE,
        loads=True,
        named=TWO_LOADERS,
    ),
    Scenario(
        name="load-append",
        recipe=replace(APPENDED, fresh=[*APPENDED.fresh, "INSERT INTO {table} VALUES (40, 1, 'fresh')"]),
        kind=NUMBERED,
        parts=[
            Part("schedule", run("schedule", through="load"), LOAD),
            Part("backfill", run("backfill", window=("10", "20"), through="load"), LOAD),
        ],
        probe=ADDED_PROBE,
        loads=True,
        named=TWO_LOADERS,
    ),
    Scenario(
        name="load-removed",
        recipe=SWEPT_AND_REMOVED,
        kind=Kind(swept=True, removed=True),
        parts=[
            Part("schedule", run("schedule", through="load"), LOAD),
            Part("backfill", run("backfill", window=PAST_HOURS, through="load"), LOAD),
        ],
        probe=STAMPED_PROBE,
        knows_rows=True,
        loads=True,
        named=TWO_LOADERS,
    ),
    Scenario(
        name="load-replace",
        recipe=REPLACED,
        kind=Kind(columns=PLAIN_COLUMNS, whole=True),
        parts=[
            Part("early", run("early", through="load"), LOAD),
            Part("late", run("late", through="load"), LOAD),
            writer(CHANGED),
        ],
        probe=PLAIN_PROBE,
        loads=True,
        named={
            "an older state is loaded late": "early@load.committing writer@end late@load.committing early@end late@end",
        },
    ),
)
