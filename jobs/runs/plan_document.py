"""The plan: one frozen JSON document per run and generation, which every later stage obeys."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from connectors.base import Column, KeyScanPlan, ReadPlan, Window
from connectors.errors import LakeferryError, PlanUnreadable, Recovery, UsageError, recovery_of
from jobs.lake.documents import Documents, open_documents
from jobs.runs.key_guarantee import KeyGuarantee
from jobs.runs.receipts import run_id_of, safe_run_id
from jobs.runs.row_identity import RowIdentity
from jobs.runs.run_request import Invocation, RunRequest
from jobs.runtime.settings import Settings
from jobs.spec.frozen_file import FrozenFile
from jobs.spec.models import DatasetSpec, PipelineSpec

PLAN_FORMAT = 3
"""The number of the format in which plans are written and read. It grows when a reader of the previous number would
misunderstand a plan. Plans of format 1 have no number: they do not say what the run was asked for."""
State = Literal["planned", "empty", "failed", "skipped"]
RouteKind = Literal["columns", "rows"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pin(_Frozen):
    """The curated snapshot a derived dataset reads of one input, and the last batch merged into it.

    `table_uuid` is that of the curated table, None in a batch from before it was recorded.
    """

    snapshot_id: int
    batch: int
    table_uuid: str | None = None


class Failure(_Frozen):
    """Why a dataset could not be planned: what the error says of itself."""

    error: str
    error_type: str
    error_code: str = LakeferryError.code
    exit_code: int
    recovery: Recovery | None = None

    @classmethod
    def of(cls, error: LakeferryError) -> Failure:
        return cls(**error.fields(), exit_code=error.exit_code)

    @property
    def may_pass(self) -> bool:
        """Whether something outside failed for now, or moved."""
        return (self.recovery or recovery_of(self.exit_code)) in ("retry", "plan_again")


class Route(_Frozen):
    """How a dataset's rows go into the lake: as `columns` from the source into files, or as `rows` through Spark. The
    `reason` says why."""

    kind: RouteKind
    reason: str


class FrozenView(_Frozen):
    """A view of BigQuery: its name (`dataset.table`), its description and its SELECT. A view whose file could not be
    read, or holds no SELECT, has a `failure` and no `sql`; load reports it."""

    name: str
    description: str | None = None
    sql: FrozenFile | None = None
    failure: Failure | None = None


class DatasetPlan(_Frozen):
    """What this run moves of one dataset, and how.

    `generation` is the one in which this entry was planned: finished entries are carried over into the next generation
    as they are. An entry that is `failed` has a `failure` and moves nothing. An entry that is `skipped` cannot be read
    by the requested window; its `reason` says why, and no stage touches it. `batch` is the
    number its rows will carry, `base_snapshot_id` the published snapshot it builds on (None before the
    first). `moves_position` is false for an explicit window. `start_position` is the published position it
    starts at. `keys` is how all keys are read to find deleted rows. `mask_key_mark` distinguishes the key
    of `mask: hmac` from others. `published_in` is the generation in which this run published the window, if only load
    is left. `pins` holds the inputs of a derived dataset, `previous_pins` those of its last batch.

    `identity` says what distinguishes rows. `lake_columns` are those of the raw table: the source's after masks, those
    the source adds, and `_deleted_at` of a sweep. They and the `route` are unknown for a derived dataset, whose
    transform decides on its columns. `where` is the file and line of a derived dataset, for errors of its transform.
    `rules` is the file of the dataset's rules. `key_guarantee` says what need not be
    searched for duplicates.
    """

    name: str
    generation: int
    state: State
    reason: str | None = None
    failure: Failure | None = None
    batch: int = 0
    base_snapshot_id: int | None = None
    moves_position: bool = True
    start_position: dict[str, JsonValue] | None = None
    source: ReadPlan | None = None
    keys: KeyScanPlan | None = None
    mask_key_mark: str | None = None
    published_in: int | None = None
    pins: dict[str, Pin] | None = None
    previous_pins: dict[str, Pin] | None = None
    identity: RowIdentity = RowIdentity()
    lake_columns: tuple[Column, ...] = ()
    where: str | None = None
    rules: FrozenFile | None = None
    route: Route | None = None
    key_guarantee: KeyGuarantee = "none"

    @property
    def read_columns(self) -> tuple[Column, ...]:
        """The columns as they are read, before masks; empty for a derived dataset."""
        return (*self.source.columns, *self.identity.columns) if self.source else ()

    @property
    def window(self) -> Window | None:
        return self.source.window if self.source else None

    @property
    def position(self) -> dict[str, JsonValue] | None:
        if self.pins is not None:
            return {name: pin.model_dump() for name, pin in self.pins.items()}
        return self.source.next_position if self.source else None


def own_version() -> str | None:
    """Return the version of Lakeferry that is installed here; None if it runs from a folder."""
    try:
        return version("lakeferry")
    except PackageNotFoundError:
        return None


class Plan(_Frozen):
    """The plan of a run. `uri` is its address in the lake; `spec` is the pipeline as it was when planned. `request` is
    what the run was asked for, and `invocation` is the invocation that asked for this generation. `written_by` is the
    version of Lakeferry that wrote the plan, None if it was not installed as a package."""

    format: int = PLAN_FORMAT
    written_by: str | None = Field(default_factory=own_version)
    pipeline: str
    run_id: str
    generation: int
    request: RunRequest = RunRequest()
    invocation: Invocation = Invocation()
    created_at: str
    spec: PipelineSpec
    datasets: tuple[DatasetPlan, ...]
    views: tuple[FrozenView, ...] = ()
    uri: str

    @property
    def failures(self) -> dict[str, Failure]:
        """Why datasets could not be planned, by name."""
        return {dataset.name: dataset.failure for dataset in self.datasets if dataset.failure}

    def dataset(self, name: str) -> DatasetPlan:
        return next(d for d in self.datasets if d.name == name)

    def dataset_spec(self, name: str) -> DatasetSpec:
        return self.spec.dataset(name)


def plan_key(pipeline: str, run_id: str, generation: int) -> str:
    """Return where a plan lies in the lake."""
    return f"plans/{pipeline}/{safe_run_id(run_id)}/{generation}.json"


def run_of(uri: str) -> tuple[str, str] | None:
    """Return the pipeline and the run id that a plan's address names; None if it is not the address of a plan."""
    parts = uri.split("/")[-4:]
    return (parts[1], run_id_of(parts[2])) if len(parts) == 4 and parts[0] == "plans" else None


def load_plan(uri: str, settings: Settings) -> Plan:
    """Read a plan by its address.

    Raises:
        UsageError: the address is not in this lake, or another version of Lakeferry wrote the plan.
        ObjectNotFound: there is no such plan.
    """
    documents = open_documents(settings.lake)
    if not uri.startswith(documents.root + "/"):
        raise UsageError(
            f"plan {uri} is not in the lake {documents.root}", fix="Check LAKEFERRY_LAKE, or the plan's address"
        )
    return parse_plan(documents.read(uri.removeprefix(documents.root + "/")), uri)


def newest_plan_uri(uri: str, settings: Settings) -> str:
    """Return the address of the newest generation of the run to which a plan belongs, given the plan's address; no plan
    is read."""
    documents = open_documents(settings.lake)
    folder = f"{uri.rsplit('/', 1)[0]}/".removeprefix(documents.root + "/")
    newest = max(documents.list(folder), key=_generation, default=None)
    return uri if newest is None else documents.uri(newest)


def latest_plan(documents: Documents, pipeline: str, run_id: str) -> Plan | None:
    """Read the newest generation of a run's plan; None before the first. For the errors see `parse_plan`."""
    generation = latest_generation(documents, pipeline, run_id)
    return read_generation(documents, pipeline, run_id, generation) if generation else None


def latest_generation(documents: Documents, pipeline: str, run_id: str) -> int:
    """Return the number of the newest generation of a run's plan; 0 before the first."""
    keys = documents.list(f"plans/{pipeline}/{safe_run_id(run_id)}/")
    return max(map(_generation, keys), default=0)


def is_newer_plan(uri: str, other: str) -> bool:
    """Whether a plan is of a later generation than another plan of its run, by their addresses."""
    numbers = [name.removesuffix(".json") for name in (uri.rsplit("/", 1)[-1], other.rsplit("/", 1)[-1])]
    return all(number.isdecimal() for number in numbers) and int(numbers[0]) > int(numbers[1])


def _generation(key: str) -> int:
    return int(key.rsplit("/", 1)[1].removesuffix(".json"))


def read_generation(documents: Documents, pipeline: str, run_id: str, generation: int) -> Plan:
    """Read one generation of a run's plan. For the errors see `load_plan`."""
    key = plan_key(pipeline, run_id, generation)
    return parse_plan(documents.read(key), documents.uri(key))


def parse_plan(text: str, uri: str) -> Plan:
    """Parse a plan's document.

    Raises:
                PlanUnreadable: an earlier version of Lakeferry wrote it, or it is not a plan.
        UsageError: a later version wrote it.
    """
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise PlanUnreadable(f"{uri} is not a plan", fix=_PLAN_AGAIN)
    number = document.get("format", _WITHOUT_NUMBER)
    writer = f"lakeferry {document['written_by']}" if document.get("written_by") else "another version of Lakeferry"
    reader = f"lakeferry {own_version()}" if own_version() else "this version"
    if isinstance(number, int) and number > PLAN_FORMAT:
        raise UsageError(
            f"plan {uri} has format {number}, which {writer} wrote, and {reader} reads format {PLAN_FORMAT}",
            fix="Install one version where runs are planned and where their stages run",
        )
    if number != PLAN_FORMAT:
        described = f"format {number}" if "format" in document else "no format number"
        raise PlanUnreadable(
            f"plan {uri} has {described}: {writer} wrote it, and {reader} reads format {PLAN_FORMAT}", fix=_PLAN_AGAIN
        )
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise PlanUnreadable(
            f"plan {uri}, which {writer} wrote, cannot be read by {reader}: {key}: {first['msg']}",
            fix=f"Install one version where runs are planned and where their stages run. {_PLAN_AGAIN}",
        ) from None


_WITHOUT_NUMBER = 1
_PLAN_AGAIN = "Clear the task plan with downstream, or run again: that plans the next generation"
