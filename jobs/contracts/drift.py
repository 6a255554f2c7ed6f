"""Schema drift: compares the columns that a batch brings with those that its dataset has in the lake.

A batch's shape (its columns, keys and masks) is a property of its sealed snapshot, so the next run knows the shape of
the last one. `drift: evolve` accepts what Iceberg and BigQuery can change in place; `freeze` accepts no change. A
change that is not accepted stops the dataset before anything moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict
from pyiceberg.table import Table

from connectors.base import Column, ParsedType
from connectors.errors import SchemaBroken, SpecError
from jobs.lake.batch_log import last_published
from jobs.lake.bigquery_types import parsed_columns
from jobs.lake.documents import Documents
from jobs.lake.large_properties import read_position
from jobs.lake.schema import holds, lake_type, lake_types, widens
from jobs.spec.models import DatasetSpec


class BatchSchema(BaseModel):
    """The shape of a batch: lake types by column, the spec's `primary_key` and `mask`, the source's own key, and a
    mark that distinguishes the key of `mask: hmac` from others (`jobs.masking.masks.mask_key_fingerprint`)."""

    model_config = ConfigDict(frozen=True)

    columns: dict[str, str]
    primary_key: tuple[str, ...] = ()
    masks: dict[str, str] = {}
    source_key: tuple[str, ...] = ()
    mask_key_mark: str | None = None


def batch_schema_of(
    dataset: DatasetSpec,
    arriving: Sequence[Column],
    source_key: Sequence[str] = (),
    mask_key_mark: str | None = None,
) -> BatchSchema:
    """Return the shape of a batch of these columns, which are as the lake gets them, masks applied."""
    return BatchSchema(
        columns={column.name: lake_type(column.spark_type) for column in arriving},
        primary_key=tuple(dataset.primary_key),
        masks=dict(dataset.mask),
        source_key=tuple(source_key),
        mask_key_mark=mask_key_mark,
    )


def check_drift(
    dataset: DatasetSpec,
    arriving: Sequence[Column],
    raw: Table | None,
    documents: Documents,
    *,
    source_key: Sequence[str] = (),
    unique_keys: Sequence[Sequence[str]] = (),
    mask_key_mark: str | None = None,
) -> tuple[str, ...]:
    """Hold the columns of the next batch against the lake; return what people should know of it.

    Args:
        arriving: the columns as the lake would get them, masks applied, identity columns too.
        raw: the dataset's raw table; None before the first batch.
        source_key: the source's own primary key, if it has one.
        unique_keys: all its keys that no two rows share.
        mask_key_mark: the mark of the key that `mask: hmac` would use now; None without such a key.

    Raises:
        SchemaBroken: a change that cannot be taken in place, or any where the dataset is frozen.
    """
    warnings = [*_key_warnings(dataset, source_key, unique_keys)]
    if raw is None:
        return tuple(warnings)
    types = lake_types(raw.schema())
    last = last_published(raw)
    published = None
    if last is not None:
        shape = read_position(documents, last.shape)
        published = (
            BatchSchema.model_validate(shape) if shape else BatchSchema(columns=types, primary_key=dataset.primary_key)
        )
        # A batch that names no shape says nothing of its key and masks.
        if not shape:
            published = published.model_copy(update={"masks": dict(dataset.mask), "source_key": tuple(source_key)})
    if published is not None:
        _check_mask_key(dataset, published, mask_key_mark)
        _check_parsing(dataset, arriving, published, parsed_columns(raw))
    return (*warnings, *judge(dataset, arriving, types, published, source_key))


def judge(
    dataset: DatasetSpec,
    arriving: Sequence[Column],
    types: Mapping[str, str],
    published: BatchSchema | None,
    source_key: Sequence[str] = (),
) -> tuple[str, ...]:
    """The rules behind `check_drift`.

    Args:
        types: the raw table's columns and their types, including those that failed batches left.
        published: the last published batch's shape; None before the first one.
    """
    if published is not None and dataset.drift == "freeze":
        _check_frozen(dataset, arriving, published, source_key)
    if published is not None:
        _check_key(dataset, published)
        _check_masks(dataset, arriving, published)
    _check_types(dataset, arriving, types, published)
    return tuple(_changes_taken(dataset, arriving, types, published)) if published is not None else ()


def _check_frozen(
    dataset: DatasetSpec, arriving: Sequence[Column], published: BatchSchema, source_key: Sequence[str]
) -> None:
    now = batch_schema_of(dataset, arriving, source_key)
    changes = [f"added {name} ({now.columns[name]})" for name in _own(now.columns) if name not in published.columns]
    changes += [
        f"dropped {name} ({published.columns[name]})" for name in _own(published.columns) if name not in now.columns
    ]
    changes += [
        f"{name} changed from {published.columns[name]} to {kind}"
        for name, kind in now.columns.items()
        if published.columns.get(name, kind) != kind
    ]
    changes += [
        f"mask of {name} changed from {published.masks.get(name, 'none')} to {now.masks.get(name, 'none')}"
        for name in sorted({*published.masks, *now.masks})
        if published.masks.get(name) != now.masks.get(name)
    ]
    if now.source_key != published.source_key:
        changes.append(f"primary key changed from {_key(published.source_key)} to {_key(now.source_key)}")
    if changes:
        raise SchemaBroken(
            f"drift is freeze, and the columns are not those of the last batch: {'; '.join(changes)}",
            fix="Write drift: evolve to take the change, or put the columns back",
            key=("drift",),
        )


def _check_key(dataset: DatasetSpec, published: BatchSchema) -> None:
    if dataset.write_disposition not in ("merge", "append"):
        return  # Nothing of an earlier batch is looked up by its key.
    if set(published.primary_key) != set(dataset.primary_key):
        raise SpecError(
            f"primary_key was {_key(published.primary_key)} and is {_key(dataset.primary_key)}: the rows of "
            f"curated.{dataset.name} and {dataset.bigquery.table} are distinguished by the old one",
            fix="Set it back, or load the table under a new dataset name and bigquery.table",
            key=("primary_key",),
        )


def _check_masks(dataset: DatasetSpec, arriving: Sequence[Column], published: BatchSchema) -> None:
    for column in arriving:
        before, now = published.masks.get(column.name), dataset.mask.get(column.name)
        # NULLs mix with anything; a hash among plain values is a join that silently fails.
        if column.name in published.columns and before != now and "null" not in (before, now):
            raise SpecError(
                f"mask of {column.name!r} was {before or 'none'} and is {now or 'none'}: one column would hold values "
                "of both kinds",
                fix="Set it back, or load the table under a new dataset name and bigquery.table, and remove the old",
                key=("mask", column.name),
            )


def _check_mask_key(dataset: DatasetSpec, published: BatchSchema, fingerprint: str | None) -> None:
    hashed = [name for name, kind in dataset.mask.items() if kind == "hmac" == published.masks.get(name)]
    if hashed and None not in (fingerprint, published.mask_key_mark) and fingerprint != published.mask_key_mark:
        raise SpecError(
            f"the key of mask: hmac differs from that of the earlier batches: one value of {hashed[0]!r} would have "
            "two hashes, and nothing joins any more",
            fix="Put the old key back into its connection, or load the table under a new dataset name and "
            "bigquery.table",
            key=("mask", hashed[0]),
        )


def _check_parsing(
    dataset: DatasetSpec, arriving: Sequence[Column], published: BatchSchema, parsed: Mapping[str, ParsedType]
) -> None:
    for column in arriving:
        before = parsed.get(column.name)
        if column.name in published.columns and column.parsed != before:
            key = "geography" if "GEOGRAPHY" in (column.parsed, before) else "json"
            raise SpecError(
                f"column {column.name!r} is {before or 'STRING'} in {dataset.bigquery.table} and would be "
                f"{column.parsed or 'STRING'}: BigQuery cannot change one into the other",
                fix=f"Set {key} back, or load the table under a new dataset name and bigquery.table",
                key=(key,),
            )


def _check_types(
    dataset: DatasetSpec, arriving: Sequence[Column], types: Mapping[str, str], published: BatchSchema | None
) -> None:
    names = {name.lower(): name for name in types}
    changed: list[str] = []
    respelt: list[str] = []
    for column in arriving:
        known = names.get(column.name.lower(), column.name)
        if known != column.name:
            respelt.append(f"column {column.name!r} is {known!r} in the lake")
            continue
        old, new = types.get(column.name), lake_type(column.spark_type)
        if old is not None and not holds(old, new) and not widens(old, new):
            mask = f", mask {dataset.mask[column.name]}" if column.name in dataset.mask else ""
            changed.append(
                f"column {column.name!r} is {old} in the lake and {new} at the source ({column.source_type}{mask})"
            )
    if respelt:
        raise SchemaBroken(
            f"{'; '.join(respelt)}: Spark and BigQuery treat names that differ only in case as one",
            fix="Spell it as it was at the source, or in a view of it",
        )
    if changed:
        ways = [
            "Load it under a new dataset name and bigquery.table",
            "or read a view of the source that casts the column to what it was",
        ]
        if published is None:
            ways.append(f"or, as nothing of it is published yet, drop raw.{dataset.name} and curated.{dataset.name}")
        raise SchemaBroken(
            f"{'; '.join(changed)}: values of both kinds do not fit into one column", fix=", ".join(ways)
        )


def _changes_taken(
    dataset: DatasetSpec, arriving: Sequence[Column], types: Mapping[str, str], published: BatchSchema
) -> list[str]:
    now = {column.name: lake_type(column.spark_type) for column in arriving}
    added = [name for name in _own(now) if name not in published.columns]
    warnings = []
    for name in _own(published.columns):
        mask = dataset.mask.get(name)
        if mask in ("drop", "null") and published.masks.get(name) != mask:
            warnings.append(f"column {name!r} is masked from now on ({mask}): rows published before keep their values")
        elif name not in now:
            kind = types.get(name, published.columns[name])
            like = [other for other in added if now[other] == kind]
            renamed = f"; was it renamed to {' or '.join(map(repr, like))}? Then each holds a part" if like else ""
            warnings.append(
                f"column {name!r} is gone from the source: it stays in the lake and BigQuery, NULL in new rows{renamed}"
            )
    warnings += [
        f"column {name!r} ({now[name]}) is new: rows published before have NULL there until they change or are read "
        "again"
        for name in added
    ]
    warnings += [
        f"column {name!r} becomes {kind}, it was {types[name]}"
        for name, kind in now.items()
        if name in types and widens(types[name], kind)
    ]
    return warnings


def _key_warnings(dataset: DatasetSpec, source_key: Sequence[str], unique_keys: Sequence[Sequence[str]]) -> list[str]:
    named = set(dataset.primary_key)
    if not named or not source_key or any(named.issuperset(key) for key in unique_keys):
        return []
    return [
        f"primary_key {_key(dataset.primary_key)} holds no unique key of the table, whose own is {_key(source_key)}: "
        "rows that share it are merged into one, and stop the batch where one snapshot has both"
    ]


def _own(columns: Mapping[str, str]) -> list[str]:
    """Return the source's columns: names that begin with _ are lakeferry's."""
    return [name for name in columns if not name.startswith("_")]


def _key(names: Sequence[str]) -> str:
    return f"({', '.join(names)})" if names else "none"
