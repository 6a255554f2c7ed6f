"""Great Expectations' own expectations, made exact and silent about values.

As they come (1.24), they have three faults. They turn every bound into a float (`0.1` in a rule is not 0.1 in a decimal
column, 9999999999999999.99 is 1e16). They take a wall clock for a moment in the machine's time zone. And they sample
failing values into results and reports. Here bounds and sets travel as text, and Spark casts them to the column's type.
No metric that returns values of the data is requested.
"""

from __future__ import annotations

import logging
import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import great_expectations.expectations as gxe
from great_expectations.execution_engine import SparkDFExecutionEngine
from great_expectations.expectations.metrics import ColumnAggregateMetricProvider
from great_expectations.expectations.metrics.column_aggregate_metric_provider import column_aggregate_partial
from great_expectations.expectations.metrics.map_metric_provider import ColumnMapMetricProvider
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from pyspark.sql import functions as F

from expectations.typed_values import canonical, shown
from expectations.vocabulary import (
    Aggregate,
    Between,
    CompoundUnique,
    Expectation,
    InSet,
    NotInSet,
    PairEqual,
    PairGreater,
    RowRule,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyspark.sql import Column

_ROW_COUNT = "table.row_count"
_SAMPLES = (".unexpected_values", ".unexpected_rows", ".unexpected_index_list", ".unexpected_index_query")


class BetweenExactly(ColumnMapMetricProvider):  # type: ignore[misc]
    """Whether values lie between bounds given as text and cast to `value_type`."""

    condition_metric_name = "column_values.between_exactly"
    condition_value_keys = ("min_value", "max_value", "strict_min", "strict_max", "value_type")

    @column_condition_partial(engine=SparkDFExecutionEngine)  # type: ignore[untyped-decorator]
    def _spark(
        cls,
        column: Column,
        min_value: str | None = None,
        max_value: str | None = None,
        strict_min: bool = False,
        strict_max: bool = False,
        value_type: str = "string",
        **_: Any,
    ) -> Column:
        kept = F.lit(True)
        if min_value is not None:
            low = F.lit(min_value).cast(value_type)
            kept = kept & ((column > low) if strict_min else (column >= low))
        if max_value is not None:
            high = F.lit(max_value).cast(value_type)
            kept = kept & ((column < high) if strict_max else (column <= high))
        return kept


class InSetExactly(ColumnMapMetricProvider):  # type: ignore[misc]
    """Whether values are in a set given as text and cast to `value_type`."""

    condition_metric_name = "column_values.in_set_exactly"
    condition_value_keys = ("value_set", "value_type")

    @column_condition_partial(engine=SparkDFExecutionEngine)  # type: ignore[untyped-decorator]
    def _spark(cls, column: Column, value_set: list[str], value_type: str = "string", **_: Any) -> Column:
        return column.isin([F.lit(value).cast(value_type) for value in value_set])


class NotInSetExactly(ColumnMapMetricProvider):  # type: ignore[misc]
    """Whether values are outside a set given as text and cast to `value_type`."""

    condition_metric_name = "column_values.not_in_set_exactly"
    condition_value_keys = ("value_set", "value_type")

    @column_condition_partial(engine=SparkDFExecutionEngine)  # type: ignore[untyped-decorator]
    def _spark(cls, column: Column, value_set: list[str], value_type: str = "string", **_: Any) -> Column:
        return ~column.isin([F.lit(value).cast(value_type) for value in value_set])


def _text_metric(name: str, aggregate: Callable[[Column], Column]) -> str:
    """Returns the name of a metric that gives an aggregate as text: as a number it would come back as a float."""

    @column_aggregate_partial(engine=SparkDFExecutionEngine)  # type: ignore[untyped-decorator]
    def _spark(cls: Any, column: Column, **_: Any) -> Column:
        return aggregate(column).cast("string")

    class_name = "".join(word.capitalize() for word in re.split(r"[._]", name))
    type(ColumnAggregateMetricProvider)(
        class_name, (ColumnAggregateMetricProvider,), {"__module__": __name__, "metric_name": name, "_spark": _spark}
    )
    return name


def _subclass(base: Any, fields: Mapping[str, Any], members: Mapping[str, Any]) -> Any:
    """Returns a subclass of the same name: Great Expectations finds expectations and their renderers by name."""
    namespace = {"__module__": __name__, "__annotations__": dict.fromkeys(fields, Any), **fields, **members}
    return type(base)(base.__name__, (base,), namespace)


def _silent(base: Any, metric: str | None = None, **fields: Any) -> Any:
    """Returns a map expectation that counts and never fetches the values it counted."""

    def get_validation_dependencies(
        self: Any, execution_engine: Any = None, runtime_configuration: dict[str, Any] | None = None
    ) -> Any:
        dependencies = base.get_validation_dependencies(self, execution_engine, runtime_configuration)
        for name in list(dependencies.get_metric_names()):
            if name.endswith(_SAMPLES):
                dependencies.remove_metric_configuration(name)
        return dependencies

    members: dict[str, Any] = {"get_validation_dependencies": get_validation_dependencies}
    if metric:
        members |= {"map_metric": metric, "success_keys": (*base.success_keys, "value_type")}
        fields |= {"value_type": "string"}
    return _subclass(base, fields, members)


def _exact(base: Any, aggregate: Callable[[Column], Column] | None = None) -> Any:
    """Returns an aggregate expectation whose bounds are text, compared exactly with the observed value.

    `aggregate` replaces Great Expectations' own metric if that one is not exact.
    """
    metric = str(base.metric_dependencies[0])
    if aggregate is not None:
        metric = _text_metric(f"{metric}_exactly", aggregate)

    def _validate(
        self: Any, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        observed = metrics[metric]
        # Without a value there is nothing to judge, as NULL passes every rule on values. Great Expectations reports 0
        # as the share of distinct values if there are no values.
        no_share = metric == "column.unique_proportion" and observed == 0
        nothing = observed is None or no_share or metrics[_ROW_COUNT] == 0
        above = nothing or _within(observed, self.min_value, self.strict_min)
        below = nothing or _within(observed, self.max_value, self.strict_max, -1)
        return {"success": above and below, "result": {"observed_value": observed}}

    members = {"_validate": _validate, "metric_dependencies": (metric, _ROW_COUNT)}
    return _subclass(base, {"min_value": None, "max_value": None}, members)


def _within(observed: float | str, bound: str | None, strict: bool, direction: int = 1) -> bool:
    """Whether the observed value is on the right side of a bound: above a lower one, or below an upper one (-1)."""
    if bound is None:
        return True
    value, limit = (_ordered(observed), _ordered(bound)) if isinstance(observed, str) else (observed, float(bound))
    return not strict if value == limit else (value > limit) == (direction > 0)


def _ordered(text: str) -> Any:
    """Returns a number or a date, each in its own order."""
    return date.fromisoformat(text) if _DATE.fullmatch(text) else Decimal(text)


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_registry_log = logging.getLogger("great_expectations.expectations.registry")
_level = _registry_log.level
# The registry warns of each name that is declared again, which is intended here.
_registry_log.setLevel(logging.ERROR)
_CLASSES: dict[str, Any] = {
    cls.expectation_type: cls
    for cls in (
        _silent(gxe.ExpectColumnValuesToNotBeNull),
        _silent(gxe.ExpectColumnValuesToBeNull),
        _silent(gxe.ExpectColumnValuesToMatchRegex),
        _silent(gxe.ExpectColumnValuesToNotMatchRegex),
        _silent(gxe.ExpectColumnValueLengthsToBeBetween, min_value=None, max_value=None),
        _silent(gxe.ExpectColumnValueLengthsToEqual),
        _silent(gxe.ExpectColumnPairValuesAToBeGreaterThanB),
        _silent(gxe.ExpectColumnPairValuesToBeEqual),
        _silent(gxe.ExpectCompoundColumnsToBeUnique),
        _silent(
            gxe.ExpectColumnValuesToBeBetween, BetweenExactly.condition_metric_name, min_value=None, max_value=None
        ),
        _silent(gxe.ExpectColumnValuesToBeInSet, InSetExactly.condition_metric_name),
        _silent(gxe.ExpectColumnValuesToNotBeInSet, NotInSetExactly.condition_metric_name),
        _exact(gxe.ExpectColumnSumToBeBetween, F.sum),
        _exact(gxe.ExpectColumnMeanToBeBetween, F.avg),
        _exact(gxe.ExpectColumnMinToBeBetween, F.min),
        _exact(gxe.ExpectColumnMaxToBeBetween, F.max),
        _exact(gxe.ExpectColumnUniqueValueCountToBeBetween),
        _exact(gxe.ExpectColumnProportionOfUniqueValuesToBeBetween),
        _exact(gxe.ExpectColumnProportionOfNonNullValuesToBeBetween),
        gxe.ExpectTableRowCountToBeBetween,
    )
}
_registry_log.setLevel(_level)


def gx_expectation(rule: Expectation, columns: Mapping[str, str]) -> Any:
    """Returns the rule as an expectation of Great Expectations.

    Args:
        columns: the frame's columns and their Spark DDL types; the rule fits them.
    """
    arguments = rule.model_dump(exclude_none=True)
    if isinstance(rule, Between | InSet | NotInSet):
        column_type = columns[rule.column]
        arguments["value_type"] = column_type
        for key in ("min_value", "max_value"):
            if key in arguments:
                arguments[key] = canonical(arguments[key], column_type)
        if "value_set" in arguments:
            arguments["value_set"] = [canonical(value, column_type) for value in arguments["value_set"]]
    if isinstance(rule, Aggregate):
        arguments |= {key: shown(arguments[key]) for key in ("min_value", "max_value") if key in arguments}
    if isinstance(rule, PairGreater | PairEqual):
        arguments["ignore_row_if"] = "either_value_is_missing"
    if isinstance(rule, CompoundUnique):
        arguments |= {"column_list": list(rule.column_list), "ignore_row_if": "never"}
    if isinstance(rule, RowRule):
        arguments["mostly"] = float(arguments.get("mostly", 1))
    return _CLASSES[rule.expectation](**arguments)
