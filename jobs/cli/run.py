"""`lakeferry run`: all stages of one pipeline from this machine, as the local runner submits them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from connectors.base import Window
from connectors.errors import LakeferryError, RunnerFailed, UsageError
from jobs.lake.documents import Documents, open_documents
from jobs.launch.commands import local_command, local_environment
from jobs.launch.output_lines import event_in
from jobs.launch.quoted_output import last_lines
from jobs.reporting.page import leave_summary, refresh_page
from jobs.runs.exit_codes import error_code
from jobs.runs.failures import reported
from jobs.runs.last_failures import (
    end_tries,
    is_recorded,
    last_failures,
    leave_failure,
    leave_plan_failure,
    warn_of_missing,
)
from jobs.runs.pending import is_pending, is_published
from jobs.runs.plan_document import DatasetPlan, Plan
from jobs.runs.receipts import Receipt, Receipts, Stage
from jobs.runs.run_receipts import RunReceipts
from jobs.runtime.driver_end import driver_end
from jobs.runtime.events import FORMAT_VARIABLE, LOG_VARIABLE, concern_run, event, pass_on
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from jobs.stages.loop import run_stages
from jobs.stages.plan.planner import make_plan, report_failures

Submit = Callable[[Stage, str, Stage, Settings, list[str], bool], int]
"""Runs an application, as `submit_application` does: takes its first stage, the plan's URI, its last stage, the
settings, a list for errors that are of no dataset, and whether the caller plans again what moved; returns its code."""
GENERATIONS = 3
"""How often a run plans again where another run came first or a source's snapshot was gone."""


def run_pipeline(
    spec: PipelineSpec,
    settings: Settings,
    *,
    run_id: str | None = None,
    window: Window | None = None,
    only: Sequence[str] = (),
    submit: Submit | None = None,
) -> tuple[int, Plan]:
    """Plan, extract or transform, check and load a pipeline.

    Args:
        run_id: an earlier run's, to go on with it; None: a new one.
        window: an explicit window; never moves the position.
        only: names of the datasets to move; empty: all.
        submit: runs the application that goes through the stages; None: `submit_application`.

    Returns:
        The exit code (0 done, 1 data, 2 user, 3 outside) and the last plan.
    """
    if settings.runner != "local":
        raise UsageError(
            f"lakeferry run works on this machine, and LAKEFERRY_RUNNER is {settings.runner}",
            fix=f"Trigger the DAG (airflow dags trigger {spec.pipeline}), or set LAKEFERRY_RUNNER=local",
        )
    run_id = run_id or f"cli__{datetime.now(UTC).isoformat(timespec='milliseconds')}"
    concern_run(spec.pipeline, run_id)
    try:
        ended = _run_generations(spec, settings, run_id, window, only, submit or submit_application)
    except LakeferryError as error:
        # A wrong argument did nothing to the run, which Airflow may still try again.
        if not isinstance(error, UsageError):
            end_tries(open_documents(settings.lake), spec.pipeline, run_id)
        _summarized(spec, run_id, settings)
        raise
    # Where Airflow planned the run, too: this process went on with it, and has no further try.
    end_tries(open_documents(settings.lake), spec.pipeline, run_id)
    _summarized(spec, run_id, settings)
    return ended


def _summarized(spec: PipelineSpec, run_id: str, settings: Settings) -> None:
    leave_summary(spec, run_id, settings)
    refresh_page(settings)


def _run_generations(
    spec: PipelineSpec,
    settings: Settings,
    run_id: str,
    window: Window | None,
    only: Sequence[str],
    submit: Submit,
) -> tuple[int, Plan]:
    first: Stage = "transform" if spec.datasets[0].derived else "extract"
    documents = open_documents(settings.lake)
    receipts = Receipts(documents)
    code = refused = 0
    for attempt in range(GENERATIONS):
        plan_again = attempt + 1 < GENERATIONS
        try:
            # Only what moved is planned again: another failure would come back, as it does in Airflow.
            plan = make_plan(spec, run_id, settings, window=window, only=only, moved_only=attempt > 0)
        except Exception as raised:  # noqa: BLE001 - any error that stops a plan is left for status, and raised
            error = reported(raised, "*").located(pipeline=spec.pipeline)
            leave_plan_failure(documents, spec, run_id, only, error)
            raise error from None
        # A run that is killed is on the page all the same, as unfinished.
        leave_summary(spec, run_id, settings, ended=False)
        _show_plan(plan, documents)
        refused = report_failures(plan)
        if is_pending(plan, first, settings) or is_pending(plan, "check", settings):
            code = _submitted(submit, first, plan, documents, settings, plan_again)
        else:
            code = run_stages(plan.uri, "load", "load", settings)
        failed = [receipt for receipt in _failures(receipts, plan) if receipt.recovers_by == "plan_again"]
        if not failed or not plan_again:
            break
        for receipt in failed:
            event("note", stage="plan", dataset=receipt.dataset, note="planned again, because the lake or source moved")
    return max(code, refused), plan


def _show_plan(plan: Plan, documents: Documents) -> None:
    """Show what the run moves, and what it has moved before: a run that is asked for again goes on with its plan."""
    listed = RunReceipts(documents, plan.pipeline, plan.run_id)
    receipts = listed.find_all((dataset.generation, "load", dataset.name) for dataset in plan.datasets)
    loaded = {receipt.dataset: receipt for receipt in receipts if receipt.verdict != "failed"}
    for dataset in plan.datasets:
        if dataset.state == "planned" and dataset.name in loaded:
            reason = f"this run loaded it at {loaded[dataset.name].finished_at}; nothing is moved twice"
            event("delivered", stage="plan", dataset=dataset.name, reason=reason, batch=dataset.batch)
        elif dataset.failure is None:
            event(dataset.state, stage="plan", dataset=dataset.name, reason=dataset.reason, batch=dataset.batch)


def _submitted(
    submit: Submit, first: Stage, plan: Plan, documents: Documents, settings: Settings, plan_again: bool
) -> int:
    """Submit the application that goes through all stages. Where it dies, what it has published is loaded by this
    process, and the error names the other datasets."""
    receipts = Receipts(documents)
    said: list[str] = []
    try:
        code = submit(first, plan.uri, "load", settings, said, plan_again)
    except RunnerFailed as died:
        checked = {dataset.name: _receipt_of(receipts, plan, dataset, "check") for dataset in plan.datasets}
        published = [name for name, receipt in checked.items() if receipt is not None and receipt.verdict == "done"]
        # Without a receipt `main` says whether it came to publishing.
        unsaid = [dataset for dataset in plan.datasets if dataset.state == "planned" and checked[dataset.name] is None]
        published += [dataset.name for dataset in unsaid if is_published(plan, dataset, settings)]
        waiting = [dataset.name for dataset in unsaid if dataset.name not in published]
        if published:
            run_stages(plan.uri, "load", "load", settings)
        if waiting:
            died.problem += f". Not published: {', '.join(waiting)}"
        _leave_unsaid(first, plan, documents, died)
        raise died from None
    if code != 0:
        ended = RunnerFailed(f"the {first} job did not reach it{f': {said[-1]}' if said else ''}")
        _leave_unsaid(first, plan, documents, ended, code)
    return code


def _leave_unsaid(first: Stage, plan: Plan, documents: Documents, error: LakeferryError, code: int = 3) -> None:
    """Leave the failure for status of each dataset for which the job left neither its last receipt nor a failure.

    What goes wrong here is a warning and stops nothing.
    """
    try:
        _leave_failures(first, plan, documents, error, code)
    except Exception as trouble:  # noqa: BLE001 - it must not hide how the job ended
        warn_of_missing(trouble)


def _leave_failures(first: Stage, plan: Plan, documents: Documents, error: LakeferryError, code: int) -> None:
    listed, known = RunReceipts(documents, plan.pipeline, plan.run_id), last_failures(documents, plan.pipeline)
    stages: tuple[Stage, ...] = (first, "check", "load")
    for dataset in plan.datasets:
        receipts = listed.find_all((dataset.generation, stage, dataset.name) for stage in stages)
        ended = any(receipt.stage == "load" or receipt.verdict in ("failed", "superseded") for receipt in receipts)
        if dataset.state in ("planned", "empty") and not ended and not is_recorded(known, plan, dataset):
            stage = next(
                candidate for candidate in stages if not listed.has(dataset.generation, candidate, dataset.name)
            )
            leave_failure(documents, plan, dataset, stage, error, exit_code=code, is_last_try=True)


def _receipt_of(receipts: Receipts, plan: Plan, dataset: DatasetPlan, stage: Stage) -> Receipt | None:
    return receipts.find(plan.pipeline, plan.run_id, dataset.generation, stage, dataset.name)


def submit_application(
    stage: Stage,
    plan_uri: str,
    through: Stage,
    settings: Settings,
    said: list[str] | None = None,
    plan_again: bool = False,
) -> int:
    """Run a stage's application, showing its events as they come; returns the code of its error, or 0.

    Args:
        said: takes the errors of its events that are of no dataset.
        plan_again: whether the caller plans a dataset again under which the lake or the source moved.

    Raises:
        RunnerFailed: it crashed; the message has its last lines.
    """
    log = Path(settings.state_dir) / "logs" / f"{stage}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **local_environment(settings), FORMAT_VARIABLE: "json", LOG_VARIABLE: str(log)}
    command = local_command(stage, plan_uri, through, settings)
    reported = False
    with log.open("w", encoding="utf-8") as errors:
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            env=environment,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None, "stdout is a pipe"
            for line in process.stdout:
                record = _pass_on(line, errors, plan_again)
                reported |= record.get("event") == "failed"
                if said is not None and record.get("event") == "failed" and "dataset" not in record:
                    said.append(str(record.get("error")))
        code = process.returncode
    decided = error_code(code)
    if decided is None or (decided != 0 and not reported):
        output = log.read_text(encoding="utf-8", errors="replace")
        ended = driver_end(code, output, settings.spark_driver_memory, settings.datasets_in_parallel)
        if ended is not None:
            raise RunnerFailed(f"the {stage} job: {ended.problem}", fix=f"{ended.fix}. Its log is {log}")
        last = " | ".join(last_lines(output))
        raise RunnerFailed(f"the {stage} job ended with code {code}: {last}", fix=f"Its log is {log}")
    return decided


def _pass_on(line: str, log: TextIO, plan_again: bool) -> dict[str, Any]:
    """Show one line of a child. Returns its event, empty for any other line. Such a line goes to the log: spark-submit
    joins the standard error of the Python process to its standard output."""
    record = event_in(line)
    if record is None:
        log.write(line)
        log.flush()
        return {}
    pass_on(_as_moved(record) if plan_again and _is_moved(record) else record)
    return record


def _is_moved(record: Mapping[str, Any]) -> bool:
    return record.get("event") == "failed" and record.get("recovery") == "plan_again"


def _as_moved(failed: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a failure after which this command plans the dataset again: for the user nothing has failed."""
    what = "the lake" if failed["error_type"] == "LakeMoved" else "the source"
    of_the_error = ("error", "error_type", "error_code", "recovery")
    kept = {key: value for key, value in failed.items() if key not in of_the_error}
    return {**kept, "event": "moved", "reason": failed.get("error"), "next": f"{what} moved: it is planned again"}


def _failures(receipts: Receipts, plan: Plan) -> list[Receipt]:
    generations = {dataset.name: dataset.generation for dataset in plan.datasets}
    return [
        receipt
        for receipt in receipts.of_run(plan.pipeline, plan.run_id)
        if receipt.verdict == "failed" and receipt.generation == generations.get(receipt.dataset)
    ]
