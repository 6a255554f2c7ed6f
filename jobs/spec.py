"""A pipeline's YAML, read into a typed spec; every mistake is said with file, line and fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

import connectors
from connectors.base import SourceOptions
from connectors.errors import ConfigurationError, ConnectionNotFound, DataError, LakeferryError, SpecError
from connectors.yaml_lines import YamlLines
from jobs.deletes import unfit_sweep
from jobs.masks import Mask, misplaced
from jobs.schedules import PRESETS, cron_problem
from jobs.spec_names import Name, WarehouseTable
from jobs.warehouse_spec import PartitionRange, WarehouseSpec, unfit_layout

# YAML reads the bare word `off` as a boolean.
Reconcile = Annotated[
    Literal["fingerprint", "counts", "off"], BeforeValidator(lambda value: "off" if value is False else value)
]
WriteDisposition = Literal["append", "merge", "replace", "overwrite_partitions"]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSpec(_Spec):
    type: str
    connection: Name


class After(_Spec):
    """Run when any of these datasets was published."""

    after: list[Name] = Field(min_length=1)


class ViewSpec(_Spec):
    """A curated view: `sql` is a file beside the YAML that holds one SELECT."""

    name: WarehouseTable
    sql: str
    description: str | None = None


class DatasetSpec(_Spec):
    """One table, topic or file set and where it goes. Keys of the source's own (`table`, `cursor`,
    `topic`, …) are validated by the source and kept in `options`.

    `mask` maps columns to what reaches the lake of them: `drop`, `null`, `hmac` or `truncate`
    (`jobs/masks.py`). `reconcile` is how a batch is proved: every row by its fingerprint, slices by their
    counts, or not at all. A slice whose rows moved while it was read is read again, `reads` times in all.
    `drift` is what becomes of changed columns (`jobs/drift.py`): taken where they can be, or refused.
    `deletes: sweep` marks rows that are gone at the source, `most_deleted` of them at most (`jobs/deletes.py`).
    """

    name: Name
    description: str | None = None
    primary_key: list[str] = Field(default_factory=list)
    write_disposition: WriteDisposition
    mask: Mask = Field(default_factory=dict)
    expectations: Name | None = None
    bigquery: WarehouseSpec
    reconcile: Reconcile = "fingerprint"
    drift: Literal["evolve", "freeze"] = "evolve"
    deletes: Literal["ignore", "sweep"] = "ignore"
    most_deleted: float = Field(default=0.1, gt=0, le=1, description="share of the rows that may vanish in one run")
    reads: int = Field(default=3, ge=1, le=10, description="how often a slice is read until it is whole")
    inputs: list[Name] = Field(default_factory=list)
    transform: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def derived(self) -> bool:
        """Made by a transform from other datasets, not read from a source."""
        return self.transform is not None


class PipelineSpec(_Spec):
    """One source with its schedule and datasets: one YAML file, one DAG.

    `mask_key` is the id of the connection whose password is the key of `mask: hmac`.
    """

    pipeline: Name
    description: str = ""
    schedule: str | After | None = None
    source: SourceSpec | None = None
    mask_key: Name = "mask_key"
    datasets: list[DatasetSpec] = Field(min_length=1)
    views: list[ViewSpec] = Field(default_factory=list)
    file: str = ""

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset of that name; `SpecError` with the valid names where there is none."""
        for dataset in self.datasets:
            if dataset.name == name:
                return dataset
        raise SpecError(f"no dataset {name!r}", pipeline=self.pipeline, choices=[d.name for d in self.datasets])

    @property
    def reported_views(self) -> list[ViewSpec]:
        """The views reports are made of; `SpecError` where there is none."""
        if not self.views:
            raise SpecError(
                "this pipeline has no views to report on",
                where=self.file or None,
                pipeline=self.pipeline,
                fix="Add views: [{name: DATASET.VIEW, sql: FILE.sql}]",
            )
        return self.views

    @property
    def connections(self) -> tuple[str, ...]:
        """Ids of the connections a run needs: the source's and, where a mask is `hmac`, that of its key."""
        source = (self.source.connection,) if self.source else ()
        hashed = any("hmac" in dataset.mask.values() for dataset in self.datasets)
        return (*source, self.mask_key) if hashed else source

    def source_options(self, dataset: DatasetSpec) -> SourceOptions:
        """The dataset's own keys as its source's typed options."""
        assert self.source is not None, "a derived dataset has no source options"
        return connectors.source_class(self.source.type).Options.model_validate(dataset.options)


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
        raise _spec_error(error, document, lines, PipelineSpec) from None
    _check_whole(spec, lines, path)
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
            raise _spec_error(error, dataset, lines, options_model, ("datasets", index), known) from None
        moved.append(generic | {"options": options})
    return document | {"datasets": moved}


def _check_whole(spec: PipelineSpec, lines: YamlLines, path: Path) -> None:
    if spec.pipeline != path.stem:
        raise SpecError(
            f"pipeline is {spec.pipeline!r} in a file named {path.name}",
            where=lines.at("pipeline"),
            fix=f"Rename the file to {spec.pipeline}.yaml",
        )
    problem = cron_problem(spec.schedule) if isinstance(spec.schedule, str) else None
    if problem:
        raise SpecError(
            f"schedule {spec.schedule!r} {problem}",
            where=lines.at("schedule"),
            pipeline=spec.pipeline,
            choices=[*PRESETS, "five fields, such as '15 * * * *'", "{after: [DATASET, …]}"],
        )
    seen: set[str] = set()
    targets: dict[str, str] = {}
    for index, dataset in enumerate(spec.datasets):
        at = ("datasets", index)

        def refuse(
            problem: str, *key: str, fix: str | None = None, at: tuple[str, int] = at, name: str = dataset.name
        ) -> None:
            raise SpecError(problem, where=lines.at(*at, *key), pipeline=spec.pipeline, dataset=name, fix=fix)

        if dataset.name in seen:
            refuse("two datasets have this name", "name", fix="Rename one")
        seen.add(dataset.name)
        taken = targets.setdefault(dataset.bigquery.table, dataset.name)
        if taken != dataset.name:
            refuse(
                f"bigquery.table {dataset.bigquery.table} is already where {taken} goes",
                "bigquery",
                fix="Give each dataset a table of its own",
            )
        if dataset.derived and not dataset.inputs:
            refuse("a transform needs inputs", "transform", fix="Add inputs: [DATASET, …]")
        if dataset.derived and spec.source is not None:
            refuse(
                "a pipeline with a source has no transforms",
                "transform",
                fix="Put derived datasets into a pipeline of their own",
            )
        if not dataset.derived and spec.source is None:
            refuse(
                "nothing says where the rows come from",
                fix="Give the pipeline a source, or the dataset inputs and a transform",
            )
        if dataset.transform and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", dataset.transform):
            refuse(f"transform {dataset.transform!r} is not module:function", "transform")
        if dataset.write_disposition == "merge" and not dataset.primary_key:
            refuse(
                "write_disposition merge needs a primary_key", "write_disposition", fix="Add primary_key: [COLUMN, …]"
            )
        if dataset.write_disposition == "overwrite_partitions" and not dataset.bigquery.partition_by:
            refuse(
                "write_disposition overwrite_partitions needs bigquery.partition_by",
                "write_disposition",
                fix="Add bigquery: {partition_by: COLUMN}",
            )
        if dataset.write_disposition == "overwrite_partitions" and not dataset.derived:
            refuse(
                "write_disposition overwrite_partitions is for derived datasets",
                "write_disposition",
                fix="Use merge, append or replace",
            )
        if dataset.write_disposition == "append" and dataset.derived:
            refuse(
                "a derived dataset cannot append: a rerun would double it",
                "write_disposition",
                fix="Use overwrite_partitions, merge or replace",
            )
        if dataset.derived and dataset.mask:
            refuse(
                "mask is for datasets read from a source: what a derived one is made of is masked already",
                "mask",
                fix="Mask the inputs, or leave the column out in the transform",
            )
        layout = unfit_layout(dataset.bigquery, dataset.write_disposition, dataset.deletes == "sweep")
        if layout:
            refuse(layout.problem, "bigquery", layout.key, fix=layout.fix)
        unfit = unfit_sweep(dataset, spec.source.type if spec.source else None)
        if unfit:
            refuse(unfit.problem, unfit.key, fix=unfit.fix)
        cursor = dataset.options.get("cursor") or []
        forbidden = misplaced(
            dataset.mask,
            primary_key=dataset.primary_key,
            cursor=[cursor] if isinstance(cursor, str) else cursor,
            partition_by=dataset.bigquery.partition_by,
            cluster_by=dataset.bigquery.cluster_by,
        )
        if forbidden:
            refuse(forbidden.problem, "mask", forbidden.column, fix=forbidden.fix)
    for index, view in enumerate(spec.views):
        if not (path.parent / view.sql).is_file():
            raise SpecError(
                f"view {view.name}: no file {view.sql} beside {path.name}",
                where=lines.at("views", index, "sql"),
                pipeline=spec.pipeline,
            )


def _spec_error(
    error: ValidationError,
    document: Mapping[str, Any],
    lines: YamlLines,
    model: type[BaseModel],
    at: tuple[str | int, ...] = (),
    known: set[str] | None = None,
) -> SpecError:
    first = error.errors()[0]
    # A path ends in the names of union members ("After", "str"), which are not keys of the document.
    location = at + tuple(
        part for part in first["loc"] if lines.has(*at, part) or isinstance(part, int) or part != "After"
    )
    while location and not lines.has(*location) and first["type"] not in ("extra_forbidden", "missing"):
        location = location[:-1]
    key = next(str(part) for part in reversed(first["loc"]) if part != "[key]")
    kind = first["type"]
    choices: list[str] = []
    fix = None
    if kind == "extra_forbidden":
        known = known or _known_keys(model, first["loc"])
        near = difflib.get_close_matches(key, known, 1)
        problem, choices = f"unknown key {key!r}", sorted(known)
        fix = f"Did you mean {near[0]}?" if near else None
    elif kind == "missing":
        problem, fix = f"key {key!r} is missing", f"Add {key}: …"
    elif kind == "literal_error":
        problem = f"{key} is {first['input']!r}"
        choices = [part.strip(" '") for part in re.split(r", | or ", str(first["ctx"]["expected"]))]
    elif kind in _SHAPES and location:
        key = next((part for part in reversed(location) if isinstance(part, str)), key)
        problem = f"{key} is {_SHAPES[kind]}, and {first['input']!r} is none"
        fix = f"Write {key}: [{first['input']}]" if kind == "list_type" and isinstance(first["input"], str) else None
    else:
        problem = f"{key}: {str(first['msg']).removeprefix('Value error, ')} (found {first['input']!r})"
    dataset = _dataset_name(document, location)
    pipeline = document.get("pipeline")
    return SpecError(
        problem,
        where=lines.at(*location),
        pipeline=str(pipeline) if pipeline else None,
        dataset=dataset,
        choices=choices,
        fix=fix,
    )


_SHAPES = {
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""What pydantic's kinds of errors ask for, in words of YAML."""


def _known_keys(model: type[BaseModel], location: tuple[str | int, ...]) -> set[str]:
    nested: dict[str, type[BaseModel]] = {
        "source": SourceSpec,
        "schedule": After,
        "datasets": DatasetSpec,
        "bigquery": WarehouseSpec,
        "partition_range": PartitionRange,
        "views": ViewSpec,
    }
    for part in location[:-1]:
        model = nested.get(str(part), model)
    return set(model.model_fields) - {"file", "options"}


def _dataset_name(document: Mapping[str, Any], location: tuple[str | int, ...]) -> str | None:
    if isinstance(document.get("name"), str):
        return str(document["name"])
    if len(location) > 1 and location[0] == "datasets" and isinstance(location[1], int):
        entry = document["datasets"][location[1]]
        return str(entry["name"]) if isinstance(entry, dict) and "name" in entry else None
    return None


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
