"""Pipelines that run after datasets nobody publishes: their runs would never begin, and Airflow says nothing of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from connectors.errors import SpecError
from connectors.yaml.documents import load_yaml
from jobs.spec.models import After, PipelineSpec


def unknown_followed(folder: Path, specs: Mapping[str, PipelineSpec]) -> dict[str, SpecError]:
    """The pipelines whose schedule names a dataset that none of the pipelines has, and why each is refused.

    Args:
        folder: where the pipelines' files lie.
        specs: all pipelines of the folder, by name.
    """
    known = {dataset.name for spec in specs.values() for dataset in spec.datasets}
    refused: dict[str, SpecError] = {}
    for name, spec in specs.items():
        followed = spec.schedule.datasets if isinstance(spec.schedule, After) else []
        unknown = next((dataset for dataset in followed if dataset not in known), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, known, 1)
            refused[name] = SpecError(
                f"schedule follows {unknown!r}, which no pipeline of {folder.name}/ has: it would never run",
                where=_line_of(folder, spec),
                pipeline=name,
                fix=f"Did you mean {near[0]}?" if near else "Name datasets of pipelines in this folder",
            )
    return refused


def _line_of(folder: Path, spec: PipelineSpec) -> str:
    try:
        _, lines = load_yaml(folder / spec.file)
    except SpecError:
        return spec.file
    return lines.at("schedule") if lines else spec.file
