"""Names of columns that Great Expectations can hand to Spark.

Great Expectations passes names unchanged to `pyspark.sql.functions.col`, where a dot means a field of a struct and a
backquote quotes. A column with another name is renamed while its rules are evaluated, and gets its own name back in
results and Data Docs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from expectations.suite import Rule, Suite
from expectations.vocabulary import Expectation

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def plain_names(suite: Suite) -> dict[str, str]:
    """Returns new names for the columns that a rule names and Spark would misread. No source's column begins with `_`,
    so no name occurs twice."""
    named = dict.fromkeys(column for rule in suite.rules for column in rule.expectation.columns().values())
    return {name: f"_rule_column_{number}" for number, name in enumerate(named) if not _PLAIN.fullmatch(name)}


def with_plain_names(suite: Suite, names: Mapping[str, str]) -> Suite:
    """Returns the same rules on the renamed columns."""

    def renamed(rule: Rule) -> Rule:
        return replace(rule, expectation=_renamed(rule.expectation, names))

    return replace(suite, rows=tuple(map(renamed, suite.rows)), dataset=tuple(map(renamed, suite.dataset)))


def restore_names(outcome: dict[str, Any], rule: Rule) -> None:
    """Puts the rule's own columns into a result of Great Expectations."""
    outcome["expectation_config"]["kwargs"].update(_arguments(rule.expectation))


def _renamed(expectation: Expectation, names: Mapping[str, str]) -> Expectation:
    own = _arguments(expectation)
    plain = {
        key: tuple(names.get(name, name) for name in value) if key == "column_list" else names.get(value, value)
        for key, value in own.items()
    }
    return expectation.model_copy(update=plain)


def _arguments(expectation: Expectation) -> dict[str, Any]:
    """Returns the arguments that name columns."""
    keys = dict.fromkeys(key.partition(".")[0] for key in expectation.columns())
    return {key: _listed(getattr(expectation, key)) for key in keys}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
