"""Compares what a spec says of a dataset's columns with the existing columns."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import Column
from connectors.errors import ObjectNotFound
from jobs.contracts.rules import proof_rules, row_rules
from jobs.masking.masks import check_mask_types, lake_columns_after
from jobs.spec.frozen_file import FrozenFile
from jobs.spec.models import DatasetSpec


def check_columns(
    dataset: DatasetSpec, columns: Sequence[Column], identity: Sequence[Column], rules: FrozenFile | None
) -> None:
    """Refuse statements of the spec about columns that do not exist, before anything moves.

    Args:
        columns: the dataset's, as the source describes them.
        identity: those that the source adds to every row.
        rules: the file of the dataset's rules.
    """
    from connectors.bigquery import check_warehouse

    names = [column.name for column in columns]
    for name in dataset.primary_key:
        if name not in names:
            raise ObjectNotFound(f"primary_key column {name!r} is not there", choices=names, key=("primary_key",))
    reserved = [name for name in names if name.startswith("_")]
    if reserved:
        raise ObjectNotFound(
            f"column {reserved[0]!r} begins with _, which names lakeferry's own columns",
            fix="Rename it in a view at the source",
        )
    check_mask_types(dataset.mask, columns)
    arriving = lake_columns_after(dataset.mask, [*columns, *identity])
    layout = dataset.bigquery
    check_warehouse(
        layout.table,
        layout.partition_by,
        layout.cluster_by,
        arriving,
        granularity=layout.partition_granularity.upper(),
        integers=layout.partition_range is not None,
        tagged=layout.policy_tags,
    )
    row_rules(rules, [*columns, *identity])
    proof_rules(rules, dataset, [*columns, *identity])
