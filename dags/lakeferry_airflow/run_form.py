"""The form of a trigger: what a person may ask of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

if TYPE_CHECKING:
    from connectors.base import WindowBound
    from jobs.spec.models import PipelineSpec

_DAY = "[0-9]{4}-?([0-9]{2}-?[0-9]{2}|W[0-9]{2}-?[0-9])"
_TIME = "[Tt ][0-9]{2}(:?[0-9]{2}(:?[0-9]{2}([.,][0-9]+)?)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
_WAYS: dict[WindowBound, tuple[str, str | int, str]] = {
    "instant": (_DAY + _TIME, "2026-01-31T00:00:00Z", "a time such as 2026-01-31T00:00:00Z (UTC without an offset)"),
    "day": (_DAY, "2026-01-31", "a day such as 2026-01-31"),
    "number": ("-?[0-9]{1,20}", 1000, "a whole number such as 1000, where the cursor is a number"),
}
"""The pattern of each kind of bound, an example and how it is written. The patterns are wide: `windows.requested` reads
more closely."""


def run_params(spec: PipelineSpec) -> dict[str, Param]:
    """The fields of the form, which are the params of the DAG."""
    chosen = {
        # Airflow keeps what the form offers in the run's conf and validates it again whenever the run is cleared: names
        # of datasets as default or enum would break old runs once the spec has others.
        "datasets": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            examples=[dataset.name for dataset in spec.datasets],
            minItems=1,
            uniqueItems=True,
            title="Datasets",
            description="Which of the pipeline's datasets to move. Empty: all.",
        ),
    }
    # A form must not offer what is always refused.
    bounds = spec.window_bounds
    return _window(bounds) | chosen if bounds else chosen


def _window(bounds: frozenset[WindowBound]) -> dict[str, Param]:
    ways = [way for bound, way in _WAYS.items() if bound in bounds]
    written = f"Write {', or '.join(text for _, _, text in ways)}."
    start = f"Beginning of the window to read, included. Empty: from where the last run ended. {written}"
    end = f"End of the window, not included. Empty: up to now. A window never moves the position. {written}"
    schema = _schema(bounds)
    return {
        "start": Param(None, title="Start", description=start, **schema),
        "end": Param(None, title="End", description=end, **schema),
    }


def _schema(bounds: frozenset[WindowBound]) -> dict[str, Any]:
    """The JSON schema of a bound. With the format `date-time` the form has a picker, which can write neither a number
    nor a day without a time zone. Airflow heeds that format only where the package rfc3339-validator is installed."""
    ways = [way for bound, way in _WAYS.items() if bound in bounds]
    pattern = f"^({'|'.join(pattern for pattern, _, _ in ways)})$"
    if bounds == {"instant"}:
        return {"type": ["null", "string"], "format": "date-time", "pattern": pattern}
    return {
        "type": ["null", "string", "integer"] if "number" in bounds else ["null", "string"],
        "pattern": pattern,
        # With examples a field of several types is one line of text (Airflow, `FlexibleForm/FieldSelector.tsx`).
        "examples": [example for _, example, _ in ways],
    }
