"""Which DAGs a DAG file registers: those of all pipelines, or that of one pipeline.

`lakeferry.py` raises nothing when Airflow parses it for its DAGs: an error would take down every DAG of the file. What
cannot be registered is reported by `lakeferry_broken_specs.py`.

One fault cannot be seen while a file is parsed: under the FAB auth manager, a role of `access_control` that does not
exist. The DAG processor looks the role up in Airflow's database, which no parse may read, and makes the failure an
import error of the DAG's file (`_serialize_dag_capturing_errors` in airflow/dag_processing/collection.py;
`_sync_dag_view_permissions` in the FAB provider's security_manager/override.py). So pipelines with `access_control`
stand in a file of their own.
"""

from __future__ import annotations

import gc
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from connectors.errors import LakeferryError, SpecError
from jobs.launch.dag_files import MAIN_FILE, pipelines_with_a_file
from jobs.spec.folder_defaults import FILE_NAME
from jobs.spec.reader import load_pipeline, load_pipelines, read_spec, spec_files
from jobs.spec.related_files import files_that_mention
from lakeferry_airflow.admission import sound_dags
from lakeferry_airflow.bundle import files_airflow_parses, settings_beside
from lakeferry_airflow.dag_names import pipeline_of
from lakeferry_airflow.factory import build_dag
from lakeferry_airflow.refusals import keep_refused, last_refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from airflow.sdk import DAG

    from jobs.runtime.settings import Settings
    from jobs.spec.models import PipelineSpec

_log = logging.getLogger(__name__)
ACCESS_CONTROL_FILE = "lakeferry_access_control.py"


def dags_to_register(dag_file: str) -> dict[str, DAG]:
    """Return the DAGs, by id, of all pipelines that have no DAG file of their own. If Airflow parses the file to run a
    task, return only the DAG to which that task belongs.

    Pipelines with `access_control` are those of `lakeferry_access_control.py`, where a folder has that file.

    Args:
        dag_file: `__file__` of the DAG file.
    """
    context = get_parsing_context()
    if context.dag_id is not None:
        settings = settings_beside(dag_file)
        pipeline = pipeline_of(context.dag_id, settings)
        path = settings.pipelines / f"{pipeline}.yaml"
        if not pipeline or not path.is_file():
            return {}
        spec = read_spec(path)
        # A task's process parses one file, whichever the DAG stood in when the run began. A command such as `airflow
        # dags test` parses the whole folder (`get_bagged_dag` in airflow/utils/cli.py), where a second DAG of one id is
        # an import error.
        if context.task_id is None:
            parsed = _parsed_beside(dag_file)
            own, registering = pipelines_with_a_file(parsed), _registering_files(dag_file, parsed)
            if not _registers(dag_file, spec, own, registering):
                return {}
        return {context.dag_id: build_dag(spec, settings)}
    try:
        settings = settings_beside(dag_file)
        specs = _pipelines_of(dag_file, settings)
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
    parsed = _parsed_beside(dag_file)
    specs, broken = _pipelines_without_a_file(parsed, settings)
    names = last_refused(settings, _registering_files(dag_file, parsed))
    # Parses of these files have built all DAGs already: only what they could not register is built again.
    _, refused = sound_dags([spec for name, spec in specs.items() if names is None or name in names], settings)
    problems = [f"{error}" for _, error in sorted(broken.items())]
    problems += [
        f"{specs[name].file}: Airflow refuses the DAG of pipeline {name}: {type(error).__name__}: {error}"
        for name, error in sorted(refused.items())
    ]
    if problems:
        # The web UI shows this text under the name of the DAG file, so it says where the real ones are.
        raise SpecError("\n".join([f"{len(problems)} broken in {settings.pipelines}", *problems])) from None


def _pipelines_of(dag_file: str, settings: Settings) -> dict[str, PipelineSpec]:
    """The pipelines that one of the registering files registers."""
    apart = Path(dag_file).name == ACCESS_CONTROL_FILE
    if apart and not _may_have_roles(settings.pipelines):
        return {}
    parsed = _parsed_beside(dag_file)
    specs, _ = _pipelines_without_a_file(parsed, settings)
    registering = _registering_files(dag_file, parsed)
    return {name: spec for name, spec in specs.items() if _registers(dag_file, spec, frozenset(), registering)}


def _registers(dag_file: str, spec: PipelineSpec, with_a_file: Collection[str], registering: Sequence[Path]) -> bool:
    """Whether it is this of the registering files that registers a pipeline."""
    apart = Path(dag_file).name == ACCESS_CONTROL_FILE
    if spec.pipeline in with_a_file:
        return False
    return (not apart and len(registering) == 1) or bool(spec.airflow.access_control) == apart


def _may_have_roles(pipelines: Path) -> bool:
    """Whether some file has the key: to ask the text spares most folders a second reading of their YAML."""
    defaults = pipelines / FILE_NAME
    files = [*spec_files(pipelines), *([defaults] if defaults.exists() else [])]
    return bool(files_that_mention(files, ["access_control"]))


def _parsed_beside(dag_file: str) -> list[Path]:
    """The DAG files that Airflow parses in the folder of this one. Cost: a walk through the folder."""
    return files_airflow_parses(Path(dag_file).absolute().parent)


def _registering_files(dag_file: str, parsed: Collection[Path]) -> list[Path]:
    """The DAG files of a folder that register all pipelines between them.

    Args:
        parsed: `_parsed_beside` of the DAG file.
    """
    folder = Path(dag_file).absolute().parent
    apart = folder / ACCESS_CONTROL_FILE
    # One that an `.airflowignore` leaves out registers nothing.
    return [folder / MAIN_FILE, *([apart] if apart.is_file() and apart in parsed else [])]


def _pipelines_without_a_file(
    parsed: Collection[Path], settings: Settings
) -> tuple[dict[str, PipelineSpec], dict[Path, SpecError]]:
    specs, broken = load_pipelines(settings.pipelines)
    own = pipelines_with_a_file(parsed)
    return (
        {name: spec for name, spec in specs.items() if name not in own},
        {path: error for path, error in broken.items() if path.stem not in own},
    )
