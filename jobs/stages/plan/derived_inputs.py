"""Refuses inputs of derived datasets that no pipeline publishes: their dataset would wait for rows that never come."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

from connectors.errors import SpecError
from jobs.spec.reader import load_pipelines, spec_files
from jobs.spec.related_files import files_that_mention


def refuse_unknown_inputs(folder: Path, empty: Sequence[str], inputs: Collection[str]) -> None:
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
