"""The stages as Airflow tasks: plan, then extract or transform, check and load.

A task first looks for its receipts and starts nothing if they are there. A stage works for the datasets that the
earlier stages let through, so every stage runs, no matter how the one before ended.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseXCom
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, TaskDeferralTimeout

from connectors.errors import EXIT_CODES, RunnerFailed
from jobs.lake.documents import open_documents
from jobs.reporting.page import leave_summary
from jobs.runs.plan_document import load_plan
from jobs.runs.receipts import STAGES
from jobs.runtime.settings import load_settings
from jobs.stages.plan.replanning import delivered
from lakeferry_airflow.bundle import mended_yaml
from lakeferry_airflow.connections import connection_variables
from lakeferry_airflow.emissions import unsent_events
from lakeferry_airflow.ends import EndRequest, Killed, within
from lakeferry_airflow.links import STAGE_LINKS, run_addresses, show_job
from lakeferry_airflow.messages import FailureLines, as_airflow_errors, by_error_code, by_exit_code, describe, failure
from lakeferry_airflow.one_machine import require_one_machine
from lakeferry_airflow.outcome import RunRecord
from lakeferry_airflow.patience import SHORTEST, lack_of_triggerer, newest_end, next_wait
from lakeferry_airflow.planning import Planning, invocation_of
from lakeferry_airflow.runners import Ended, Runner, Work, first_application_through, open_runner
from lakeferry_airflow.stage_notes import rows_by_dataset, where_it_ran

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from jobs.runs.plan_document import Failure
    from jobs.runs.receipts import Stage
    from jobs.runs.time_limits import TimeLimit
    from jobs.runtime.settings import Settings
    from lakeferry_airflow.outcome import StageOutcome

PLAN_TASK = "plan"
DELIVERED = "delivered"
"""Key of the XCom by which `plan` passes on why a run that is carried out once more moves nothing."""
_DEFERRED_JOB = "deferred_job"
"""Key of the XCom by which a deferred task finds its job where no trigger resumes it."""
# The trigger resumes the task at the limit; Airflow's own timeout is for a triggerer that does not run.
_TRIGGER_SLACK = timedelta(minutes=10)
_CLEAR_PLAN = "Fix the data or the rule, then clear the task plan with downstream: it plans the next generation."
_CLEAR_FOR_VIEWS = "Fix the view, then clear the task plan with downstream: that plans and makes the views again."


class PlanStage(BaseOperator):
    """Freezes what the run will move. The plan's address is its XCom, even if some dataset could not be planned."""

    template_fields: Sequence[str] = ("pipeline", "datasets")

    def __init__(
        self,
        *,
        pipeline: str,
        datasets: Sequence[str],
        connections: Sequence[str],
        limit: TimeLimit,
        folders: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(execution_timeout=limit.delta, **kwargs)
        self.pipeline = pipeline
        self.datasets = list(datasets)
        self._limit = limit
        self._end = EndRequest()
        self._planning = Planning(pipeline, datasets, connections, self._end, folders)

    def execute(self, context: Context) -> str:
        with within(self._limit, self.task_id):
            return self._execute(context)

    def _execute(self, context: Context) -> str:
        pinned = mended_yaml(context).strip()
        if pinned:
            self.log.info("%s", pinned)
        with as_airflow_errors():
            settings = load_settings()
            require_one_machine(settings, self.executor)
            uri = self._planning.plan_run(context, settings, lambda line: self.log.info("%s", line))
            plan = load_plan(uri, settings)
            moved = delivered(plan, invocation_of(context), open_documents(settings.lake))
            unsent = unsent_events(context, RunRecord(settings, uri), settings) if moved else []
        if unsent:
            # The tasks of the datasets ended before they could emit: they go on, and so does what waits for them.
            self.log.info("%s. The asset events of %s are missing: they are emitted now", moved, ", ".join(unsent))
        elif moved:
            context["ti"].xcom_push(key=DELIVERED, value=moved)
            raise AirflowSkipException(moved)
        # The page shows the run as unfinished until `verdict` leaves the summary of its end.
        leave_summary(plan.spec, plan.run_id, settings, ended=False, warn=self.log.warning)
        failures = plan.failures
        if failures:
            # The others move all the same: a task that fails returns nothing by itself.
            context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=uri)
            code = max(failure.exit_code for failure in failures.values())
            raise by_error_code(code, "; ".join(dict.fromkeys(failure.error for failure in failures.values())))
        return uri

    def on_kill(self) -> None:
        self._end.ask()


class SubmittedStage(BaseOperator):
    """One stage of the run's plan, through the runner that the settings name; its XCom is the rows of each dataset."""

    template_fields: Sequence[str] = ("pipeline", "stage")
    operator_extra_links = STAGE_LINKS

    def __init__(
        self,
        *,
        pipeline: str,
        stage: Stage,
        datasets: Sequence[str],
        connections: Sequence[str],
        limit: TimeLimit,
        folders: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(execution_timeout=limit.delta, **kwargs)
        self.pipeline = pipeline
        self.stage = stage
        self._limit = limit
        self._end = EndRequest()
        self.connections = tuple(connections)
        self.addresses: dict[str, str] = {}
        self._planning = Planning(pipeline, datasets, connections, self._end, folders)
        self._runner: Runner | None = None
        self._job_id: str | None = None
        self._submitted_at: datetime | None = None

    def execute(self, context: Context) -> Any:
        with within(self._limit, self.task_id, self._stop_job):
            return self._execute(context)

    def _execute(self, context: Context) -> Any:
        with as_airflow_errors():
            settings = load_settings()
            record = record_of(context, settings)
            self.addresses |= run_addresses(settings, record)
            first: Stage = self.stage
            moved = any(receipt.recovers_by == "plan_again" for receipt in record.outcome(self.stage).failed)
            if moved or _unplanned(context, record):
                record = self._planned_again(context, settings)
            if record.plan.uri != planned_uri(context):
                # This task planned this generation, at this try or at an earlier one whose job died: the earlier stages
                # have work to do in it.
                first = next(filter(record.has_work, record.stages_to(self.stage)), self.stage)
            if not record.has_work(first):
                return self._without_work(context, record, settings)
            self._runner = open_runner(settings)
            self._end.obey("Airflow ended this task before it submitted a job: none runs for it")
            self._submitted_at = datetime.now(UTC)
            self._job_id = self._runner.submit(self._work(context, record, self._runner, first))
            self.log.info("Stage %s of plan %s runs as %s", first, record.plan.uri, self._job_id)
            show_job(context, self.addresses, settings, self._job_id)
            wait = min(SHORTEST, self._limit.delta + _TRIGGER_SLACK)
            trigger = self._runner.trigger(self._job_id, wait)
            if trigger is not None:
                self._defer(context, trigger, wait)
            lines = FailureLines(self.log)
            ended = self._wait(context, lines)
            return self._conclude(context, record, ended, lines.failures)

    def resume(
        self, context: Context, event: dict[str, Any], job_id: str | None = None, submitted_at: str | None = None
    ) -> Any:
        """Go on after the trigger saw the job end.

        `airflow dags test` gives the event alone: `_run_task` in Airflow's `sdk/definitions/dag.py` drops the
        arguments that the triggerer keeps.
        """
        with within(self._limit, self.task_id, self._stop_job), as_airflow_errors():
            settings = load_settings()
            record = record_of(context, settings)
            self._submitted_at = datetime.fromisoformat(submitted_at) if submitted_at else None
            self._runner, self._job_id = open_runner(settings), job_id or str(event["job_id"])
            self.addresses |= run_addresses(settings, record)
            show_job(context, self.addresses, settings, self._job_id)
            lines = FailureLines(self.log)
            ended = self._wait(context, lines)
            return self._conclude(context, record, ended, lines.failures)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            return self._look(context)

    def _look(self, context: Context) -> Any:
        """Look at the job after a wait in which no trigger fired: the job goes on, or no triggerer runs."""
        # Airflow drops what `defer` was given for `resume`. A task that an earlier version deferred was so until the
        # limit, and left no job here.
        job = context["ti"].xcom_pull(task_ids=self.task_id, key=_DEFERRED_JOB)
        with within(self._limit, self.task_id, self._stop_job), as_airflow_errors():
            settings = load_settings()
            trigger: BaseTrigger | None = None
            wait: timedelta | None = None
            if job:
                self._submitted_at = datetime.fromisoformat(job["submitted_at"])
                self._runner, self._job_id = open_runner(settings), str(job["job_id"])
                wait = next_wait(self._limit.delta + _TRIGGER_SLACK, self._submitted_at)
                trigger = self._runner.trigger(self._job_id, wait or timedelta(0))
            if not job or trigger is not None:
                if trigger is None or wait is None:
                    message = f"{self._limit.passed(self.task_id)}. No triggerer resumed this task: see that one runs"
                    raise AirflowException(message)
                self.addresses |= run_addresses(settings, record_of(context, settings))
                self._defer(context, trigger, wait)
            newest = _newest_receipt(record_of(context, settings), self._submitted_at)
            lack = lack_of_triggerer(newest, settings.watch_seconds, "LAKEFERRY_EMR_DEFERRABLE=false")
            if lack:
                self.log.warning("%s", lack)
        return self.resume(context, job, **job)

    def _defer(self, context: Context, trigger: BaseTrigger, wait: timedelta) -> None:
        assert self._submitted_at is not None
        self._stop_if_ended(context)
        job = {"job_id": self._job_id, "submitted_at": self._submitted_at.isoformat()}
        context["ti"].xcom_push(key=_DEFERRED_JOB, value=job)
        self.defer(trigger=trigger, method_name="resume", kwargs=job, timeout=wait)

    def on_kill(self) -> None:
        self._end.ask()

    def _wait(self, context: Context, lines: FailureLines) -> Ended:
        assert self._runner is not None
        assert self._job_id is not None
        try:
            ended = self._runner.wait(self._job_id, lines, lambda: self._end.look(context["ti"]))
        except Killed as killed:
            if not killed.job_goes_on:
                self._stop_job()
            raise
        if ended.over_limit:
            return replace(ended, details=f"{ended.details}: {self._limit.passed(self.task_id)}")
        return ended

    def _stop_if_ended(self, context: Context) -> None:
        """Stop the job if a person ended the task while it submitted."""
        try:
            self._end.look_before_deferral(context["ti"])
        except Killed:
            self._stop_job()
            raise

    def _stop_job(self) -> None:
        if self._runner is not None and self._job_id is not None:
            self._runner.stop(self._job_id)

    def _planned_again(self, context: Context, settings: Settings) -> RunRecord:
        # Another run published first, or the source has collected the snapshot: the same plan would
        # fail the same way, the next generation will not. Data that failed would fail again, and its task says so.
        uri = self._planning.plan_run(context, settings, lambda line: self.log.info("%s", line), moved_only=True)
        return RunRecord(settings, uri)

    def _work(self, context: Context, record: RunRecord, runner: Runner, first: Stage) -> Work:
        through: Stage = self.stage
        if first == record.stages[0] and STAGES.index(runner.through) > STAGES.index(through):
            through = runner.through
        return Work(
            pipeline=self.pipeline,
            run_id=record.plan.run_id,
            stage=first,
            plan_uri=record.plan.uri,
            through=through if through != first else None,
            attempt=context["ti"].try_number,
            connections=connection_variables(self.connections) if runner.needs_connections else {},
            limit=self._limit,
        )

    def _without_work(self, context: Context, record: RunRecord, settings: Settings) -> Any:
        outcome = record.outcome(self.stage)
        nothing_new = any(dataset.state == "empty" for dataset in record.plan.datasets)
        stopped = bool(outcome.failed or outcome.failed_views)
        if not stopped and (outcome.missing or not (outcome.receipts or nothing_new)):
            raise AirflowSkipException(f"no dataset came as far as {self.stage}")
        _require_planned(context, record)
        if outcome.receipts:
            through = first_application_through(settings)
            self.log.info("%s", where_it_ran(record, self.stage, through, context["ti"].try_number))
        return self._finish(context, outcome)

    def _conclude(self, context: Context, record: RunRecord, ended: Ended, failures: Sequence[str]) -> Any:
        # The job has left receipts since the record was read.
        record.refresh()
        outcome = record.outcome(self.stage)
        # A job that died before it came to the views leaves the failures of an earlier try.
        unmade = outcome.unmade_since(self._submitted_at)
        unfinished = (*record.reachable(outcome), *(f"view {name}" for name in unmade))
        # An adopted process and a job of EMR have no exit code: they do not prove that all is done.
        unproved = record.unproved(self.stage) if ended.exit_code != 0 else ()
        later_stage_failed = self.stage == record.stages[0]
        failed = (*outcome.failed, *outcome.failed_views)
        if unfinished or unproved or (not ended.succeeded and not failed and not later_stage_failed):
            undone = _undone_text(self.stage, unfinished, unproved)
            undone += f": {'; '.join(dict.fromkeys(failures))}" if failures else ""
            if ended.exit_code:
                message = f"pipeline {self.pipeline}: {ended.details}{undone}. See the log above"
                raise by_exit_code(ended.exit_code, message)
            raise RunnerFailed(ended.details + undone, pipeline=self.pipeline)
        _require_planned(context, record)
        if not ended.succeeded and not failed:
            self.log.info("Stage %s is done; a later stage is not: %s", self.stage, ended.details)
        return self._finish(context, outcome)

    def _finish(self, context: Context, outcome: StageOutcome) -> dict[str, Any]:
        rows = rows_by_dataset(outcome)
        for receipt in (*outcome.receipts.values(), *outcome.views.values()):
            self.log.info("%s", describe(receipt))
        failed = (*outcome.failed, *outcome.failed_views)
        if failed:
            # A task that fails returns nothing by itself.
            context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=rows)
            may_pass = any(receipt.recovers_by in ("plan_again", "retry") for receipt in failed)
            code = EXIT_CODES["retry" if may_pass else "look_at_data"]
            fix = _CLEAR_PLAN if outcome.failed else _CLEAR_FOR_VIEWS
            fix += mended_yaml(context)
            raise by_error_code(code, "; ".join(failure(receipt).rstrip(".") for receipt in failed) + f". {fix}")
        return rows


def _newest_receipt(record: RunRecord, since: datetime | None) -> str | None:
    """When the newest receipt since a moment was left, ISO 8601; None without one."""
    outcomes = [record.outcome(stage) for stage in record.stages]
    receipts = [receipt for outcome in outcomes for receipt in (*outcome.receipts.values(), *outcome.views.values())]
    newest = newest_end(receipts)
    if newest is None or since is None:
        return None
    # Receipts have milliseconds.
    since = since.replace(microsecond=since.microsecond // 1000 * 1000)
    return newest if datetime.fromisoformat(newest) >= since else None


def _unplanned(context: Context, record: RunRecord) -> list[Failure]:
    """Return why a stage could not plan datasets again, if the cause may pass: something outside failed.

    The task `plan` tries again the datasets that it could not plan itself.
    """
    if record.plan.uri == planned_uri(context):
        return []
    failures = [entry.failure for entry in record.plan.datasets if entry.generation > 1]
    return [failure for failure in failures if failure is not None and failure.may_pass]


def _require_planned(context: Context, record: RunRecord) -> None:
    """Have the task tried again if a dataset is still to be planned."""
    failures = _unplanned(context, record)
    if failures:
        raise by_error_code(EXIT_CODES["plan_again"], "; ".join(dict.fromkeys(failure.error for failure in failures)))


def _undone_text(stage: Stage, unfinished: Sequence[str], unproved: Sequence[str]) -> str:
    """Describe what a job did not do, after the words on how it ended.

    Args:
        unfinished: datasets and views whose receipt is missing.
        unproved: those of `RunRecord.unproved`.
    """
    without = unfinished if stage == "check" else (*unfinished, *unproved)
    text = f" and left no {stage} receipt for {', '.join(without)}" if without else ""
    if stage == "check" and unproved:
        text += f" and left the current state of {', '.join(unproved)} behind its published batches"
    return text


def planned_uri(context: Context) -> str | None:
    """Return the address of the plan that the task `plan` wrote, if it wrote one."""
    uri = context["ti"].xcom_pull(task_ids=PLAN_TASK)
    return str(uri) if uri else None


def record_of(context: Context, settings: Settings) -> RunRecord:
    """Return the newest plan of this run and its receipts; skips the task if nothing was planned."""
    uri = planned_uri(context)
    if not uri:
        moved = context["ti"].xcom_pull(task_ids=PLAN_TASK, key=DELIVERED)
        raise AirflowSkipException(str(moved) if moved else "nothing was planned")
    return RunRecord.newest(settings, uri)
