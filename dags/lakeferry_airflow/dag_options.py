"""The key `airflow` of a pipeline's YAML as arguments of its DAG and of its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakeferry_airflow.notifiers import deadline_alerts, run_callbacks

if TYPE_CHECKING:
    from jobs.spec.airflow_options import AirflowOptions
    from jobs.spec.models import PipelineSpec


def arguments_of_yaml(spec: PipelineSpec) -> dict[str, Any]:
    """Arguments of the DAG that the YAML sets.

    Raises:
        SpecError: a notifier cannot be imported, built or used by Airflow.
    """
    options = spec.airflow
    arguments: dict[str, Any] = {"tags": ["lakeferry", spec.source.type if spec.source else "derived", *options.tags]}
    if options.access_control:
        arguments["access_control"] = {role: set(permissions) for role, permissions in options.access_control.items()}
    if options.max_failed_runs is not None:
        arguments["max_consecutive_failed_dag_runs"] = options.max_failed_runs
    for key, notifiers in (("failure", options.notify.failure), ("success", options.notify.success)):
        if notifiers:
            arguments[f"on_{key}_callback"] = run_callbacks(spec, notifiers)
    if options.deadline is not None:
        arguments["deadline"] = deadline_alerts(spec, options.deadline)
    return arguments


def task_arguments(options: AirflowOptions) -> dict[str, Any]:
    """Arguments of every task that the YAML sets."""
    arguments: dict[str, Any] = {"owner": options.owner, "pool": options.pool, "priority_weight": options.priority}
    if options.queue is not None:
        arguments["queue"] = options.queue
    if options.executor_config:
        arguments["executor_config"] = options.executor_config
    return arguments
