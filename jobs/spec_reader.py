"""Reads pipelines' YAML into specs. Every mistake is reported with file, line and fix."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

import connectors
from connectors.errors import ConfigurationError, ConnectionNotFound, DataError, LakeferryError, SpecError
from connectors.yaml_lines import YamlLines
from jobs.spec import DatasetSpec, PipelineSpec
from jobs.spec_consistency import check_consistency
from jobs.yaml_errors import spec_error


def load_pipeline(folder: Path, name: str) -> PipelineSpec:
    """The pipeline of that name from a folder of specs.

    Raises:
        SpecError: no such pipeline, its file cannot be read, or another file has one of its names.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = sorted(p.stem for p in folder.glob("*.yaml"))
        near = difflib.get_close_matches(name, names, 1)
        raise SpecError(
            f"no pipeline {name!r} in {folder}", choices=names, fix=f"Did you mean {near[0]}?" if near else None
        )
    # All are read: a name or a table that another file has is a mistake of this one.
    specs, broken = load_pipelines(folder)
    if path in broken:
        raise broken[path]
    return specs[name]


def load_pipelines(folder: Path) -> tuple[dict[str, PipelineSpec], dict[Path, SpecError]]:
    """All pipelines of a folder, and the files that cannot be read with why: one breaks only itself.

    A dataset name that stands in two files is an error of the file that sorts later.
    """
    specs: dict[str, PipelineSpec] = {}
    broken: dict[Path, SpecError] = {}
    owner: dict[str, str] = {}
    targets: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            spec = read_spec(path)
            for dataset in spec.datasets:
                if dataset.name in owner:
                    raise SpecError(
                        f"dataset {dataset.name!r} is already in {owner[dataset.name]}",
                        where=path.name,
                        fix="Names of datasets are unique in a lake: rename one",
                    )
                if dataset.bigquery.table in targets:
                    raise SpecError(
                        f"dataset {dataset.name!r} goes to {dataset.bigquery.table}, where "
                        f"{targets[dataset.bigquery.table]} goes",
                        where=path.name,
                        fix="Give each dataset a bigquery.table of its own",
                    )
        except SpecError as error:
            broken[path] = error
            continue
        targets.update({dataset.bigquery.table: f"{dataset.name} of {path.name}" for dataset in spec.datasets})
        owner.update({dataset.name: path.name for dataset in spec.datasets})
        specs[spec.pipeline] = spec
    return specs, broken


def read_spec(path: Path) -> PipelineSpec:
    """Read one file.

    Raises:
        SpecError: names file, line, what is wrong and what would do.
    """
    text = path.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path.name}:{mark.line + 1}" if mark else path.name
        raise SpecError(f"not YAML: {getattr(error, 'problem', None) or error}", where=where) from None
    if not isinstance(document, dict) or root is None:
        raise SpecError("a pipeline is a mapping that begins with `pipeline: NAME`", where=path.name)
    lines = YamlLines(path.name, root)
    lines.refuse_repeated_keys()
    document = _with_options(document, lines)
    try:
        spec = PipelineSpec.model_validate(document | {"file": path.name})
    except ValidationError as error:
        raise spec_error(error, document, lines, PipelineSpec) from None
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
    except SpecError as error:
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
        root = yaml.compose((folder / spec.file).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError):
        return spec.file
    index = [entry.name for entry in spec.datasets].index(dataset)
    return YamlLines(spec.file, root).at("datasets", index, *key) if root else spec.file


def located(error: LakeferryError, folder: Path, spec: PipelineSpec, dataset: str) -> LakeferryError:
    """Name the pipeline, dataset, file and line in an error that only planning could find.

    What is outside (a service, a connection) has no line.
    """
    if spec.file and isinstance(error, ConfigurationError | DataError) and not isinstance(error, ConnectionNotFound):
        error.where = error.where or line_of(folder, spec, dataset, *error.key)
    return error.located(pipeline=spec.pipeline, dataset=dataset)
