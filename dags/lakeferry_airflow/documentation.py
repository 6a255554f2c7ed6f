"""What the web UI shows of a pipeline: its datasets, where they go, what to do, and its YAML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from connectors.yaml.text_files import read_text
from jobs.reporting.page import page_note
from jobs.spec.models import After

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.runtime.settings import Settings
    from jobs.spec.models import DatasetSpec, PipelineSpec

_MOST_CHARACTERS = 50_000
"""Airflow stores the text with each version of the DAG. A pipeline of two hundred datasets fits."""


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
    # Asked once: each dataset's options are validated for the answer.
    bounds = spec.window_bounds
    if bounds:
        numbers = "number" in bounds
        times = "instant" in bounds
        which = ", numbers where the cursor is a number" if times else ", which are numbers"
        asked = f"To move a past window again, trigger with `start` and `end`{which if numbers else ''}"
        lines += ["", f"{asked}, or backfill." if times else f"{asked}."]
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
        *_yaml(settings.pipelines / spec.file if spec.file else None),
    ]
    return "\n".join(lines)


def _yaml(file: Path | None) -> list[str]:
    """The pipeline's YAML as a fenced block. It holds no secrets: connections are named by id."""
    if file is None or not file.is_file():
        return []
    text = read_text(file)
    shown = text[:_MOST_CHARACTERS]
    # A block ends at a fence as long as its own ("Fenced code blocks" in the CommonMark specification).
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", shown))])
    title = f"`{file.name}`" if shown == text else f"`{file.name}`, the first {_MOST_CHARACTERS:,} characters"
    return ["", title, "", f"{fence}yaml", shown.rstrip("\n"), fence]


def _origin(dataset: DatasetSpec) -> str:
    if dataset.derived:
        return ", ".join(dataset.inputs)
    return _cell(str(next((dataset.options[key] for key in ("table", "topic", "path") if key in dataset.options), "")))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
