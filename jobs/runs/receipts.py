"""Receipts: what each stage did to each dataset, left in the lake, one per dataset, run, generation and stage; and one
per attempt to create a view."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypeVar, cast
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator

from connectors.errors import Recovery, UsageError, recovery_of
from jobs.lake.documents import Documents
from jobs.runs.stage_results import RESULTS, Proved, StageResult
from jobs.runtime.events import event

Stage = Literal["plan", "extract", "transform", "check", "load", "view"]
STAGES: tuple[Stage, ...] = ("plan", "extract", "transform", "check", "load")
PLAN_STAGES = STAGES[1:]
"""Stages that work through a plan."""
SPARK_STAGES: tuple[Stage, ...] = ("extract", "transform", "check")
"""The stages of a dataset, in order."""
VIEW: Stage = "view"
"""In a receipt of a view, whose `dataset` is the view's name in BigQuery. Its generation is that of the plan."""
Result = TypeVar("Result", bound=StageResult)
Verdict = Literal["done", "empty", "superseded", "failed", "skipped"]


class Receipt(BaseModel):
    """What a stage did to a dataset. Counts are of rows. `source_rows` is the count the source itself reports. `known`
    are those that a lookback read again although an earlier batch holds them. `deleted` are those of `read` and
    `published` that mark a row gone at the source. `error_code`, `exit_code` and `recovery` are those of the error. A
    correction reads nothing: its `published` is minus the number of rows it sets aside, and its `details` have
    `corrects`. `details` is the result of the stage, see `jobs.runs.stage_results`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipeline: str
    run_id: str
    generation: int
    stage: Stage
    dataset: str
    verdict: Verdict
    batch: int | None = None
    source_rows: int | None = None
    known: int | None = None
    read: int | None = None
    published: int | None = None
    quarantined: int | None = None
    deleted: int | None = None
    loaded: int | None = None
    warehouse_rows: int | None = None
    bytes: int | None = None
    seconds: float = 0.0
    window_start: str | None = None
    window_end: str | None = None
    error: str | None = None
    error_type: str | None = None
    error_code: str | None = None
    exit_code: int = 0
    recovery: Recovery | None = None
    details: SerializeAsAny[StageResult] = Field(default={}, validate_default=True)
    finished_at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    @field_validator("details", mode="before")
    @classmethod
    def _of_stage(cls, value: object, info: ValidationInfo) -> object:
        """Read a document as the result of its stage. An object of the wrong stage is refused."""
        stage = info.data.get("stage")
        if stage is None:
            # The stage is invalid, and reported as such.
            return StageResult()
        kind = RESULTS[stage]
        if isinstance(value, StageResult):
            if type(value) not in (kind, StageResult):
                raise ValueError(f"{type(value).__name__} is not the result of {stage}")
            return value
        return kind.model_validate(value)

    @property
    def recovers_by(self) -> Recovery | None:
        """What to do about the failure; None if it did not fail. Receipts of earlier versions have only an exit code,
        and one of a stage that says 3 was left because the lake or the source moved."""
        if self.verdict != "failed":
            return None
        moved: Recovery = "retry" if self.stage == VIEW else "plan_again"
        return self.recovery or recovery_of(self.exit_code, moved)

    def result(self, kind: type[Result]) -> Result | None:
        """Return the details if they are the result of such a stage; None if the stage left none."""
        return self.details if isinstance(self.details, kind) else None


class Receipts:
    """The receipts of a lake. A receipt is never replaced: the first stage to finish decides what happened."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def leave(self, receipt: Receipt) -> Receipt:
        """Write it, or return the one that is already there."""
        key = self._key(receipt.pipeline, receipt.run_id, receipt.generation, receipt.stage, receipt.dataset)
        if self._documents.create(key, receipt.model_dump_json(indent=1)):
            return receipt
        return self._parsed(key, self._documents.read(key))

    def leave_view(self, receipt: Receipt) -> None:
        """Write the result for a view. A view is created again whenever its pipeline is loaded again, so each attempt
        leaves its own receipt, and the last one counts."""
        attempt = 1
        while not self._documents.create(self._view_key(receipt, attempt), receipt.model_dump_json(indent=1)):
            attempt += 1

    def find(self, pipeline: str, run_id: str, generation: int, stage: Stage, dataset: str) -> Receipt | None:
        key = self._key(pipeline, run_id, generation, stage, dataset)
        text = self._documents.find(key)
        return self._parsed(key, text) if text is not None else None

    def of_run(self, pipeline: str, run_id: str) -> list[Receipt]:
        """Read all receipts of a run, in the order they were left."""
        return self._under(run_prefix(pipeline, run_id))

    def of_pipeline(self, pipeline: str) -> list[Receipt]:
        """Read all receipts of a pipeline, in the order they were left."""
        return self._under(f"receipts/{pipeline}/")

    def runs(self, pipeline: str) -> list[str]:
        """Return the ids of the pipeline's runs, the one that wrote last first. Receipts are read only where two runs
        wrote in one second."""
        of_runs: dict[str, dict[str, float]] = defaultdict(dict)
        for key, written_at in self._documents.written(f"receipts/{pipeline}/").items():
            of_runs[place_of(key).run][key] = written_at
        return [run_id_of(run) for run in self._newest_first(of_runs, len(of_runs))]

    def newest(self, pipeline: str, runs: int) -> list[Receipt]:
        """Return the receipts of the last `runs` runs of each of the pipeline's datasets, in the order they were left.

        The times at which receipts were written say which runs those are: older ones are listed and never read.
        """
        of_datasets: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        for key, written_at in self._documents.written(f"receipts/{pipeline}/").items():
            dataset, run = _parts(key)
            of_datasets[dataset][run][key] = written_at
        return self._in_order(
            key for of_runs in of_datasets.values() for run in self._newest_first(of_runs, runs) for key in of_runs[run]
        )

    def _newest_first(self, of_runs: Mapping[str, Mapping[str, float]], count: int) -> list[str]:
        """Return the last `count` runs, the one that wrote last first. `of_runs`: when each receipt of each run was
        written.

        S3 gives `LastModified` in whole seconds. Where several runs wrote last at one time, the receipts of that time
        are read for the time they were left, unless all of these runs are older than the last `count`.
        """
        last = {run: max(written.values()) for run, written in of_runs.items()}
        oldest = min(heapq.nlargest(count, last.values()), default=0.0)
        runs_at = Counter(last.values())
        tied = [
            (run, key)
            for run, written in of_runs.items()
            if runs_at[last[run]] > 1 and last[run] >= oldest
            for key, written_at in written.items()
            if written_at == last[run]
        ]
        finished_at: dict[str, str] = defaultdict(str)
        for (run, _), text in zip(tied, self._texts([key for _, key in tied]), strict=True):
            finished_at[run] = max(finished_at[run], _finished_at(text))
        newest_first = sorted(of_runs, key=lambda run: (last[run], finished_at[run], run), reverse=True)
        return newest_first[:count]

    def _under(self, prefix: str) -> list[Receipt]:
        return self._in_order(self._documents.list(prefix))

    def _in_order(self, keys: Iterable[str]) -> list[Receipt]:
        """Read the receipts that this version can read, and report how many it cannot."""
        wanted = list(keys)
        readable, unreadable = [], []
        for key, text in zip(wanted, self._texts(wanted), strict=True):
            try:
                readable.append(self._parsed(key, text))
            except UsageError as error:
                unreadable.append(error)
        if unreadable:
            more = f" {len(unreadable) - 1} more receipts are missing here, too." if unreadable[1:] else ""
            event("warning", stage="receipts", warning=f"{unreadable[0]}{more}")
        return sorted(readable, key=lambda receipt: receipt.finished_at)

    def read_all(self, keys: Iterable[str]) -> list[Receipt]:
        """Read the receipts under these keys, in the order of the keys.

        Raises:
            UsageError: another version of Lakeferry wrote one, and this version cannot read it.
        """
        wanted = list(keys)
        return [self._parsed(key, text) for key, text in zip(wanted, self._texts(wanted), strict=True)]

    def _texts(self, keys: Sequence[str]) -> list[str]:
        if not keys:
            return []
        # Each is small, and on S3 each is a request: waiting for them one by one would take long.
        with ThreadPoolExecutor(min(8, len(keys)), thread_name_prefix="receipts") as pool:
            return list(pool.map(self._documents.read, keys))

    def _parsed(self, key: str, text: str) -> Receipt:
        try:
            return Receipt.model_validate_json(text)
        except ValidationError:
            # The error's text holds what the document holds.
            raise UsageError(
                f"receipt {self._documents.uri(key)} was written by another version of Lakeferry, and this one cannot "
                "read it",
                fix="Install one version wherever runs of this lake are planned, carried out and shown",
            ) from None

    @staticmethod
    def _view_key(receipt: Receipt, attempt: int) -> str:
        run = run_prefix(receipt.pipeline, receipt.run_id)
        return f"{run}{receipt.generation}/{receipt.dataset}.{VIEW}-{attempt}.json"

    @staticmethod
    def _key(pipeline: str, run_id: str, generation: int, stage: str, dataset: str) -> str:
        return f"{run_prefix(pipeline, run_id)}{generation}/{dataset}.{stage}.json"


def is_correction(receipt: Receipt) -> bool:
    """Whether `lakeferry correct` has left it."""
    proved = receipt.result(Proved)
    return proved is not None and proved.corrects is not None


class Place(NamedTuple):
    """The parts of a receipt's key; `run` is the run's id as a path segment, `attempt` counts those at a view."""

    run: str
    generation: int
    stage: Stage
    dataset: str
    attempt: int


def run_prefix(pipeline: str, run_id: str) -> str:
    """Return the beginning of the keys of a run's receipts."""
    return f"receipts/{pipeline}/{safe_run_id(run_id)}/"


def place_of(key: str) -> Place:
    """Return the parts of a receipt's key."""
    _, _, run, generation, name = key.split("/")
    dataset, stage, _ = name.rsplit(".", 2)
    stage, _, attempt = stage.partition("-")
    return Place(run, int(generation), cast("Stage", stage), dataset, int(attempt or 1))


def _finished_at(text: str) -> str:
    """When a receipt was left; empty if this version cannot read it."""
    try:
        return Receipt.model_validate_json(text).finished_at
    except ValidationError:
        return ""


def _parts(key: str) -> tuple[str, str]:
    place = place_of(key)
    return place.dataset, place.run


def data_docs_prefix(pipeline: str, dataset: str) -> str:
    """Return the beginning of the keys of a dataset's Data Docs."""
    return f"docs/{pipeline}/{dataset}/"


def data_docs_key(pipeline: str, dataset: str, run_id: str, generation: int) -> str:
    """Return where the first page of a check's Data Docs lies in the lake; the others lie beside and below it."""
    return f"{data_docs_prefix(pipeline, dataset)}{safe_run_id(run_id)}/{generation}/index.html"


def safe_run_id(run_id: str) -> str:
    """A run id as one path segment that two different run ids never share.

    Airflow's run ids hold `:` and `+`; what is outside letters, digits, `-`, `_` and `.` becomes `=XX`.
    """
    return "".join(
        character
        if character.isascii() and (character.isalnum() or character in "-_.")
        else "".join(f"={byte:02X}" for byte in character.encode())
        for character in run_id
    )


def run_id_of(segment: str) -> str:
    """The run id that `safe_run_id` made this path segment of."""
    # `%` never stands in a segment, and `=` only before two digits.
    return unquote(segment.replace("=", "%"))
