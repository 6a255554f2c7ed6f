"""Views as a run creates them: frozen by plan, created by load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from connectors.yaml.text_files import read_text
from jobs.contracts.view_sql import check_view_sql
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from jobs.stages.load.views import ViewResult, apply_views
from jobs.stages.plan.frozen_files import PipelineFiles


def create_views(
    spec: PipelineSpec, settings: Settings, report: Callable[[ViewResult], None] = lambda _: None
) -> list[str]:
    """Create a pipeline's views from their files as they are now; returns the names of those created."""
    return apply_views(spec.pipeline, PipelineFiles(spec, settings).views, settings, report)


def checked_sql(path: Path, pipeline: str | None = None) -> str:
    """The text of a view's file, if it is one SELECT."""
    text = read_text(path)
    check_view_sql(text, path.name, pipeline)
    return text
