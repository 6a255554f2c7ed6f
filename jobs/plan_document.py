"""The plan: one frozen JSON document a run and generation, which every later stage obeys."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from connectors.base import KeyRead, SourcePlan, Window
from connectors.errors import UsageError
from jobs.lake.documents import Documents, open_documents
from jobs.receipts import safe_run_id
from jobs.settings import Settings
from jobs.spec import DatasetSpec, PipelineSpec

State = Literal["planned", "empty", "failed", "skipped"]


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
    """Why a dataset could not be planned: the error's text, class and exit code."""

    error: str
    error_type: str
    exit_code: int


class DatasetPlan(_Frozen):
    """What this run moves of one dataset.

    `generation` is the one this entry was planned in: entries that are done are carried over into the
    next generation as they are. One that is `failed` has a `failure` and moves nothing. One that is `skipped` cannot
    be read by the window that was asked for; its `reason` says why, and no stage touches it. `batch` is the
    number its rows will carry, `base_snapshot_id` the published snapshot it builds on (None before the
    first). `moves_position` is false for an explicit window. `start_position` is the published position it
    starts at. `keys` is how all keys are read where deleted rows are looked for. `mask_key_mark` tells
    the key of `mask: hmac` from others. `pins` holds the inputs of
    a derived dataset, `previous_pins` those of its last batch.
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
    source: SourcePlan | None = None
    keys: KeyRead | None = None
    mask_key_mark: str | None = None
    pins: dict[str, Pin] | None = None
    previous_pins: dict[str, Pin] | None = None

    @property
    def window(self) -> Window | None:
        return self.source.window if self.source else None

    @property
    def position(self) -> dict[str, JsonValue] | None:
        if self.pins is not None:
            return {name: pin.model_dump() for name, pin in self.pins.items()}
        return self.source.next_position if self.source else None


class Plan(_Frozen):
    """`uri` is where it lies in the lake; `spec` is the pipeline as it was when planned."""

    pipeline: str
    run_id: str
    generation: int
    created_at: str
    spec: PipelineSpec
    datasets: tuple[DatasetPlan, ...]
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
    """Where a plan lies in the lake."""
    return f"plans/{pipeline}/{safe_run_id(run_id)}/{generation}.json"


def load_plan(uri: str, settings: Settings) -> Plan:
    """Read a plan by its address.

    Raises:
        UsageError: the address is not in this lake.
        ObjectNotFound: there is no such plan.
    """
    documents = open_documents(settings.lake)
    if not uri.startswith(documents.root + "/"):
        raise UsageError(
            f"plan {uri} is not in the lake {documents.root}", fix="Check LAKEFERRY_LAKE, or the plan's address"
        )
    return Plan.model_validate_json(documents.read(uri.removeprefix(documents.root + "/")))


def newest_plan_uri(uri: str, settings: Settings) -> str:
    """The address of the newest generation of the run that the plan at this address is of; no plan is read."""
    documents = open_documents(settings.lake)
    folder = f"{uri.rsplit('/', 1)[0]}/".removeprefix(documents.root + "/")
    newest = max(documents.list(folder), key=_generation, default=None)
    return uri if newest is None else documents.uri(newest)


def latest_plan(documents: Documents, pipeline: str, run_id: str) -> Plan | None:
    """The newest generation of a run's plan, or None before the first."""
    keys = documents.list(f"plans/{pipeline}/{safe_run_id(run_id)}/")
    if not keys:
        return None
    return Plan.model_validate_json(documents.read(max(keys, key=_generation)))


def _generation(key: str) -> int:
    return int(key.rsplit("/", 1)[1].removesuffix(".json"))
