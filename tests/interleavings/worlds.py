"""Worlds: a source table, its pipeline, and a lake with one published batch. Each order gets a copy.

The first run of a world happens once. A copy takes milliseconds: the catalog registers the lake's tables under another
name with the same metadata file, and the database server copies the source table. Copies share data files, which no
scenario removes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connectors.base import Window
from jobs.lake.documents import open_documents
from jobs.runs.pending import is_pending
from jobs.runs.receipts import Receipts, Stage
from jobs.spec.models import PipelineSpec
from jobs.spec.reader import read_spec
from jobs.stages.loop import run_stages
from jobs.stages.plan.planner import make_plan
from tests.e2e.ferry import Ferry, OwnDatabase
from tests.interleavings.scheduler import unprinted

GENERATIONS = 3
"""How often a driver plans; the limit of `lakeferry run`."""
PLAN_AGAIN = ("LakeMoved", "SourceMoved")
NAMESPACES = ("raw", "curated", "quarantine")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Recipe:
    """The description of a world.

    SQL may contain `{table}` and times: `{past}` is hours ago, between `{old}` and `{later}`; `{fresh}` follows the
    first batch.

    Args:
        keys: the dataset's YAML keys other than name, table and target.
        columns: column definitions of the source table. The first is the key; `v` increases with each change.
        rows: the rows of the first batch, as SQL tuples.
        fresh: statements that change the source before the actors begin.
        connection: `aurora_payments` or `tidb_wallet`.
        suite: the YAML of row rules.
        target: further keys of the dataset's `bigquery`.
        derived: the scenario is about a dataset derived from this one, which mirrors it by `day`.
    """

    name: str
    keys: str
    columns: str
    rows: Sequence[str]
    fresh: Sequence[str] = ()
    connection: str = "aurora_payments"
    suite: str | None = None
    target: str = ""
    derived: bool = False


@dataclass
class Place:
    """One copy of a world. `dataset` names its dataset and its pipeline."""

    world: World
    dataset: str
    table: str
    target: str
    spec: PipelineSpec
    derived: Place | None = None

    @property
    def ferry(self) -> Ferry:
        return self.world.ferry

    def execute(self, statement: str) -> None:
        """Run a statement of a `Recipe` in the source."""
        self.world.database.execute(statement.format(table=self.table, **self.world.stamps))

    def source_rows(self, where: str = "TRUE") -> list[Row]:
        return self.world.database.rows(f"SELECT * FROM {self.table} WHERE {where}")

    @property
    def last(self) -> Place:
        """The dataset that the scenario is about: the derived one, where there is one."""
        return self.derived or self

    def bring(self, run_id: str, *, through: Stage = "check") -> int:
        """Run all pipelines of this copy; returns the highest exit code."""
        if self.derived is None:
            return self.drive(run_id, through=through)
        return max(self.drive(run_id), self.derived.drive(run_id, through=through))

    def drive(self, run_id: str, *, window: Window | None = None, through: Stage = "check") -> int:
        """Plan and run in this process as `lakeferry run` does, including new plans after LakeMoved and SourceMoved."""
        first: Stage = "transform" if self.spec.datasets[0].derived else "extract"
        settings = self.ferry.settings
        receipts = Receipts(open_documents(settings.lake))
        code = 0
        for _ in range(GENERATIONS):
            plan = make_plan(self.spec, run_id, settings, window=window)
            code = max((failure.exit_code for failure in plan.failures.values()), default=0)
            if is_pending(plan, first, settings) or is_pending(plan, "check", settings):
                code = max(code, run_stages(plan.uri, first, through, settings))
            elif through == "load":
                code = max(code, run_stages(plan.uri, "load", "load", settings))
            generation = plan.datasets[0].generation
            again = [
                receipt
                for receipt in receipts.of_run(plan.pipeline, run_id)
                if receipt.generation == generation and receipt.verdict == "failed" and receipt.error_type in PLAN_AGAIN
            ]
            if not again:
                break
        return code

    def compact(self, namespace: str) -> int:
        """Rewrite all files of a table, as another tool would; returns 0."""
        from jobs.lake.spark_session import open_session

        session = open_session(self.ferry.settings, "compaction")
        session.sql(
            f"CALL lake.system.rewrite_data_files(table => 'lake.{namespace}.{self.dataset}',"
            " options => map('rewrite-all', 'true'))"
        ).collect()
        return 0

    def remove(self) -> None:
        """Remove the copy."""
        self.world.drop(self)


class World:
    """A recipe whose first batch is published."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, recipe: Recipe) -> None:
        self.ferry, self.database, self.recipe = ferry, database, recipe
        self.stamps: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._name = f"{recipe.name}_{database.name}"
        self._warehouse = ferry.warehouse_dataset()
        self._metadata: dict[str, str] = {}
        self._prepare()

    def window(self, start: str, end: str) -> Window:
        """An explicit window; its bounds may contain the times of a `Recipe`."""
        return Window(start=start.format(**self._bounds), end=end.format(**self._bounds))

    def place(self, *, loaded: bool = False) -> Place:
        """Make a copy. `loaded`: load its first batch into BigQuery."""
        number = next(self._numbers)
        place = self._place(f"{self._name}_{number}", f"{self.database.name}.t{number}")
        self.database.execute(f"CREATE TABLE {place.table} LIKE {self._template.table}")
        self.database.execute(f"INSERT INTO {place.table} SELECT * FROM {self._template.table}")
        catalog = self.ferry.catalog
        for namespace, metadata in self._metadata.items():
            catalog.register_table((namespace, place.dataset), metadata)
        if self.recipe.derived:
            place.derived = self._derived_of(place)
        if loaded:
            with unprinted() as printed:
                code = place.bring("placed", through="load")
            assert code == 0, printed.getvalue()
        for statement in self.recipe.fresh:
            place.execute(statement)
        return place

    def drop(self, place: Place) -> None:
        self.database.execute(f"DROP TABLE {place.table}")
        catalog, project = self.ferry.catalog, self.ferry.settings.warehouse_project
        for each in (place, place.derived) if place.derived else (place,):
            (self.ferry.folder / "pipelines" / f"{each.dataset}.yaml").unlink()
            self.ferry.warehouse.delete_table(f"{project}.{each.target}", not_found_ok=True)
            for namespace in NAMESPACES:
                if catalog.table_exists((namespace, each.dataset)):
                    catalog.drop_table((namespace, each.dataset))

    @property
    def _bounds(self) -> dict[str, str]:
        return {name: stamp.replace(" ", "T") + "Z" for name, stamp in self.stamps.items()}

    def _prepare(self) -> None:
        began = self.database.now()
        self.stamps = {
            name: _stamp(began - timedelta(hours=hours)) for name, hours in (("old", 9), ("past", 5), ("later", 4))
        }
        self._template = self._place(f"{self._name}_0", f"{self.database.name}.t0")
        self.database.execute(f"CREATE TABLE {self._template.table} ({self.recipe.columns})")
        for row in self.recipe.rows:
            self._template.execute(f"INSERT INTO {{table}} VALUES {row}")
        with unprinted() as printed:
            code = self._template.drive("first")
        assert code == 0, printed.getvalue()
        self.stamps["fresh"] = _stamp(self.database.now())
        settle(self.database)
        catalog = self.ferry.catalog
        for namespace in NAMESPACES:
            self._metadata[namespace] = catalog.load_table((namespace, self._template.dataset)).metadata_location

    def _place(self, dataset: str, table: str) -> Place:
        target = f"{self._warehouse}.{dataset}"
        recipe = self.recipe
        source = {"aurora_payments": "aurora", "tidb_wallet": "tidb"}[recipe.connection]
        suite = ""
        if recipe.suite is not None:
            suite = f"\n    expectations: {self.ferry.suite(self._name, recipe.suite)}"
        keys = "\n    ".join(recipe.keys.strip().splitlines())
        self.ferry.spec(
            # A copy's raw table is that of the first pipeline, registered under another name.
            f"pipeline: {dataset}\ntakes_over: [{self._name}_0]\n"
            f"source: {{type: {source}, connection: {recipe.connection}}}\ndatasets:\n"
            f"  - name: {dataset}\n    table: {table}\n    {keys}{suite}\n"
            f'    reconcile: "off"\n    bigquery: {{table: {target}{recipe.target}}}\n'
        )
        return Place(self, dataset, table, target, read_spec(self.ferry.folder / "pipelines" / f"{dataset}.yaml"))

    def _derived_of(self, place: Place) -> Place:
        dataset = f"derived_{place.dataset}"
        target = f"{self._warehouse}.{dataset}"
        self.ferry.spec(
            f"pipeline: {dataset}\ndatasets:\n  - name: {dataset}\n    inputs: [{place.dataset}]\n"
            "    transform: tests.interleavings.transforms:mirrored\n    primary_key: [id]\n"
            "    write_disposition: overwrite_partitions\n"
            f'    reconcile: "off"\n    bigquery: {{table: {target}, partition_by: day}}\n'
        )
        spec = read_spec(self.ferry.folder / "pipelines" / f"{dataset}.yaml")
        return Place(self, dataset, place.table, target, spec)


def settle(database: OwnDatabase) -> None:
    """Wait until a window of one second's lag includes all rows written so far. An open transaction would end it
    earlier."""
    written = database.now()
    database.settle()
    if "TiDB" not in str(database.rows("SELECT VERSION()")[0][0]):
        return
    others = "information_schema.cluster_tidb_trx WHERE session_id <> CONNECTION_ID()"
    while database.rows(f"SELECT COUNT(*) FROM {others} AND TIDB_PARSE_TSO(id) <= '{written}'")[0][0]:
        database.rows("SELECT SLEEP(0.3)")


def _stamp(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="microseconds")
