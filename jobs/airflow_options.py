"""What a pipeline's YAML says to Airflow, under its key `airflow`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from connectors.yaml_models import YamlModel

_MINUTES = {"min": 1, "h": 60, "d": 24 * 60}
LONGEST_STAGE_MINUTES = 7 * 24 * 60
"""EMR Serverless ends a batch job after seven days at the latest (API reference, StartJobRun)."""


def minutes_of(value: object) -> int:
    """The minutes of a text such as `90 min`, `4 h` or `2 d`.

    Raises:
        ValueError: it is no such text; a bare number is not, as Airflow counts in seconds elsewhere.
    """
    written = re.fullmatch(r"([0-9]{1,6})\s*(min|h|d)", value.strip()) if isinstance(value, str) else None
    if written is None or int(written[1]) == 0:
        raise ValueError("a time limit has a unit: 90 min, 4 h or 2 d")
    return int(written[1]) * _MINUTES[written[2]]


def _stage_minutes_of(value: object) -> int:
    minutes = minutes_of(value)
    if minutes > LONGEST_STAGE_MINUTES:
        raise ValueError("the limit of a stage is 7 d at most, the longest that EMR Serverless lets a job run")
    return minutes


Minutes = Annotated[int, BeforeValidator(minutes_of)]
"""A duration with its unit, such as `90 min`."""
StageMinutes = Annotated[int, BeforeValidator(_stage_minutes_of)]


class Timeouts(YamlModel):
    """How long the task `plan`, each task of a stage, and a whole run may take; None where the settings say."""

    plan: Minutes | None = None
    stage: StageMinutes | None = None
    run: Minutes | None = None


class AirflowOptions(YamlModel):
    """Options of the pipeline's DAG."""

    timeouts: Timeouts = Field(default_factory=Timeouts)
