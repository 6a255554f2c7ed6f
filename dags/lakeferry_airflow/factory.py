"""One DAG for each pipeline, made from its YAML. Parsing reads files and opens no connection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, AssetAny, CronDataIntervalTimetable, Param, TaskGroup, get_parsing_context

from connectors.errors import SpecError
from jobs.page import page_note
from jobs.settings import Settings, load_settings
from jobs.spec import After, DatasetSpec, PipelineSpec
from jobs.spec_reader import load_pipelines, read_spec
from lakeferry_airflow.arrivals import Arrival, Verdict, lake_asset, warehouse_asset
from lakeferry_airflow.stages import PLAN_TASK, PlanStage, SubmittedStage

if TYPE_CHECKING:
    from jobs.receipts import Stage

_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
# A failed stage must not keep the next from the datasets that passed: each task decides by receipts.
_WHATEVER_CAME_BEFORE = "all_done"


def dags_to_register() -> dict[str, DAG]:
    """All DAGs by id; only the one a task belongs to where Airflow parses the file to run that task."""
    settings = load_settings()
    wanted = get_parsing_context().dag_id
    if wanted is not None:
        path = settings.pipelines / f"{wanted}.yaml"
        return {wanted: build_dag(read_spec(path), settings)} if path.is_file() else {}
    specs, _ = load_pipelines(settings.pipelines)
    return {name: build_dag(spec, settings) for name, spec in specs.items()}


def refuse_broken_specs() -> None:
    """Raise one error that says of each unreadable pipeline file which line is wrong and why.

    Raises:
        SpecError: some file cannot be read.
    """
    settings = load_settings()
    if get_parsing_context().dag_id is not None:
        return
    _, broken = load_pipelines(settings.pipelines)
    if broken:
        # The web UI shows this text under the name of the DAG file, so it says where the real ones are.
        problems = [f"{error}" for _, error in sorted(broken.items())]
        raise SpecError("\n".join([f"{len(broken)} broken in {settings.pipelines}", *problems])) from None


def build_dag(spec: PipelineSpec, settings: Settings) -> DAG:
    """The DAG of a pipeline: plan → extract or transform → check → load → an outlet a dataset → verdict."""
    connections = spec.connections
    first: Stage = "transform" if spec.source is None else "extract"
    names = [dataset.name for dataset in spec.datasets]
    with DAG(
        dag_id=spec.pipeline,
        description=spec.description or None,
        schedule=_schedule(spec, settings),
        start_date=_BEGINNING,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=settings.dags_paused,
        params=_params(spec),
        tags=["lakeferry", spec.source.type if spec.source else "derived"],
        doc_md=_documentation(spec, settings),
        default_args={
            "retries": settings.task_retries,
            "retry_delay": timedelta(seconds=settings.task_retry_delay_seconds),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=30),
        },
    ) as dag:
        plan = PlanStage(
            task_id=PLAN_TASK,
            pipeline=spec.pipeline,
            datasets=names,
            connections=connections,
        )
        stages = [
            SubmittedStage(
                task_id=stage,
                pipeline=spec.pipeline,
                stage=stage,
                datasets=names,
                connections=connections,
                trigger_rule=_WHATEVER_CAME_BEFORE,
            )
            for stage in _stages(first)
        ]
        with TaskGroup(group_id="arrived", tooltip="One outlet a dataset") as arrived:
            for dataset in spec.datasets:
                Arrival(
                    task_id=dataset.name,
                    dataset=dataset.name,
                    outlets=[
                        lake_asset(dataset.name),
                        warehouse_asset(settings.warehouse_project, dataset.bigquery.table),
                    ],
                    trigger_rule=_WHATEVER_CAME_BEFORE,
                )
        verdict = Verdict(task_id="verdict", pipeline=spec.pipeline, trigger_rule=_WHATEVER_CAME_BEFORE)
        previous: Any = plan
        for following in (*stages, arrived, verdict):
            previous >> following
            previous = following
    return dag


def _stages(first: Stage) -> tuple[Stage, ...]:
    return (first, "check", "load")


def _schedule(spec: PipelineSpec, settings: Settings) -> Any:
    if isinstance(spec.schedule, After):
        return AssetAny(*(lake_asset(name) for name in spec.schedule.after))
    if spec.schedule is None or not settings.schedules:
        return None
    # A plain cron string gives backfills an interval without length; this one gives them a window.
    return CronDataIntervalTimetable(spec.schedule, timezone="UTC")


def _params(spec: PipelineSpec) -> dict[str, Param]:
    names = [dataset.name for dataset in spec.datasets]
    return {
        "start": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Start",
            description="Beginning of the window to read, included. Empty: from where the last run ended.",
        ),
        "end": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="End",
            description="End of the window, not included. Empty: up to now. A window never moves the position.",
        ),
        "datasets": Param(
            names,
            type="array",
            items={"type": "string", "enum": names},
            examples=names,
            minItems=1,
            uniqueItems=True,
            title="Datasets",
            description="Which of the pipeline's datasets to move.",
        ),
    }


def _documentation(spec: PipelineSpec, settings: Settings) -> str:
    lines = [
        spec.description or spec.pipeline,
        "",
        "| dataset | from | write disposition | BigQuery | what |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {dataset.name} | {_origin(dataset)} | {dataset.write_disposition} | {dataset.bigquery.table} "
        f"| {_cell(dataset.description or '')} |"
        for dataset in spec.datasets
    ]
    if spec.source:
        lines += ["", f"Source: {spec.source.type}, connection `{spec.source.connection}`."]
    lines += [
        "",
        "To move a past window again, trigger with `start` and `end`, or backfill. "
        "After a failed check, fix the data or the rule and clear `plan` with downstream.",
        "",
        page_note(settings),
    ]
    return "\n".join(lines)


def _origin(dataset: DatasetSpec) -> str:
    if dataset.derived:
        return ", ".join(dataset.inputs)
    return _cell(str(next((dataset.options[key] for key in ("table", "topic", "path") if key in dataset.options), "")))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
