"""Checks of a whole spec: keys that are valid one by one and contradict each other or the files beside them.

A check of one dataset is a function of `_DATASET_CHECKS`: it returns a `Refusal`, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from connectors.errors import SpecError
from connectors.yaml.lines import YamlLines
from connectors.yaml.text_files import read_text, shown_name
from jobs.masking.masks import check_masks
from jobs.spec.bigquery_table import check_table_layout
from jobs.spec.deletes import check_sweep
from jobs.spec.models import After, DatasetSpec, PipelineSpec
from jobs.spec.schedules import PRESETS, cron_problem

PAGE_DAG = "lakeferry_page"
"""The id of the DAG that draws the status page: no pipeline, whose name is the id of its DAG, can have it."""


class Refusal(NamedTuple):
    """Why a dataset is refused: what is wrong, the path of the key at fault within the dataset, and the fix."""

    problem: str
    key: tuple[str, ...] = ()
    fix: str | None = None


def check_consistency(spec: PipelineSpec, lines: YamlLines, path: Path) -> None:
    """Check everything that no single key shows.

    Raises:
        SpecError: the first contradiction, at its line.
    """
    _check_pipeline(spec, lines, path)
    _check_timeouts(spec, lines)
    names: set[str] = set()
    targets: dict[str, str] = {}
    for index, dataset in enumerate(spec.datasets):
        refusal = _taken(dataset, names, targets) or next(
            (refusal for check in _DATASET_CHECKS if (refusal := check(dataset, spec))), None
        )
        if refusal:
            raise SpecError(
                refusal.problem,
                where=lines.at("datasets", index, *refusal.key),
                pipeline=spec.pipeline,
                dataset=dataset.name,
                fix=refusal.fix,
            )
        names.add(dataset.name)
        targets[dataset.bigquery.table] = dataset.name
    for index, view in enumerate(spec.views):
        problem, fix = _unreadable_view(path, view.sql)
        if problem:
            raise SpecError(
                f"view {view.name}: {problem}",
                where=lines.at("views", index, "sql"),
                pipeline=spec.pipeline,
                fix=fix,
            )


def _check_timeouts(spec: PipelineSpec, lines: YamlLines) -> None:
    limits = spec.airflow.timeouts
    if limits.run is None:
        return
    for key, minutes in (("plan", limits.plan), ("stage", limits.stage)):
        if minutes is not None and minutes > limits.run:
            raise SpecError(
                f"timeouts.run is {limits.run} min, shorter than timeouts.{key} ({minutes} min): a run would end first",
                where=lines.at("airflow", "timeouts", "run"),
                pipeline=spec.pipeline,
                fix=f"Raise run to {minutes} min at least",
            )


def _unreadable_view(path: Path, sql: str) -> tuple[str | None, str | None]:
    """Why the text of a view's file cannot be read, and the fix; whether it is a query is seen when it is applied."""
    file = path.parent / sql
    if not file.exists() and not file.is_symlink():
        return f"no file {sql} beside {shown_name(path)}", None
    try:
        read_text(file)
    except SpecError as error:
        return f"{error.where}: {error.problem}", error.fix
    return None, None


def _check_pipeline(spec: PipelineSpec, lines: YamlLines, path: Path) -> None:
    if spec.pipeline != path.stem:
        raise SpecError(
            f"pipeline is {spec.pipeline!r} in a file named {shown_name(path)}",
            where=lines.at("pipeline"),
            fix=f"Rename the file to {spec.pipeline}.yaml",
        )
    if spec.pipeline == PAGE_DAG:
        raise SpecError(
            f"pipeline {PAGE_DAG} has the id of the DAG that draws the status page",
            where=lines.at("pipeline"),
            fix="Give the pipeline and its file another name",
        )
    follows = spec.schedule if isinstance(spec.schedule, After) else None
    cron, key = (follows.cron, ("schedule", "cron")) if follows else (spec.schedule, ("schedule",))
    problem = cron_problem(cron) if isinstance(cron, str) else None
    if problem:
        raise SpecError(
            f"schedule {cron!r} {problem}",
            where=lines.at(*key),
            pipeline=spec.pipeline,
            choices=[
                *PRESETS,
                "five fields, such as '15 * * * *'",
                "{after: [DATASET, …]}",
                "{after_all: [DATASET, …]}",
            ],
        )
    if follows and bool(follows.after) == bool(follows.after_all):
        raise SpecError(
            "schedule names datasets under after and under after_all" if follows.after else "schedule names no dataset",
            where=lines.at("schedule"),
            pipeline=spec.pipeline,
            fix="Write {after: [DATASET, …]} to run after any of them, {after_all: [DATASET, …]} to run after all",
        )
    own = [name for name in follows.datasets if name in {dataset.name for dataset in spec.datasets}] if follows else []
    if own:
        raise SpecError(
            f"schedule follows {own[0]}, a dataset of this pipeline: each run would start the next",
            where=lines.at("schedule"),
            pipeline=spec.pipeline,
            fix="Name datasets of other pipelines",
        )


def _taken(dataset: DatasetSpec, names: set[str], targets: dict[str, str]) -> Refusal | None:
    if dataset.name in names:
        return Refusal("two datasets have this name", ("name",), "Rename one")
    if dataset.bigquery.table in targets:
        return Refusal(
            f"bigquery.table {dataset.bigquery.table} is already where {targets[dataset.bigquery.table]} goes",
            ("bigquery",),
            "Give each dataset a table of its own",
        )
    return None


def _check_origin(dataset: DatasetSpec, spec: PipelineSpec) -> Refusal | None:
    if dataset.derived and not dataset.inputs:
        return Refusal("a transform needs inputs", ("transform",), "Add inputs: [DATASET, …]")
    if dataset.derived and spec.source is not None:
        return Refusal(
            "a pipeline with a source has no transforms",
            ("transform",),
            "Put derived datasets into a pipeline of their own",
        )
    if not dataset.derived and spec.source is None:
        return Refusal(
            "nothing says where the rows come from",
            fix="Give the pipeline a source, or the dataset inputs and a transform",
        )
    if dataset.transform and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", dataset.transform):
        return Refusal(f"transform {dataset.transform!r} is not module:function", ("transform",))
    return None


def _check_disposition(dataset: DatasetSpec, spec: PipelineSpec) -> Refusal | None:
    key = ("write_disposition",)
    if dataset.write_disposition == "merge" and not dataset.primary_key:
        return Refusal("write_disposition merge needs a primary_key", key, "Add primary_key: [COLUMN, …]")
    if dataset.write_disposition == "overwrite_partitions":
        if not dataset.bigquery.partition_by:
            return Refusal(
                "write_disposition overwrite_partitions needs bigquery.partition_by",
                key,
                "Add bigquery: {partition_by: COLUMN}",
            )
        if not dataset.derived:
            return Refusal(
                "write_disposition overwrite_partitions is for derived datasets", key, "Use merge, append or replace"
            )
    if dataset.write_disposition == "append" and dataset.derived:
        return Refusal(
            "a derived dataset cannot append: a rerun would double it",
            key,
            "Use overwrite_partitions, merge or replace",
        )
    return None


def _check_append_key(dataset: DatasetSpec, spec: PipelineSpec) -> Refusal | None:
    if dataset.write_disposition != "append" or dataset.primary_key or spec.source is None:
        return None
    if spec.source_options(dataset).rows_name_their_place:
        return None
    return Refusal(
        "write_disposition append needs a primary_key here: rows of this source do not carry the place they came "
        "from, and loaded twice would be duplicated",
        ("write_disposition",),
        "Add primary_key: [COLUMN, …], or write replace to load the whole table each time",
    )


def _check_replace(dataset: DatasetSpec, spec: PipelineSpec) -> Refusal | None:
    """A batch that replaces must be all there is: one that is read from a position is the newest rows alone."""
    if dataset.write_disposition != "replace" or dataset.derived or spec.source is None:
        return None
    key = spec.source_options(dataset).continued_by
    if key is None:
        return None
    if key == "cursor":
        return Refusal(
            "write_disposition replace keeps only the rows of the last run, and with a cursor a run reads only what "
            "is new",
            ("write_disposition",),
            "Leave cursor out: each run then reads the whole table; or write merge or append",
        )
    return Refusal(
        f"write_disposition replace keeps only the rows of the last run, and of a {key} of {spec.source.type} a run "
        "reads only what is new",
        ("write_disposition",),
        "Write merge or append",
    )


def _check_derived_mask(dataset: DatasetSpec, spec: PipelineSpec) -> Refusal | None:
    if dataset.derived and dataset.mask:
        return Refusal(
            "mask is for datasets read from a source: what a derived one is made of is masked already",
            ("mask",),
            "Mask the inputs, or leave the column out in the transform",
        )
    return None


def _check_layout(dataset: DatasetSpec, spec: PipelineSpec) -> Refusal | None:
    refusal = check_table_layout(dataset.bigquery, dataset.write_disposition, dataset.deletes == "sweep")
    return Refusal(refusal.problem, ("bigquery", refusal.key), refusal.fix) if refusal else None


def _check_sweep(dataset: DatasetSpec, spec: PipelineSpec) -> Refusal | None:
    refusal = check_sweep(dataset, spec.source.type if spec.source else None)
    return Refusal(refusal.problem, (refusal.key,), refusal.fix) if refusal else None


def _check_mask(dataset: DatasetSpec, spec: PipelineSpec) -> Refusal | None:
    cursor = dataset.options.get("cursor") or []
    refusal = check_masks(
        dataset.mask,
        primary_key=dataset.primary_key,
        cursor=[cursor] if isinstance(cursor, str) else cursor,
        partition_by=dataset.bigquery.partition_by,
        cluster_by=dataset.bigquery.cluster_by,
    )
    return Refusal(refusal.problem, ("mask", refusal.column), refusal.fix) if refusal else None


_DATASET_CHECKS: tuple[Callable[[DatasetSpec, PipelineSpec], Refusal | None], ...] = (
    _check_origin,
    _check_disposition,
    _check_replace,
    _check_derived_mask,
    _check_layout,
    _check_sweep,
    _check_mask,
    _check_append_key,
)
