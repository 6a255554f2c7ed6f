"""The key `airflow` of a pipeline's YAML as arguments of its DAG and of its tasks."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from connectors.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.airflow_options import AirflowOptions, Notifier
    from jobs.spec import PipelineSpec


def arguments_of_yaml(spec: PipelineSpec) -> dict[str, Any]:
    """Arguments of the DAG that the YAML sets.

    Raises:
        SpecError: a notifier cannot be imported or built.
    """
    options = spec.airflow
    found: dict[str, Any] = {"tags": ["lakeferry", spec.source.type if spec.source else "derived", *options.tags]}
    if options.access_control:
        found["access_control"] = {role: set(permissions) for role, permissions in options.access_control.items()}
    if options.max_failed_runs is not None:
        found["max_consecutive_failed_dag_runs"] = options.max_failed_runs
    for key, notifiers in (("failure", options.notify.failure), ("success", options.notify.success)):
        if notifiers:
            found[f"on_{key}_callback"] = _notifiers(spec, notifiers)
    if options.deadline is not None:
        found["deadline"] = _deadlines(options)
    return found


def task_arguments(options: AirflowOptions) -> dict[str, Any]:
    """Arguments of every task that the YAML sets."""
    found: dict[str, Any] = {"owner": options.owner, "pool": options.pool, "priority_weight": options.priority}
    if options.queue is not None:
        found["queue"] = options.queue
    if options.executor_config:
        found["executor_config"] = options.executor_config
    return found


def _notifiers(spec: PipelineSpec, notifiers: Sequence[Notifier]) -> list[Any]:
    return [_notifier(spec, entry) for entry in notifiers]


def _notifier(spec: PipelineSpec, entry: Notifier) -> Any:
    module, _, name = entry.notifier.rpartition(".")
    try:
        return getattr(import_module(module), name)(**entry.arguments)
    except Exception as error:  # noqa: BLE001 - anybody's code: whatever it raises, this pipeline alone is broken
        raise SpecError(
            f"notifier {entry.notifier} cannot be built: {type(error).__name__}: {error}",
            where=spec.file or None,
            pipeline=spec.pipeline,
            fix="Install its provider where DAGs are parsed, and check its path and arguments",
        ) from None


def _deadlines(options: AirflowOptions) -> list[DeadlineAlert]:
    assert options.deadline is not None, "asked for"
    # The triggerer calls them, so they are named and not imported here.
    return [
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=options.deadline.after),
            callback=AsyncCallback(entry.notifier, entry.arguments),
        )
        for entry in options.deadline.notify
    ]
