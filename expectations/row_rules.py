"""Row rules as one Spark expression: why a row is set aside, or NULL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.errors import IllegalArgumentException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from connectors.errors import SpecError
from expectations.typed_values import Scalar, canonical, kind
from expectations.vocabulary import (
    Between,
    Expectation,
    InSet,
    LengthEquals,
    LengthsBetween,
    MatchRegex,
    NotInSet,
    NotMatchRegex,
    NotNull,
    Null,
    PairEqual,
    PairGreater,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from expectations import Suite

SEPARATOR = "; "


def rejection(suite: Suite, columns: Mapping[str, str]) -> Column:
    """Returns a STRING expression: NULL for a row that keeps every row rule, otherwise what it breaks, joined by `; `.

    The text names rules and columns, and never a value of the row, which may be personal. As in Great Expectations, a
    NULL keeps every rule on values; only `expect_column_values_to_not_be_null` catches it.

    Args:
        columns: the frame's columns and their Spark DDL types.

    Raises:
        SpecError: a rule does not fit the columns.
    """
    suite.check_columns(columns)
    check_regexes(suite)
    broken = [
        # A comparison with NULL is NULL: such a row is not judged, and `when` treats NULL as false.
        F.when(_breaks(rule.expectation, columns), F.lit(rule.expectation.demand()))
        for rule in suite.rows
    ]
    if not broken:
        return F.lit(None).cast("string")
    # concat_ws leaves NULLs out, and returns '' if nothing remains.
    return F.nullif(F.concat_ws(SEPARATOR, *broken), F.lit(""))


def check_regexes(suite: Suite) -> None:
    """Checks that Java, which will run them, can read the suite's regular expressions.

    Raises:
        SpecError: Java cannot read one; the error names the line.
    """
    java: Any = SparkSession.active()._jvm
    for rule in suite.rules:
        if isinstance(rule.expectation, MatchRegex):
            try:
                java.java.util.regex.Pattern.compile(rule.expectation.regex)
            except IllegalArgumentException as error:
                reason = str(error).splitlines()[0]
                raise SpecError(
                    f"regex {rule.expectation.regex!r} is not a Java regular expression: {reason}",
                    where=rule.at("regex"),
                ) from None


def literal(value: Scalar, spark_type: str) -> Column:
    """Returns a value of a rule as a constant of exactly the column's type."""
    return F.lit(canonical(value, spark_type)).cast(spark_type)


def _breaks(rule: Expectation, columns: Mapping[str, str]) -> Column:
    """Returns an expression that is true if the row breaks the rule, otherwise false or NULL."""
    if isinstance(rule, PairGreater):
        a, b = _column(rule.column_A), _column(rule.column_B)
        return (a < b) if rule.or_equal else (a <= b)
    if isinstance(rule, PairEqual):
        return _column(rule.column_A) != _column(rule.column_B)
    assert isinstance(rule, NotNull | Null | Between | InSet | MatchRegex | LengthsBetween | LengthEquals)
    column, spark_type = _column(rule.column), columns[rule.column]
    match rule:
        case NotNull():
            return column.isNull()
        case Null():
            return column.isNotNull()
        case Between():
            outside = _outside(
                column,
                None if rule.min_value is None else literal(rule.min_value, spark_type),
                None if rule.max_value is None else literal(rule.max_value, spark_type),
                rule.strict_min,
                rule.strict_max,
            )
            # Spark sorts NaN above every number, so a lower bound alone would let it pass.
            return outside | F.isnan(column) if kind(spark_type) == "floating" else outside
        case NotInSet():
            return column.isin([literal(value, spark_type) for value in rule.value_set])
        case InSet():
            return ~column.isin([literal(value, spark_type) for value in rule.value_set])
        case NotMatchRegex():
            return column.rlike(rule.regex)
        case MatchRegex():
            return ~column.rlike(rule.regex)
        case LengthsBetween():
            low = None if rule.min_value is None else F.lit(rule.min_value)
            high = None if rule.max_value is None else F.lit(rule.max_value)
            return _outside(F.length(column), low, high, rule.strict_min, rule.strict_max)
        case LengthEquals():
            return F.length(column) != F.lit(rule.value)


def _outside(value: Column, low: Column | None, high: Column | None, strict_min: bool, strict_max: bool) -> Column:
    outside = F.lit(False)
    if low is not None:
        outside = outside | ((value <= low) if strict_min else (value < low))
    if high is not None:
        outside = outside | ((value >= high) if strict_max else (value > high))
    return outside


def _column(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")
