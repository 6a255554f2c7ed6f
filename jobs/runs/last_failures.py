"""The last failure of each dataset that left no receipt: what `lakeferry status` and the status page say of it.

A failure that the same plan may get over (a service was down, a module was missing, a driver died) leaves no receipt on
purpose: stages decide by receipts, and a receipt would end the tries. It leaves one document here instead, under a key
of its own. Only status and page read it, and nothing is decided by it. The next failure of the dataset replaces it; a
receipt that the same stage leaves later, or a newer plan, outdates it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from connectors.errors import LakeferryError, ObjectNotFound, UsageError
from jobs.lake.documents import Documents
from jobs.runs.plan_document import DatasetPlan, Plan
from jobs.runs.receipts import PLAN_STAGES, VIEW, Receipt, Stage
from jobs.runs.run_request import Invocation
from jobs.runs.time_limits import time_limits
from jobs.runtime.events import event
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec

State = Literal["ended", "retried", "resumed"]
_AT_ONCE = 8
_FOLDER = "page/failures/"
"""Below `page/`, where every process that runs stages or draws the page may write."""
_NO_PLAN = 0
"""The generation of a failure before there was a plan."""


class LastFailure(BaseModel):
    """A failure that left no receipt. `receipt` says what failed, as a receipt would. `state` says what follows:
    nothing by itself (`ended`), another try by Airflow (`retried`), or that the stage has begun again (`resumed`)."""

    model_config = ConfigDict(frozen=True)

    receipt: Receipt
    state: State


class Known(NamedTuple):
    """Receipts, in order, including those of failures that left none; and, by dataset, the error of a try that another
    try follows."""

    receipts: list[Receipt]
    retried: dict[str, str]


def leave_failure(
    documents: Documents,
    plan: Plan,
    dataset: DatasetPlan,
    stage: Stage,
    error: LakeferryError,
    seconds: float = 0.0,
    *,
    exit_code: int | None = None,
    is_last_try: bool = False,
) -> None:
    """Record that a stage failed for a dataset and left no receipt. An error here is a warning and stops nothing.

    Args:
        exit_code: that of the run, if it differs from the error's.
        is_last_try: nothing tries this plan again by itself. Otherwise Airflow does, if it planned the run and the
            error may pass.
    """
    retried = not is_last_try and error.recovery in ("retry", "plan_again") and plan.invocation != Invocation()
    receipt = _receipt(error, plan.pipeline, plan.run_id, dataset.generation, stage, dataset.name)
    receipt = receipt.model_copy(
        update={"seconds": round(seconds, 3), "exit_code": error.exit_code if exit_code is None else exit_code}
    )
    _put_all(documents, [LastFailure(receipt=receipt, state="retried" if retried else "ended")])


def leave_plan_failure(
    documents: Documents,
    spec: PipelineSpec,
    run_id: str,
    only: Sequence[str],
    error: LakeferryError,
    invocation: Invocation | None = None,
) -> bool:
    """Record that a run could not be planned at all. A wrong argument says nothing of the pipeline, and leaves nothing.

    Args:
        only: names of the requested datasets; empty: all.

    Returns:
        Whether it was written.
    """
    if isinstance(error, UsageError):
        return False
    retried = error.recovery in ("retry", "plan_again") and invocation not in (None, Invocation())
    names = [dataset.name for dataset in spec.datasets if not only or dataset.name in only]
    receipts = [_receipt(error, spec.pipeline, run_id, _NO_PLAN, "plan", name) for name in names]
    return _put_all(
        documents,
        [LastFailure(receipt=own_receipt, state="retried" if retried else "ended") for own_receipt in receipts],
    )


def last_failures(documents: Documents, pipeline: str) -> list[LastFailure]:
    """The last failures of the pipeline's datasets: one listing, and a read of each. A document that cannot be read,
    such as one with a field of a later version, is skipped with a warning.

    Raises:
        LakeferryError: the lake does not answer.
    """
    keys = documents.list(f"{_FOLDER}{pipeline}/")
    if not keys:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(keys)), thread_name_prefix="failures") as pool:
        failures = pool.map(lambda key: _read(documents, key), keys)
        return [failure for failure in failures if failure is not None]


def _read(documents: Documents, key: str) -> LastFailure | None:
    try:
        return LastFailure.model_validate_json(documents.read(key))
    except ObjectNotFound:
        # Somebody removed it after the listing.
        return None
    except ValueError as error:
        # Neither JSON, nor text, nor of this version. The text of the error holds what the document holds.
        problem = f"the document {documents.uri(key)} cannot be read ({type(error).__name__})"
        warn_of_missing(UsageError(problem, fix="Delete it if no later version of Lakeferry works on this lake"))
        return None


def begin_again(documents: Documents, plan: Plan, stages: Collection[Stage]) -> None:
    """Record that these stages of the plan work again: what failed in them before has not failed yet this time."""
    generations = {dataset.name: dataset.generation for dataset in plan.datasets}

    def works_again(receipt: Receipt) -> bool:
        mine = receipt.run_id == plan.run_id and receipt.generation == generations.get(receipt.dataset)
        return mine and receipt.stage in stages

    _change(documents, plan.pipeline, "resumed", lambda failure: works_again(failure.receipt))


def clear_plan_failure(documents: Documents, plan: Plan) -> None:
    """Mark the failure to plan the run as resumed, for each dataset of the plan that the run has now.

    A dataset whose entry stands or is carried over gets no receipt of the plan, so no receipt outdates its failure.
    """
    names = {dataset.name for dataset in plan.datasets}

    def is_planned(receipt: Receipt) -> bool:
        return (receipt.run_id, receipt.generation) == (plan.run_id, _NO_PLAN) and receipt.dataset in names

    _change(documents, plan.pipeline, "resumed", lambda failure: is_planned(failure.receipt))


def end_tries(documents: Documents, pipeline: str, run_id: str) -> None:
    """Record that the run has ended: no further try follows."""
    _change(
        documents,
        pipeline,
        "ended",
        lambda failure: failure.receipt.run_id == run_id and failure.state == "retried",
    )


def is_recorded(failures: Iterable[LastFailure], plan: Plan, dataset: DatasetPlan) -> bool:
    """Whether the failure of a dataset in this plan is among these."""
    place = (plan.run_id, dataset.generation, dataset.name)
    return any(
        (failure.receipt.run_id, failure.receipt.generation, failure.receipt.dataset) == place
        and failure.state != "resumed"
        for failure in failures
    )


def with_failures(
    receipts: Sequence[Receipt], failures: Iterable[LastFailure], spec: PipelineSpec, settings: Settings
) -> Known:
    """Return the receipts of a pipeline and the failures without one.

    A run in Airflow cannot last longer than its time limit: a failure that was to be tried again, and was not, is
    final.
    """
    earliest = (datetime.now(UTC) - timedelta(seconds=time_limits(spec, settings).run.seconds)).isoformat()
    known, retried = list(receipts), {}
    for failure in failures:
        receipt = failure.receipt
        if failure.state == "resumed" or _is_outdated(receipt, receipts):
            continue
        if failure.state == "retried" and receipt.finished_at > earliest:
            if receipt.stage == "plan" or _newest_plan(receipt.dataset, receipts) == _attempt(receipt):
                retried[receipt.dataset] = f"{receipt.stage} failed, and Airflow tries again: {receipt.error}"
        else:
            known.append(receipt)
    return Known(sorted(known, key=lambda receipt: receipt.finished_at), retried)


def _is_outdated(failure: Receipt, receipts: Iterable[Receipt]) -> bool:
    """Whether a later receipt replaces the failure."""
    own = [receipt for receipt in receipts if receipt.dataset == failure.dataset]
    if failure.stage == "plan":
        # A stage that left a receipt after the run could not be planned worked through a plan of the run.
        return any(
            receipt.finished_at >= failure.finished_at
            for receipt in own
            if receipt.stage == "plan" or (receipt.run_id == failure.run_id and receipt.stage in PLAN_STAGES)
        )
    same = [receipt for receipt in own if receipt.stage == failure.stage]
    if failure.stage == VIEW:
        return any(receipt.finished_at >= failure.finished_at for receipt in same)
    return any(_attempt(receipt) == _attempt(failure) for receipt in same)


def _newest_plan(dataset: str, receipts: Iterable[Receipt]) -> tuple[str, int] | None:
    planned = [
        candidate
        for candidate in receipts
        if (candidate.dataset, candidate.stage) == (dataset, "plan") and candidate.verdict != "skipped"
    ]
    newest = max(planned, key=lambda receipt: receipt.finished_at, default=None)
    return _attempt(newest) if newest else None


def _attempt(receipt: Receipt) -> tuple[str, int]:
    return receipt.run_id, receipt.generation


def _receipt(error: LakeferryError, pipeline: str, run_id: str, generation: int, stage: Stage, dataset: str) -> Receipt:
    return Receipt(
        pipeline=pipeline,
        run_id=run_id,
        generation=generation,
        stage=stage,
        dataset=dataset,
        verdict="failed",
        **error.fields(),
        exit_code=error.exit_code,
    )


def _change(documents: Documents, pipeline: str, state: State, concerns: Callable[[LastFailure], bool]) -> None:
    """Put those failures of the pipeline that this concerns into a state."""
    try:
        known = [failure for failure in last_failures(documents, pipeline) if concerns(failure)]
    except Exception as error:  # noqa: BLE001 - what is only shown must not stop what delivers
        warn_of_missing(error)
        return
    changed = [failure.model_copy(update={"state": state}) for failure in known if failure.state != state]
    _put_all(documents, changed)


def _put_all(documents: Documents, failures: Sequence[LastFailure]) -> bool:
    try:
        for failure in failures:
            key = f"{_FOLDER}{failure.receipt.pipeline}/{failure.receipt.dataset}.json"
            documents.put(key, failure.model_dump_json(indent=1).encode(), "application/json")
    except Exception as error:  # noqa: BLE001 - the failure itself is reported, and often has the same cause
        warn_of_missing(error)
        return False
    return True


def warn_of_missing(error: Exception) -> None:
    """Warn that status may miss a failure. The failure itself is reported elsewhere."""
    event("warning", stage="status", warning=missing(error))


def missing(error: Exception) -> str:
    """The warning that status may miss a failure, and why."""
    # The text of an error that is not ours may hold anything.
    why = str(error) if isinstance(error, LakeferryError) else type(error).__name__
    return f"lakeferry status may miss the last failure: {why}"
