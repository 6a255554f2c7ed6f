"""A lake of small datasets in different states, their runs, and foreign operations on them.

One pipeline holds them all (one more holds what is derived): a run moves those of a round side by side. The world is
built once; each round begins at the state it was built to.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Literal

import boto3

from connectors.errors import LakeferryError
from jobs.runs.pending import is_pending
from jobs.runs.plan_document import Plan
from jobs.runs.receipts import Stage
from jobs.spec.reader import load_pipeline
from jobs.stages.loop import run_stages
from jobs.stages.plan.planner import make_plan, report_failures
from tests.e2e.ferry import Ferry, OwnDatabase
from tests.foreign.outcome import PLAN_AGAIN, Failure, listening
from tests.foreign.saved_state import Objects, SavedCatalog, SavedObjects, SavedWarehouse
from tests.foreign.source import ROW_RULE, SavedSource, Source, Variant

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)
GENERATIONS = 3
UnderWay = Literal["nothing", "planned", "extracted"]


@dataclass(frozen=True)
class Slot:
    """A dataset and the state it is in when foreign operations come: what of a run is under way, and whether load lags
    one batch behind."""

    name: str
    variant: Variant
    under_way: UnderWay = "nothing"
    lagging: bool = False


SLOTS = (
    Slot("merge_idle", "merge"),
    Slot("merge_planned", "merge", "planned"),
    Slot("merge_extracted", "merge", "extracted", lagging=True),
    Slot("append_lagging", "append", lagging=True),
    Slot("append_extracted", "append", "extracted"),
    Slot("replace_planned", "replace", "planned", lagging=True),
    Slot("no_cursor_extracted", "no_cursor", "extracted"),
    Slot("sweep_idle", "sweep", lagging=True),
    Slot("sweep_extracted", "sweep", "extracted"),
    Slot("derived_idle", "derived"),
    Slot("derived_extracted", "derived", "extracted", lagging=True),
)

FEW_SLOTS = ("merge_extracted", "append_lagging", "no_cursor_extracted", "sweep_extracted", "derived_idle")
"""Names of slots in which all that a run under way, a lagging load and a derived dataset can meet is met."""


@dataclass
class Cargo:
    """One slot's dataset: its source, its names, and those of what is derived from it."""

    slot: Slot
    name: str
    table: str
    source: Source
    random: Random
    """What becomes of the source; the player of a case sets it."""
    derived: str | None = None
    derived_table: str | None = None
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    """Failures by dataset of the last run; an empty list for one that came through. Only those it moved are here."""

    @property
    def datasets(self) -> list[str]:
        return [self.name, *([self.derived] if self.derived else [])]


class World:
    """Builds the datasets, runs them, and goes back to where they were."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, spark: SparkSession, slots: Sequence[Slot] = SLOTS) -> None:
        self.ferry, self.database, self.spark = ferry, database, spark
        self.mark = database.name
        self.target = ferry.warehouse_dataset()
        self.catalog_file = ferry.settings.catalog_file
        bucket, _, prefix = ferry.settings.lake.removeprefix("s3://").partition("/")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3")
        self.objects = Objects(boto3.client("s3", endpoint_url=endpoint), bucket, f"{prefix}/")
        self.cargo = {slot.name: self._cargo(slot) for slot in slots}
        self._runs = 0
        self._write_specs()
        self._build()

    def restore(self) -> None:
        """Everything as it was when the world was built."""
        self._objects.restore()
        self._catalog.restore()
        self._warehouse.restore()
        for source in self._sources.values():
            source.restore()

    def change(self, cargo: Iterable[Cargo], *, bad_row: bool) -> None:
        """The sources move on, and are left alone until a window takes that in."""
        moved = list(cargo)
        for one in moved:
            one.source.change(one.random, bad_row=bad_row)
        self.database.settle()
        for one in moved:
            one.source.note_state()

    def run(self, cargo: Iterable[Cargo], through: Stage = "load") -> None:
        """Run these datasets, then what is derived from them; `Cargo.failures` has what failed."""
        self._runs += 1
        moved = list(cargo)
        failures = self._carry(self._pipeline, f"run-{self._runs}", [one.name for one in moved], through)
        derived = [one.derived for one in moved if one.derived]
        failures |= self._carry(self._derived_pipeline, f"run-{self._runs}", derived, through)
        for one in moved:
            one.failures = {name: failures.get(name, []) for name in one.datasets}

    def resume(self, cargo: Iterable[Cargo]) -> None:
        """Go on with the runs that are under way; what is derived follows."""
        for one in cargo:
            pipeline, name = self._under_way(one)
            failures = self._carry(pipeline, self._under_way_run(one), [name], "load")
            if one.derived and name != one.derived:
                failures |= self._carry(self._derived_pipeline, self._under_way_run(one), [one.derived], "load")
            moved = one.datasets if name == one.name else [name]
            one.failures = {dataset: failures.get(dataset, []) for dataset in moved}

    def _cargo(self, slot: Slot) -> Cargo:
        name = f"{slot.name}_{self.mark}"
        source = Source(self.database, slot.name, slot.variant)
        source.create()
        derived = f"{slot.name}_daily_{self.mark}" if slot.variant == "derived" else None
        table = f"{self.target}.{slot.name}"
        random = Random(slot.name)
        return Cargo(slot, name, table, source, random, derived, f"{table}_daily" if derived else None)

    def _write_specs(self) -> None:
        self._pipeline = f"shop_{self.mark}"
        self._derived_pipeline = f"daily_{self.mark}"
        self.ferry.suite(self.mark, ROW_RULE)
        head = f"pipeline: {self._pipeline}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
        self.ferry.spec(head + "".join(self._entry(one) for one in self.cargo.values()))
        derived = [
            f"  - {{name: {one.derived}, inputs: [{one.name}], transform: 'tests.foreign.transforms:daily',"
            f" primary_key: [sold_on], write_disposition: overwrite_partitions,"
            f" bigquery: {{table: {one.derived_table}, partition_by: sold_on}}}}\n"
            for one in self.cargo.values()
            if one.derived
        ]
        if derived:
            self.ferry.spec(f"pipeline: {self._derived_pipeline}\ndatasets:\n" + "".join(derived))

    def _entry(self, one: Cargo) -> str:
        variant = one.slot.variant
        disposition = variant if variant in ("append", "replace") else "merge"
        cursor = "" if variant in ("no_cursor", "replace") else " cursor: updated_at, lag_seconds: 1,"
        sweep = " deletes: sweep," if variant == "sweep" else ""
        return (
            f"  - {{name: {one.name}, table: {self.mark}.{one.source.table}, primary_key: [id],{cursor}{sweep}"
            f" write_disposition: {disposition}, most_quarantined: 1, expectations: {self.mark},"
            f" bigquery: {{table: {one.table}}}}}\n"
        )

    def _build(self) -> None:
        everything = list(self.cargo.values())
        for one in everything:
            one.source.change(one.random, bad_row=False)
            one.source.change(one.random, bad_row=False)
        self.change(everything, bad_row=True)
        self._run_well(everything)
        self.yesterday = SavedCatalog(self.catalog_file, self.ferry.folder / "yesterday.db")
        self.change(everything, bad_row=True)
        self._run_well([one for one in everything if not one.slot.lagging])
        self._run_well([one for one in everything if one.slot.lagging], "check")
        begun = [one for one in everything if one.slot.under_way != "nothing"]
        self.change(begun, bad_row=True)
        self._run_well([one for one in begun if one.derived], derived=False)
        for one in begun:
            pipeline, name = self._under_way(one)
            first: Stage = "transform" if one.derived else "extract"
            with listening() as outcome:
                plan = self._plan(pipeline, self._under_way_run(one), [name])
                if one.slot.under_way == "extracted":
                    run_stages(plan.uri, first, first, self.ferry.settings)
            assert not outcome.failures, dict(outcome.failures)
        self._catalog = SavedCatalog(self.catalog_file, self.ferry.folder / "saved.db")
        self._objects = SavedObjects(self.objects)
        ledger = self.ferry.settings.warehouse_ledger_dataset
        beside = self.ferry.warehouse_dataset()
        self._warehouse = SavedWarehouse(self.ferry.warehouse, (self.target, ledger), beside)
        self._sources = {one.name: SavedSource(one.source) for one in everything}
        log.info("the world is built: %s", ", ".join(self.cargo))

    def _run_well(self, cargo: Sequence[Cargo], through: Stage = "load", *, derived: bool = True) -> None:
        if not cargo:
            return
        before = [one.derived for one in cargo]
        if not derived:
            for one in cargo:
                one.derived = None
        self.run(cargo, through)
        for one, name in zip(cargo, before, strict=True):
            one.derived = name
            assert not any(one.failures.values()), one.failures

    def _under_way(self, one: Cargo) -> tuple[str, str]:
        """Pipeline and dataset of the run that is under way: where something is derived, the derived one's."""
        return (self._derived_pipeline, one.derived) if one.derived else (self._pipeline, one.name)

    @staticmethod
    def _under_way_run(one: Cargo) -> str:
        return f"under-way-{one.slot.name}"

    def _plan(self, pipeline: str, run_id: str, only: Sequence[str]) -> Plan:
        spec = load_pipeline(self.ferry.settings.pipelines, pipeline)
        return make_plan(spec, run_id, self.ferry.settings, only=only)

    def _carry(self, pipeline: str, run_id: str, only: Sequence[str], through: Stage) -> dict[str, list[Failure]]:
        """Run datasets of a pipeline; the failures of each in the last generation."""
        if not only:
            return {}
        try:
            return self._generations(pipeline, run_id, only, through)
        except RunStoppedError as error:
            if len(only) == 1:
                return {only[0]: [error.failure]}
        by_dataset: dict[str, list[Failure]] = {}
        for name in only:
            by_dataset |= self._carry(pipeline, f"{run_id}-{name}", [name], through)
        return by_dataset

    def _generations(self, pipeline: str, run_id: str, only: Sequence[str], through: Stage) -> dict[str, list[Failure]]:
        # As `lakeferry run` does, in this process: another generation where the lake or the source moved.
        settings = self.ferry.settings
        first: Stage = "transform" if pipeline == self._derived_pipeline else "extract"
        failures: Mapping[str, list[Failure]] = {}
        for _ in range(GENERATIONS):
            with listening() as outcome:
                try:
                    plan = self._plan(pipeline, run_id, only)
                    outcome.code = report_failures(plan)
                    pending = is_pending(plan, first, settings) or is_pending(plan, "check", settings)
                    begin = first if pending else through
                    outcome.code = max(outcome.code, run_stages(plan.uri, begin, through, settings))
                except Exception as error:
                    raise RunStoppedError(error) from error
            failures = outcome.failures
            if bool(outcome.code) != bool(failures):
                raise AssertionError(
                    f"exit code {outcome.code} of {only}, failures: {dict(failures)}; {outcome.errors}"
                )
            if not any(failure.error_type in PLAN_AGAIN for several in failures.values() for failure in several):
                break
        return dict(failures)


class RunStoppedError(Exception):
    """An exception that no dataset of a run came through."""

    def __init__(self, error: Exception) -> None:
        kind = type(error).__name__ if isinstance(error, LakeferryError) else f"unexpected {type(error).__name__}"
        self.failure = Failure("run", kind, str(error), stopped_all=True)
        super().__init__(str(error))
