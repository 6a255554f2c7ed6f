"""The rules one can write: Great Expectations' own names and arguments, typed.

Source: https://greatexpectations.io/expectations/ (1.24). Only expectations whose result names no single value of the
data are included, so that reports and logs can never leak one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StrictBool, model_validator

from expectations.typed_values import Scalar, canonical, decimal_shape, kind, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN_VALUES = 10


def _scalar(value: object) -> object:
    if not isinstance(value, bool | int | Decimal | str):
        raise ValueError("a value is a number, text, true or false")
    return value


def _share(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= 1:
        raise ValueError("a share is a number from 0 to 1")
    return Decimal(value)


def _length(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a count is a whole number, 0 or more")
    return value


Value = Annotated[Scalar, PlainValidator(_scalar)]
Share = Annotated[Decimal, PlainValidator(_share)]
Length = Annotated[int, PlainValidator(_length)]

NUMBERS = ("integer", "decimal", "floating")
ORDERED = (*NUMBERS, "date", "timestamp", "timestamp_ntz")
COMPARABLE = (*ORDERED, "string", "boolean")


class Expectation(BaseModel):
    """One rule. `expectation` is its name in Great Expectations, `row_rule` whether it judges rows one by one."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    expectation: ClassVar[str]
    row_rule: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ()
    """Kinds of column that the rule can judge; empty: any."""

    def columns(self) -> dict[str, str]:
        """Returns the columns that the rule names, by the key (and index) that names them."""
        return {key: getattr(self, key) for key in ("column", "column_A", "column_B") if hasattr(self, key)}

    def demand(self) -> str:
        """Returns the rule's demand as a sentence: `amount must be at least 0`."""
        raise NotImplementedError

    def refusal(self, columns: Mapping[str, str]) -> tuple[str, str] | None:
        """Returns the key and the problem if the rule does not fit the columns' types; all its columns exist."""
        for key, column in self.columns().items():
            if self.kinds and kind(columns[column]) not in self.kinds:
                takes = ", ".join(self.kinds)
                return key, f"column {column!r} is {columns[column]}, and {self.expectation} takes {takes}"
        return None


class RowRule(Expectation):
    """`mostly` (dataset rules only): the share of judged rows that must keep it; NULLs are not judged."""

    row_rule: ClassVar[bool] = True
    mostly: Share | None = None


class _ColumnRule(RowRule):
    column: str


class NotNull(_ColumnRule):
    expectation: ClassVar[str] = "expect_column_values_to_not_be_null"

    def demand(self) -> str:
        return f"{self.column} must not be NULL"


class Null(_ColumnRule):
    expectation: ClassVar[str] = "expect_column_values_to_be_null"

    def demand(self) -> str:
        return f"{self.column} must be NULL"


class _Bounds(Expectation):
    """Bounds are inclusive unless `strict_min` or `strict_max`."""

    strict_min: StrictBool = False
    strict_max: StrictBool = False

    @model_validator(mode="after")
    def _has_a_bound(self) -> _Bounds:
        if self._bound("min_value") is None and self._bound("max_value") is None:
            raise ValueError("min_value or max_value must be given")
        return self

    def _bound(self, key: str) -> Scalar | None:
        bound: Scalar | None = getattr(self, key)
        return bound

    def bounds_in_words(self) -> str:
        low, high = self._bound("min_value"), self._bound("max_value")
        words = []
        if low is not None:
            words.append(f"{'more than' if self.strict_min else 'at least'} {shown(low)}")
        if high is not None:
            words.append(f"{'less than' if self.strict_max else 'at most'} {shown(high)}")
        return " and ".join(words)

    def bounds_refusal(self, bound_type: str) -> tuple[str, str] | None:
        typed: dict[str, str] = {}
        for key in ("min_value", "max_value"):
            bound = self._bound(key)
            if bound is None:
                continue
            try:
                typed[key] = canonical(bound, bound_type)
            except ValueError as error:
                return key, f"the value {error}"
        if len(typed) == 2 and _above(typed["min_value"], typed["max_value"], bound_type):
            return "min_value", "min_value is above max_value: no value keeps this rule"
        return None


def _above(low: str, high: str, bound_type: str) -> bool:
    if kind(bound_type) in NUMBERS:
        return Decimal(low) > Decimal(high)
    return low > high


class Between(_Bounds, _ColumnRule):
    expectation: ClassVar[str] = "expect_column_values_to_be_between"
    kinds: ClassVar[tuple[str, ...]] = ORDERED
    min_value: Value | None = None
    max_value: Value | None = None

    def demand(self) -> str:
        return f"{self.column} must be {self.bounds_in_words()}"

    def refusal(self, columns: Mapping[str, str]) -> tuple[str, str] | None:
        return super().refusal(columns) or self.bounds_refusal(columns[self.column])


class InSet(_ColumnRule):
    expectation: ClassVar[str] = "expect_column_values_to_be_in_set"
    kinds: ClassVar[tuple[str, ...]] = COMPARABLE
    value_set: tuple[Value, ...] = Field(min_length=1)

    def demand(self) -> str:
        return f"{self.column} must be one of {self._values_in_words()}"

    def refusal(self, columns: Mapping[str, str]) -> tuple[str, str] | None:
        for value in self.value_set:
            try:
                canonical(value, columns[self.column])
            except ValueError as error:
                return super().refusal(columns) or ("value_set", f"the value {error}")
        return super().refusal(columns)

    def _values_in_words(self) -> str:
        words = ", ".join(shown(value) for value in self.value_set[:_SHOWN_VALUES])
        return words if len(self.value_set) <= _SHOWN_VALUES else f"{words}, … ({len(self.value_set)} values)"


class NotInSet(InSet):
    expectation: ClassVar[str] = "expect_column_values_to_not_be_in_set"

    def demand(self) -> str:
        return f"{self.column} must not be one of {self._values_in_words()}"


class MatchRegex(_ColumnRule):
    """`regex` is a Java regular expression that must be found in the value; anchor it with ^ and $."""

    expectation: ClassVar[str] = "expect_column_values_to_match_regex"
    kinds: ClassVar[tuple[str, ...]] = ("string",)
    regex: str = Field(min_length=1)

    def demand(self) -> str:
        return f"{self.column} must match {self.regex}"


class NotMatchRegex(MatchRegex):
    expectation: ClassVar[str] = "expect_column_values_to_not_match_regex"

    def demand(self) -> str:
        return f"{self.column} must not match {self.regex}"


class LengthsBetween(_Bounds, _ColumnRule):
    """Lengths are counted in characters (code points)."""

    expectation: ClassVar[str] = "expect_column_value_lengths_to_be_between"
    kinds: ClassVar[tuple[str, ...]] = ("string",)
    min_value: Length | None = None
    max_value: Length | None = None

    def demand(self) -> str:
        return f"{self.column} must be {self.bounds_in_words()} characters long"

    def refusal(self, columns: Mapping[str, str]) -> tuple[str, str] | None:
        return super().refusal(columns) or self.bounds_refusal("int")


class LengthEquals(_ColumnRule):
    expectation: ClassVar[str] = "expect_column_value_lengths_to_equal"
    kinds: ClassVar[tuple[str, ...]] = ("string",)
    value: Length

    def demand(self) -> str:
        return f"{self.column} must be {self.value} characters long"


class _PairRule(RowRule):
    """Compares two columns of one row; a row where either is NULL keeps the rule."""

    kinds: ClassVar[tuple[str, ...]] = COMPARABLE
    column_A: str
    column_B: str

    def refusal(self, columns: Mapping[str, str]) -> tuple[str, str] | None:
        problem = super().refusal(columns)
        if problem:
            return problem
        a, b = columns[self.column_A], columns[self.column_B]
        families = {kind(a), kind(b)}
        if len(families) > 1 and not families <= set(NUMBERS):
            return "column_B", f"{self.column_A} is {a} and {self.column_B} is {b}: they cannot be compared"
        if families <= {"integer", "decimal"}:
            (pa, sa), (pb, sb) = decimal_shape(a), decimal_shape(b)
            if max(pa - sa, pb - sb) + max(sa, sb) > 38:
                return "column_B", f"{a} and {b} have no common type of 38 digits: they cannot be compared exactly"
        return None


class PairGreater(_PairRule):
    expectation: ClassVar[str] = "expect_column_pair_values_a_to_be_greater_than_b"
    or_equal: StrictBool = False

    def demand(self) -> str:
        return f"{self.column_A} must be {'at least' if self.or_equal else 'more than'} {self.column_B}"


class PairEqual(_PairRule):
    expectation: ClassVar[str] = "expect_column_pair_values_to_be_equal"

    def demand(self) -> str:
        return f"{self.column_A} must equal {self.column_B}"


class RowCount(_Bounds):
    expectation: ClassVar[str] = "expect_table_row_count_to_be_between"
    min_value: Length | None = None
    max_value: Length | None = None

    def demand(self) -> str:
        return f"the number of rows must be {self.bounds_in_words()}"

    def refusal(self, columns: Mapping[str, str]) -> tuple[str, str] | None:
        return self.bounds_refusal("bigint")


class CompoundUnique(Expectation):
    """Rows with NULL in one of the columns are judged, too: two equal rows break the rule."""

    expectation: ClassVar[str] = "expect_compound_columns_to_be_unique"
    kinds: ClassVar[tuple[str, ...]] = COMPARABLE
    column_list: tuple[str, ...] = Field(min_length=2)

    def columns(self) -> dict[str, str]:
        return {f"column_list.{index}": column for index, column in enumerate(self.column_list)}

    def demand(self) -> str:
        return f"{', '.join(self.column_list)} together must be unique"


class Aggregate(_Bounds):
    """A number computed over the column's values that are not NULL. A batch without rows keeps the rule."""

    kinds: ClassVar[tuple[str, ...]] = NUMBERS
    words: ClassVar[str]
    column: str
    min_value: Value | None = None
    max_value: Value | None = None

    def demand(self) -> str:
        return f"{self.words} of {self.column} must be {self.bounds_in_words()}"

    def bound_type(self, column_type: str) -> str:
        """Returns the Spark type that the bounds must have."""
        return "date" if kind(column_type) == "date" else "double"

    def refusal(self, columns: Mapping[str, str]) -> tuple[str, str] | None:
        return super().refusal(columns) or self.bounds_refusal(self.bound_type(columns[self.column]))


class Sum(Aggregate):
    expectation: ClassVar[str] = "expect_column_sum_to_be_between"
    words: ClassVar[str] = "the sum"


class Mean(Aggregate):
    expectation: ClassVar[str] = "expect_column_mean_to_be_between"
    words: ClassVar[str] = "the mean"


class Minimum(Aggregate):
    expectation: ClassVar[str] = "expect_column_min_to_be_between"
    kinds: ClassVar[tuple[str, ...]] = (*NUMBERS, "date")
    words: ClassVar[str] = "the minimum"


class Maximum(Aggregate):
    expectation: ClassVar[str] = "expect_column_max_to_be_between"
    kinds: ClassVar[tuple[str, ...]] = (*NUMBERS, "date")
    words: ClassVar[str] = "the maximum"


class UniqueCount(Aggregate):
    expectation: ClassVar[str] = "expect_column_unique_value_count_to_be_between"
    kinds: ClassVar[tuple[str, ...]] = COMPARABLE
    words: ClassVar[str] = "the number of distinct values"

    def bound_type(self, column_type: str) -> str:
        return "bigint"


class _Proportion(Aggregate):
    kinds: ClassVar[tuple[str, ...]] = COMPARABLE
    min_value: Share | None = None
    max_value: Share | None = None

    def bound_type(self, column_type: str) -> str:
        return "double"


class UniqueProportion(_Proportion):
    """The share of distinct values among those that are not NULL: 1 means unique."""

    expectation: ClassVar[str] = "expect_column_proportion_of_unique_values_to_be_between"
    words: ClassVar[str] = "the share of distinct values"


class NonNullProportion(_Proportion):
    expectation: ClassVar[str] = "expect_column_proportion_of_non_null_values_to_be_between"
    kinds: ClassVar[tuple[str, ...]] = ()
    words: ClassVar[str] = "the share of values that are not NULL"


VOCABULARY: Mapping[str, type[Expectation]] = {
    model.expectation: model
    for model in (
        NotNull, Null, Between, InSet, NotInSet, MatchRegex, NotMatchRegex, LengthsBetween, LengthEquals,
        PairGreater, PairEqual, RowCount, CompoundUnique, Sum, Mean, Minimum, Maximum, UniqueCount,
        UniqueProportion, NonNullProportion,
    )
}  # fmt: skip
"""Every rule by name."""
