"""`lakeferry`: the command line. Exit codes: 0 done, 1 data failed a check, 2 the user's mistake, 3 outside."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from connectors.base import Window
from connectors.errors import LakeferryError
from jobs.settings import Settings, load_settings
from jobs.spec import PipelineSpec, load_pipeline, load_pipelines

if TYPE_CHECKING:
    from jobs.plan_document import DatasetPlan

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Batches as proven deliveries."
)
Pipeline = Annotated[str, typer.Argument(help="name of a pipeline: a YAML file in the pipelines folder")]
Start = Annotated[str | None, typer.Option(help="start of an explicit window, ISO 8601, UTC where no offset is given")]
End = Annotated[str | None, typer.Option(help="end of an explicit window, not included")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="only this dataset; may be repeated")]


def main() -> None:
    """Entry of the `lakeferry` command: errors are said in one line, with their exit code."""
    signal.signal(signal.SIGINT, _stopped)
    try:
        app()
    except LakeferryError as error:
        _complain(str(error))
        sys.exit(error.exit_code)


@app.command()
def demo(
    rows: Annotated[int | None, typer.Option(help="payments in the sample; the other sources in proportion")] = None,
) -> None:
    """Carry the sample from four systems into the warehouse through Airflow, twice.

    The local lake and warehouse begin anew: what is in them is thrown away.
    """
    from jobs.demo import run_demo

    raise typer.Exit(run_demo(rows))


@app.command()
def doctor() -> None:
    """Say what is up and what each setting is, and try every connection."""
    from jobs.doctor import examine

    settings = load_settings()
    listed = Table("setting", "value", "what it is", title="Settings", title_justify="left")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        listed.add_row(f"LAKEFERRY_{name.upper()}", "" if value is None else str(value), field.description or "")
    _out().print(listed)
    findings = examine(settings)
    table = Table("", "what", "found", title="Connections", title_justify="left")
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.exit_code == 0 else "[red]no[/]", finding.what, finding.detail)
    _out().print(table)
    raise typer.Exit(max((finding.exit_code for finding in findings), default=0))


@app.command()
def plan(pipeline: Pipeline, start: Start = None, end: End = None, dataset: Datasets = None) -> None:
    """Show what a run would move; nothing is written."""
    from jobs.planning import describe_position, draft_plan

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    drafted = draft_plan(spec, "draft", settings, window=_window(start, end), only=dataset or ())
    table = Table("dataset", "state", "from", "to", "slices", "batch", "why", title=f"Plan of {pipeline}")
    for entry in drafted.datasets:
        window = entry.window
        table.add_row(
            entry.name,
            entry.state,
            (window.start if window else None) or describe_position(entry.start_position),
            (window.end if window else None) or "now",
            _slices(entry),
            str(entry.batch),
            entry.reason or "",
        )
    _out().print(table)


@app.command()
def run(
    pipeline: Pipeline,
    start: Start = None,
    end: End = None,
    dataset: Datasets = None,
    run_id: Annotated[str | None, typer.Option(help="go on with an earlier run")] = None,
) -> None:
    """Run all stages of a pipeline from this machine."""
    from jobs.lake.documents import open_documents
    from jobs.receipts import Receipts
    from jobs.run import run_pipeline

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    code, planned = run_pipeline(spec, settings, run_id=run_id, window=_window(start, end), only=dataset or ())
    if sys.stdout.isatty():
        _show_receipts(Receipts(open_documents(settings.lake)).of_run(pipeline, planned.run_id))
    raise typer.Exit(code)


@app.command()
def status(pipeline: Annotated[str | None, typer.Argument(help="only this pipeline")] = None) -> None:
    """Say for each dataset how fresh and how whole it is."""
    from jobs.status import status_of

    settings = load_settings()
    found = status_of(_specs(settings, pipeline), settings)
    table = Table("pipeline", "dataset", "last published window", "fresh", "rows", "batch", "last result", "")
    for entry in found:
        window = f"{entry.window_start or '…'} to {entry.window_end}" if entry.window_end else ""
        colour = {"done": "green", "empty": "green", "failed": "red"}.get(entry.result, "yellow")
        table.add_row(
            entry.pipeline,
            entry.dataset,
            window,
            _ago(entry.freshness_seconds),
            "" if entry.rows is None else f"{entry.rows:,}",
            str(entry.batch),
            f"[{colour}]{entry.result}[/]",
            entry.error or "",
        )
    _out().print(table)


@app.command()
def receipts(
    pipeline: Pipeline,
    run_id: Annotated[str | None, typer.Option(help="only this run; default: the newest")] = None,
    every: Annotated[bool, typer.Option("--all", help="every run")] = False,
) -> None:
    """Show the receipts a run has left: read = published + quarantined, published = loaded."""
    from jobs.lake.documents import open_documents
    from jobs.receipts import Receipts

    settings = load_settings()
    spec = load_pipeline(settings.pipelines, pipeline)
    left = Receipts(open_documents(settings.lake))
    found = left.of_run(spec.pipeline, run_id) if run_id else left.of_pipeline(spec.pipeline)
    if found and not run_id and not every:
        found = [receipt for receipt in found if receipt.run_id == found[-1].run_id]
    _show_receipts(found)


@app.command()
def types(pipeline: Pipeline) -> None:
    """Say what becomes of each column of the pipeline's real tables: exact, widened or lossy."""
    from jobs.type_ledger import type_lines

    settings = load_settings()
    table = Table("dataset", "column", "source", "Spark", "Iceberg", "BigQuery", "verdict", "")
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
    _out().print(table)


@app.command()
def studio(pipeline: Pipeline) -> None:
    """Print the Data Studio link that opens a report on the pipeline's views."""
    from jobs.studio import studio_url

    settings = load_settings()
    typer.echo(studio_url(load_pipeline(settings.pipelines, pipeline), settings))


def _slices(entry: DatasetPlan) -> str:
    if entry.source is None:
        return ""
    rows = str(len(entry.source.slices))
    return f"{rows}, {len(entry.keys.read.slices)} of keys" if entry.keys else rows


def _show_receipts(found: Sequence[object]) -> None:
    from jobs.receipts import Receipt

    headers = (
        "run",
        "generation",
        "dataset",
        "stage",
        "verdict",
        "source",
        "read",
        "published",
        "quarantined",
        "deleted",
        "loaded",
    )
    table = Table(*headers, "seconds", "error")
    for receipt in found:
        assert isinstance(receipt, Receipt)
        counts = (receipt.source_rows, receipt.read, receipt.published, receipt.quarantined, receipt.deleted)
        table.add_row(
            receipt.run_id,
            str(receipt.generation),
            receipt.dataset,
            receipt.stage,
            receipt.verdict,
            *("" if count is None else f"{count:,}" for count in (*counts, receipt.loaded)),
            f"{receipt.seconds:.1f}",
            receipt.error or "",
        )
    _out().print(table)


def _stopped(number: int, frame: object) -> None:
    _complain("stopped; the same command goes on where this one was")
    sys.exit(128 + number)


def _specs(settings: Settings, pipeline: str | None) -> list[PipelineSpec]:
    if pipeline:
        return [load_pipeline(settings.pipelines, pipeline)]
    specs, broken = load_pipelines(settings.pipelines)
    for error in broken.values():
        _complain(str(error))
    return list(specs.values())


def _window(start: str | None, end: str | None) -> Window | None:
    return Window(start=start, end=end) if start or end else None


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def _out() -> Console:
    # A table cut to 80 columns in a log or a pipe helps nobody.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def _complain(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style="red", markup=False)
