"""What all pipelines of a folder share: `_defaults.yaml` beside their files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import Field, ValidationError

from connectors.errors import SpecError
from connectors.yaml.documents import load_yaml
from connectors.yaml.models import YamlModel
from connectors.yaml.text_files import shown_name
from jobs.spec.airflow_options import AirflowOptions, Options
from jobs.spec.yaml_errors import spec_error

FILE_NAME = "_defaults.yaml"


class FolderDefaults(YamlModel):
    """`airflow` holds the options of every DAG of the folder that its own file does not set."""

    airflow: Options = Field(default_factory=AirflowOptions)


def folder_defaults(folder: Path) -> FolderDefaults:
    """The defaults of a folder; empty ones where it has no such file, or one that says nothing.

    Raises:
        SpecError: the file cannot be read. No pipeline of the folder is what it should be without it.
    """
    path = folder / FILE_NAME
    try:
        state = path.stat()
    except FileNotFoundError:
        return FolderDefaults()
    except OSError as error:
        raise SpecError(f"the file cannot be read: {error.strerror}", where=shown_name(path)) from None
    # A thousand pipelines ask for the same file.
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, _mtime_ns: int, _size: int) -> FolderDefaults:
    document, lines = load_yaml(path)
    if document is None:
        return FolderDefaults()
    if not isinstance(document, dict) or lines is None:
        raise SpecError("defaults are a mapping, such as `airflow: {owner: payments}`", where=shown_name(path))
    try:
        return FolderDefaults.model_validate(document)
    except ValidationError as error:
        raise spec_error(error, document, lines, FolderDefaults) from None
