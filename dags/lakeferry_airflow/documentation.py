"""What the web UI shows of a pipeline: its datasets, where they go, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.page import page_note
from jobs.spec import After

if TYPE_CHECKING:
    from jobs.settings import Settings
    from jobs.spec import DatasetSpec, PipelineSpec


def documentation(spec: PipelineSpec, settings: Settings) -> str:
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
    if spec.takes_windows:
        lines += ["", "To move a past window again, trigger with `start` and `end`, or backfill."]
    if isinstance(spec.schedule, After):
        lines += [
            "",
            f"Runs {spec.schedule}. What is published while this DAG is paused starts no run: trigger it once "
            "after you unpause it. A run reads all that its inputs have, however many events came before it.",
        ]
    lines += [
        "",
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
