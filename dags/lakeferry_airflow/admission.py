"""Tries on each DAG alone what Airflow's DAG processor does with it.

An error that the processor meets with one DAG becomes an import error of the file, and that makes all DAGs of the file
stale: no run begins, and runs in flight stop (`_update_import_errors` in `airflow.dag_processing.collection`, 3.2.1 and
3.3.2). A DAG that would cause one is therefore not registered.
"""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lakeferry_airflow.factory import build_dag
from lakeferry_airflow.notifiers import NOT_OF_THE_CODE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import DAG

    from jobs.runtime.settings import Settings
    from jobs.spec.models import PipelineSpec

_log = logging.getLogger(__name__)
_LONGEST_DESCRIPTION = 1000
"""The column `timetable_description` of Airflow's table `dag` (airflow/models/dag.py): PostgreSQL refuses more."""
_OF_ASSETS = len("Triggered by assets or ")
"""What stands before the description of a cron beside assets."""


def sound_dags(specs: Iterable[PipelineSpec], settings: Settings) -> tuple[dict[str, DAG], dict[str, BaseException]]:
    """The DAGs that Airflow takes, by id; and the pipelines whose DAG it would refuse, by name, with its error.

    Code of the user's, such as a cluster policy, may raise anything, `SystemExit` too. Airflow's own limit for a parse
    is not caught.
    """
    dags: dict[str, DAG] = {}
    refused: dict[str, BaseException] = {}
    for spec in specs:
        try:
            dag = build_dag(spec, settings)
            _try(dag, spec, settings)
        except NOT_OF_THE_CODE:
            raise
        except BaseException as error:  # noqa: BLE001 - one DAG fails alone, the others stay
            refused[spec.pipeline] = error
            _log.error("DAG of pipeline %s is not registered: %s", spec.pipeline, error)
            continue
        dags[dag.dag_id] = dag
    return dags, refused


def _try(dag: DAG, spec: PipelineSpec, settings: Settings) -> None:
    """What `DagBag.process_file`, `DagBag.bag_dag` and the processor's serialization do; raises what they raise."""
    dag.validate()  # type: ignore[no-untyped-call]
    dag.check_cycle()
    cron: Any = getattr(dag.timetable, "timetable", dag.timetable)
    if hasattr(cron, "expression"):
        _find_next_date(cron.expression, str(cron.timezone))
    if _has_policies():
        # Policies may change what they see, and Airflow applies them to the DAG itself once more.
        _apply_policies(build_dag(spec, settings))
    elif _holds_objects(spec):
        _serialize(dag)


@lru_cache(maxsize=1000)
def _find_next_date(expression: str, timezone: str) -> None:
    """Ask the scheduler's own timetable for the next run; many pipelines share a schedule."""
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.interval import CronDataIntervalTimetable

    core = CronDataIntervalTimetable(expression, timezone)
    core.validate()
    if len(core.description) + _OF_ASSETS > _LONGEST_DESCRIPTION:
        raise ValueError(
            f"the description of cron {expression!r} has {len(core.description)} characters, and Airflow stores "
            f"{_LONGEST_DESCRIPTION}: write ranges and steps, such as 0-30 or */5"
        )
    core.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )


def _holds_objects(spec: PipelineSpec) -> bool:
    """Whether the YAML puts into the DAG what Airflow may be unable to serialize: else it holds texts and numbers of
    ours, and the second serialization would double the time of a parse."""
    options = spec.airflow
    return bool(options.executor_config or options.access_control or options.deadline)


def _has_policies() -> bool:
    """Whether this Airflow has cluster policies beside its default ones, which do nothing."""
    from airflow.policies import DefaultPolicy
    from airflow.settings import get_policy_plugin_manager

    hooks = get_policy_plugin_manager().hook
    policies = [*hooks.dag_policy.get_hookimpls(), *hooks.task_policy.get_hookimpls()]
    return any(policy.plugin is not DefaultPolicy for policy in policies)


def _apply_policies(dag: DAG) -> None:
    from airflow import settings
    from airflow.exceptions import AirflowClusterPolicySkipDag

    try:
        settings.dag_policy(dag)  # type: ignore[no-untyped-call]
        for task in dag.tasks:
            settings.task_policy(task)  # type: ignore[no-untyped-call]
    except AirflowClusterPolicySkipDag:
        # Airflow leaves the DAG out without an error.
        return
    _serialize(dag)


def _serialize(dag: DAG) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    # PostgreSQL's JSON has neither NaN nor Infinity, which Python would write.
    json.dumps(DagSerialization.to_dict(dag), allow_nan=False)
