"""The plan stage: freezes what a run will move. Plain Python clients, no Spark.

`python jobs/plan.py --pipeline NAME --run-id ID` prints the plan's address as its last line, also where some
of its datasets could not be planned; the exit code, one of `jobs.runs.exit_codes`, then says so.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie one above it.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from argparse import Namespace
from collections.abc import Sequence

from connectors.base import Window
from jobs.lake.documents import open_documents
from jobs.reporting.page import leave_summary
from jobs.runs.exit_codes import StageParser, stage_code
from jobs.runs.failures import reported
from jobs.runs.last_failures import leave_plan_failure
from jobs.runs.plan_document import Plan
from jobs.runs.run_request import Invocation
from jobs.runtime.events import concern_run, event
from jobs.runtime.settings import Settings, load_settings
from jobs.spec.models import PipelineSpec
from jobs.spec.reader import load_pipeline
from jobs.stages.plan.planner import make_plan, report_failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the plan stage."""
    parser = StageParser(prog="plan.py", description="Freeze what a run will move.")
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--start", help="start of an explicit window, ISO 8601 or a number")
    parser.add_argument("--end", help="end of an explicit window, not included")
    parser.add_argument("--dataset", action="append", default=[], help="only this dataset; may be repeated")
    parser.add_argument("--clear-number", type=int, help="how often Airflow cleared the run")
    parser.add_argument("--started-at", help="when Airflow started the run, ISO 8601")
    parser.add_argument("--moved-only", action="store_true", help="of failures plan only what moved again")
    options = parser.parse_args(arguments)
    window = Window(start=options.start, end=options.end) if options.start or options.end else None
    concern_run(options.pipeline, options.run_id)
    invocation = Invocation(clear_number=options.clear_number, started_at=options.started_at)
    try:
        settings = load_settings()
        spec = load_pipeline(settings.pipelines, options.pipeline)
        plan = _planned(spec, options, settings, window, invocation)
    except Exception as raised:  # noqa: BLE001 - any error that stops a plan is reported with its cause
        error = reported(raised, "*").located(pipeline=options.pipeline)
        event("failed", stage="plan", **error.fields())
        print(error, file=sys.stderr)  # noqa: T201
        return stage_code(error.exit_code)
    for dataset in plan.datasets:
        if dataset.state == "skipped":
            event("skipped", stage="plan", dataset=dataset.name, reason=dataset.reason)
    refused = stage_code(report_failures(plan))
    print(plan.uri)  # noqa: T201
    return refused


def _planned(
    spec: PipelineSpec, options: Namespace, settings: Settings, window: Window | None, invocation: Invocation
) -> Plan:
    """Return the plan. If there is no plan, leave the reason for status and page."""
    run_id, only = options.run_id, options.dataset
    moved_only = options.moved_only
    try:
        return make_plan(spec, run_id, settings, window=window, only=only, invocation=invocation, moved_only=moved_only)
    except Exception as raised:  # noqa: BLE001 - any error that stops a plan is left for status, and raised
        error = reported(raised, "*").located(pipeline=spec.pipeline)
        if leave_plan_failure(open_documents(settings.lake), spec, run_id, only, error, invocation):
            leave_summary(spec, run_id, settings, ended=False)
        raise error from None


if __name__ == "__main__":
    sys.exit(main())
