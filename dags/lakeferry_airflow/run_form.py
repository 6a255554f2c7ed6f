"""The form of a trigger: what a person may ask of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Param

if TYPE_CHECKING:
    from jobs.spec import PipelineSpec


def run_params(spec: PipelineSpec) -> dict[str, Param]:
    """The fields of the form, which are the params of the DAG."""
    names = [dataset.name for dataset in spec.datasets]
    window = {
        "start": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Start",
            description="Beginning of the window to read, included. Empty: from where the last run ended.",
        ),
        "end": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="End",
            description="End of the window, not included. Empty: up to now. A window never moves the position.",
        ),
    }
    chosen = {
        # Airflow keeps what the form offers in the run's conf and validates it again whenever the run is cleared: names
        # of datasets as default or enum would break old runs once the spec has others.
        "datasets": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            examples=names,
            minItems=1,
            uniqueItems=True,
            title="Datasets",
            description="Which of the pipeline's datasets to move. Empty: all.",
        ),
    }
    # A form must not offer what is always refused.
    return window | chosen if spec.takes_windows else chosen
