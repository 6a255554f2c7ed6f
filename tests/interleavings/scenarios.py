"""The scenarios: for each write disposition, the actors that may meet in it, and the gates at which it matters.

Gates of most runs are `publish.commit` (main was read, the commit is not made), `publish.following` (number and position
of a batch that another overtook were read) and `curated.read` (what curated lacks was read). `curated.scanned`, inside
the MERGE, is a gate where merges meet. All before publish is one turn, unless the source changes meanwhile: a run's
plan, branches and receipts are its own.
"""

from __future__ import annotations

from collections.abc import Callable

from jobs.receipts import Stage
from tests.interleavings.oracle import Kind
from tests.interleavings.parts import Part, Scenario
from tests.interleavings.scheduler import Work
from tests.interleavings.worlds import Place, Recipe

PUBLISH = ("publish.commit", "publish.following", "curated.read")
MERGE = ("check.published", "curated.read", "curated.scanned")


def run(run_id: str, *, window: tuple[str, str] | None = None, through: Stage = "check") -> Callable[[Place], Work]:
    """A driver of this run id, as `lakeferry run` is one; `window` as of `World.window`."""

    def work(place: Place) -> Work:
        asked = place.world.window(*window) if window else None
        return lambda: place.drive(run_id, window=asked, through=through)

    return work


def compaction(namespace: str) -> Callable[[Place], Work]:
    """Another tool's compaction of a table: all its files are written anew."""

    def work(place: Place) -> Work:
        return lambda: place.compact(namespace)

    return work


def writer(*statements: str) -> Callable[[Place], Work]:
    """An application that changes the source."""

    def work(place: Place) -> Work:
        def change() -> int:
            for statement in statements:
                place.execute(statement)
            return 0

        return change

    return work


COMPACTION_OF_RAW = Part("compaction", compaction("raw"), does=("raw", "raw"))
COMPACTION_OF_CURATED = Part("compaction", compaction("curated"), does=("curated", "curated"))

STAMPED = "id BIGINT PRIMARY KEY, v INT NOT NULL, note VARCHAR(20), updated_at DATETIME(6) NOT NULL, KEY (updated_at)"
PLAIN = "id BIGINT PRIMARY KEY, v INT NOT NULL, note VARCHAR(20)"
BY_TIME = "primary_key: [id]\ncursor: updated_at\nlag_seconds: 1\nwrite_disposition: merge"
FORGOTTEN = "INSERT INTO {table} VALUES (9, 1, 'forgotten', '{past}')"
PAST_HOURS = ("{old}", "{later}")

MERGED = Recipe(
    name="merge",
    keys=BY_TIME,
    columns=STAMPED,
    rows=[f"({n}, 1, 'first', '{{past}}')" for n in (1, 2, 3)],
    fresh=[
        "UPDATE {table} SET v = 2, updated_at = '{fresh}' WHERE id = 2",
        "INSERT INTO {table} VALUES (4, 1, 'fresh', '{fresh}')",
        FORGOTTEN,
    ],
)
APPENDED = Recipe(
    name="append",
    keys="primary_key: [id]\ncursor: id\nwrite_disposition: append",
    columns=PLAIN,
    rows=[f"({n}, 1, 'first')" for n in (10, 20, 30)],
    fresh=["INSERT INTO {table} VALUES (40, 1, 'fresh')", "INSERT INTO {table} VALUES (15, 1, 'forgotten')"],
)

BY_TIME_PROBE = [
    "INSERT INTO {table} VALUES (100, 1, 'probe', UTC_TIMESTAMP(6))",
    "UPDATE {table} SET v = v + 1, updated_at = UTC_TIMESTAMP(6) WHERE id = 1",
]

SCENARIOS = [
    Scenario(
        name="merge",
        recipe=MERGED,
        kind=Kind(cursor="updated_at"),
        parts=[
            Part("schedule", run("schedule"), PUBLISH, likely=("publish.commit", "curated.read")),
            Part("backfill", run("backfill", window=PAST_HOURS), PUBLISH, likely=("publish.commit", "curated.read")),
            COMPACTION_OF_RAW,
        ],
        probe=BY_TIME_PROBE,
        named={
            "a publish between number and base": "backfill@publish.commit compaction@end backfill@publish.following"
            " schedule@end backfill@end",
        },
    ),
    Scenario(
        name="append",
        recipe=APPENDED,
        kind=Kind(columns=("id", "v", "note"), cursor="id"),
        # Nothing behind the position: an hourly run finds nothing, and brings curated up.
        fresh=APPENDED.fresh[1:],
        parts=[
            Part("backfill", run("backfill", window=("10", "20")), MERGE),
            Part(
                "schedule",
                run("schedule"),
                ("curated.read", "curated.scanned"),
                finds_nothing=True,
            ),
        ],
        probe=["INSERT INTO {table} VALUES (100, 1, 'probe')"],
        named={
            "two catch up at once": "backfill@check.published schedule@curated.scanned backfill@end schedule@end",
        },
    ),
]
