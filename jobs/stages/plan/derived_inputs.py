"""The inputs of a derived dataset: pins their snapshots, and refuses inputs that no pipeline publishes."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

from pyiceberg.catalog import Catalog

from connectors.errors import SpecError
from jobs.lake.catalog import find_table
from jobs.lake.foreign_changes import verified_batches, verified_consumed
from jobs.lake.names import CURATED, RAW
from jobs.runs.plan_document import Pin
from jobs.spec.reader import load_pipelines, spec_files
from jobs.spec.related_files import files_that_mention


def pin_inputs(catalog: Catalog, inputs: Sequence[str]) -> tuple[dict[str, Pin], list[str], list[str]]:
    """Return the pins of the inputs that have data, the names of those that have none yet, and, of these, the names of
    those without a table.

    Raises:
        LakeAltered: the tables of an input were changed from outside.
    """
    pins: dict[str, Pin] = {}
    missing = []
    absent = []
    for name in inputs:
        table = find_table(catalog, CURATED, name)
        if table is None:
            absent.append(name)
        raw = find_table(catalog, RAW, name)
        consumed = verified_consumed(table, raw, verified_batches(raw))
        snapshot = table.current_snapshot() if table else None
        if table is None or snapshot is None or consumed is None:
            missing.append(name)
            continue
        uuid = str(table.metadata.table_uuid)
        pins[name] = Pin(snapshot_id=snapshot.snapshot_id, batch=consumed.batch, table_uuid=uuid)
    return pins, missing, absent


def check_inputs(folder: Path, empty: Sequence[str], inputs: Collection[str]) -> None:
    """Check that each input without a table in the lake is a dataset of some pipeline, which may not have run yet.

    An input that has a table is not checked: a pipeline that was removed leaves its tables, and they can be read. Only
    files that mention an input are read.

    Args:
        folder: where the pipelines' files lie.
        empty: the inputs that have no table.
        inputs: all inputs of the dataset.

    Raises:
        SpecError: no file of the folder declares one of them, and all that mention it can be read.
    """
    unknown = _undeclared(folder, empty)
    if not unknown:
        return
    specs, _ = load_pipelines(folder)
    known = {dataset.name for spec in specs.values() for dataset in spec.datasets}
    near = difflib.get_close_matches(unknown[0], known - set(inputs), 1)
    raise SpecError(
        f"input {unknown[0]!r} has no table in the lake, and no pipeline of {folder.name}/ has such a dataset",
        key=("inputs",),
        fix=f"Did you mean {near[0]}?" if near else "Name datasets of pipelines in this folder",
    )


def _undeclared(folder: Path, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    specs, broken = load_pipelines(folder, files_that_mention(spec_files(folder), names))
    declared = {dataset.name for spec in specs.values() for dataset in spec.datasets}
    # A file that cannot be read may declare it.
    return [] if broken else [name for name in names if name not in declared]
