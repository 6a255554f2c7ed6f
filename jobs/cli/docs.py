"""`lakeferry docs`: copies Data Docs from the lake to this machine, where a browser can open them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from connectors.errors import ObjectNotFound, UsageError
from jobs.cli.run_ids import chosen_run_id
from jobs.lake.documents import Documents
from jobs.runs.receipts import data_docs_prefix, run_id_of

_INDEX = "index.html"


class CopiedDocs(NamedTuple):
    """The Data Docs of one check. `page`: the file to open."""

    dataset: str
    run_id: str
    page: Path


class _Place(NamedTuple):
    """Where the Data Docs of one check lie in the lake: `run` is the run's id as a path segment."""

    dataset: str
    run: str
    generation: str


def copy_docs(
    documents: Documents, pipeline: str, datasets: Sequence[str], folder: Path, run_id: str | None = None
) -> Iterator[CopiedDocs]:
    """Copy the Data Docs of these datasets into the folder: those of the newest check of each, or of a run.

    The pages are static, and link to each other by relative paths, so they need no server. They are listed in the lake
    itself: a job on EMR has written them there as a local one does. Costs one listing per dataset and two reads.

    Args:
        run_id: the run's id, or a beginning that no other run with Data Docs has; None: the newest check.

    Raises:
        ObjectNotFound: none of the datasets has Data Docs.
        UsageError: no such run, or the folder cannot be written.
    """
    written = {name: documents.written(data_docs_prefix(pipeline, name)) for name in datasets}
    indexes = {
        place: at
        for keys in written.values()
        for key, at in keys.items()
        if (place := _place_of_index(key)) is not None
    }
    if not indexes:
        raise ObjectNotFound(
            f"there are no Data Docs of {', '.join(datasets)}",
            pipeline=pipeline,
            fix="Data Docs are written by check where a dataset has a suite (expectations: NAME)",
        )
    newest_first = sorted(indexes, key=lambda place: (indexes[place], int(place.generation)), reverse=True)
    if run_id is not None:
        run_ids = list(dict.fromkeys(run_id_of(place.run) for place in newest_first))
        chosen = chosen_run_id(run_id, run_ids, pipeline, "Data Docs")
        newest_first = [place for place in newest_first if run_id_of(place.run) == chosen]
    for name in datasets:
        place = next((candidate for candidate in newest_first if candidate.dataset == name), None)
        if place is not None:
            yield CopiedDocs(name, run_id_of(place.run), _copy(documents, pipeline, place, written[name], folder))


def _copy(documents: Documents, pipeline: str, place: _Place, keys: dict[str, float], folder: Path) -> Path:
    prefix = f"{data_docs_prefix(pipeline, place.dataset)}{place.run}/{place.generation}/"
    target = folder / pipeline / place.dataset / place.run / place.generation
    for key in keys:
        path = PurePosixPath(key.removeprefix(prefix))
        # A key of an object store may hold `..`, which must not lead out of the folder.
        if not key.startswith(prefix) or path.is_absolute() or ".." in path.parts:
            continue
        file = target / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(documents.read(key), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error.strerror}", fix="Name another folder: --to") from None
    return target / _INDEX


def _place_of_index(key: str) -> _Place | None:
    """The place of the Data Docs whose first page has this key; None for other keys."""
    parts = key.split("/")
    if len(parts) != 6 or parts[5] != _INDEX or not parts[4].isdigit():
        return None
    return _Place(parts[2], parts[3], parts[4])
