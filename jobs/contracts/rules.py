"""The rules of a dataset, each on the columns it sees: row rules on values as read, dataset rules on the lake's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import expectations
from connectors.base import Column
from connectors.errors import SpecError
from expectations import Suite
from jobs.masking.masks import lake_columns_after
from jobs.spec.frozen_file import FrozenFile
from jobs.spec.models import DatasetSpec


def freeze_rules(folder: Path, dataset: DatasetSpec) -> FrozenFile | None:
    """Read the file of a dataset's rules; None without expectations.

    Args:
        folder: the folder of the suites.

    Raises:
        SpecError: the file is missing or cannot be read.
    """
    if dataset.expectations is None:
        return None
    name = dataset.expectations
    return FrozenFile.of(f"{name}.yaml", expectations.read_suite(folder, name))


def row_rules(rules: FrozenFile | None, columns: Sequence[Column]) -> Suite | None:
    """Return the rules that judge rows as they are read, before masks; None without rules.

    Args:
        columns: the dataset's as read, identity columns too.

    Raises:
        SpecError: the rules have a mistake, or one does not fit the columns.
    """
    if rules is None:
        return None
    suite = suite_of(rules).only("rows")
    suite.check_columns(_types(columns))
    return suite


def proof_rules(rules: FrozenFile | None, dataset: DatasetSpec, columns: Sequence[Column]) -> Suite | None:
    """Return the rules that prove the batch in the lake: the dataset rules, and the row rules on unmasked columns.

    For arguments, result and errors see `row_rules`; a dataset rule on a dropped column is refused, too.
    """
    if rules is None:
        return None
    suite = suite_of(rules)
    for rule in suite.dataset:
        for key, column in rule.expectation.columns().items():
            if dataset.mask.get(column) == "drop":
                raise SpecError(
                    f"column {column!r} is dropped by the dataset's mask, and a dataset rule sees what is in the lake",
                    where=rule.at(key),
                    fix="Put the rule under rows, which judge before masks, or remove it",
                )
    suite = suite.without_row_rules_on(dataset.mask)
    suite.check_columns(_types(lake_columns_after(dataset.mask, columns)))
    return suite


@lru_cache(maxsize=64)
def suite_of(rules: FrozenFile) -> Suite:
    """Return the parsed rules. Planning asks for those of a dataset three times, and parses them once.

    Raises:
        SpecError: the rules have a mistake; with file and line.
    """
    return expectations.parse_suite(rules.text, rules.name)


def _types(columns: Sequence[Column]) -> dict[str, str]:
    return {column.name: column.spark_type for column in columns}
