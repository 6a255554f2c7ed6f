"""Runs the stages of a plan, with datasets in parallel. Each leaves one receipt per stage, and one failing dataset does
not stop the others.

`extract.py`, `transform.py`, `check.py` and `load.py` are entries into this loop. With `--through` one Spark
application goes on to the later stages.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from connectors.errors import (
    LakeferryError,
    RunnerFailed,
)
from jobs.lake.spark_session import under_spark
from jobs.runs.context import RunContext
from jobs.runs.dataset_run import DatasetRun
from jobs.runs.exit_codes import StageParser, stage_code
from jobs.runs.failures import reported
from jobs.runs.last_failures import begin_again, leave_failure
from jobs.runs.plan_document import load_plan, run_of
from jobs.runs.receipts import SPARK_STAGES, STAGES, VIEW, Receipt, Stage
from jobs.runs.stage_results import ViewCreated
from jobs.runtime.driver_end import driver_end
from jobs.runtime.events import concern_run, event
from jobs.runtime.settings import Settings, load_settings


class Work(Protocol):
    """One stage's work on one dataset. Returns its receipt, or None if there is nothing to do."""

    def __call__(self, run: DatasetRun) -> Receipt | None: ...


def run_stages(plan_uri: str, first: Stage, through: Stage, settings: Settings) -> int:
    """Run the stages of a plan from `first` to `through`.

    A stage that has left its receipt for a dataset does nothing. A failure stops its dataset alone. A dataset that
    could not be planned was reported by the plan and does not count here.

    Returns:
        The highest exit code of the errors: 0 done, 1 data failed a check, 2 the user's mistake, 3 something outside
        failed.
    """
    run = run_of(plan_uri)
    if run is not None:
        concern_run(*run)
    plan = load_plan(plan_uri, settings)
    context = RunContext(plan, settings)
    if first in SPARK_STAGES and under_spark() and any(dataset.state == "planned" for dataset in plan.datasets):
        context.begin_session()
    stages = STAGES[STAGES.index(first) : STAGES.index(through) + 1]
    begin_again(context.documents, plan, stages)
    planned = [dataset for dataset in plan.datasets if dataset.state not in ("failed", "skipped")]
    codes = dict.fromkeys((dataset.name for dataset in planned), 0)
    for stage in stages:
        going = [dataset for dataset in planned if codes[dataset.name] == 0]
        with ThreadPoolExecutor(settings.datasets_in_parallel, thread_name_prefix=stage) as pool:
            results = pool.map(lambda dataset, stage=stage: _run_stage(DatasetRun(context, dataset), stage), going)
            codes.update(zip((dataset.name for dataset in going), results, strict=True))
        if stage == "load" and plan.views:
            # Not under the name of the pipeline alone: a dataset may have the same one.
            codes[f"views of {plan.pipeline}"] = _apply_views(context)
    return max(codes.values(), default=0)


def main(stage: Stage, arguments: Sequence[str] | None = None) -> int:
    """Run a stage's command line, `--plan URI [--through STAGE]`. Returns one of `jobs.runs.exit_codes`."""
    parser = StageParser(prog=f"{stage}.py", description=f"Run the {stage} stage of a plan.")
    parser.add_argument("--plan", required=True, metavar="URI", help="address of the plan in the lake")
    later = STAGES[STAGES.index(stage) :]
    parser.add_argument("--through", choices=later, default=stage, help="go on through the stages behind, to this one")
    options = parser.parse_args(arguments)
    try:
        return stage_code(run_stages(options.plan, stage, options.through, load_settings()))
    except Exception as raised:  # noqa: BLE001 - nobody can act on a process that ends without a message
        error = reported(raised, "*")
        event("failed", stage=stage, **error.fields())
        print(error, file=sys.stderr)  # noqa: T201
        return stage_code(error.exit_code)


def work_of(stage: Stage) -> Work:
    """Return the function of a stage. It is imported when it is needed."""
    if stage == "extract":
        from jobs.stages.extract.extract import extract

        return extract
    if stage == "transform":
        from jobs.stages.transform.transform import transform

        return transform
    if stage == "check":
        from jobs.stages.check.check import check

        return check
    from jobs.stages.load.load import load

    return load


def _run_stage(run: DatasetRun, stage: Stage) -> int:
    earlier = run.receipt(stage)
    if earlier is not None:
        return earlier.exit_code
    started = time.monotonic()
    try:
        receipt = work_of(stage)(run)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - each is reported
        # A transform's code may call sys.exit. Signals reach the main thread alone, so neither is meant for this one.
        failure = _named(error, run.name, run.context.settings)
        return _failed(run, stage, failure, time.monotonic() - started)
    if receipt is None:
        return 0
    receipt = run.context.receipts.leave(receipt.model_copy(update={"seconds": round(time.monotonic() - started, 3)}))
    event(
        receipt.verdict,
        stage=stage,
        dataset=run.name,
        read=receipt.read,
        published=receipt.published,
        quarantined=receipt.quarantined,
        deleted=receipt.deleted,
        loaded=receipt.loaded,
        seconds=receipt.seconds,
        proof_seconds=receipt.details.proof_seconds,
    )
    return receipt.exit_code


def _failed(run: DatasetRun, stage: Stage, error: LakeferryError, seconds: float) -> int:
    """Report a failure, and leave a receipt if doing the same again would fail the same way.

    Something outside (a service, a setting) may work again when the same plan is repeated. Such a failure is kept for
    status alone.
    """
    error.located(pipeline=run.context.plan.pipeline, dataset=run.name)
    if isinstance(error, RunnerFailed):
        error.where = error.where or run.context.plan.spec.file or None
    event("failed", stage=stage, dataset=run.name, **error.fields())
    print(error, file=sys.stderr)  # noqa: T201
    if error.comes_back:
        run.context.receipts.leave(
            run.new_receipt(
                stage,
                "failed",
                **error.fields(),
                exit_code=error.exit_code,
                seconds=round(seconds, 3),
            )
        )
    else:
        leave_failure(run.context.documents, run.context.plan, run.dataset, stage, error, seconds)
    return error.exit_code


def _named(error: BaseException, dataset: str, settings: Settings) -> LakeferryError:
    """Return the failure; if memory ran out and the driver lives on, say so."""
    failure = reported(error, dataset)
    ended = None
    if isinstance(failure, RunnerFailed):
        memory, at_once = settings.spark_driver_memory, settings.datasets_in_parallel
        ended = driver_end(None, failure.problem, memory, at_once)
    return RunnerFailed(f"{ended.problem}: {failure.problem}", fix=ended.fix) if ended else failure


def _apply_views(context: RunContext) -> int:
    from jobs.stages.load.views import ViewResult, apply_views

    def leave(result: ViewResult) -> None:
        error = result.error
        context.receipts.leave_view(
            Receipt(
                pipeline=context.plan.pipeline,
                run_id=context.plan.run_id,
                generation=context.plan.generation,
                stage=VIEW,
                dataset=result.view,
                verdict=result.verdict,
                seconds=round(result.seconds, 3),
                **(error.fields() if error else {}),
                exit_code=error.exit_code if error else 0,
                details=ViewCreated(reason=result.reason),
            )
        )

    try:
        apply_views(context.plan.pipeline, context.plan.views, context.settings, leave)
    except Exception as raised:  # noqa: BLE001 - each failure is reported, none swallowed
        error = reported(raised, "*").located(pipeline=context.plan.pipeline)
        event("failed", stage="views", dataset=context.plan.pipeline, **error.fields())
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0
