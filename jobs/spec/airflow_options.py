"""What a pipeline's YAML says to Airflow, under its key `airflow`.

Bounds are those of Airflow's database: PostgreSQL refuses a longer text or a larger number, and that is an import error
of the whole DAG file (columns of `dag`, `dag_tag`, `task_instance` and `log` in airflow/models).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.yaml.models import YamlModel

_MINUTES = {"min": 1, "h": 60, "d": 24 * 60}
LONGEST_STAGE_MINUTES = 7 * 24 * 60
"""EMR Serverless ends a batch job after seven days at the latest (API reference, StartJobRun)."""
LONGEST_MINUTES = 365 * 24 * 60
"""The scheduler subtracts a run's limit from the clock, and logs where the result has no date: no run would begin."""


def minutes_of(value: object) -> int:
    """The minutes of a text such as `90 min`, `4 h` or `2 d`.

    Raises:
        ValueError: it is no such text; a bare number is not, as Airflow counts in seconds elsewhere.
    """
    written = re.fullmatch(r"([0-9]{1,6})\s*(min|h|d)", value.strip()) if isinstance(value, str) else None
    if written is None or int(written[1]) == 0:
        raise ValueError("a time limit has a unit: 90 min, 4 h or 2 d")
    return int(written[1]) * _MINUTES[written[2]]


def _bounded_minutes_of(value: object) -> int:
    minutes = minutes_of(value)
    if minutes > LONGEST_MINUTES:
        raise ValueError("a time limit is at most 365 d")
    return minutes


def _stage_minutes_of(value: object) -> int:
    minutes = minutes_of(value)
    if minutes > LONGEST_STAGE_MINUTES:
        raise ValueError("the limit of a stage is 7 d at most, the longest that EMR Serverless lets a job run")
    return minutes


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone has an IANA name, such as Asia/Tokyo") from None
    return value


NonEmpty = Annotated[str, Field(min_length=1)]
Owner = Annotated[str, Field(min_length=1, max_length=500)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]
PoolOrQueue = Annotated[str, Field(min_length=1, max_length=256)]
TimeZone = Annotated[str, AfterValidator(_known_zone)]
ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
Minutes = Annotated[int, BeforeValidator(_bounded_minutes_of)]
"""A duration with its unit, such as `90 min`."""
Permission = Literal["can_read", "can_edit", "can_delete"]
"""What a role may do with a DAG (Airflow's FAB provider, "DAG-level permissions"): FAB refuses other words."""
StageMinutes = Annotated[int, BeforeValidator(_stage_minutes_of)]


class _Section(YamlModel):
    """Keys without a value whose value is a list or a mapping count as absent: what stood in them is a comment now."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        containers = {name for name, field in cls.model_fields.items() if field.default_factory is not None}
        return {key: entry for key, entry in value.items() if entry is not None or key not in containers}


class Timeouts(YamlModel):
    """How long the task `plan`, each task of a stage, and a whole run may take; None where the settings say."""

    plan: Minutes | None = None
    stage: StageMinutes | None = None
    run: Minutes | None = None


class Notifier(_Section):
    """A notifier of Airflow's or one's own: `notifier` is its import path, `arguments` are what it is built with. They
    name connections and hold no secret."""

    notifier: ImportPath
    arguments: dict[str, Any] = Field(default_factory=dict)


class Notify(_Section):
    """Who hears of a run that failed, or succeeded."""

    failure: list[Notifier] = Field(default_factory=list)
    success: list[Notifier] = Field(default_factory=list)


class Deadline(YamlModel):
    """Who hears of a run that has not ended so long `after` it was queued (Airflow, Deadline Alerts)."""

    after: Minutes
    notify: list[Notifier] = Field(min_length=1)


class AirflowOptions(_Section):
    """Options of the pipeline's DAG.

    `priority` is the weight of its tasks before that of the tasks upstream, `time_zone` the IANA name of the zone its
    cron is in, `access_control` the permissions by role. After `max_failed_runs` failed runs in a row Airflow pauses
    the DAG.
    """

    timeouts: Timeouts = Field(default_factory=Timeouts)
    owner: Owner = "lakeferry"
    tags: list[Tag] = Field(default_factory=list)
    pool: PoolOrQueue = "default_pool"
    queue: PoolOrQueue | None = None
    priority: int = Field(default=1, ge=1, le=1_000_000)
    executor_config: dict[str, Any] = Field(default_factory=dict)
    time_zone: TimeZone = "UTC"
    access_control: dict[NonEmpty, list[Permission]] = Field(default_factory=dict)
    notify: Notify = Field(default_factory=Notify)
    deadline: Deadline | None = None
    max_failed_runs: int | None = Field(default=None, ge=1, le=2**31 - 1)

    def over(self, defaults: AirflowOptions) -> AirflowOptions:
        """These options, and those of `defaults` that are not set here; time limits one by one."""
        if not defaults.model_fields_set:
            return self
        own = {name: getattr(self, name) for name in self.model_fields_set}
        if "timeouts" in own:
            limits = {name: getattr(self.timeouts, name) for name in self.timeouts.model_fields_set}
            own["timeouts"] = defaults.timeouts.model_copy(update=limits)
        return defaults.model_copy(update=own)


Options = Annotated[AirflowOptions, BeforeValidator(lambda value: {} if value is None else value)]
"""The key `airflow`: options, or nothing."""
