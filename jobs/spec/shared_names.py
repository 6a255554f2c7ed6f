"""Files that declare one dataset, or one table of BigQuery, twice: each of them is refused.

Nothing says which of two files is right. A copy whose name sorts first would take the other's dataset over, with its
raw table and its position, and the pipeline that was there would end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import SpecError
from connectors.yaml.documents import load_yaml
from connectors.yaml.text_files import shown_name
from jobs.spec.models import PipelineSpec


@dataclass(frozen=True)
class _Claim:
    """A name that a file claims: `key` is where it stands in the file, `by` who uses it there. `sql` is a view's file:
    two pipelines may make one view of one text."""

    path: Path
    pipeline: str
    name: str
    key: tuple[str | int, ...]
    by: str
    dataset: str | None = None
    sql: str | None = None

    @property
    def line(self) -> str:
        try:
            _, lines = load_yaml(self.path)
        except SpecError:
            return shown_name(self.path)
        return lines.at(*self.key) if lines else shown_name(self.path)


def shared_names(specs: Mapping[Path, PipelineSpec]) -> dict[Path, SpecError]:
    """The files that share a name with another one, and why each is refused: the error names all others.

    Args:
        specs: pipelines by their files; each is right by itself.
    """
    claims: dict[tuple[bool, str], list[_Claim]] = defaultdict(list)
    for path, spec in specs.items():
        for claim in _datasets_of(path, spec):
            claims[True, claim.name].append(claim)
        for claim in _tables_of(path, spec):
            claims[False, claim.name].append(claim)
    refused: dict[Path, SpecError] = {}
    for (of_dataset, _), sharing in claims.items():
        for claim in sharing:
            others = [other for other in sharing if other.path != claim.path and not _is_same_view(claim, other)]
            if others and claim.path not in refused:
                refused[claim.path] = _refusal(claim, others, of_dataset)
    return refused


def _refusal(claim: _Claim, others: list[_Claim], of_dataset: bool) -> SpecError:
    there = " and ".join(f"{other.line}" if of_dataset else f"{other.by} of {other.line}" for other in others)
    if of_dataset:
        problem = f"dataset {claim.name!r} is also in {there}. Each of these files is refused"
        fix = "Names of datasets are unique in a lake: rename one, or remove a file"
    else:
        problem = f"{claim.by} goes to {claim.name}, and so does {there}. Each of these files is refused"
        fix = "Give each dataset and each view a table of its own, or remove a file"
    return SpecError(problem, where=claim.line, pipeline=claim.pipeline, dataset=claim.dataset, fix=fix)


def _datasets_of(path: Path, spec: PipelineSpec) -> Iterator[_Claim]:
    for index, dataset in enumerate(spec.datasets):
        key = ("datasets", index, "name")
        yield _Claim(path, spec.pipeline, dataset.name, key, f"dataset {dataset.name!r}", dataset.name)


def _tables_of(path: Path, spec: PipelineSpec) -> Iterator[_Claim]:
    for index, dataset in enumerate(spec.datasets):
        key = ("datasets", index, "bigquery")
        yield _Claim(path, spec.pipeline, dataset.bigquery.table, key, f"dataset {dataset.name!r}", dataset.name)
    for index, view in enumerate(spec.views):
        yield _Claim(path, spec.pipeline, view.name, ("views", index, "name"), "a view", sql=view.sql)


def _is_same_view(claim: _Claim, other: _Claim) -> bool:
    return claim.sql is not None and claim.sql == other.sql
