"""Which DAGs a DAG file registers: those of all pipelines, or that of one pipeline.

`lakeferry.py` raises nothing when Airflow parses it for its DAGs: an error would take down every DAG of the file. What
cannot be registered is reported by `lakeferry_broken_specs.py`.
"""

from __future__ import annotations

import gc
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from connectors.errors import LakeferryError, SpecError
from jobs.dag_files import pipelines_with_a_file
from jobs.spec_reader import load_pipeline, load_pipelines, read_spec
from lakeferry_airflow.admission import sound_dags
from lakeferry_airflow.bundle import settings_beside
from lakeferry_airflow.dag_names import pipeline_of
from lakeferry_airflow.factory import build_dag
from lakeferry_airflow.refusals import keep_refused, last_refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import DAG

    from jobs.settings import Settings
    from jobs.spec import PipelineSpec

_log = logging.getLogger(__name__)


def dags_to_register(dag_file: str) -> dict[str, DAG]:
    """The DAGs by id of all pipelines that have no DAG file of their own; only the one a task belongs to where Airflow
    parses the file to run that task.

    Args:
        dag_file: `__file__` of the DAG file.
    """
    wanted = get_parsing_context().dag_id
    if wanted is not None:
        settings = settings_beside(dag_file)
        pipeline = pipeline_of(wanted, settings)
        path = settings.pipelines / f"{pipeline}.yaml"
        return {wanted: build_dag(read_spec(path), settings)} if pipeline and path.is_file() else {}
    try:
        settings = settings_beside(dag_file)
        specs, _ = _pipelines_without_a_file(dag_file, settings)
    except LakeferryError as error:
        _log.error("no DAG is registered: %s", error)
        return {}
    with _few_collections():
        dags, refused = sound_dags(specs.values(), settings)
    keep_refused(refused, settings, dag_file)
    return dags


@contextmanager
def _few_collections() -> Iterator[None]:
    """Build many objects that all stay, without Python's garbage collector looking through them again and again, also
    while Airflow serializes them: a fifth of the time of a parse. A process that parses all DAGs ends soon after."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def dag_of(pipeline: str, dag_file: str) -> DAG:
    """The DAG of one pipeline, for a DAG file of its own, as `lakeferry dags write` generates it.

    Args:
        pipeline: the pipeline's name.
        dag_file: `__file__` of the DAG file.

    Raises:
        SpecError: there is no such pipeline, or it cannot be read. Airflow shows the error under the DAG file.
    """
    settings = settings_beside(dag_file)
    if get_parsing_context().dag_id is not None:
        return build_dag(read_spec(settings.pipelines / f"{pipeline}.yaml"), settings)
    return build_dag(load_pipeline(settings.pipelines, pipeline), settings)


def refuse_broken_specs(dag_file: str) -> None:
    """Raise one error that says of each pipeline that is not registered which line is wrong and why.

    Args:
        dag_file: `__file__` of the DAG file.

    Raises:
        SpecError: some file cannot be read, or Airflow refuses the DAG.
        SettingError: no pipeline is registered, because a setting or the folder cannot be read.
    """
    if get_parsing_context().dag_id is not None:
        return
    settings = settings_beside(dag_file)
    specs, broken = _pipelines_without_a_file(dag_file, settings)
    names = last_refused(settings, dag_file)
    # A parse of `lakeferry.py` has built all DAGs already: only what it could not register is built again.
    _, refused = sound_dags([spec for name, spec in specs.items() if names is None or name in names], settings)
    problems = [f"{error}" for _, error in sorted(broken.items())]
    problems += [
        f"{specs[name].file}: Airflow refuses the DAG of pipeline {name}: {type(error).__name__}: {error}"
        for name, error in sorted(refused.items())
    ]
    if problems:
        # The web UI shows this text under the name of the DAG file, so it says where the real ones are.
        raise SpecError("\n".join([f"{len(problems)} broken in {settings.pipelines}", *problems])) from None


def _pipelines_without_a_file(
    dag_file: str, settings: Settings
) -> tuple[dict[str, PipelineSpec], dict[Path, SpecError]]:
    specs, broken = load_pipelines(settings.pipelines)
    own = pipelines_with_a_file(Path(dag_file).parent)
    return (
        {name: spec for name, spec in specs.items() if name not in own},
        {path: error for path, error in broken.items() if path.stem not in own},
    )
