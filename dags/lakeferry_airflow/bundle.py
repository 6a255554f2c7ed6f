"""Where a DAG file finds its pipelines: beside it, so that each version of a DAG bundle reads its own YAML.

Airflow runs a task of a versioned bundle (`GitDagBundle`) from the checkout of the run's version, and the path of the
DAG file is the path in that checkout. A folder that `LAKEFERRY_PIPELINES` or `LAKEFERRY_EXPECTATIONS` names is the same
for all versions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.runtime.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import Context

    from jobs.runtime.settings import Settings

_IGNORE_FILE = ".airflowignore"


def settings_beside(dag_file: str | Path) -> Settings:
    """The settings, whose folders are those of the DAG file's bundle where the environment names none.

    `pipelines` is looked for beside the DAG file and beside the file's folder, `expectations/suites` or `expectations`
    beside `pipelines` and beside the folder that holds it.

    Raises:
        SettingError: a setting cannot be read.
    """
    settings = load_settings()
    folder = Path(dag_file).absolute().parent
    pipelines, expectations = settings.pipelines, settings.expectations
    if "pipelines" not in settings.model_fields_set:
        pipelines = _first_folder("pipelines", (folder, folder.parent)) or pipelines
    if "expectations" not in settings.model_fields_set:
        beside = (pipelines.parent, pipelines.parent.parent)
        folders = (parent / name for parent in beside for name in ("expectations/suites", "expectations"))
        expectations = next((path for path in folders if path.is_dir()), expectations)
    return settings.model_copy(update={"pipelines": pipelines, "expectations": expectations})


def files_airflow_parses(folder: Path) -> list[Path]:
    """The DAG files below a folder of the bundle, as Airflow's DAG processor lists them: through links, and without
    what an `.airflowignore` of the folder, or of the bundle above it, leaves out."""
    from airflow.utils.file import list_py_file_paths

    folder = folder.absolute()
    # `.airflowignore` counts from the root of the bundle, which Airflow puts on Python's path (dagbag.py).
    above = (path for path in reversed(folder.parents) if str(path) in sys.path and (path / _IGNORE_FILE).is_file())
    try:
        listed = [Path(path) for path in list_py_file_paths(next(above, folder))]
    except (OSError, RuntimeError):
        # What lies beside the bundle cannot be listed: a link in a circle, a folder of somebody else's.
        listed = list(folder.rglob("*.py"))
    return [path for path in listed if path.is_relative_to(folder)]


def folder_variables(settings: Settings) -> dict[str, str]:
    """The folders as variables of the environment, for a task's child process, which knows no DAG file."""
    return {
        "LAKEFERRY_PIPELINES": str(settings.pipelines),
        "LAKEFERRY_EXPECTATIONS": str(settings.expectations),
    }


def version_of_run(context: Context) -> str | None:
    """The version of a versioned bundle that the run reads, whenever its tasks are cleared; None where the bundle has
    no versions (`RuntimeTaskInstance.bundle_instance` of the task SDK 1.2 and 1.3)."""
    version = getattr(getattr(context["ti"], "bundle_instance", None), "version", None)
    return str(version) if version else None


def mended_yaml(context: Context) -> str:
    """How a run that is cleared gets a YAML, a view or a suite that was mended since; empty where it gets it anyway."""
    version = version_of_run(context)
    if version is None:
        return ""
    return (
        f" This run reads version {version[:12]} of its bundle, also when it is cleared. For files that were mended "
        "since, clear it with Run with latest bundle version"
    )


def _first_folder(name: str, parents: Iterable[Path]) -> Path | None:
    return next((parent / name for parent in parents if (parent / name).is_dir()), None)
