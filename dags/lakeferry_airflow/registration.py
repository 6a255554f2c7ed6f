"""Which DAGs Airflow registers: one per pipeline that can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from connectors.errors import SpecError
from jobs.settings import load_settings
from jobs.spec_reader import load_pipelines, read_spec
from lakeferry_airflow.factory import build_dag

if TYPE_CHECKING:
    from airflow.sdk import DAG


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
