"""Reads pipelines' YAML into specs. Every mistake is reported with file, line and fix."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import connectors
from connectors.errors import (
    ConfigurationError,
    LakeferryError,
    ServiceUnavailable,
    SettingError,
    SpecError,
)
from connectors.yaml.documents import load_yaml
from connectors.yaml.lines import YamlLines
from connectors.yaml.text_files import shown_name
from jobs.spec.consistency import check_consistency
from jobs.spec.folder_defaults import FILE_NAME, folder_defaults
from jobs.spec.followed_datasets import unknown_followed
from jobs.spec.models import DatasetSpec, PipelineSpec
from jobs.spec.related_files import files_that_mention, names_of
from jobs.spec.shared_names import shared_names
from jobs.spec.yaml_errors import spec_error


def load_pipeline(folder: Path, name: str) -> PipelineSpec:
    """The pipeline of that name from a folder of specs.

    Raises:
        SpecError: no such pipeline, its file cannot be read, or another file has one of its names.
    """
    # A name or a table that another file has is a mistake of this one, so the files that may have one are read too.
    path = folder / f"{name}.yaml"
    if path.is_file():
        names = names_of(read_spec(path))
        specs, _ = load_pipelines(folder, [path, *files_that_mention(spec_files(folder), names)])
        if name in specs:
            return specs[name]
    # What is wrong is said in view of all.
    specs, broken = load_pipelines(folder)
    if name in specs:
        return specs[name]
    error = broken.get(folder / f"{name}.yaml") or next((broken[path] for path in broken if path.stem == name), None)
    if error is not None:
        raise error
    valid = sorted({*specs, *(shown_name(path.with_suffix("")) for path in broken)})
    near = difflib.get_close_matches(name, valid, 1)
    raise SpecError(
        f"no pipeline {name!r} in {folder}", choices=valid, fix=f"Did you mean {near[0]}?" if near else None
    )


def spec_files(folder: Path) -> list[Path]:
    """What stands for a pipeline in a folder, sorted: names that end in `.yaml` or `.yml`, in any case.

    Names that begin with a dot are not listed: editors and file systems leave such files beside their own
    (`.#payments.yaml`, `._payments.yaml`), and a Kubernetes volume its `..data`. `_defaults.yaml` is no pipeline.

    Raises:
        SettingError: the folder cannot be listed.
    """
    if not folder.is_dir():
        return []
    try:
        names = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise SettingError(
            f"the folder of pipelines {folder} cannot be read: {error.strerror}", where="LAKEFERRY_PIPELINES"
        ) from None
    return sorted(path for path in names if path.suffix.lower() in (".yaml", ".yml") and path.name != FILE_NAME)


def load_pipelines(
    folder: Path, files: Collection[Path] | None = None
) -> tuple[dict[str, PipelineSpec], dict[Path, SpecError]]:
    """All pipelines of a folder, and the files that cannot be read with why: one breaks only itself.

    With `files`, only these of its files are read.

    A dataset or a table of BigQuery that stands in two files is an error of both.
    """
    by_file: dict[Path, PipelineSpec] = {}
    broken: dict[Path, SpecError] = {}
    for path in spec_files(folder) if files is None else sorted(set(files)):
        try:
            by_file[path] = read_spec(path)
        except SpecError as error:
            broken[path] = error
        except Exception as error:  # noqa: BLE001 - a file breaks only itself, with any content
            broken[path] = SpecError(
                f"the file cannot be read: {type(error).__name__}: {error}", where=shown_name(path)
            )
    broken |= shared_names(by_file)
    specs = {spec.pipeline: spec for path, spec in by_file.items() if path not in broken}
    if not broken:
        # A file that cannot be read may have the dataset that another follows.
        for name, refusal in unknown_followed(folder, specs).items():
            del specs[name]
            broken[folder / f"{name}.yaml"] = refusal
    return specs, broken


def read_spec(path: Path) -> PipelineSpec:
    """Read one file.

    Raises:
        SpecError: names file, line, what is wrong and what would do.
    """
    if path.suffix != ".yaml":
        name = shown_name(path.with_suffix(".yaml"))
        raise SpecError(
            "a pipeline's file ends in .yaml", where=shown_name(path), fix=f"Rename it to {name}, or remove it"
        )
    document, lines = load_yaml(path)
    if not isinstance(document, dict) or lines is None:
        raise SpecError("a pipeline is a mapping that begins with `pipeline: NAME`", where=shown_name(path))
    document = _with_options(document, lines)
    try:
        spec = PipelineSpec.model_validate(document | {"file": shown_name(path)})
    except ValidationError as error:
        raise spec_error(error, document, lines, PipelineSpec) from None
    spec = spec.model_copy(update={"airflow": spec.airflow.over(folder_defaults(path.parent).airflow)})
    check_consistency(spec, lines, path)
    return spec


def _with_options(document: dict[str, Any], lines: YamlLines) -> dict[str, Any]:
    """Move each dataset's source-owned keys under `options` and validate them by the source."""
    source = document.get("source")
    datasets = document.get("datasets")
    if not isinstance(source, dict) or not isinstance(datasets, list):
        return document
    try:
        options_model = connectors.source_class(str(source.get("type"))).Options
    except ConfigurationError as error:
        error.where = lines.at("source", "type")
        raise
    moved = []
    for index, dataset in enumerate(datasets):
        if not isinstance(dataset, dict):
            moved.append(dataset)
            continue
        own = set(DatasetSpec.model_fields) - {"options"}
        generic = {key: value for key, value in dataset.items() if key in own}
        options = {key: value for key, value in dataset.items() if key not in own}
        try:
            options_model.model_validate(options)
        except ValidationError as error:
            known = own | {field.alias or name for name, field in options_model.model_fields.items()}
            raise spec_error(error, dataset, lines, options_model, ("datasets", index), known) from None
        moved.append(generic | {"options": options})
    return document | {"datasets": moved}


def line_of(folder: Path, spec: PipelineSpec, dataset: str, *key: str) -> str:
    """`file:line` of a key of a dataset, for what only the source can tell is wrong; the file if it has changed."""
    try:
        _, lines = load_yaml(folder / spec.file)
    except SpecError:
        return spec.file
    index = [entry.name for entry in spec.datasets].index(dataset)
    return lines.at("datasets", index, *key) if lines else spec.file


def located(error: LakeferryError, folder: Path, spec: PipelineSpec, dataset: str) -> LakeferryError:
    """Name the pipeline, dataset, file and line in an error that only planning could find.

    A service that does not answer, a setting and a connection have no line.
    """
    if spec.file and not (error.is_of_all_datasets or isinstance(error, ServiceUnavailable)):
        error.where = error.where or line_of(folder, spec, dataset, *error.key)
    return error.located(pipeline=spec.pipeline, dataset=dataset)
