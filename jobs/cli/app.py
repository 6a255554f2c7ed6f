"""`lakeferry`: the command line. Exit codes: 0 done, 1 data failed a check, 2 the user's mistake, 3 outside."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from connectors.base import Window
from connectors.errors import LakeferryError
from jobs.cli.dags import dags
from jobs.cli.output import complain, print_table
from jobs.runs.failures import reported
from jobs.runtime.settings import Settings, load_settings
from jobs.spec.models import PipelineSpec
from jobs.spec.reader import load_pipeline, load_pipelines

app = typer.Typer(
    no_args_is_help=True, invoke_without_command=True, add_completion=False, pretty_exceptions_enable=False
)
app.add_typer(dags, name="dags")
Pipeline = Annotated[str, typer.Argument(help="name of a pipeline: a YAML file in the pipelines folder")]
Start = Annotated[
    str | None, typer.Option(help="start of an explicit window: ISO 8601 (UTC without an offset), or a number")
]
End = Annotated[str | None, typer.Option(help="end of an explicit window, not included")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="only this dataset; may be repeated")]


def main() -> None:
    """Entry of the `lakeferry` command: errors are said in one line, with their exit code."""
    signal.signal(signal.SIGINT, _stopped)
    try:
        app()
    except Exception as raised:  # noqa: BLE001 - any error that stops a command is reported with its cause
        error = reported(raised, "*")
        complain(f"{error} ({error.code})")
        sys.exit(error.exit_code)


@app.callback()
def about(
    version: Annotated[bool, typer.Option("--version", help="say the version and end", is_eager=True)] = False,
) -> None:
    """Batches as proven deliveries."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"lakeferry {version_of('lakeferry')}")
        raise typer.Exit


@app.command()
def demo(
    rows: Annotated[int | None, typer.Option(help="payments in the sample; the other sources in proportion")] = None,
) -> None:
    """Carry the sample from four systems into the warehouse through Airflow, twice.

    The local lake and warehouse start from scratch: their contents are deleted.
    """
    from jobs.cli.demo import run_demo

    raise typer.Exit(run_demo(rows))


@app.command()
def doctor() -> None:
    """Say what is up and what each setting is, and try every connection."""
    from jobs.cli.doctor import examine

    settings = load_settings()
    listed = Table("setting", "value", "what it is", title="Settings", title_justify="left")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        listed.add_row(f"LAKEFERRY_{name.upper()}", "" if value is None else str(value), field.description or "")
    print_table(listed)
    findings = examine(settings)
    table = Table("state", "what", "found", title="Connections", title_justify="left")
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.exit_code == 0 else "[red]no[/]", finding.what, finding.detail)
    print_table(table)
    raise typer.Exit(max((finding.exit_code for finding in findings), default=0))


@app.command()
def plan(pipeline: Pipeline, start: Start = None, end: End = None, dataset: Datasets = None) -> None:
    """Show what a run would move; nothing is written."""
    from jobs.cli.plan import plan_tables
    from jobs.stages.plan.planner import draft_plan

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    drafted = draft_plan(spec, "draft", settings, window=_window(start, end), only=dataset or ())
    for table in plan_tables(spec, drafted):
        print_table(table)
    for text in dict.fromkeys(failure.error for failure in drafted.failures.values()):
        complain(text)
    raise typer.Exit(max((failure.exit_code for failure in drafted.failures.values()), default=0))


@app.command()
def run(
    pipeline: Pipeline,
    start: Start = None,
    end: End = None,
    dataset: Datasets = None,
    run_id: Annotated[str | None, typer.Option(help="name the run, or go on with the one of that name")] = None,
) -> None:
    """Run all stages of a pipeline from this machine."""
    from jobs.cli.receipts import receipts_of_run
    from jobs.cli.run import run_pipeline
    from jobs.cli.run_ids import chosen_run_id, is_shortened
    from jobs.lake.documents import open_documents
    from jobs.runs.receipts import Receipts

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    if run_id is not None and is_shortened(run_id):
        run_id = chosen_run_id(run_id, Receipts(open_documents(settings.lake)).runs(spec.pipeline), spec.pipeline)
    code, planned = run_pipeline(spec, settings, run_id=run_id, window=_window(start, end), only=dataset or ())
    if sys.stdout.isatty():
        print_table(receipts_of_run(open_documents(settings.lake), pipeline, planned.run_id))
    raise typer.Exit(code)


@app.command()
def status(pipeline: Annotated[str | None, typer.Argument(help="only this pipeline")] = None) -> None:
    """Say for each dataset how fresh and how whole it is, and which views could not be made."""
    from jobs.cli.status import status_table
    from jobs.reporting.status import status_of

    settings = load_settings()
    specs, unreadable = _specs(settings, pipeline)
    statuses, views = status_of(specs, settings)
    print_table(status_table(statuses, views))
    raise typer.Exit(max((unreadable, *(entry.exit_code for entry in statuses), *(view.exit_code for view in views))))


@app.command()
def page(
    to: Annotated[Path | None, typer.Option(help="a file to write it to; default: the lake")] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="read receipts and tables again, for runs that left no summary")
    ] = False,
) -> None:
    """Write the status page, in English and Japanese, and say where it is."""
    from jobs.reporting.page import write_page

    for place in write_page(load_settings(), to, rebuild=rebuild):
        typer.echo(place)


@app.command()
def receipts(
    pipeline: Pipeline,
    run_id: Annotated[
        str | None, typer.Option(help="only this run: its id, or how it begins; default: the newest")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="every run")] = False,
) -> None:
    """Show the receipts a run has left: read = published + quarantined, published = loaded."""
    from jobs.cli.receipts import shown_receipts
    from jobs.lake.documents import open_documents

    settings = load_settings()
    name = load_pipeline(settings.pipelines, pipeline).pipeline
    heading, table = shown_receipts(open_documents(settings.lake), name, run_id, every=every)
    typer.echo(heading)
    if table.row_count:
        print_table(table)


@app.command()
def quarantine(
    pipeline: Pipeline,
    dataset: Datasets = None,
    records: Annotated[bool, typer.Option("--records", help="show rows as they were read, not the reasons")] = False,
    examples: Annotated[
        int | None, typer.Option(help="with --records: rows to show of each run and reason; default: 10", min=1)
    ] = None,
) -> None:
    """Show why rows were set aside: one line per reason; --records shows the rows."""
    from jobs.cli.quarantine import reasons_table, record_lines
    from jobs.reporting.quarantine import set_aside

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    if records or examples:
        for line in record_lines(set_aside(spec, settings, only=dataset or [], examples=examples or 10)):
            typer.echo(line)
    else:
        print_table(reasons_table(set_aside(spec, settings, only=dataset or [], examples=1, with_times=True)))


@app.command()
def docs(
    pipeline: Pipeline,
    dataset: Annotated[str | None, typer.Argument(help="only this dataset")] = None,
    run_id: Annotated[
        str | None, typer.Option(help="of this run: its id, or how it begins; default: the newest check")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="the folder; default: docs in LAKEFERRY_STATE_DIR")] = None,
) -> None:
    """Copy the Data Docs of the last check to this machine, and say which page to open."""
    from jobs.cli.docs import copy_docs
    from jobs.lake.documents import open_documents

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    names = [spec.dataset(dataset).name] if dataset else [entry.name for entry in spec.datasets]
    folder = (to or settings.state_dir / "docs").absolute()
    for copied in copy_docs(open_documents(settings.lake), spec.pipeline, names, folder, run_id):
        typer.echo(f"{copied.dataset}, run {copied.run_id}: {copied.page.as_uri()}")


@app.command()
def correct(
    pipeline: Pipeline,
    dataset: Annotated[str, typer.Option(help="the dataset")],
    batch: Annotated[int, typer.Option(help="number of the published batch that BigQuery refuses", min=1)],
    where: Annotated[str, typer.Option(help="which of its rows: a condition of Spark SQL; it is stored nowhere")],
    reason: Annotated[str, typer.Option(help="why, without a value of a row; it is kept with each row")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count the rows, and change nothing")] = False,
) -> None:
    """Set rows of a published batch aside that BigQuery refuses, so that the batches behind it are loaded."""
    from jobs.corrections.correction import correct as set_rows_aside
    from jobs.launch.own_session import open_own_session
    from jobs.reporting.page import leave_summary, refresh_page

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    try:
        done = set_rows_aside(
            spec,
            spec.dataset(dataset),
            settings,
            lambda: open_own_session(settings, f"lakeferry correct {pipeline}"),
            batch=batch,
            where=where,
            reason=reason,
            dry_run=dry_run,
        )
    except LakeferryError as error:
        raise error.located(pipeline=pipeline, dataset=dataset) from None
    of_batch = f"{done.rows:,} of {done.of_rows:,} rows of batch {batch}"
    if done.batch is None:
        typer.echo(f"{of_batch} match; nothing was changed")
        return
    if done.run_id is not None:
        leave_summary(spec, done.run_id, settings)
    refresh_page(settings)
    typer.echo(f"batch {done.batch} sets {of_batch} aside; lakeferry run {pipeline} loads the batches that wait")


@app.command()
def show(
    dataset: Annotated[str, typer.Argument(help="name of a dataset")],
    rows: Annotated[int, typer.Option(help="how many rows", min=1, max=1000)] = 10,
) -> None:
    """Show rows of a dataset's table in BigQuery, as they lie there: no query is run, nothing is billed."""
    from jobs.cli.show import shown_rows

    settings = load_settings()
    specs, _ = load_pipelines(settings.pipelines)
    names, shown = shown_rows([entry for spec in specs.values() for entry in spec.datasets], dataset, rows, settings)
    table = Table(*(escape(name) for name in names))
    for row in shown:
        table.add_row(*("NULL" if value is None else escape(str(value)) for value in row))
    print_table(table)


@app.command()
def types(pipeline: Pipeline) -> None:
    """Say what becomes of each column of the pipeline's real tables: exact, widened or lossy."""
    from jobs.cli.types import type_lines

    settings = load_settings()
    table = Table("dataset", "column", "source", "Spark", "Iceberg", "BigQuery", "verdict", "note")
    for line in type_lines(load_pipeline(settings.pipelines, pipeline), settings):
        colour = {"exact": "green", "widened": "green", "lossy": "red"}[line.verdict]
        table.add_row(
            line.dataset,
            escape(line.column),
            escape(line.source_type),
            line.spark_type,
            line.lake_type,
            line.warehouse_type or "",
            f"[{colour}]{line.verdict}[/]",
            line.note or "",
        )
    print_table(table)


@app.command()
def studio(pipeline: Pipeline) -> None:
    """Print the Data Studio link that opens a report on the pipeline's views."""
    from jobs.cli.studio import studio_url

    settings = load_settings()
    typer.echo(studio_url(load_pipeline(settings.pipelines, pipeline), settings))


@app.command()
def report(
    pipeline: Pipeline,
    to: Annotated[
        Path | None, typer.Option(help="the file; default: reports/PIPELINE.html in LAKEFERRY_STATE_DIR")
    ] = None,
) -> None:
    """Draw the pipeline's views in BigQuery into one HTML file, and say where it is."""
    from jobs.reporting.report import report_file, write_report

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    file = to or report_file(settings, spec.pipeline)
    for view in write_report(spec, settings, file):
        complain(f"{view} is not in BigQuery yet: lakeferry run {pipeline} makes it")
    typer.echo(str(file))


def _stopped(number: int, frame: object) -> None:
    complain("stopped; the same command goes on where this one was")
    sys.exit(128 + number)


def _specs(settings: Settings, pipeline: str | None) -> tuple[list[PipelineSpec], int]:
    """Return the requested pipelines, and the exit code of those that cannot be read, after reporting them."""
    if pipeline:
        return [load_pipeline(settings.pipelines, pipeline)], 0
    specs, broken = load_pipelines(settings.pipelines)
    for error in broken.values():
        complain(str(error))
    return list(specs.values()), max((error.exit_code for error in broken.values()), default=0)


def _window(start: str | None, end: str | None) -> Window | None:
    return Window(start=start, end=end) if start or end else None
