"""Runs a suite by Great Expectations on a Spark frame, and returns a verdict without values of the data."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue
from pyspark.sql import functions as F

from connectors.errors import RunnerFailed
from expectations.gx_context import CONTEXT_LOCK, shared_context
from expectations.plain_columns import plain_names, restore_names, with_plain_names
from expectations.row_rules import check_regexes
from expectations.typed_values import kind
from expectations.vocabulary import Mean, Sum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame

    from expectations import Rule, Suite

_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_.]+)\]")
_CLASS = re.compile(r"(?m)^((?:\w+\.)*\w*(?:Error|Exception))\b")
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}
"""Counts, no samples of failing values."""


@dataclass(frozen=True)
class SuiteVerdict:
    """The result of a suite for one batch. `result` is Great Expectations' own JSON, for Data Docs.

    `failures` names each broken rule with counts or the observed aggregate, one sentence per rule.
    `statistics` counts rules: evaluated, successful, unsuccessful, and the percentage.
    """

    suite: str
    dataset: str
    run_id: str
    batch: int
    success: bool
    failures: tuple[str, ...]
    statistics: Mapping[str, JsonValue]
    result: Mapping[str, JsonValue]


def check(df: DataFrame, suite: Suite, *, dataset: str, run_id: str, batch: int) -> SuiteVerdict:
    """Runs every rule of the suite: dataset rules, and row rules, which all rows now keep.

    The frame is not cached. All rules on single columns together take up to three passes, for any number of rules
    (Great Expectations resolves metrics in rounds). Each rule on several columns (`expect_column_pair_…`,
    `expect_compound_columns_…`) adds its own passes.

    Args:
        df: the batch's published rows; further columns do no harm.

    Raises:
        SpecError: a rule does not fit the columns.
        RunnerFailed: a rule could not be evaluated at all.
    """
    columns = dict(df.dtypes)
    suite.check_columns(columns)
    check_regexes(suite)
    names = plain_names(suite)
    plain, columns = with_plain_names(suite, names), {names.get(name, name): kind for name, kind in columns.items()}
    frame = _with_exact_sums(df.withColumnsRenamed(names) if names else df, plain, columns)
    result = _validate(frame, plain, columns, dataset, run_id)
    outcomes = _in_order(result, suite)
    for rule, outcome in zip(suite.rules, outcomes, strict=True):
        restore_names(outcome, rule)
    result["results"] = list(outcomes)
    result["meta"] = {
        **result["meta"],
        "lakeferry": {
            "dataset": dataset,
            "run_id": run_id,
            "batch": batch,
            "validated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    for rule, outcome in zip(suite.rules, outcomes, strict=True):
        _check_evaluated(rule, outcome, dataset)
    return SuiteVerdict(
        suite=suite.name,
        dataset=dataset,
        run_id=run_id,
        batch=batch,
        success=bool(result["success"]),
        failures=tuple(
            _failure(rule, outcome)
            for rule, outcome in zip(suite.rules, outcomes, strict=True)
            if not outcome["success"]
        ),
        statistics=result["statistics"],
        result=result,
    )


def _with_exact_sums(df: DataFrame, suite: Suite, columns: Mapping[str, str]) -> DataFrame:
    """Great Expectations sums whole numbers as doubles; as decimals they are summed exactly."""
    for rule in suite.dataset:
        if isinstance(rule.expectation, Sum | Mean) and kind(columns[rule.expectation.column]) == "integer":
            df = df.withColumn(rule.expectation.column, F.col(rule.expectation.column).cast("decimal(20,0)"))
    return df


def _validate(df: DataFrame, suite: Suite, columns: Mapping[str, str], dataset: str, run_id: str) -> dict[str, Any]:
    context = shared_context()
    import great_expectations as gx

    from expectations.gx_expectations import gx_expectation

    name = f"lake-{uuid.uuid4().hex}"
    with CONTEXT_LOCK:
        source = context.data_sources.add_spark(name, persist=False)
        definition = source.add_dataframe_asset(dataset).add_batch_definition_whole_dataframe(run_id)
    rules = []
    for index, rule in enumerate(suite.rules):
        expectation = gx_expectation(rule.expectation, columns)
        expectation.meta = {"rule": index, "section": rule.section, "where": rule.where}
        rules.append(expectation)
    try:
        batch = definition.get_batch(batch_parameters={"dataframe": df})
        outcome = batch.validate(gx.ExpectationSuite(name=suite.name, expectations=rules), result_format=RESULT_FORMAT)
    finally:
        with CONTEXT_LOCK:
            context.data_sources.delete(name)
    document: dict[str, Any] = json.loads(json.dumps(outcome.to_json_dict()))
    return document


def _in_order(result: Mapping[str, Any], suite: Suite) -> list[dict[str, Any]]:
    """Returns results in the order of the rules: Great Expectations puts those it could not evaluate elsewhere."""
    by_rule = {outcome["expectation_config"]["meta"]["rule"]: outcome for outcome in result["results"]}
    return [by_rule[index] for index in range(len(suite.rules))]


def _check_evaluated(rule: Rule, outcome: Mapping[str, Any], dataset: str) -> None:
    raised = _exceptions(outcome.get("exception_info") or {})
    if raised:
        # Spark's messages may hold values of the data; its error conditions ([CAST_INVALID_INPUT]) never do.
        conditions = sorted({name for text in raised for name in _CONDITION.findall(text)})
        classes = sorted({name for text in raised for name in _CLASS.findall(text)})
        cause = ", ".join(conditions or classes) or "Great Expectations names no cause"
        raise RunnerFailed(
            f"{rule.expectation.expectation} could not be evaluated: {cause}",
            where=rule.where,
            dataset=dataset,
        )


def _exceptions(info: Mapping[str, Any]) -> Sequence[str]:
    entries = [info] if "raised_exception" in info else [entry for entry in info.values() if isinstance(entry, dict)]
    return [
        f"{entry.get('exception_message')}\n{entry.get('exception_traceback')}"
        for entry in entries
        if entry.get("raised_exception")
    ]


def _failure(rule: Rule, outcome: Mapping[str, Any]) -> str:
    details = outcome["result"]
    name, demand = rule.expectation.expectation, rule.expectation.demand()
    if "unexpected_count" in details:
        reason = f"{details['unexpected_count']} of {details['element_count']} rows break it"
        mostly = outcome["expectation_config"]["kwargs"].get("mostly", 1)
        if mostly != 1:
            reason += f", {mostly:.15g} of them must keep it"
        return f"{name} ({rule.where}): {demand}; {reason}"
    return f"{name} ({rule.where}): {demand}; it is {details.get('observed_value')}"
