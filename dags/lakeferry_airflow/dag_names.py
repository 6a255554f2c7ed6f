"""Ids of DAGs: the pipeline's name behind a prefix that the settings may name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.runtime.settings import Settings


def dag_id_of(pipeline: str, settings: Settings) -> str:
    """The id of a pipeline's DAG."""
    return f"{settings.dag_id_prefix}{pipeline}"


def pipeline_of(dag_id: str, settings: Settings) -> str | None:
    """The pipeline whose DAG has that id; None where the id lacks the prefix."""
    prefix = settings.dag_id_prefix
    return dag_id.removeprefix(prefix) if dag_id.startswith(prefix) else None
